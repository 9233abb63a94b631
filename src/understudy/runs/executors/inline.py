"""Jobs one after the other, as children of this process; ``submit`` returns when they have ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from understudy.core.jobs import Job, JobState
from understudy.runs.executors.array import array_in
from understudy.runs.executors.local import Local, known


@dataclass(frozen=True)
class Inline:
    """The plainest executor: nothing runs when it is not looking."""

    folder: Path

    def check(self, jobs: Sequence[Job]) -> None:
        """Raises: ConfigError for a job that this machine could never run."""
        Local(self.folder).check(jobs)

    def submit(self, name: str, jobs: Sequence[Job], *, after: Sequence[str] = ()) -> None:
        """Run the jobs, here and now. Raises: KeyboardInterrupt when interrupted, with what ran ended."""
        for other in after:
            known(self.poll(other), other)
        if array_in(self.folder, name).take(jobs):
            Local(self.folder, workers=1).run(name, after)

    def poll(self, name: str) -> tuple[JobState, ...]:
        """As the folder has it."""
        return Local(self.folder).poll(name)

    def cancel(self, name: str) -> None:
        """End what another process runs."""
        Local(self.folder).cancel(name)

    def log(self, name: str, job: int) -> str:
        """What a job has printed so far."""
        return Local(self.folder).log(name, job)
