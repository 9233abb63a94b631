"""What the tests of the loop share: small settings, a real service in this process, and what a ledger says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from understudy.data.home import Home
from understudy.data.journal import Journal
from understudy.data.traffic import Traffic
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
