"""An executor by its name, with the settings of a cluster file; a study remembers them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from understudy.core import yaml
from understudy.core.errors import ConfigError, StoreError
from understudy.core.jobs import Executor
from understudy.core.registry import unknown
from understudy.data.mirror import mirror_of
from understudy.runs.settings import build

JOBS = "jobs"


def make_executor(name: str, study: Path, cluster: Path | None) -> Executor:
    """The executor ``name``, with the settings of a cluster file, whose scripts and logs lie in ``study/jobs``.

    Without a file they are those the study remembers.
    """
    folder = study / JOBS
    kept = folder / f"{name}.yaml"
    if (away := mirror_of(study)) and not cluster and not kept.exists():
        away.renew(f"{JOBS}/{name}.yaml")
    settings = read_cluster(cluster or kept, name) if cluster or kept.exists() else {}
    return build("executors", name, {**settings, "folder": folder.resolve()})


def remember(name: str, study: Path, cluster: Path | None) -> None:
    """Keep the settings of a cluster file in the study, so that status, logs and cancel need not be told again."""
    if cluster:
        (study / JOBS).mkdir(exist_ok=True)
        body = msgspec.yaml.encode(read_cluster(cluster, name), order="deterministic")
        (study / JOBS / f"{name}.yaml").write_bytes(body)
        if away := mirror_of(study):
            with suppress(StoreError):  # what others know first stays; this machine goes by its own
                away.store.put(f"{JOBS}/{name}.yaml", io.BytesIO(body))


def set_up(action: str, file: Path, *, dry_run: bool = False) -> list[str]:
    """What the executor of a cluster file makes where its jobs run; a line for each thing.

    Raises: ConfigError if that executor needs nothing made, or the file does not say whose it is.
    """
    if action != "setup":
        raise unknown("action", action, ("setup",))
    kind = str(read_cluster(file).get("kind", "")).replace("-", "_")
    if not kind:
        raise ConfigError(f"{file} does not say whose it is", hint="kind: slurm, or kind: aws-batch", field="kind")
    made = make_executor(kind, Path(), file)
    if not hasattr(made, "setup"):
        raise ConfigError(f"{kind} needs nothing to be set up", field="kind")
    return made.setup(dry_run=dry_run)  # pyright: ignore[reportAttributeAccessIssue]


def read_cluster(path: Path, name: str = "") -> Mapping[str, Any]:
    """The settings in a cluster file, whose ``kind`` is the executor they are for.

    Raises: ConfigError if it holds none, or those of another executor than ``name``.
    """
    try:
        found = yaml.decode(path.read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {str(path)!r}", field="cluster") from error
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path}: {error}", field="cluster") from error
    if not isinstance(found, dict) or "folder" in found:
        raise ConfigError(f"{path} does not hold the settings of an executor", hint="key: value.", field="cluster")
    if not name:
        return found
    kind = str(found.pop("kind", name)).replace("-", "_")
    if kind != name:
        raise ConfigError(
            f"{path} is for {kind}, and the runs are to run at {name}", hint="Give --at what it is for.", field="kind"
        )
    return found
