"""Who is to be beaten: the policy behind the log, what an alias points at, or a policy artifact."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from understudy.core.errors import StoreError
from understudy.core.protocols import Policy
from understudy.data.artifact import MANIFEST
from understudy.runs.epochs import at_epoch, epoch_folder
from understudy.runs.home import LOGGED, Home
from understudy.runs.train import open_policy

PRODUCTION = "production"  # the alias that verbs mean where none is given
_ID = re.compile("[0-9a-f]{20}")


@dataclass(frozen=True)
class Incumbent:
    """The policy that candidates are measured against; ``policy`` None is the log's own, row by row."""

    name: str
    id: str
    policy: Policy | None
    trained_on: np.ndarray | None  # u64[n]; None where there is nothing that could have been learned from


def is_artifact(name: str) -> bool:
    """Whether a name is the folder or the id of an artifact (or can only be meant as one)."""
    return (Path(name) / MANIFEST).exists() or "/" in name or _ID.fullmatch(name) is not None


def resolve(against: str, home: Home, alias: str = PRODUCTION) -> Incumbent:
    """``logged``, an alias of the ledger, or a policy artifact's folder or id.

    ``production``, the ``alias`` that is to be promoted to, and every alias that ever had a promotion are the logged
    policy while nobody is live under them: that is who acts. Any other name is a typing error, not the log.
    Raises: StoreError if a folder is no policy artifact, or the name is nobody's.
    """
    if against == LOGGED:
        return Incumbent(LOGGED, LOGGED, None, None)
    if is_artifact(against):
        opened = open_policy(_folder(against, home))
        return Incumbent(opened.name, opened.manifest.id, opened.policy, opened.trained_on)
    folder = home.current(against)
    if folder is None:
        if against not in (PRODUCTION, alias) and not (home.exists and home.ledger.history(against)):
            raise StoreError(
                f"nobody was ever promoted to {against!r}, and no policy has this folder or id",
                "A misspelt name must not stand for the log.",
                "Say --against logged, an alias such as production, or a policy's folder.",
                field="against",
            )
        return Incumbent(LOGGED, LOGGED, None, None)
    opened = open_policy(folder)
    return Incumbent(against, opened.manifest.id, opened.policy, opened.trained_on)


def locate(name: str, home: str | Path) -> tuple[Path, str]:
    """Folder and id of a policy named by its folder, its id, or an alias under which one is live; verified.

    ``runs/a@7`` is the policy of epoch 7, under an id of its own.

    Raises: StoreError if the folder is no policy artifact or is damaged, or nobody has the name.
    """
    own, (run, epoch) = Home(home), at_epoch(name)
    if epoch is not None:
        return epoch_folder(run, epoch), f"{open_policy(run).manifest.id}@{epoch}"
    folder = _folder(name, own) if is_artifact(name) else own.current(name)
    if folder is None:
        raise StoreError(
            f"no policy artifact is called {name!r}, and nobody is live under that name",
            hint="Give the folder that train wrote, its id, or an alias such as production.",
            field="policy",
        )
    return folder, open_policy(folder).manifest.id


def _folder(name: str, home: Home) -> Path:
    """Where an artifact named by its folder or its id lies; a promoted policy outlives its folder."""
    if _ID.fullmatch(name) is None or not home.exists or (Path(name) / MANIFEST).exists():
        return Path(name)
    kept = home.kept(name)
    return kept if kept.exists() else home.known(name) or Path(name)
