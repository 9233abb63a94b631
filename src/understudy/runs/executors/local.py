"""A pool of processes on this machine. It outlives whoever started it, and is found again by its folder.

jobs/NAME/…           as of any array
jobs/NAME/pool.json   the process that runs them: where, its id, and when it started, since ids are used again
jobs/NAME/pool.log    what the pool itself has printed
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from understudy.core.errors import ConfigError
from understudy.core.jobs import ALIVE, Job, JobState, Resources
from understudy.runs.executors.array import Array, array_in
from understudy.runs.executors.machine import Machine, alive, here, machine, started
from understudy.runs.executors.pool import GRACE, TICK, Pool

BEAT = 5.0  # seconds between signs of life, for other machines that share the folder
SILENT = 60.0  # seconds without one after which a pool elsewhere counts as dead


@dataclass(frozen=True)
class Local:
    """``workers`` jobs at a time (0: as many as there are cores), one thread each unless a job asks for more cores."""

    folder: Path
    workers: int = 0

    def check(self, jobs: Sequence[Job]) -> None:
        """Raises: ConfigError for a job that this machine could never run."""
        for job in jobs:
            _fits(job.resources, machine())

    def submit(self, name: str, jobs: Sequence[Job], *, after: Sequence[str] = ()) -> None:
        """Start a pool in a session of its own, so that it does not end with the terminal."""
        for other in after:
            known(self.poll(other), other)
        array = self._array(name)
        if not array.take(jobs):
            return
        command = [sys.executable, "-m", "understudy.runs.executors.pool", str(self.folder), name, str(self.workers)]
        with (array.place / "pool.log").open("ab") as log:
            child = subprocess.Popen(
                [*command, *after], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        self._claim(array, child.pid)

    def poll(self, name: str) -> tuple[JobState, ...]:
        """Ended jobs by their files, the others by whether their pool lives."""
        array = self._array(name)
        if not array.taken:
            return ()
        lives = self._lives(array)  # before the files: what ended since is then no surprise
        return array.states(lambda _, begun: ("running" if begun else "waiting") if lives else "gone")

    def cancel(self, name: str) -> None:
        """SIGTERM to the pool, which ends its children; what has not ended is then "cancelled"."""
        array = self._array(name)
        if not array.taken:
            return
        array.cancel()
        pid, end = self._pool(array), time.monotonic() + 2 * GRACE
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        while self._lives(array) and time.monotonic() < end:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid or -1, os.WNOHANG)  # one of ours stays a zombie until it is waited for
            time.sleep(TICK)
        if not self._lives(array):
            array.mark_all(array.open(), "cancelled")

    def log(self, name: str, job: int) -> str:
        """What a job has printed so far."""
        return self._array(name).log(job)

    def run(self, name: str, after: Sequence[str] = ()) -> int:
        """Be the pool: run every job that has not ended, when the arrays ``after`` have. Returns: an exit status.

        Raises: KeyboardInterrupt if that is how it was ended.
        """
        array = self._array(name)
        self._claim(array, os.getpid())
        pool = Pool(array, self.room, Beat(array))
        well = pool.run(range(len(array.jobs())), lambda: self._ready(array, after))
        if pool.signal == signal.SIGINT:
            raise KeyboardInterrupt
        return int(not well)

    def _ready(self, array: Array, after: Sequence[str]) -> bool:
        """Whether other arrays have ended; if one of them not well, this one is not to begin."""
        states = {state for other in after for state in self.poll(other)}
        if states & ALIVE:
            return False
        if states - {"done"}:
            array.cancel()
        return True

    @property
    def room(self) -> Machine:
        """What there is to share out."""
        return replace(machine(), cpus=self.workers or machine().cpus)

    def _array(self, name: str) -> Array:
        return array_in(self.folder, name)

    def _claim(self, array: Array, pid: int) -> None:
        array.write("pool.json", msgspec.json.encode({"where": here(), "pid": pid, "started": started(pid)}))

    def _lives(self, array: Array) -> bool:
        """Whether its pool lives, here or, by its signs of life, elsewhere; or is about to be born."""
        try:
            told = msgspec.json.decode((array.place / "pool.json").read_bytes())
        except FileNotFoundError:
            return array.young
        if told["where"] == here():
            return alive(told["pid"], told["started"])
        return time.time() - (array.place / "pool.json").stat().st_mtime < SILENT

    def _pool(self, array: Array) -> int | None:
        """The pool's process id while it lives, on this machine."""
        try:
            told = msgspec.json.decode((array.place / "pool.json").read_bytes())
        except FileNotFoundError:
            return None
        ours = told["where"] == here() and alive(told["pid"], told["started"])
        return told["pid"] if ours else None


@dataclass
class Beat:
    """Called at every look of the pool: a sign of life now and then. Returns: whether the array is to be ended."""

    array: Array
    last: float = 0.0

    def __call__(self) -> bool:
        if time.monotonic() - self.last < BEAT:
            return False
        self.last = time.monotonic()
        os.utime(self.array.place / "pool.json")
        return self.array.cancelled


def known(states: Sequence[JobState], name: str) -> None:
    """Raises: ConfigError if there is no such array to wait for."""
    if not states:
        raise ConfigError(f"there is no array of jobs {name!r} to wait for", field="after")


def _fits(asked: Resources, there: Machine) -> None:
    for name in ("cpus", "memory_mb", "gpus"):
        if getattr(asked, name) > getattr(there, name):
            raise ConfigError(
                f"a job asks for {getattr(asked, name)} {name}, and this machine has {getattr(there, name)}",
                "It would never start.", "Ask for less under resources:, or run it elsewhere with --at.", field=name,
            )  # fmt: skip
