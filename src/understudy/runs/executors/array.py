"""The folder of an array of jobs, jobs/NAME/: its command lines, and what became of each.

jobs.json    the command lines; a name is taken by whoever puts the folder there, whole, first
K.log        what job K has printed; it is there since K was first started
K.done       K ended well. K.failed: it did not. K.cancelled: it was ended, or never began. K.killed: somebody killed
             it, and it is gone. Each says when.
cancel       somebody wants it ended
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import uuid4

import msgspec

from understudy.core.errors import ConfigError
from understudy.core.jobs import Job, JobState, Resources

Ended = Literal["done", "failed", "cancelled", "killed"]
ENDED: dict[Ended, JobState] = {"done": "done", "failed": "failed", "cancelled": "cancelled", "killed": "gone"}
CANCEL = "cancel"
YOUNG = 60.0  # seconds in which whoever took a name may be about to start its jobs
_JOBS = "jobs.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Array:
    """An array of jobs by its folder. Every file is written whole, once; so any process may read them at any time."""

    place: Path

    def take(self, jobs: Sequence[Job], files: Mapping[str, str] | None = None) -> bool:
        """Give the name to these jobs, with ``files`` beside them. Returns: False if it is taken, and nothing is done.

        The folder is filled elsewhere and then renamed, which a folder that holds anything refuses.
        """
        scratch = self.place.with_name(f".{self.place.name}.{uuid4().hex}")
        scratch.mkdir(parents=True)
        (scratch / _JOBS).write_bytes(msgspec.json.encode([[job.argv, job.resources] for job in jobs]))
        for name, text in (files or {}).items():
            (scratch / name).write_text(text)
        try:
            os.rename(scratch, self.place)
        except OSError:
            shutil.rmtree(scratch)
            if self.taken:
                return False
            raise
        return True

    @property
    def taken(self) -> bool:
        """Whether there is such an array."""
        return (self.place / _JOBS).exists()

    @property
    def young(self) -> bool:
        """Whether its name was taken only just now."""
        return time.time() - (self.place / _JOBS).stat().st_mtime < YOUNG

    @property
    def cancelled(self) -> bool:
        """Whether somebody wants it ended."""
        return (self.place / CANCEL).exists()

    def jobs(self) -> list[Job]:
        """Its jobs, in order."""
        kept = msgspec.json.decode((self.place / _JOBS).read_bytes(), type=list[tuple[tuple[str, ...], Resources]])
        return [Job(argv, resources) for argv, resources in kept]

    def states(self, alive: Callable[[int, bool], JobState]) -> tuple[JobState, ...]:
        """The state of each job: by its file once it has ended, else ``alive(number, whether it was started)``."""
        if not self.taken:
            return ()
        names = {entry.name for entry in os.scandir(self.place)}
        return tuple(_ended(k, names) or alive(k, f"{k}.log" in names) for k in range(len(self.jobs())))

    def open(self) -> list[int]:
        """Numbers of the jobs that have not ended."""
        names = {entry.name for entry in os.scandir(self.place)}
        return [k for k in range(len(self.jobs())) if not _ended(k, names)]

    def mark(self, k: int, state: Ended, started: float | None = None, status: int | None = None) -> None:
        """Write down that a job has ended, and when."""
        told = {"started": started, "ended": time.time(), "status": status}
        self.write(f"{k}.{state}", msgspec.json.encode(told))

    def mark_all(self, ks: Collection[int], state: Ended) -> None:
        """Write down that these have ended."""
        for k in ks:
            self.mark(k, state)

    def spans(self) -> list[tuple[float, float]]:
        """When each job that was started and has ended did so, in seconds since 1970."""
        found = [msgspec.json.decode(path.read_bytes()) for end in ENDED for path in self.place.glob(f"*.{end}")]
        return [(told["started"], told["ended"]) for told in found if told["started"]]

    def log(self, k: int) -> str:
        """What a job has printed so far."""
        path = self.place / f"{k}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def cancel(self) -> None:
        """Say that it is to end."""
        self.write(CANCEL, b"")

    def write(self, name: str, body: bytes) -> None:
        """A file, whole before it has its name."""
        partial = self.place / f".{name}.{uuid4().hex}"
        partial.write_bytes(body)
        os.replace(partial, self.place / name)


def array_in(folder: Path, name: str) -> Array:
    """The array of that name, which becomes a folder and a word in scripts. Raises: ConfigError if it cannot."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot be the name of an array of jobs", field="name")
    return Array(folder / name)


def _ended(k: int, names: Collection[str]) -> JobState | None:
    return next((state for end, state in ENDED.items() if f"{k}.{end}" in names), None)
