"""A pool of processes on this machine. It outlives whoever started it, and is found again by its folder.

jobs/NAME/jobs.json   the command lines
jobs/NAME/pool.json   the process that runs them: its id, and when it started, since ids are used again
jobs/NAME/K.log       what job K printed
jobs/NAME/K.ended     its exit status: 0 done, else failed; "cancelled"
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from understudy.core.errors import ConfigError
from understudy.core.jobs import Job, JobState, Resources
from understudy.runs.executors.machine import Machine, alive, machine, started

TICK = 0.02  # seconds between looks at the children
GRACE = 5.0  # seconds from SIGTERM to SIGKILL


@dataclass(frozen=True)
class Local:
    """``workers`` jobs at a time (0: as many as there are cores), one thread each unless a job asks for more cores."""

    folder: Path
    workers: int = 0

    def check(self, jobs: Sequence[Job]) -> None:
        """Raises: ConfigError for a job that this machine could never run."""
        here = machine()
        for job in jobs:
            _fits(job.resources, here)

    def submit(self, name: str, jobs: Sequence[Job], *, after: Sequence[str] = ()) -> None:
        """Start a pool in a session of its own, so that it does not end with the terminal."""
        if self.poll(name):
            return
        self.write(name, jobs)
        command = [sys.executable, "-m", "understudy.runs.executors.pool", str(self.folder), name, str(self.slots)]
        command += list(after)
        with (self._place(name) / "pool.log").open("ab") as log:
            child = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        self._claim(name, child.pid)

    def poll(self, name: str) -> tuple[JobState, ...]:
        """Ended jobs by their files, the others by whether their pool lives."""
        place = self._place(name)
        try:
            n = len(msgspec.json.decode((place / "jobs.json").read_bytes()))
        except FileNotFoundError:
            return ()
        lives = self._pool(name) is not None
        return tuple(_state(place, k, lives) for k in range(n))

    def cancel(self, name: str) -> None:
        """SIGTERM to the pool, which ends its children and marks the rest; its jobs are then "cancelled"."""
        pid = self._pool(name)
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + 2 * GRACE
        while self._pool(name) is not None and time.monotonic() < end:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)  # a pool that this process started stays a zombie until it is waited for
            time.sleep(TICK)

    def log(self, name: str, job: int) -> str:
        """What a job has printed so far."""
        path = self._place(name) / f"{job}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def slots(self) -> int:
        """Cores to share out."""
        return self.workers or machine().cpus

    def write(self, name: str, jobs: Sequence[Job]) -> None:
        """The command lines, whole before they have their name."""
        place = self._place(name)
        place.mkdir(parents=True, exist_ok=True)
        partial = place / f".jobs.{os.getpid()}"
        partial.write_bytes(msgspec.json.encode([[job.argv, job.resources] for job in jobs]))
        os.replace(partial, place / "jobs.json")

    def run(self, name: str) -> None:
        """Be the pool: run every job that has not ended, ``slots`` cores at a time, until all have."""
        self._claim(name, os.getpid())
        place = self._place(name)
        jobs = [Job(tuple(a), r) for a, r in msgspec.json.decode((place / "jobs.json").read_bytes(), type=_JOBS)]
        Pool(place, self.slots).run(jobs)

    def _place(self, name: str) -> Path:
        return self.folder / name

    def _claim(self, name: str, pid: int) -> None:
        place = self._place(name)
        partial = place / f".pool.{os.getpid()}"
        partial.write_bytes(msgspec.json.encode({"pid": pid, "started": started(pid)}))
        os.replace(partial, place / "pool.json")

    def _pool(self, name: str) -> int | None:
        """The pool's process id while it lives."""
        try:
            told = msgspec.json.decode((self._place(name) / "pool.json").read_bytes())
        except FileNotFoundError:
            return None
        return told["pid"] if alive(told["pid"], told["started"]) else None


_JOBS = list[tuple[list[str], Resources]]


class Pool:
    """The process that starts, watches and ends the jobs of one array."""

    def __init__(self, place: Path, slots: int) -> None:
        self.place, self.slots = place, slots
        self.running: dict[int, tuple[subprocess.Popen[bytes], Job, float]] = {}
        self.ended = False

    def run(self, jobs: Sequence[Job]) -> None:
        """Run all that have not ended. SIGTERM and SIGINT end the children; what did not end is cancelled."""
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        waiting = [k for k in range(len(jobs)) if not (self.place / f"{k}.ended").exists()]
        try:
            while (waiting or self.running) and not self.ended:
                self._reap()
                while waiting and self._free() >= min(jobs[waiting[0]].resources.cpus, self.slots):
                    self._start(waiting[0], jobs[waiting[0]])
                    waiting.pop(0)
                time.sleep(TICK)
            if self.ended:
                self._end_all()
                for k in waiting:
                    self._mark(k, "cancelled")
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _free(self) -> int:
        return self.slots - sum(min(job.resources.cpus, self.slots) for _, job, _ in self.running.values())

    def _start(self, k: int, job: Job) -> None:
        with (self.place / f"{k}.log").open("ab") as log:
            try:
                child = subprocess.Popen(
                    command(job.argv), stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=surroundings(job.resources)
                )
            except OSError as error:
                log.write(f"{job.argv[0]}: {error.strerror}\n".encode())
                return self._mark(k, "127")
        self.running[k] = (child, job, time.monotonic() + 60 * job.resources.minutes)
        return None

    def _reap(self) -> None:
        for k, (child, _, until) in list(self.running.items()):
            if child.poll() is not None:
                self._mark(k, str(child.returncode))
                del self.running[k]
            elif time.monotonic() > until:
                child.kill()

    def _end_all(self) -> None:
        for child, _, _ in self.running.values():
            child.terminate()
        for k, (child, _, _) in self.running.items():
            try:
                child.wait(GRACE)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            self._mark(k, "cancelled" if child.returncode else "0")

    def _mark(self, k: int, status: str) -> None:
        partial = self.place / f".{k}.ended"
        partial.write_text(status)
        os.replace(partial, self.place / f"{k}.ended")

    def _stop(self, *_: Any) -> None:
        self.ended = True


def command(argv: Sequence[str]) -> list[str]:
    """The command line with our own script where ``understudy`` is meant: the one beside this interpreter."""
    own = Path(sys.executable).with_name(argv[0])
    return [str(own) if argv[0] == "understudy" and own.exists() else argv[0], *argv[1:]]


def surroundings(resources: Resources) -> dict[str, str]:
    """The environment of a job: one thread per core it asked for, since more only stand in each other's way."""
    threads = str(resources.cpus)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, threads)}


def _state(place: Path, k: int, lives: bool) -> JobState:
    try:
        status = (place / f"{k}.ended").read_text()
    except FileNotFoundError:
        if not lives:
            return "gone"
        return "running" if (place / f"{k}.log").exists() else "waiting"
    return "cancelled" if status == "cancelled" else "done" if status == "0" else "failed"


def _fits(asked: Resources, here: Machine) -> None:
    for name, there in (("cpus", here.cpus), ("memory_mb", here.memory_mb), ("gpus", here.gpus)):
        if getattr(asked, name) > there:
            raise ConfigError(
                f"a job asks for {getattr(asked, name)} {name}, and this machine has {there}",
                "It would never start.", "Ask for less under resources:, or run it elsewhere with --at.", field=name,
            )  # fmt: skip
