"""The process that starts, watches and ends jobs on one machine; ``python -m …pool FOLDER NAME WORKERS [AFTER …]``."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.core.jobs import Job, Resources
from understudy.runs.executors.array import Array
from understudy.runs.executors.machine import Machine, kind

TICK = 0.05  # seconds between looks at the children
MINUTE = 60.0  # seconds
GRACE = 5.0  # seconds from SIGTERM to SIGKILL
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass
class Child:
    """A job that runs."""

    process: subprocess.Popen[bytes]
    asked: Resources
    stopped: bool = False
    started: float = field(default_factory=time.time)

    @property
    def late(self) -> bool:
        """Whether it has used up its minutes."""
        return time.time() - self.started > MINUTE * self.asked.minutes


class Pool:
    """Runs jobs of an array, as many at a time as there is room for.

    ``stop`` is asked at every look whether to end early. ``signal`` says what did: its children were ended too then,
    and their jobs are open, to be begun again; or cancelled, if the array was to be.
    """

    def __init__(self, array: Array, room: Machine, stop: Callable[[], bool] = lambda: False) -> None:
        self.array, self.room, self.stop = array, room, stop
        self.running: dict[int, Child] = {}
        self.signal, self.ended, self.failed = 0, 0, 0

    def run(self, chosen: Collection[int], ready: Callable[[], bool] = lambda: True) -> bool:
        """Run those of these jobs that have not ended, once ``ready``. Returns: whether no job failed or was ended."""
        jobs, undone = self.array.jobs(), set(self.array.open())
        waiting = [k for k in chosen if k in undone]
        with self._listening():
            while not (self.signal or ready()):
                self._pause()
            if self.array.cancelled:
                self.signal = self.signal or signal.SIGTERM
            while (waiting or self.running) and not self.signal:
                self._reap()
                while waiting and self._fits(jobs[waiting[0]].resources):
                    k = waiting.pop(0)
                    self._start(k, jobs[k])
                if self.running:
                    self._pause()
            if self.signal:
                self._end_all()
                if self.array.cancelled:
                    self.array.mark_all([k for k in self.array.open() if k in set(chosen)], "cancelled")
        return not (self.failed or self.signal)

    def _pause(self) -> None:
        time.sleep(TICK)
        if self.stop():
            self.signal = self.signal or signal.SIGTERM

    def _fits(self, asked: Resources) -> bool:
        """Whether there is room; what asks for more than there is at all gets all there is."""
        for name in ("cpus", "memory_mb", "gpus"):
            whole = getattr(self.room, name)
            used = sum(min(getattr(child.asked, name), whole) for child in self.running.values())
            if used + min(getattr(asked, name), whole) > whole:
                return False
        return True

    def _start(self, k: int, job: Job) -> None:
        env = surroundings(job.resources, self.array.place.parent.parent)
        with (self.array.place / f"{k}.log").open("ab") as log:
            try:
                child = subprocess.Popen(
                    command(job.argv), stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env, process_group=0
                )
            except OSError as error:
                log.write(f"{job.argv[0]}: {error.strerror}\n".encode())
                self.failed += 1
                return self.array.mark(k, "failed", time.time(), 127)
        self.running[k] = Child(child, job.resources)
        return None

    def _reap(self) -> None:
        for k, child in list(self.running.items()):
            if child.process.poll() is not None:
                self._note(k, child)
                del self.running[k]
            elif child.late:
                child.stopped = True
                _signal(child.process, signal.SIGKILL)

    def _note(self, k: int, child: Child) -> None:
        status = child.process.returncode
        self.ended += 1
        self.failed += status != 0
        killed = status < 0 and not child.stopped
        self.array.mark(k, "killed" if killed else "failed" if status else "done", child.started, status)

    def _end_all(self) -> None:
        for child in self.running.values():
            _signal(child.process, signal.SIGTERM)
        until = time.monotonic() + GRACE
        for k, child in self.running.items():
            with suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, until - time.monotonic()))
            _signal(child.process, signal.SIGKILL)
            if child.process.wait() == 0:  # it was about to end anyway
                self._note(k, child)

    @contextmanager
    def _listening(self) -> Any:
        before = {number: signal.signal(number, self._heard) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _heard(self, number: int, _: Any) -> None:
        self.signal = self.signal or number


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    """To the child and whatever it has started: it leads a group of its own."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def command(argv: Sequence[str]) -> list[str]:
    """The command line with our own script where ``understudy`` is meant: the one beside this interpreter."""
    own = Path(sys.executable).with_name(argv[0])
    return [str(own) if argv[0] == "understudy" and own.exists() else argv[0], *argv[1:]]


def surroundings(resources: Resources, study: Path, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a job of a study: one thread per core it asked for, since more only stand in each other's way,

    and one folder for what is compiled, shared by all runs on machines of one kind; a variable that is set stays.
    """
    given = os.environ if given is None else given
    like = hashlib.sha256(kind().encode()).hexdigest()[:12]
    cache = {"JAX_COMPILATION_CACHE_DIR": str(study / ".cache" / f"jax-{like}")}
    return {**cache, **given, **dict.fromkeys(_THREADS, str(resources.cpus))}


def main(folder: str, name: str, workers: str, *after: str) -> int:
    """Wait for other arrays, then run this one."""
    from understudy.runs.executors.local import Local

    return Local(Path(folder), int(workers)).run(name, after)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
