"""Workers of a study killed at random, to see what is left of it. Only processes that do its runs are ended, by id."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

TICK = 0.1  # seconds between looks
_HERTZ = os.sysconf("SC_CLK_TCK")


def workers(study: Path, strangers: Counter[int] | None = None) -> dict[int, float]:
    """The processes that do runs of a study on this machine: id → seconds of CPU used so far.

    ``strangers`` counts how often a process was seen to be none; one seen thrice is not looked at again, since reading
    what every process of a machine is costs more than all else here.
    """
    found, mark, strangers = {}, str(study.resolve()).encode(), Counter() if strangers is None else strangers
    for name in os.listdir("/proc"):
        if not name.isdigit() or strangers[int(name)] > 2:
            continue
        with suppress(OSError, IndexError):
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            if b"run" in words and mark in words and b"--index" in words:
                numbers = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                found[int(name)] = (int(numbers[11]) + int(numbers[12])) / _HERTZ
            else:
                strangers[int(name)] += 1
    return found


def kill(pid: int) -> None:
    """SIGKILL."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_element(pid: int) -> None:
    """The same by Slurm, to the element of an array that a process belongs to."""
    with suppress(OSError):
        pairs = (text.split(b"=", 1) for text in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if b"=" in text)
        told = {name.decode(): value.decode() for name, value in pairs}
        job = f"{told['SLURM_ARRAY_JOB_ID']}_{told['SLURM_ARRAY_TASK_ID']}"
        subprocess.run(["scancel", "--signal=KILL", job], check=True, timeout=60)


@dataclass
class Killer:
    """Kills a share of the workers of a study, each when it has used a random part of ``life`` seconds of CPU.

    Which of every ten, in the order in which they appear, and when, the seed decides.
    """

    study: Path
    share: float
    seed: int
    life: float
    kill: Callable[[int], None] = kill
    killed: list[int] = field(default_factory=list)
    seen: dict[int, float] = field(default_factory=dict)  # process id → seconds of CPU at which it is to end

    def watch(self, over: Callable[[], bool]) -> None:
        """Go on until it is over."""
        ends, strangers = self._ends(), Counter[int]()
        while not over():
            for pid, used in workers(self.study, strangers).items():
                if pid not in self.seen:
                    self.seen[pid] = next(ends)
                if used >= self.seen[pid]:
                    self.seen[pid] = np.inf
                    self.killed.append(pid)
                    self.kill(pid)
            time.sleep(TICK)

    def _ends(self) -> Iterator[float]:
        """For each worker, the seconds of CPU at which it is to end; infinity for most."""
        rng = np.random.default_rng(self.seed)
        while True:
            for place in rng.permutation(10):
                yield self.life * rng.random() if place < 10 * self.share else np.inf
