"""How wrong would the propensities have to be? Bounds of an estimate under hidden confounding, as a curve in Γ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from understudy.core.errors import ConfigError, EvidenceError
from understudy.core.evidence import Evidence

LABEL = "sensitivity analysis (marginal sensitivity model): what could be, not an estimate"
GAMMAS = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0)
SEARCHED = 100.0  # largest Γ tried when looking for the point where a conclusion breaks
_TURNS = 60  # halvings of the bracket: below rounding


class SensitivityPoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All values the estimate can take if no true odds are further than a factor Γ from the nominal ones."""

    gamma: float
    low: float
    high: float
    band_low: float | None = None  # bootstrap: low and high with their sampling error
    band_high: float | None = None


class SensitivityCurve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds over a grid of Γ, in units of reward. ``lift`` = value − logged; its sign is the conclusion at stake."""

    target: str
    estimator: str
    value: float  # at Γ = 1
    logged: float  # mean reward of the log
    lift: float
    points: tuple[SensitivityPoint, ...]
    breaks_at: (
        float | None
    )  # smallest Γ at which a lift of 0 is possible; 1 if it already is; None: none up to SEARCHED
    band_breaks_at: float | None  # smallest Γ of the grid at which the bootstrap band of the lift holds 0
    level: float
    draws: int
    n_units: int
    label: str = LABEL

    @property
    def conclusion(self) -> str:
        """The curve in one sentence."""
        what = "better" if self.lift > 0 else "worse"
        if self.breaks_at is None:
            return f"{self.target} stays {what} than the log for every Γ up to {SEARCHED:g}"
        if self.breaks_at <= 1:
            return f"{self.target} is not told apart from the log even if all propensities are right"
        return (
            f"{self.target} is {what} than the log unless the odds of some propensities are wrong "
            f"by a factor of {self.breaks_at:.3g}"
        )


@dataclass(frozen=True)
class _Rows:
    """Rows sorted by reward. The weight of row i lies in [certain + doubt/Γ, certain + doubt·Γ]."""

    reward: np.ndarray  # f64[n] ascending
    certain: np.ndarray  # f64[n] π(a|x)
    doubt: np.ndarray  # f64[n] π(a|x) (1/p − 1)
    unit: np.ndarray  # i64[n] index of the unit
    edges: np.ndarray  # i64[t] rows below each threshold that matters: between unequal rewards, and at both ends
    normalised: bool

    def sums(self, count: np.ndarray | float = 1.0) -> _Sums:
        """What bounds at every Γ need; ``count`` f64[n] is how often a resample drew each row."""
        doubt, certain = self.doubt * count, self.certain * count
        below = np.concatenate([[0.0], np.cumsum(doubt)])[self.edges]
        below_r = np.concatenate([[0.0], np.cumsum(doubt * self.reward)])[self.edges]
        n = float(np.sum(count)) if np.ndim(count) else float(len(self.reward))
        return _Sums(float(certain.sum()), float(certain @ self.reward), below, below_r, n, self.normalised)


@dataclass(frozen=True)
class _Sums:
    """Sums over rows, and of the doubt over the rows below each threshold."""

    certain: float
    certain_r: float
    below: np.ndarray  # f64[t] Σ doubt
    below_r: np.ndarray  # f64[t] Σ doubt · reward
    n: float
    normalised: bool

    def bounds(self, gamma: float) -> tuple[float, float]:
        """Exact minimum and maximum over all weights that Γ allows."""
        high = self._values(1 / gamma, gamma).max()  # rows below a threshold as light as can be, the others heavy
        low = self._values(gamma, 1 / gamma).min()
        return float(low), float(high)

    def _values(self, first: float, then: float) -> np.ndarray:
        top = self.certain_r + then * self.below_r[-1] + (first - then) * self.below_r
        if not self.normalised:
            return top / self.n
        bottom = self.certain + then * self.below[-1] + (first - then) * self.below
        return np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom > 0)


def sensitivity(
    evidence: Evidence,
    *,
    target: str,
    estimator: Literal["snips", "ips"] = "snips",
    gammas: tuple[float, ...] = GAMMAS,
    level: float = 0.95,
    draws: int = 200,
    seed: int = 0,
) -> SensitivityCurve:
    """Bounds of SNIPS or IPS when true odds of the logged action differ from the nominal by a factor in [1/Γ, Γ].

    1/p*_i = 1 + (1/p_i − 1) z_i,  z_i ∈ [1/Γ, Γ];   snips: Σ π_i r_i/p*_i ÷ Σ π_i/p*_i,   ips: (1/n) Σ π_i r_i/p*_i.

    Exact: the optimum of the ratio gives every row above some reward one extreme and every row below it the other, so
    after sorting all n + 1 thresholds are tried by cumulative sums. Γ = 1 gives the estimate itself. Bands: percentile
    bootstrap of units, [Q_(α/2) of low, Q_(1−α/2) of high], which covers the whole set of values.

    Args:
        evidence: about one target on one-step episodes with propensities, logged or estimated.
        gammas: ascending, from 1 on.
        draws: resamples for the bands; 0 = none.
    Raises:
        ConfigError: a Γ below 1, or not ascending; an unknown estimator.
        EvidenceError: no propensities, longer episodes, or no overlap.
    Source: Tan 2006; Zhao, Small & Bhattacharya 2019, "Sensitivity analysis for inverse probability weighting
        estimators via the percentile bootstrap", sections 3 and 4.
    """
    _check(gammas, estimator, level)
    rows = _rows(evidence, estimator == "snips")
    whole = rows.sums()
    value = whole.bounds(1.0)[0]
    logged = float(rows.reward.mean())
    low_high = [whole.bounds(gamma) for gamma in gammas]
    bands, of_lift = _bands(rows, gammas, level, draws, seed)
    points = tuple(
        SensitivityPoint(gamma=float(g), low=low, high=high, band_low=band[0], band_high=band[1])
        for g, (low, high), band in zip(gammas, low_high, bands)
    )
    held = [float(g) for g, (low, high) in zip(gammas, of_lift) if low <= 0 <= high]
    return SensitivityCurve(
        target=target,
        estimator=estimator,
        value=value,
        logged=logged,
        lift=value - logged,
        points=points,
        breaks_at=_breaks(whole, value - logged, logged),
        band_breaks_at=held[0] if held else None,
        level=level,
        draws=draws,
        n_units=int(rows.unit.max()) + 1,
    )


def _rows(e: Evidence, normalised: bool) -> _Rows:
    steps = e.steps
    if steps.propensity is None:
        raise EvidenceError(
            "the log has no propensities, so there is nothing to be sensitive to",
            hint='Estimate them first: propensity="estimate" (--propensity estimate).',
            field="propensity",
        )
    if steps.m != steps.n:
        raise EvidenceError(
            "sensitivity curves are for one-step episodes; this log has longer ones",
            "The bounds of a product of ratios are not those of one.",
            field="horizon",
        )
    if not (e.ratio > 0).any():
        raise EvidenceError("the target would have taken none of the logged actions", field="targets")
    order = np.argsort(steps.reward, kind="stable")
    certain = (e.ratio * steps.propensity)[order]  # π(a|x)
    _, unit = np.unique(steps.unit, return_inverse=True)
    reward = steps.reward[order]
    edges = np.concatenate([[0], np.flatnonzero(np.diff(reward)) + 1, [len(reward)]])
    return _Rows(reward, certain, e.ratio[order] - certain, unit[order], edges, normalised)


def _bands(rows: _Rows, gammas, level: float, draws: int, seed: int):
    """Per Γ: the band of the value (or None twice), and the band of the lift (empty without draws)."""
    units = int(rows.unit.max()) + 1
    if draws == 0 or units < 2:
        return [(None, None)] * len(gammas), []
    rng = np.random.default_rng(seed)
    found = np.empty((draws, len(gammas), 2))
    logged = np.empty(draws)
    for b in range(draws):
        count = np.bincount(rng.integers(0, units, units), minlength=units)[rows.unit].astype(np.float64)
        logged[b] = (count @ rows.reward) / count.sum()
        drawn = rows.sums(count)
        found[b] = [drawn.bounds(gamma) for gamma in gammas]
    if np.isnan(found).any():
        raise EvidenceError(
            f"{int(np.isnan(found).any((1, 2)).sum())} of {draws} resamples have no overlap with the target",
            "So few units carry the estimate that it has no sampling error to speak of.",
            "Use draws=0 for the bounds alone, or collect data under a policy closer to the target.",
        )
    tail = (1 - level) / 2

    def band(of: np.ndarray) -> list[tuple[float, float]]:
        low, high = np.quantile(of[:, :, 0], tail, axis=0), np.quantile(of[:, :, 1], 1 - tail, axis=0)
        return list(zip(low.tolist(), high.tolist()))

    return band(found), band(found - logged[:, None, None])


def _breaks(whole: _Sums, lift: float, logged: float) -> float | None:
    """Smallest Γ at which a lift of 0 is possible, by bisection: the bounds are monotone and continuous in Γ."""
    side = 0 if lift > 0 else 1
    room = lambda gamma: (whole.bounds(gamma)[side] - logged) * (1 if lift > 0 else -1)
    if abs(lift) <= 1e-12 * max(1.0, abs(logged)):
        return 1.0
    if room(SEARCHED) > 0:
        return None
    inside, outside = 1.0, SEARCHED
    for _ in range(_TURNS):
        middle = (inside * outside) ** 0.5
        if room(middle) > 0:
            inside = middle
        else:
            outside = middle
        if outside - inside < 1e-9 * outside:
            break
    return outside


def _check(gammas: Sequence[float], estimator: str, level: float) -> None:
    if estimator not in ("snips", "ips"):
        raise ConfigError(f"no sensitivity curve for {estimator!r}", hint="Use snips or ips.", field="estimator")
    grid = np.array((1.0, *gammas))
    if len(grid) < 2 or grid.min() < 1 or not np.isfinite(grid).all() or (np.diff(grid[1:]) <= 0).any():
        raise ConfigError(f"gammas must ascend from 1 or above; got {gammas}", field="gammas")
    if not 0 < level < 1:
        raise ConfigError(f"level must lie strictly between 0 and 1; got {level}", field="level")
