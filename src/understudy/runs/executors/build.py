"""An executor by its name, with the settings of a cluster file; a study remembers them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from understudy.core.errors import ConfigError
from understudy.core.jobs import Executor
from understudy.runs.settings import build

JOBS = "jobs"


def make_executor(name: str, study: Path, cluster: Path | None) -> Executor:
    """The executor ``name`` whose scripts and logs lie in ``study/jobs``.

    The settings of a cluster file are kept there, so that status, logs and cancel need not be told again.
    """
    folder = study / JOBS
    kept = folder / f"{name}.yaml"
    settings = _read(cluster or kept) if cluster or kept.exists() else {}
    made = build("executors", name, {**settings, "folder": folder.resolve()})
    if cluster:
        folder.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(msgspec.yaml.encode(settings, order="deterministic"))
    return made


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found = msgspec.yaml.decode(path.read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {str(path)!r}", field="cluster") from error
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path}: {error}", field="cluster") from error
    if not isinstance(found, dict) or "folder" in found:
        raise ConfigError(f"{path} does not hold the settings of an executor", hint="key: value.", field="cluster")
    return found
