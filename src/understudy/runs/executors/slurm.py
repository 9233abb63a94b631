"""Job arrays of a Slurm cluster. A name is found again by squeue; what has ended, by the files in the array's folder.

jobs/NAME/…            as of any array
jobs/NAME/job.sh       what was given to sbatch
jobs/NAME/layout.json  how many jobs an element of the array does
jobs/NAME/slurm.json   the id Slurm gave it
jobs/NAME/E.out        what element E printed besides its jobs
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from understudy.core.errors import ExecutorError
from understudy.core.jobs import ALIVE, Job, JobState
from understudy.runs.executors.array import Array, array_in
from understudy.runs.executors.element import LAYOUT, Layout, layout_of
from understudy.runs.executors.local import known
from understudy.runs.executors.slurm_ask import ask, asked_again, need_tools
from understudy.runs.executors.slurm_environment import set_up
from understudy.runs.executors.slurm_limits import check_limits
from understudy.runs.executors.slurm_script import Asked, asked_for, script, script_faults

_WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT",
            "SUSPENDED"}  # fmt: skip
_RUNNING = {"RUNNING", "COMPLETING", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED"}


@dataclass(frozen=True)
class Slurm:
    """The settings of a cluster file.

    ``account`` and ``partition``: the cluster's own where empty. ``modules`` are loaded and ``environment`` is
    activated before a job; ``understudy cluster setup`` makes it, with ``python``, of the packages ``install``. One
    element of an array does ``cores`` x ``sequential`` jobs, ``cores`` at a time; ``at_once`` elements run at most (0:
    all there is room for). ``mail``: who is told of the end. ``options``: further lines for sbatch, ``--qos=high``.
    ``every``: seconds between questions to the scheduler, which others ask too.
    """

    folder: Path
    account: str = ""
    partition: str = ""
    modules: tuple[str, ...] = ()
    environment: str = ""
    cores: int = 1
    sequential: int = 1
    at_once: int = 0
    mail: str = ""
    options: tuple[str, ...] = ()
    python: str = "python3"
    install: tuple[str, ...] = ()
    every: float = 10.0
    _heard: dict[str, tuple[float, Mapping[int, str]]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        script_faults(self)

    def check(self, jobs: Sequence[Job]) -> None:
        """Raises: ExecutorError without Slurm; ConfigError for what the partition could never run."""
        need_tools()
        if jobs:
            check_limits(self, self._asked(jobs), script(self, "check", self.folder / "check", self._asked(jobs)))

    def setup(self, *, dry_run: bool = False) -> list[str]:
        """Make the environment that jobs activate, or bring it up to date; a line for each thing done."""
        return set_up(self, dry_run=dry_run)

    def submit(self, name: str, jobs: Sequence[Job], *, after: Sequence[str] = ()) -> None:
        """One array: a name taken starts nothing, and arrays that did not end well let this one be cancelled."""
        need_tools()
        before = {other: self.poll(other) for other in after}
        for other, states in before.items():
            known(states, other)
        array, asked = self._array(name), self._asked(jobs)
        layout = Layout(size=self.cores * self.sequential, cpus=asked.cpus)
        text = script(self, name, array.place.resolve(), asked)
        if not array.take(jobs, {LAYOUT: msgspec.json.encode(layout).decode(), "job.sh": text}):
            return
        ended = {state for states in before.values() for state in states} - ALIVE
        if ended - {"done"}:
            return array.mark_all(range(len(jobs)), "cancelled")
        ids = [self._id(other) for other, states in before.items() if set(states) & ALIVE]
        last = [f"--dependency=afterok:{':'.join(ids)}", "--kill-on-invalid-dep=yes"] if ids else []
        try:
            told = ask(["sbatch", "--parsable", *last, str(array.place / "job.sh")])
        except ExecutorError:
            array.mark_all(range(len(jobs)), "cancelled")
            raise
        array.write("slurm.json", msgspec.json.encode({"id": told.strip().partition(";")[0]}))
        return None

    def poll(self, name: str) -> tuple[JobState, ...]:
        """Ended jobs by their files, the others by what squeue says of their element."""
        array = self._array(name)
        if not array.taken:
            return ()
        if not array.open():
            return array.states(lambda k, begun: "gone")
        heard, size = self._elements(name), layout_of(array).size  # before the files: no end is missed between the two
        young = array.young and not (array.place / "slurm.json").exists()

        def alive(k: int, begun: bool) -> JobState:
            state = heard.get(k // size, "")
            if state in _RUNNING:
                return "running" if begun else "waiting"
            if state in _WAITING or (young and not state):
                return "waiting"
            dropped = state == "CANCELLED" and not (array.place / f"{k // size}.out").exists()
            return "cancelled" if array.cancelled or dropped else "gone"

        return array.states(alive)

    def cancel(self, name: str) -> None:
        """scancel: what runs is told to end, what waits is dropped."""
        array = self._array(name)
        if not array.taken or not array.open():
            return
        array.cancel()
        ask(["scancel", "--me", f"--name={name}"])
        self._heard.pop(name, None)

    def log(self, name: str, job: int) -> str:
        """What a job has printed so far, or else its element, which may not have come as far as the job."""
        array = self._array(name)
        said = array.log(job)
        if said or not array.taken:
            return said
        path = array.place / f"{job // layout_of(array).size}.out"
        return path.read_text(errors="replace") if path.exists() else ""

    def _array(self, name: str) -> Array:
        return array_in(self.folder, name)

    def _asked(self, jobs: Sequence[Job]) -> Asked:
        return asked_for([job.resources for job in jobs], self.cores, self.sequential)

    def _elements(self, name: str) -> Mapping[int, str]:
        """Element → what Slurm calls its state; it forgets those that ended some minutes ago."""
        at, known = self._heard.get(name, (-math.inf, {}))
        if time.monotonic() - at >= self.every:
            line = ["squeue", "--noheader", "--array", "--me", f"--name={name}", "--states=all", "--format=%K|%T"]
            pairs = [text.split("|") for text in asked_again(line).split()]
            known = {int(element): state for element, state in pairs if element.isdigit()}
            self._heard[name] = (time.monotonic(), known)
        return known

    def _id(self, name: str) -> str:
        """The number Slurm gave an array that waits or runs."""
        found = asked_again(["squeue", "--noheader", "--array", "--me", f"--name={name}", "--format=%F"]).split()
        if not found:
            raise ExecutorError(f"{name} has ended just now, or has not been taken by Slurm yet", hint="Try again.")
        return found[0]
