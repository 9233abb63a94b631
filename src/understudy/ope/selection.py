"""Which of several candidates? How well a choice by estimates does, the rule to choose by, and what choosing costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from understudy.core.errors import ConfigError, EvidenceError
from understudy.core.evidence import Estimate

# In this order, the first estimator that gives some candidate an interval decides.
PREFERENCE = ("drl", "sdr", "wdr", "dr", "cwpdis", "sndr", "snips", "wis", "pdis")
POINTS = ("fqe", "dm")  # where no interval exists: their values rank, and prove nothing


class Selection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A choice among candidates, and how much of its estimate may be luck."""

    chosen: str
    estimator: str
    rule: str  # "lower bound", or "value" where nothing has an interval
    value: float
    low: float | None
    optimism: float  # expected excess of the chosen estimate if all candidates were equally good, in units of reward
    low_corrected: float | None  # lower bound at a level divided among all candidates: valid for the chosen one
    ranking: tuple[str, ...]
    notes: tuple[str, ...] = ()


def select(estimates: Sequence[Estimate], *, estimator: str | None = None, among: Sequence[str] = ()) -> Selection:
    """Choose the candidate whose lower confidence bound is highest.

    The chosen estimate is the largest of several noisy ones, hence too high on the data that chose it. Two
    accounts of that: ``low_corrected`` is the lower bound at α / c of c candidates (Bonferroni: it holds for whichever
    is chosen), ``optimism`` is E max_i ε_i for independent normal errors of the candidates' standard errors.
    Neither is a proof of the choice: that is made on the gate slice, which took no part in it.

    Args:
        estimates: from ``evaluate``; differences, segments and "logged" are passed over unless in ``among``.
        estimator: which to choose by; None takes the first of ``PREFERENCE`` that has intervals for some candidate.
        among: candidates; empty = all targets.
    Raises:
        EvidenceError: no candidate has an estimate to choose by.
    """
    own = [e for e in estimates if not e.segment and " - " not in e.target]
    own = [e for e in own if (e.target in among if among else e.target != "logged")]
    kind = estimator or next((n for n in PREFERENCE if any(e.estimator == n and not e.refused for e in own)), None)
    if kind is None:
        kind = next((n for n in POINTS if any(e.estimator == n for e in own)), None)
    mine = [e for e in own if e.estimator == kind]
    if not mine:
        raise EvidenceError(
            "no candidate has an estimate to choose by",
            "All were refused, and none was made that ranks without weights.",
            "Evaluate with drl, sdr or fqe too.",
            field="estimators",
        )
    bounded = [e for e in mine if e.low is not None]
    pool = bounded or mine
    ranked = sorted(pool, key=lambda e: (-(e.low if e.low is not None else e.value), e.target))
    ranked += sorted((e for e in mine if e not in pool), key=lambda e: (-e.value, e.target))
    best = ranked[0]
    notes = [f"{e.target} was passed over: its interval is refused" for e in mine if bounded and e.low is None]
    if not bounded:
        notes.append(f"no candidate has an interval: ranked by the value of {kind}, which proves nothing")
    notes.append(f"chosen among {len(mine)} on these data, so its estimate here is too high; the gate slice must judge")
    return Selection(
        chosen=best.target,
        estimator=best.estimator,
        rule="lower bound" if bounded else "value",
        value=best.value,
        low=best.low,
        optimism=optimism([e.std_error for e in pool if e.std_error is not None]),
        low_corrected=_corrected(best, len(mine)),
        ranking=tuple(e.target for e in ranked),
        notes=tuple(notes),
    )


def optimism(std_errors: Sequence[float]) -> float:
    """E max_i ε_i, ε_i ~ N(0, SE_i²) independent: what the best of equals is overestimated by. 0 of one candidate.

    E max = ∫ [1 − Π Φ(x/SE_i)] dx over x > 0 minus ∫ Π Φ(x/SE_i) dx over x < 0. Candidates evaluated on the same rows
    err alike, so this is an upper account.
    """
    from scipy.special import ndtr

    error = np.array([s for s in std_errors if s > 0])
    if len(error) < 2:
        return 0.0
    x = np.linspace(0, 9, 4_001) * error.max()
    over, under = (ndtr(side[:, None] / error).prod(1) for side in (x, -x))
    return float(np.trapezoid(1.0 - over, x) - np.trapezoid(under, x))


def _corrected(best: Estimate, count: int) -> float | None:
    from scipy.special import ndtri

    if best.low is None or best.std_error is None:
        return None
    plain, wide = ndtri((1 + best.level) / 2), ndtri(1 - (1 - best.level) / (2 * count))
    return float(best.value - (best.value - best.low) * wide / plain)


def rank_correlation(estimated: Mapping[str, float], true: Mapping[str, float]) -> float:
    """Spearman's ρ between estimates and truths of the same candidates; ties share their mean rank.

    Raises: ConfigError if the candidates differ or are fewer than two.
    Source: Spearman 1904; Fu et al. 2021, "Benchmarks for deep off-policy evaluation", section 4.
    """
    a, b = _paired(estimated, true)
    ranks = [_ranks(a), _ranks(b)]
    x, y = (r - r.mean() for r in ranks)
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm > 0 else 0.0


def regret(estimated: Mapping[str, float], true: Mapping[str, float], k: int = 1, *, relative: bool = False) -> float:
    """Regret@k: best true value − best true value among the k candidates estimated best; in units of reward.

    ``relative`` divides by |best true value|. Raises: ConfigError as above, or k < 1.
    Source: Fu et al. 2021, section 4.
    """
    if k < 1:
        raise ConfigError(f"k must be at least 1; got {k}", field="k")
    a, b = _paired(estimated, true)
    best, got = b.max(), b[np.argsort(-a, kind="stable")[:k]].max()
    gap = float(best - got)
    return gap / abs(float(best)) if relative and best != 0 else gap


def _paired(estimated: Mapping[str, float], true: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
    if set(estimated) != set(true) or len(true) < 2:
        raise ConfigError("estimates and truths must be about the same candidates, two or more", field="targets")
    names = sorted(true)
    return np.array([estimated[n] for n in names], float), np.array([true[n] for n in names], float)


def _ranks(x: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    return (last - (counts - 1) / 2)[inverse]
