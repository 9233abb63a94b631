"""Who is to be beaten: the policy behind the log, what an alias points at, or a policy artifact."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from understudy.core.protocols import Policy
from understudy.data.artifact import MANIFEST
from understudy.runs.home import LOGGED, Home
from understudy.runs.train import open_policy


@dataclass(frozen=True)
class Incumbent:
    """The policy that candidates are measured against; ``policy`` None is the log's own, row by row."""

    name: str
    id: str
    policy: Policy | None
    trained_on: np.ndarray | None  # u64[n]; None where there is nothing that could have been learned from


def is_artifact(name: str) -> bool:
    """Whether a name is the folder of an artifact (or can only be meant as one)."""
    return (Path(name) / MANIFEST).exists() or "/" in name


def resolve(against: str, home: Home) -> Incumbent:
    """``logged``, an alias of the ledger, or a policy artifact's folder.

    An alias that has never been promoted to is the logged policy: before the first promotion that is who acts.
    Raises: StoreError if a folder is no policy artifact.
    """
    if against == LOGGED:
        return Incumbent(LOGGED, LOGGED, None, None)
    if is_artifact(against):
        opened = open_policy(against)
        return Incumbent(opened.name, opened.manifest.id, opened.policy, opened.trained_on)
    folder = home.current(against)
    if folder is None:
        return Incumbent(LOGGED, LOGGED, None, None)
    opened = open_policy(folder)
    return Incumbent(against, opened.manifest.id, opened.policy, opened.trained_on)
