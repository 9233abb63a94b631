"""The border types: what a log is made of. Strict, append-only, one JSON object per line."""

from __future__ import annotations

import msgspec

Scalar = float | int | bool | str | None


class Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who, when, what was known, what was allowed, what was done, with what probability.

    Args:
        decision_id: unique; an Outcome refers to it.
        time: seconds since 1970 UTC, or ISO 8601 text.
        context: feature name → value.
        action: name (or index) of a discrete action, or a list of floats.
        propensity: probability (density) of ``action`` at that moment; None if the log has none.
        propensities: probability of every action, in the problem's order; sums to 1.
        allowed: names of the actions that could have been taken; None is all.
        episode_id, t: place in a sequence; absent in a bandit.
        unit_id: who is independent of whom (user, store); absent if every decision is.
        policy_id: which policy chose.
    """

    decision_id: str
    time: float | str
    context: dict[str, Scalar]
    action: str | int | list[float]
    propensity: float | None = None
    propensities: list[float] | None = None
    allowed: list[str] | None = None
    episode_id: str | None = None
    t: int = 0
    unit_id: str | None = None
    policy_id: str | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something measured after a decision. May be late, may come twice; never edits a Decision.

    ``outcome_id`` makes a re-sent outcome countable once; without it (decision_id, name, time, value) does.
    """

    decision_id: str
    time: float | str
    value: float
    name: str = "reward"
    outcome_id: str | None = None
