"""The environment that jobs activate on a cluster: a venv on the shared disk, made once; the same line mends it."""

from __future__ import annotations

import fcntl
import hashlib
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from understudy import __version__
from understudy.core.errors import ConfigError, ExecutorError
from understudy.runs.executors.slurm_limits import STAMP
from understudy.runs.executors.slurm_script import loading

_PATIENCE = 3600  # seconds for one step: a cluster's shared disk can be slow


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """What an environment was made of. ``files``: install's local files by their content."""

    version: str
    python: str
    modules: tuple[str, ...]
    install: tuple[str, ...]
    files: dict[str, str]


def set_up(cluster: Any, *, dry_run: bool = False) -> list[str]:
    """Make the environment of a cluster file, or bring it up to date; a line for each thing done, or to be done.

    Raises: ConfigError for a file without one, or a folder that is something else; ExecutorError if a step fails.
    """
    if not cluster.environment:
        raise ConfigError(
            "the cluster file names no environment", "Jobs then use the interpreter that submitted them.",
            "environment: /path/on/the/shared/disk", field="environment",
        )  # fmt: skip
    place, wanted = Path(cluster.environment), _wanted(cluster)
    before = _stamp(place)
    if before == wanted:
        return [f"{place} is as the file says: nothing to do"]
    _only_ours(place)
    steps = _steps(cluster, place, wanted, before)
    if not dry_run:
        with _alone(place):
            (place / STAMP).unlink(missing_ok=True)  # nobody is to start jobs in it until it is whole again
            for line, argv in steps:
                _do(argv, cluster.modules, line)
            _is_this_version(place, cluster.modules)
            (place / STAMP).write_bytes(msgspec.json.encode(wanted))
    return [line for line, _ in steps]


def _steps(cluster: Any, place: Path, wanted: Stamp, before: Stamp | None) -> list[tuple[str, list[str]]]:
    """What is to be done, in words and as a command line."""
    using = f", modules {' '.join(cluster.modules)}" if cluster.modules else ""
    other = before is not None and (before.python, before.modules) != (wanted.python, wanted.modules)
    steps = []
    if before is None or other:  # without a stamp it may be half made; making it again leaves what is there
        venv = [cluster.python, "-m", "venv", *(["--clear"] if other else []), str(place)]
        steps.append((f"made {place} with {cluster.python}{using}", venv))
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    steps.append((f"installed {' '.join(wanted.install)}", [*pip, *wanted.install]))
    return steps


def _wanted(cluster: Any) -> Stamp:
    install = tuple(cluster.install) or (f"understudy[learn]=={__version__}",)
    files = {name: hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in install if Path(name).is_file()}
    return Stamp(version=__version__, python=cluster.python, modules=cluster.modules, install=install, files=files)


def _stamp(place: Path) -> Stamp | None:
    try:
        return msgspec.json.decode((place / STAMP).read_bytes(), type=Stamp)
    except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
        return None


def _only_ours(place: Path) -> None:
    """A folder that is no environment is left alone."""
    if place.exists() and not (place.is_dir() and ((place / "pyvenv.cfg").exists() or not any(place.iterdir()))):
        raise ConfigError(
            f"{place} holds something else than an environment", hint="Choose another path.", field="environment"
        )


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """One at a time, of all that make the same environment."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f".{place.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _do(argv: Sequence[str], modules: Sequence[str], what: str) -> str:
    """A command behind the modules. Raises: ExecutorError with the last words it said."""
    shell = "\n".join(["set -e", *loading(modules), f"exec {shlex.join(argv)}"])
    try:
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise ExecutorError(f"{argv[0]} has not ended for {_PATIENCE} seconds", field="environment") from error
    if done.returncode:
        said = " ".join(text.strip() for text in done.stderr.splitlines()[-3:] if text.strip())
        raise ExecutorError(
            f"not {what}: {said or f'status {done.returncode}'}",
            "The environment is not whole, and no job will be started in it.",
            "Mend the cluster file, and call the same line again.", field="environment",
        )  # fmt: skip
    return done.stdout


def _is_this_version(place: Path, modules: Sequence[str]) -> None:
    ask = [str(place / "bin" / "python"), "-c", "import understudy; print(understudy.__version__)"]
    found = _do(ask, modules, "able to import understudy").strip()
    if found != __version__:
        raise ExecutorError(
            f"{place} holds understudy {found}, and this is {__version__}",
            "Runs of one study are made by one version.",
            f"install: [understudy=={__version__}]", field="install",
        )  # fmt: skip
