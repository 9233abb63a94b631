"""What every executor must keep: ``for check in EXECUTOR_CHECKS: check(Ground("local", folder))``.

Arrays are submitted by another process, which may end before their jobs do: whoever asks later has only the name.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from understudy.core.errors import UnderstudyError
from understudy.core.jobs import ALIVE, Executor, Job, JobState, Resources
from understudy.core.registry import find

SMALL = Resources(memory_mb=100, minutes=2)
LOOK = 0.1  # seconds between looks
_SUBMIT = """\
import sys, msgspec
from pathlib import Path
from understudy.core.jobs import Job, Resources
from understudy.core.registry import find
executor, folder, settings, name, jobs, after = sys.argv[1:]
jobs = [Job(*each) for each in msgspec.json.decode(jobs, type=list[tuple[tuple[str, ...], Resources]])]
made = find("executors", executor)(folder=Path(folder), **msgspec.json.decode(settings))
made.submit(name, jobs, after=msgspec.json.decode(after))
"""


@dataclass
class Ground:
    """An executor to be checked, by its name and settings, in a folder of its own.

    ``turn`` is called between looks, for a scheduler that only moves when it is told to. ``patience``: seconds in which
    small jobs must have ended.
    """

    executor: str
    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    turn: Callable[[], None] = lambda: None
    patience: float = 60.0
    submitters: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def fresh(self) -> Executor:
        """The executor, as a process would make it that knows of nothing."""
        settings = {key: tuple(v) if isinstance(v, list) else v for key, v in self.settings.items()}
        return find("executors", self.executor)(folder=self.folder, **settings)

    def submit(self, name: str, *commands: str, after: Sequence[str] = ()) -> None:
        """Another process submits lines of the shell, each a job, and may be about it yet when this returns."""
        self.start(name, [Job(("sh", "-c", each), SMALL) for each in commands], after)
        self.until(lambda: len(self.fresh.poll(name)) == len(commands), f"{name} is known")

    def start(self, name: str, jobs: Sequence[Job], after: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Another process submits these."""
        values = (dict(self.settings), name, [(job.argv, job.resources) for job in jobs], list(after))
        texts = [each if isinstance(each, str) else msgspec.json.encode(each).decode() for each in values]
        line = [sys.executable, "-c", _SUBMIT, self.executor, str(self.folder), *texts]
        self.submitters.append(subprocess.Popen(line))
        return self.submitters[-1]

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until it holds; AssertionError when patience is at an end."""
        end = time.monotonic() + self.patience
        while not holds():
            assert time.monotonic() < end, f"{self.patience:.0f} s have passed, and it is not so: {what}"
            self.turn()
            time.sleep(LOOK)

    def ended(self, name: str) -> tuple[JobState, ...]:
        """The states of an array once none of its jobs waits or runs."""
        self.until(lambda: not ALIVE & set(self.fresh.poll(name)), f"{name} has ended")
        return self.fresh.poll(name)

    def close(self) -> None:
        """Wait for the processes that submitted."""
        for process in self.submitters:
            process.wait(self.patience)


def check_ends_and_logs(ground: Ground) -> None:
    """Well, badly, or never begun: each job by itself; what it printed is kept, and more runs beside it."""
    assert ground.fresh.poll("nobody") == ()
    ground.submit("ends", "echo hello; echo again >&2", "echo bad; exit 3", "exec no-such-program")
    assert ground.ended("ends") == ("done", "failed", "failed")
    assert ground.fresh.log("ends", 0).split() == ["hello", "again"]
    assert "bad" in ground.fresh.log("ends", 1)


def check_threads_are_those_asked_for(ground: Ground) -> None:
    """One thread per core of a job, said in the variables that libraries read."""
    ground.submit("threads", "echo $OMP_NUM_THREADS $OPENBLAS_NUM_THREADS $MKL_NUM_THREADS")
    assert ground.ended("threads") == ("done",)
    assert ground.fresh.log("threads", 0).split() == ["1", "1", "1"]


def check_a_name_is_taken_once(ground: Ground) -> None:
    """Two processes that submit at one moment, and one that comes later, start the jobs once."""
    tally = ground.folder.parent / "tally"
    jobs = [Job(("sh", "-c", f"echo {k} >> '{tally}'"), SMALL) for k in range(2)]
    for process in [ground.start("once", jobs), ground.start("once", jobs)]:
        ground.until(lambda p=process: p.poll() is not None, "both have submitted")
        assert process.returncode == 0, "a name already taken is no fault"
    assert ground.ended("once") == ("done", "done")
    ground.fresh.submit("once", jobs)
    assert ground.ended("once") == ("done", "done")
    assert sorted(tally.read_text().split()) == ["0", "1"]


def check_waits_for_others(ground: Ground) -> None:
    """An array begins when those it waits for have ended, and never if one of them did not end well."""
    tally = ground.folder.parent / "order"
    ground.submit("first", f"sleep 1; echo first >> '{tally}'")
    ground.submit("second", f"echo second >> '{tally}'", after=["first"])
    assert ground.ended("second") == ("done",)
    assert tally.read_text().split() == ["first", "second"]
    ground.submit("bad", "sleep 1; exit 1")
    ground.submit("orphan", f"echo orphan >> '{tally}'", after=["bad"])
    assert set(ground.ended("orphan")) <= {"cancelled", "gone"}
    assert tally.read_text().split() == ["first", "second"]
    try:
        ground.fresh.submit("lost", [Job(("true",), SMALL)], after=["nobody"])
    except UnderstudyError:
        assert ground.fresh.poll("lost") == ()
    else:
        raise AssertionError("what waits for an array that never was can never begin")


def check_a_killed_job_is_not_done(ground: Ground) -> None:
    """SIGKILL: the job has not ended well, the one beside it has."""
    told = ground.folder.parent / "pid"
    ground.submit("killed", f"echo $$ > '{told}'; exec sleep 300", "echo fine")
    ground.until(lambda: told.exists() and bool(told.read_text().strip()), "it runs")
    assert ground.fresh.poll("killed")[0] == "running"
    os.kill(int(told.read_text()), signal.SIGKILL)
    state, beside = ground.ended("killed")
    assert state in ("failed", "gone")
    assert beside == "done"


def check_cancel(ground: Ground) -> None:
    """What runs is ended, its processes too; what waits is dropped; what is done stays done."""
    told = ground.folder.parent / "lives"
    sleeps = [f"echo $$ >> '{told}'; sleep 300"] * 4
    ground.submit("over", "echo fine", *sleeps)
    ground.until(lambda: ground.fresh.poll("over")[0] == "done" and told.exists(), "one is done, others run")
    ground.fresh.cancel("over")
    first, *others = ground.ended("over")
    assert first == "done"
    assert set(others) <= {"cancelled", "gone"}
    assert "cancelled" in others
    pids = [int(text) for text in told.read_text().split()]
    ground.until(lambda: not any(map(_lives, pids)), "its processes have ended")
    ground.fresh.cancel("over")
    ground.fresh.cancel("nobody")
    assert ground.fresh.poll("over")[0] == "done"


def check_what_could_never_run_is_refused(ground: Ground) -> None:
    """Before anything is submitted, with the field at fault."""
    ground.fresh.check([Job(("true",), SMALL)])
    for needs, field_at_fault in ((Resources(cpus=4096), "cpus"), (Resources(memory_mb=10**9), "memory_mb")):
        try:
            ground.fresh.check([Job(("true",), needs)])
        except UnderstudyError as error:
            assert error.field == field_at_fault, error
        else:
            raise AssertionError(f"{needs} can run nowhere")


def _lives(pid: int) -> bool:
    """Whether it runs; one that was ended and is not yet waited for does not."""
    told = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return told not in ("", "Z")


EXECUTOR_CHECKS = (
    check_ends_and_logs,
    check_threads_are_those_asked_for,
    check_a_name_is_taken_once,
    check_waits_for_others,
    check_a_killed_job_is_not_done,
    check_cancel,
    check_what_could_never_run_is_refused,
)
