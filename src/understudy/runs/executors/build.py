"""An executor by its name, with the settings of a cluster file; a study remembers them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from understudy.core import yaml
from understudy.core.errors import ConfigError
from understudy.core.jobs import Executor
from understudy.runs.settings import build

JOBS = "jobs"


def make_executor(name: str, study: Path, cluster: Path | None) -> Executor:
    """The executor ``name``, with the settings of a cluster file, whose scripts and logs lie in ``study/jobs``.

    Without a file they are those the study remembers.
    """
    folder = study / JOBS
    kept = folder / f"{name}.yaml"
    settings = read_cluster(cluster or kept, name) if cluster or kept.exists() else {}
    return build("executors", name, {**settings, "folder": folder.resolve()})


def remember(name: str, study: Path, cluster: Path | None) -> None:
    """Keep the settings of a cluster file in the study, so that status, logs and cancel need not be told again."""
    if cluster:
        (study / JOBS).mkdir(exist_ok=True)
        body = msgspec.yaml.encode(read_cluster(cluster, name), order="deterministic")
        (study / JOBS / f"{name}.yaml").write_bytes(body)


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
