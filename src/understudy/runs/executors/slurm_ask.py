"""Slurm's own programs, asked for what they know."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence

from understudy.core.errors import ExecutorError

TOOLS = ("sbatch", "squeue", "scancel", "scontrol")
PATIENCE = 100  # seconds for one answer
PAUSES = (1, 3, 9, 27)  # seconds before a question is asked again


def need_tools() -> None:
    """Raises: ExecutorError where Slurm's programs are not."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise ExecutorError(
            f"{missing[0]} is not on PATH",
            "Runs are given to Slurm by its own programs.",
            "Call this on a login node of the cluster (module load slurm there, if need be), or use --at local.",
            field="at",
        )


def ask(line: Sequence[str]) -> str:
    """What a program answers. Raises: ExecutorError with its own words if it refuses, or does not answer."""
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise ExecutorError(f"{line[0]} is not on PATH", field="at") from error
    except subprocess.TimeoutExpired as error:
        raise ExecutorError(
            f"{line[0]} has not answered for {PATIENCE} seconds", hint="Ask squeue whether Slurm is up.", field="at"
        ) from error
    if done.returncode:
        said = next((text for text in done.stderr.splitlines() if text.strip()), f"status {done.returncode}")
        raise ExecutorError(f"Slurm refused {' '.join(line[:2])}: {said.strip()}", field="at")
    return done.stdout


def asked_again(line: Sequence[str]) -> str:
    """As ``ask``, for questions that change nothing: a controller that is busy is asked again."""
    for pause in PAUSES:
        try:
            return ask(line)
        except ExecutorError:
            time.sleep(pause)
    return ask(line)
