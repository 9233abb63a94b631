"""What the tests of the loop share: small settings, a real service in this process, and what a ledger says."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from understudy.data.home import Home
from understudy.data.journal import Journal
from understudy.data.ledger import Ledger
from understudy.data.traffic import Traffic
from understudy.runs.loop import run_loop
from understudy.runs.loop_settings import LoopSettings, problem_of, settings
from understudy.serve.local import LocalService


def small(**changes: Any) -> LoopSettings:
    """Three turns of 150 decisions on digits: seconds."""
    given = {"client": {"env": "digits", "batch": 50}, "loops": 3, "size": 150, "experiment": "small"}
    return settings(given | changes)


def serving(home: Path, told: LoopSettings) -> LocalService:
    """A service that notices a change of who acts at once."""
    return LocalService(home, told.alias, problem=problem_of(told), client_times=True, poll=0.05)


def said(home: Path, told: LoopSettings) -> dict[str, Any]:
    """All that the ledger says of an experiment, but for times and for looks that a killed process left open."""
    place = Home(home)
    ledger, journal = place.ledger, Journal(place.ledger)
    return {
        "jobs": sorted((j.workflow, j.job, j.state, _still(j.body)) for j in journal.jobs(told.id)),
        "promotions": [(p.version, p.policy, p.kind, p.reason) for p in ledger.history(told.alias)],
        "traffic": [(d.version, d.mode, d.candidate, d.share) for d in Traffic(ledger).history(told.alias)],
        "verdicts": [
            (x.k, x.candidate, x.incumbent, x.dataset, x.outcome) for x in ledger.looks(told.alias) if x.outcome
        ],
        "artifacts": sorted(m.id for kind in ("log", "dataset", "policy") for m in ledger.made(kind)),
    }


def _still(body: dict[str, Any]) -> str:
    """A job's body without the numbers of looks, which count the open ones too."""
    return repr(sorted((key, value) for key, value in body.items() if key != "look"))


def killed_at(home: Path, told: LoopSettings, at: int, *, after: bool) -> int:
    """Run the loop in a forked child that kills itself at its ``at``-th commit to the ledger; its exit code.

    0 kills nobody. ``after`` kills once the commit is on the disk, else before it is made.
    """

    def run() -> None:
        with serving(home, told) as service:
            run_loop(told, home=home, service=service)

    return killed(run, at, after=after)


def killed(run: Callable[[], object], at: int, *, after: bool) -> int:
    """The same of anything else that writes to a ledger."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 70
    try:
        _kill_at(at, after)
        run()
        code = 0
    finally:
        os._exit(code)


def _kill_at(at: int, after: bool) -> None:
    count, write = itertools.count(1), Ledger.write

    def deadly(self: Ledger, work: Callable[[Any], Any]) -> Any:
        now = threading.current_thread() is threading.main_thread() and next(count) == at
        if now and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        made = write(self, work)
        if now:
            os.kill(os.getpid(), signal.SIGKILL)
        return made

    Ledger.write = deadly  # type: ignore[method-assign]
