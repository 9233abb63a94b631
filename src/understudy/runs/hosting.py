"""Who acts, changed for an experiment: go live, try on a share of the traffic, go back; and wait until it is so."""

from __future__ import annotations

import time as clock
from typing import Any

import msgspec

from understudy.core.errors import EvidenceError, ExecutorError
from understudy.core.service import Service
from understudy.data.artifact import read_manifest
from understudy.data.home import LOGGED, now
from understudy.data.journal import Change
from understudy.data.ledger import Promotion
from understudy.data.traffic import Direction, Traffic
from understudy.runs import prove
from understudy.runs.course import Course, Step

PATIENCE = 30.0  # seconds a service may take to notice; it polls the ledger several times a second


def install(course: Course, policy: str, reason: str, service: Service | None) -> Change:
    """Name the first policy of an alias that has nobody; where somebody is live already, he stays."""

    def act(body: dict[str, Any]) -> dict[str, Any]:
        live = course.home.ledger.current(course.alias)
        if live is None:
            live = course.home.ledger.install(course.alias, policy, time=now(), reason=reason)
        return _hosted(course, live, service)

    return course.work("hosting", Step("start", 0, "first"), lambda: {"policy": policy}, act)


def promote(course: Course, step: Step, policy: str, service: Service | None) -> Change:
    """Make a candidate live: by its verdict; with the gate off by an override that the history shows.

    Where somebody else went live after the verdict, it says nothing about him: the candidate is dropped, with that
    reason, and the loop goes on.
    """
    ledger, alias = course.home.ledger, course.alias
    beaten = _proven(course, step, policy)

    def inputs() -> dict[str, Any]:
        live = ledger.current(alias)
        before = live.policy if live else LOGGED
        return {"policy": policy, "before": before, "watched": _worth_watching(course, before)}

    def act(body: dict[str, Any]) -> dict[str, Any]:
        live = ledger.current(alias)
        if live is None or live.policy != policy:
            if beaten is not None and live is not None and live.policy != beaten:
                return _superseded(course, live, beaten, service)
            if beaten is None:
                live = ledger.override(alias, policy, time=now(), reason="gate off")
            else:
                prove.promote(course.home.kept(policy), alias=alias, home=course.home.folder)
                live = ledger.current(alias)
        if body["watched"]:
            reason = f"experiment {course.id}: the previous policy keeps a share while the new one is watched"
            share = course.settings.guardrail.share
            direct(course, Direction(alias=alias, mode="canary", candidate=body["before"], share=share, reason=reason))
        assert live is not None
        return _hosted(course, live, service)

    return course.work("hosting", step, inputs, act)


def _proven(course: Course, step: Step, policy: str) -> str | None:
    """Whom the candidate was proven against; None with the gate off. Raises: EvidenceError without a ``ship``."""
    if course.settings.gate == "off":
        return None
    judged = course.done("evaluation", step.turn)
    if judged is None or judged.body["outcome"] != "ship":
        outcome = "nobody judged it" if judged is None else f"the verdict is {judged.body['outcome']!r}"
        raise EvidenceError(
            f"{policy} may not be promoted to {course.alias!r}: {outcome}",
            "Only a proof against the policy it replaces shows that it is better.",
            f"Go on with the next candidate: understudy train --experiment {course.id}",
            field=policy,
        )
    return judged.body["incumbent"]


def _superseded(course: Course, live: Promotion, beaten: str, service: Service | None) -> dict[str, Any]:
    reason = f"proven against {beaten}, but {live.policy} is live since: {live.kind}, {live.reason!r}"
    direct(course, Direction(alias=course.alias, reason=reason))
    return _hosted(course, live, service) | {"superseded": reason, "watched": False}


def _worth_watching(course: Course, before: str) -> bool:
    """Whether the previous policy keeps a share; the uniform one does not: exploration is a share of it already."""
    s = course.settings
    if s.gate == "off" or s.design != "prospective" or not (s.guardrail.on and s.guardrail.share) or before == LOGGED:
        return False
    return read_manifest(course.home.kept(before)).config.get("learner") != "uniform"


def try_out(course: Course, turn: int, policy: str, service: Service | None) -> Change:
    """Put a candidate on the canary's share of the traffic."""
    share = course.settings.canary

    def act(body: dict[str, Any]) -> dict[str, Any]:
        reason = f"experiment {course.id}, turn {turn}: a candidate on trial"
        direct(course, Direction(alias=course.alias, mode="canary", candidate=policy, share=share, reason=reason))
        return _hosted(course, course.home.ledger.current(course.alias), service)

    return course.work("hosting", Step("train", turn, "canary"), lambda: {"policy": policy, "share": share}, act)


def roll_back(course: Course, turn: int, reason: str, service: Service | None) -> Change:
    """Put back who was live before, and end every trial: what is known about the trial rests on who was live."""
    ledger, alias = course.home.ledger, course.alias

    def inputs() -> dict[str, Any]:
        live = ledger.current(alias)
        assert live is not None
        return {"policy": live.policy, "version": live.version, "why": reason}

    def act(body: dict[str, Any]) -> dict[str, Any]:
        live = ledger.current(alias)
        if live is not None and live.version == body["version"]:
            live = ledger.rollback(alias, reason=body["why"], time=now())
        direct(course, Direction(alias=alias, reason=body["why"]))
        return _hosted(course, live, service)

    return course.work("hosting", Step("join", turn, "rollback"), inputs, act)


def finish_rollback(course: Course, service: Service | None) -> None:
    """Finish a rollback that a killed process left half done: once it stands in the ledger nobody asks for it again."""
    for job in course.jobs:
        if job.workflow == "hosting" and job.in_flight and job.body["role"] == "rollback":
            roll_back(course, job.body["turn"], job.body["why"], service)


def direct(course: Course, wanted: Direction) -> Direction:
    """Direct the traffic; what is so already is not said again."""
    traffic = Traffic(course.home.ledger)
    known = traffic.current(wanted.alias)
    if (known.mode, known.candidate, known.share) == (wanted.mode, wanted.candidate, wanted.share):
        return known
    return traffic.direct(msgspec.structs.replace(wanted, time=now()))


def _hosted(course: Course, live: Promotion | None, service: Service | None) -> dict[str, Any]:
    """What the ledger says now; and, where there is a service to ask, that it says so too."""
    version = [live.version if live else 0, Traffic(course.home.ledger).current(course.alias).version]
    if service is not None:
        _await(service, version)
    return {"live": live.policy if live else None, "version": version}


def _await(service: Service, version: list[int]) -> None:
    """Until the service itself says that it acts by this version, or a later one: what is ordered is not yet so."""
    deadline = clock.monotonic() + PATIENCE
    while True:
        seen = list(service.status()["version"])
        if all(a >= b for a, b in zip(seen, version)):
            return
        if clock.monotonic() > deadline:
            raise ExecutorError(
                f"the service still acts by version {seen} after {PATIENCE:g} s; ordered was {version}",
                "The next turn's decisions would be another policy's.",
                "Look at the service's health and log, then run the same step again.",
            )
        clock.sleep(0.01)
