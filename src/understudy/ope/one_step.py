"""What the one-step estimators share: reading evidence of one-step episodes, and refusing anything longer."""

from __future__ import annotations

import numpy as np

from understudy.core.errors import ConfigError, EvidenceError
from understudy.core.evidence import Evidence


def weighted(e: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """(ρ f64[n], r f64[n]) of one-step episodes."""
    _require_one_step(e)
    return e.ratio, e.steps.reward


def modelled(e: Evidence) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(ρ, v̂ = Σ_a π(a|x) q̂(x, a), r − q̂(x, a)), each f64[n], of one-step episodes."""
    _require_one_step(e)
    if e.q is None or e.v is None:
        raise EvidenceError(
            "this estimator needs a reward model, and the evidence has none",
            hint='Give q: the name of a regressor ("ridge"), a Regressor, or a fitted ValueModel.',
            field="q",
        )
    return e.ratio, e.v, e.steps.reward - e.q


def matches(e: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """(1(the logged action is a most probable one of the target) f64[n], r f64[n]) of one-step episodes."""
    _require_one_step(e)
    if e.match is None:
        raise EvidenceError(
            "this estimator needs to know where log and target agree, and the evidence does not say",
            "A target without probs(context) has no most probable action.",
            field="match",
        )
    return e.match.astype(np.float64), e.steps.reward


def column(terms: np.ndarray) -> np.ndarray:
    """One term per episode as [m, 1]."""
    return terms[:, None]


def columns(p: int, m: int) -> np.ndarray:
    """An empty [p, m] to fill term by term; its transpose is the terms, each contiguous, so they are summed fast."""
    return np.empty((p, m))


def ratio_of(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """top / bottom, NaN where bottom is 0 (no overlap): such a replicate makes the interval refuse itself."""
    return np.divide(top, bottom, out=np.full(np.shape(bottom), np.nan), where=np.asarray(bottom) != 0)


def require(holds: bool, name: str, value: float, rule: str) -> None:
    """ConfigError unless the hyper-parameter obeys its rule."""
    if not holds:
        raise ConfigError(f"{name} must be {rule}; got {value}", field=name)


def _require_one_step(e: Evidence) -> None:
    if e.steps.m != e.steps.n:
        lengths = np.diff(e.steps.starts)
        raise EvidenceError(
            f"{int((lengths != 1).sum())} of {e.steps.m} episodes have more than one step; the longest has "
            f"{int(lengths.max())}",
            "This estimator weighs single decisions; on longer episodes it would ignore what led to each of them.",
            "Use a sequential estimator, or log each decision as its own episode.",
            field="horizon",
        )
