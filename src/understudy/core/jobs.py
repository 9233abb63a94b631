"""Work for elsewhere: a job is a command line and what it needs; an executor runs an array of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import msgspec

from understudy.core.errors import ConfigError

# failed: it said so itself, or took too long. gone: it was killed, or the executor no longer knows it; whether its work
# was done is known by the results alone
JobState = Literal["waiting", "running", "done", "failed", "cancelled", "gone"]
ALIVE: frozenset[JobState] = frozenset({"waiting", "running"})


class Resources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one job may use: cores, megabytes of memory, accelerators, and minutes until it is ended."""

    cpus: int = 1
    memory_mb: int = 2_000
    gpus: int = 0
    minutes: int = 60

    def __post_init__(self) -> None:
        for name, least in (("cpus", 1), ("memory_mb", 1), ("gpus", 0), ("minutes", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}; got {getattr(self, name)}", field=name)


@dataclass(frozen=True)
class Job:
    """One command line. It must be safe to run twice: whoever finishes first leaves the result."""

    argv: tuple[str, ...]
    resources: Resources = field(default_factory=Resources)


@runtime_checkable
class Executor(Protocol):
    """Runs arrays of jobs. An array has a name, chosen by who submits it, and its jobs are numbered from 0.

    The name is how everything is found again, also by another process after a crash: the executor keeps no state but
    what its scheduler or its folder holds.
    """

    def check(self, jobs: Sequence[Job]) -> None:
        """Raise ConfigError or ExecutorError for what would be refused or could never run; submits nothing."""
        ...

    def submit(self, name: str, jobs: Sequence[Job], *, after: Sequence[str] = ()) -> None:
        """Start the array ``name`` when the arrays ``after`` have ended well; a name already taken starts nothing."""
        ...

    def poll(self, name: str) -> tuple[JobState, ...]:
        """The state of each job of the array; () if there was never such an array."""
        ...

    def cancel(self, name: str) -> None:
        """End what runs and drop what waits. Ended jobs stay as they are."""
        ...

    def log(self, name: str, job: int) -> str:
        """What a job has printed so far."""
        ...
