"""Jobs one after the other, as children of this process; ``submit`` returns when they have ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from understudy.core.jobs import Job, JobState
from understudy.runs.executors.local import Local


@dataclass(frozen=True)
class Inline:
    """The plainest executor: nothing runs when it is not looking."""

    folder: Path

    def check(self, jobs: Sequence[Job]) -> None:
        """Nothing is refused."""

    def submit(self, name: str, jobs: Sequence[Job], *, after: Sequence[str] = ()) -> None:
        """Run the jobs, here and now."""
        pool = Local(self.folder, workers=1)
        if not pool.poll(name):
            pool.write(name, jobs)
            pool.run(name)

    def poll(self, name: str) -> tuple[JobState, ...]:
        """As the folder has it."""
        return Local(self.folder).poll(name)

    def cancel(self, name: str) -> None:
        """End what another process runs."""
        Local(self.folder).cancel(name)

    def log(self, name: str, job: int) -> str:
        """What a job has printed so far."""
        return Local(self.folder).log(name, job)
