"""What the sequential estimators share: weights, discounted rewards and corrections, worked out once per evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from understudy.core.errors import EvidenceError
from understudy.core.evidence import Evidence
from understudy.ops import returns, weights

MOST_STEPS = 10_000  # longest episode of an estimator whose terms have columns per step


def weight(e: Evidence) -> np.ndarray:
    """w_{0:t} = Π_{s≤t} ρ_s of each row. → f64[n]."""
    return _once(e, "weight", lambda: weights.cumulative(e.ratio, e.steps.starts))


def gain(e: Evidence) -> np.ndarray:
    """γ^{H_t} r_t of each row. → f64[n], in units of reward."""
    return _once(e, "gain", lambda: e.steps.reward * factor(e))


def factor(e: Evidence) -> np.ndarray:
    """γ^{H_t} of each row. → f64[n]."""
    return _once(e, "factor", lambda: returns.factors(e.steps, e.discount))


def total(e: Evidence) -> np.ndarray:
    """G = Σ_t γ^{H_t} r_t of each episode. → f64[m]."""
    return _once(e, "total", lambda: returns.sums(gain(e), e.steps.starts))


def final(e: Evidence) -> np.ndarray:
    """w_{0:L−1} of each whole episode. → f64[m]."""
    return _once(e, "final", lambda: weights.final(weight(e), e.steps.starts))


def residual(e: Evidence) -> np.ndarray:
    """γ^{H_t} w_{0:t} (r_t − q̂_t) of each row. → f64[n]."""
    q, _ = model(e)
    return _once(e, "residual", lambda: (e.steps.reward - q) * factor(e) * weight(e))


def promise(e: Evidence) -> np.ndarray:
    """γ^{H_t} w_{0:t−1} v̂_t of each row. → f64[n]."""
    _, v = model(e)
    return _once(e, "promise", lambda: weights.before(weight(e), e.steps.starts) * factor(e) * v)


def beyond(e: Evidence) -> np.ndarray | None:
    """γ^{H_L} w_{0:L−1} V̂ of what would have followed each episode's last step; None if none was cut. → f64[m]."""
    if e.v_end is None:
        return None
    last, end = e.steps.starts[1:] - 1, e.v_end

    def make() -> np.ndarray:
        return final(e) * factor(e)[last] * returns.hops(e.steps, e.discount)[last] * end

    return _once(e, "beyond", make)


def beginning(e: Evidence) -> np.ndarray:
    """v̂ at the first step of each episode. → f64[m]."""
    _, v = model(e)
    return _once(e, "beginning", lambda: v[e.steps.starts[:-1]])


def visits(e: Evidence) -> np.ndarray:
    """ω(x_t) of each row: discounted visits of the target ÷ visits of the log. → f64[n]."""
    if e.density_ratio is None and e.steps.m == e.steps.n:
        return np.ones(e.steps.n)  # one step each: everybody comes by once
    if e.density_ratio is None:
        raise EvidenceError("this estimator needs visit ratios, and the evidence has none", field="density_ratio")
    return e.density_ratio


def visit(e: Evidence) -> np.ndarray:
    """ω(x_t) ρ_t of each row. → f64[n]."""
    return _once(e, "visit", lambda: visits(e) * e.ratio)


def surprise(e: Evidence) -> np.ndarray:
    """r_t + γ^{span_t} v̂_{t+1} − q̂_t of each row: what a step brought beyond what Q̂ said. → f64[n]."""
    q, v = model(e)
    after, last = np.append(v[1:], 0.0), e.steps.starts[1:] - 1
    after[last] = 0.0 if e.v_end is None else e.v_end
    return _once(e, "surprise", lambda: e.steps.reward - q + returns.hops(e.steps, e.discount) * after)


def model(e: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """(q̂, v̂) of each row. Raises: EvidenceError if the evidence has none."""
    if e.q is None or e.v is None:
        raise EvidenceError(
            "this estimator needs Q̂, and the evidence has none",
            hint='Give q: the name of a regressor ("ridge"), a Regressor, or a fitted ValueModel.',
            field="q",
        )
    return e.q, e.v


def width(e: Evidence) -> int:
    """T: how many steps the terms have columns for. Raises: EvidenceError if an episode is longer, or T too large."""
    most = returns.longest(e.steps.starts)
    if e.horizon is not None and most > e.horizon:
        raise too_long(most, e.horizon)
    steps = most if e.horizon is None else e.horizon
    if steps > MOST_STEPS:
        raise EvidenceError(
            f"an episode has {steps:,} steps, and this estimator keeps sums of every step, of at most {MOST_STEPS:,}",
            "A weight that is a product of so many ratios says nothing any more.",
            "Use fqe, mis or sdr, or cut episodes where they are independent.",
            field="horizon",
        )
    return steps


def too_long(most: int, horizon: int) -> EvidenceError:
    """The error for an episode beyond the horizon."""
    return EvidenceError(
        f"an episode has {most} steps, and the horizon is {horizon}",
        "What lies beyond the horizon belongs to no value, so sums over it would mix two problems.",
        "Correct the problem's horizon, or cut episodes there before they are joined.",
        field="horizon",
    )


def normalizers(e: Evidence, steps: int, alive: bool) -> np.ndarray:
    """w_{0:t} [m, T] to divide by: past its end an episode keeps its last, or has none if only ``alive`` count."""
    return returns.padded(weight(e), e.steps.starts, steps, keep=not alive)


def share(top: np.ndarray, bottom: np.ndarray, alive: bool) -> np.ndarray:
    """top / bottom per step; where bottom is 0 there is no overlap (NaN) or, if only ``alive`` count, nobody (0)."""
    fill = 0.0 if alive else np.nan
    return np.divide(top, bottom, out=np.full(np.shape(bottom), fill), where=np.asarray(bottom) != 0)


def rests_on(e: Evidence, kind: str) -> np.ndarray:
    """The weights of one kind, row by row. → f64[n].

    Of the whole ``episode``, of every ``decision`` so far, of the ``step`` alone, or of visits × the step (``visit``).
    """
    if kind == "step":
        return e.ratio
    if kind == "visit":
        return visit(e)
    if kind == "decision":
        return weight(e)
    return np.repeat(final(e), returns.lengths(e.steps.starts))


def mean_weight(e: Evidence, column: np.ndarray) -> np.ndarray:
    """Σ_t γ^{H_t} w_t / Σ_t γ^{H_t} of each episode: the weight of what it earned. → f64[m]."""
    g = factor(e)
    return returns.sums(column * g, e.steps.starts) / returns.sums(g, e.steps.starts)


def moments(e: Evidence, steps: int) -> np.ndarray:
    """Σ w_{0:t} and Σ w_{0:t}² over all episodes, for t = 0 … T − 1; ended ones keep their last weight. → f64[2, T]."""
    t, size = returns.places(e.steps.starts), returns.lengths(e.steps.starts)
    out = np.empty((2, steps))
    for j, (w, last) in enumerate(((weight(e), final(e)), (weight(e) ** 2, final(e) ** 2))):
        gone = np.cumsum(np.bincount(size, weights=np.nan_to_num(last), minlength=steps + 1))[:steps]
        out[j] = np.bincount(t, weights=np.nan_to_num(w), minlength=steps) + gone
    return out


def piece(e: Evidence, first: int, stop: int) -> Evidence:
    """Episodes ``first`` to ``stop`` of the evidence, as views."""
    steps = e.steps
    a, b = int(steps.starts[first]), int(steps.starts[stop])
    row = {name: column[a:b] for name in _ROW if (column := getattr(steps, name)) is not None}
    short = replace(
        steps, starts=steps.starts[first : stop + 1] - a, unit=steps.unit[first:stop], final_context=None,
        final_allowed=None, origin=None, outcomes=None, **row,
    )  # fmt: skip
    columns = {name: getattr(e, name) for name in ("ratio", "q", "v", "match", "density_ratio")}
    cut = {name: None if column is None else column[a:b] for name, column in columns.items()}
    return replace(e, steps=short, v_end=None if e.v_end is None else e.v_end[first:stop], **cut)


_ROW = (
    "time",
    "context",
    "action",
    "reward",
    "terminated",
    "truncated",
    "allowed",
    "propensity",
    "propensities",
    "span",
)


def _once(e: Evidence, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    if name not in e.shared:
        if e.horizon is not None and (most := returns.longest(e.steps.starts)) > e.horizon:
            raise too_long(most, e.horizon)
        e.shared[name] = make()
    return e.shared[name]
