"""The script of an array of jobs, as sbatch takes it."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.core.errors import ConfigError
from understudy.core.jobs import Resources

WARNING = 60  # seconds before its time is up in which an element ends what it runs and is queued again
MARGIN = 2  # minutes beyond those of its jobs
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@:+-]*")
_OPTION = re.compile(r"--([a-z][a-z-]*)(=[A-Za-z0-9._/@:+,=&|()\[\]*-]+)?")
_OURS = {"account", "array", "cpus-per-task", "dependency", "error", "export", "gres", "job-name", "mail-type",
         "mail-user", "mem", "nodes", "ntasks", "open-mode", "output", "partition", "requeue", "no-requeue", "signal",
         "time", "wrap", "parsable", "test-only", "wait"}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """What one element of an array asks for, and how many there are."""

    elements: int
    cpus: int
    memory_mb: int
    gpus: int
    minutes: int


def asked_for(jobs: Sequence[Resources], cores: int, sequential: int) -> Asked:
    """``cores`` jobs side by side, ``sequential`` times; an array asks the same for all its elements."""
    side = min(cores, len(jobs))
    rounds = min(sequential, -(-len(jobs) // side))
    return Asked(
        elements=-(-len(jobs) // (cores * sequential)),
        cpus=side * max(job.cpus for job in jobs),
        memory_mb=side * max(job.memory_mb for job in jobs),
        gpus=side * max(job.gpus for job in jobs),
        minutes=rounds * max(job.minutes for job in jobs) + MARGIN,
    )


def script(cluster: Any, name: str, place: Path, asked: Asked) -> str:
    """The text of job.sh. The shell is replaced by the process that does the jobs, so that signals reach that one."""
    output = str(place).replace("%", "%%")
    limit = f"%{cluster.at_once}" if cluster.at_once else ""
    options = [
        f"--job-name={name}", f"--array=0-{asked.elements - 1}{limit}", f'--output="{output}/%a.out"',
        "--open-mode=append", "--requeue", f"--signal=B:USR1@{WARNING}", "--nodes=1", "--ntasks=1",
        f"--cpus-per-task={asked.cpus}", f"--mem={asked.memory_mb}M", f"--time={asked.minutes}",
    ]  # fmt: skip
    options += [f"--gres=gpu:{asked.gpus}"] if asked.gpus else []
    options += [f"--account={cluster.account}"] if cluster.account else []
    options += [f"--partition={cluster.partition}"] if cluster.partition else []
    options += [f"--mail-user={cluster.mail}", "--mail-type=END,FAIL"] if cluster.mail else []
    options += cluster.options
    python = str(Path(cluster.environment) / "bin" / "python") if cluster.environment else sys.executable
    run = [python, "-m", "understudy.runs.executors.element", str(place.parent), name]
    lines = ["#!/bin/bash", *(f"#SBATCH {option}" for option in options), "set -e", *loading(cluster.modules)]
    lines += [f"source {shlex.quote(cluster.environment)}/bin/activate"] if cluster.environment else []
    return "\n".join([*lines, f"exec {shlex.join(run)}", ""])


def loading(modules: Sequence[str]) -> list[str]:
    """Lines of a shell that load modules; a shell that does not know the command learns it as a login shell does."""
    if not modules:
        return []
    return ["command -v module > /dev/null || source /etc/profile", f"module load {shlex.join(modules)}"]


def script_faults(cluster: Any) -> None:
    """Raises: ConfigError for a setting that would not be one word of a script, or takes what is set elsewhere."""
    for name in ("account", "partition", "mail"):
        _word(name, getattr(cluster, name))
    for module in cluster.modules:
        _word("modules", module)
    for name in ("cores", "sequential"):
        if getattr(cluster, name) < 1:
            raise ConfigError(f"{name} must be at least 1; got {getattr(cluster, name)}", field=name)
    if cluster.at_once < 0 or not cluster.every > 0:
        raise ConfigError("at_once is at least 0 and every is more than 0", field="at_once")
    for option in cluster.options:
        match = _OPTION.fullmatch(option)
        if match is None:
            raise ConfigError(f"{option!r} is no option of sbatch", hint="--name=value, one word.", field="options")
        if match[1] in _OURS:
            raise ConfigError(
                f"{option!r} is decided elsewhere", "Two values would contradict one another.",
                "Resources stand in the experiment file, account and partition in fields of their own.",
                field="options",
            )  # fmt: skip
    _path("environment", cluster.environment)
    _path("folder", str(cluster.folder))


def _word(name: str, value: str) -> None:
    if value and not _WORD.fullmatch(value):
        raise ConfigError(f"{name}: {value!r} is not one plain word", field=name)


def _path(name: str, value: str) -> None:
    """sbatch reads its lines itself, without the shell's rules."""
    if any(letter in value for letter in "\n\r\"'\\`$"):
        raise ConfigError(f"{name}: {value!r} holds a letter that sbatch cannot read in a path", field=name)
    if name == "environment" and value and not Path(value).is_absolute():
        raise ConfigError(f"{name}: {value!r} is not an absolute path", "Jobs run elsewhere.", field=name)
