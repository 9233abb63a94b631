"""Rewards and activations as they are written down: checked, named so that a repeated one is known."""

from __future__ import annotations

import math

import msgspec

from understudy.core.errors import DataError
from understudy.core.events import Outcome
from understudy.core.problem import Problem
from understudy.core.service import ActivateRequest, RewardRequest
from understudy.data.eventlog import Record

_encode = msgspec.json.Encoder().encode


class Activation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A deferred decision was carried out."""

    decision_id: str
    time: float | str


def outcome_record(request: RewardRequest, problem: Problem, now: float) -> Record:
    """An Outcome, to be written down.

    Without an outcome_id of the caller's the value names it, so that a retry counts once, whichever worker takes it
    and whenever. The decision need not be known: a reward may arrive before it, through another worker.

    Raises: DataError if the value is not finite, outside the problem's range, or of no outcome it has.
    """
    value, name = request.value + 0.0, request.name  # -0.0 is 0.0
    if not math.isfinite(value):
        raise DataError(f"value={value} is not a finite number", field="value")
    if name not in problem.outcome_names:
        known = ", ".join(problem.outcome_names)
        raise DataError(f"name={name[:80]!r} is not an outcome of the problem", hint=f"It has: {known}", field="name")
    low, high = problem.reward_range
    if name == problem.reward and not low <= value <= high and bounded(problem):
        raise DataError(
            f"value={value:g} lies outside the problem's reward_range [{low:g}, {high:g}]",
            "The gate's proof scales by it.",
            field="value",
        )
    own = request.outcome_id or f"={value!r}"
    time = now if request.time is None else request.time
    body = Outcome(decision_id=request.decision_id, time=time, value=value, name=name, outcome_id=own)
    return Record("outcome", f"{request.decision_id}/{own}/{name}", _encode(body))


def activation_record(request: ActivateRequest, now: float) -> Record:
    """An activation, to be written down; the first one counts."""
    time = now if request.time is None else request.time
    return Record("activation", request.decision_id, _encode(Activation(decision_id=request.decision_id, time=time)))


def bounded(problem: Problem) -> bool:
    """Whether a single arrival must lie in the reward's range; of a sum only the total must."""
    return next(spec.aggregate for spec in problem.outcomes if spec.name == problem.reward) != "sum"
