"""Outcomes that arrived twice, or at the wrong decision."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from understudy.core.evidence import Finding
from understudy.ope.audit.log import Log
from understudy.ope.audit.misjoined import misjoined_finding
from understudy.ops.intervals import binomial_p

LEAST = 5  # fewer surplus outcomes than this prove nothing


def wrong_arrivals(log: Log) -> Iterator[Finding]:
    """Outcomes too many, where one each is the rule; copies, where several are normal.

    With a share P0 of silent rows, independent arrivals would give N2 / N1 ≈ λ / 2, λ = −ln P0, and more if rates
    differ. Where N2 / N1 is less than half of that, one outcome each is the rule, and a second one is a copy (the sum
    is 2 v, variance 4 σ²) or another decision's (the sum of two, variance 2 σ²). Otherwise several are normal, and
    copies show as an excess of even counts.
    """
    yield from _out_of_range(log)
    origin = log.steps.origin
    if origin is None:
        return
    extra, single = origin.arrived > 1, origin.arrived == 1
    if extra.sum() < LEAST or single.sum() < 50:
        return
    sums = any(spec.aggregate == "sum" for spec in log.problem.outcomes)
    rate = -np.log(max(float(log.silent.mean()), 1 / log.steps.n))
    if extra.sum() / single.sum() < 0.25 * rate:
        yield _second_of_one(log, extra, single, sums)
    elif sums:
        yield from _even_counts(log)


def _out_of_range(log: Log) -> Iterator[Finding]:
    """Rewards that the problem says cannot be; the join refuses them, other sources may not."""
    low, high = log.problem.reward_range
    r = log.steps.reward
    bad = (r < low) | (r > high)
    if not bad.any():
        return
    inside = np.unique(r[~bad])
    halves = np.isin(r[bad] / 2, inside).mean() if len(inside) <= 100 else (r[bad] / 2 <= high).mean()
    said = f"reward {r[bad.argmax()]:.6g} is outside the declared range [{low:.6g}, {high:.6g}]"
    if halves > 0.9 and bad.sum() >= LEAST:
        yield _duplicated(log, bad, said + "; half of each such reward is inside", None)
        return
    yield log.finding(
        "reward_range",
        bad,
        said,
        "Bounds and bets scale rewards by the declared range, and do not hold for what lies outside it.",
        "Correct the rewards, or declare the range that they really have.",
    )


def _second_of_one(log: Log, extra: np.ndarray, single: np.ndarray, sums: bool) -> Finding:
    value = log.steps.outcomes[:, 0] if log.steps.outcomes is not None else log.steps.reward
    said = f"{int(extra.sum())} rows got more than one outcome, where {int(single.sum())} got exactly one"
    if not sums or len(np.unique(value[single])) == 1:
        return _either(log, extra, said, sums)
    if _copies(value[single], value[extra]):
        return _duplicated(log, extra, said + "; their values are twice a single one", None)
    return misjoined_finding(log, extra, said + "; their values are sums of two different ones", None)


def _copies(one: np.ndarray, two: np.ndarray) -> bool:
    """Whether second outcomes repeat the first: by the values of single outcomes, else by spread."""
    atoms = np.unique(one)
    if len(atoms) <= 20:
        return bool(np.isin(two / 2, atoms).mean() > 0.95)
    return bool(two.var() > 3 * one.var())


def _either(log: Log, rows: np.ndarray, said: str, sums: bool) -> Finding:
    """Where values do not tell, a copy and another decision's outcome look the same."""
    return log.finding(
        "surplus_rewards",
        rows,
        said + "; their values do not tell whether they are copies or another decision's",
        "Copies make values too high; outcomes of other decisions pull every action's value towards the mean.",
        "Give every outcome an outcome_id, which the join counts once; and join by decision id, not by time or row.",
        severity="refuse" if sums else "warn",
    )


def _duplicated(log: Log, rows: np.ndarray, said: str, p: float | None) -> Finding:
    return log.finding(
        "duplicated_rewards",
        rows,
        said,
        "Their rewards count twice, and more where outcomes are frequent: values are too high, most for good actions.",
        "Give every outcome an outcome_id, which the join counts once.",
        p=p,
    )


def _even_counts(log: Log) -> Iterator[Finding]:
    """Copies double counts: beyond the mode N_2j exceeds the mean of N_2j−1, N_2j+1, which a convex tail forbids."""
    assert log.steps.origin is not None
    count = np.bincount(log.steps.origin.arrived)
    count = np.concatenate([count, [0, 0]])
    p, looks, worst = 1.0, 0, 0
    for j in range(2, len(count) - 1, 2):
        around = count[j - 1] + count[j + 1]
        if count[j - 1] > 0.6 * count[1:].max() or count[j] < 5:
            continue
        looks += 1
        total = int(count[j] + around)
        tail = float(binomial_p(int(count[j]), total, 1 / 3, "two-sided")) if count[j] > total / 3 else 1.0
        if tail < p:
            p, worst = tail, j
    if not looks or not worst:
        return
    rows = log.steps.origin.arrived == worst
    yield _duplicated(
        log,
        rows,
        f"{int(count[worst])} rows got {worst} outcomes, where {int(count[worst - 1])} got {worst - 1} and "
        f"{int(count[worst + 1])} got {worst + 1}: even counts are in excess",
        min(1.0, p * looks),
    )
