"""A training as it went: what was learned and what was estimated, epoch by epoch."""

from __future__ import annotations

import msgspec

from understudy.core.evidence import Estimate


class Point(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One epoch: the learner's own figures, and estimates of its policy on rows it was not trained on."""

    epoch: int
    updates: int
    figures: dict[str, float]
    estimates: tuple[Estimate, ...] = ()
    truth: float | None = None  # the policy's value, where a simulator knows it
    truth_error: float | None = None  # its standard error, where it is a mean over episodes


class Curves(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All epochs of a training, and which of them became the policy.

    ``chosen_by`` is the estimator whose lower bound chose, "" where nothing could choose and the last epoch stayed.
    The chosen epoch's own estimate is the best of several and so flatters it; only rows kept apart prove it.
    """

    points: tuple[Point, ...]
    chosen: int  # an epoch
    chosen_by: str
    why: str
    slice: str
    baseline: str  # the target that the estimates are compared with
    rewards: str = "discounted return"
