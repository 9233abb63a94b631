"""Outcomes that arrived twice, or at the wrong decision."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from understudy.core.evidence import Finding
from understudy.ope.audit.late import misjoined, strangers
from understudy.ope.audit.log import Log
from understudy.ops import stats

RARE = 0.15  # where fewer arrived rows than this got more than one outcome, one each is how it should be


def wrong_arrivals(log: Log) -> Iterator[Finding]:
    """Arrivals that should not be: twice the same (duplicated), or of another decision (misjoined).

    Where one outcome per decision is the rule, a second one is either a copy (then the sum is 2 v, variance 4 σ²) or
    another decision's (then it is a sum of two, variance 2 σ²). Where several are normal, copies leave even counts in
    excess of both odd neighbors. An outcome before its decision, or after its window, is another decision's.
    """
    origin = log.steps.origin
    if origin is None:
        return
    yield from _impossible_delays(log)
    there = origin.arrived > 0
    extra = origin.arrived > 1
    if there.sum() < 50:
        return
    yield from strangers(log)
    sums = any(spec.aggregate == "sum" for spec in log.problem.outcomes)
    if not extra.any():
        return
    if extra.sum() <= RARE * there.sum():
        yield from _second_of_one(log, extra, there, sums)
    elif sums:
        yield from _even_counts(log)


def _impossible_delays(log: Log) -> Iterator[Finding]:
    assert log.steps.origin is not None
    delay = log.steps.origin.delay
    back = log.rules.backward if log.rules is not None else 0.0
    bad = (delay < -back) | (delay > (log.rules.window if log.rules is not None else np.inf))
    if bad.any():
        yield misjoined(log, bad, f"delays of {float(delay[bad].min()):.4g} s to {float(delay[bad].max()):.4g} s", None)


def _second_of_one(log: Log, extra: np.ndarray, there: np.ndarray, sums: bool) -> Iterator[Finding]:
    said = f"{int(extra.sum())} rows got more than one outcome, where {int((there & ~extra).sum())} got exactly one"
    if extra.sum() < 5:
        return
    single = (
        log.steps.outcomes[there & ~extra, 0] if log.steps.outcomes is not None else log.steps.reward[there & ~extra]
    )
    if sums and len(np.unique(single)) == 1:
        yield _either(log, extra, said)
    elif _copies(log, extra, there & ~extra, sums):
        yield _duplicated(log, extra, said + "; their values are twice a single one", None, sums)
    else:
        yield misjoined(log, extra, said + "; their values are sums of two different ones", None)


def _copies(log: Log, extra: np.ndarray, single: np.ndarray, sums: bool) -> bool:
    """Whether second outcomes repeat the first: by values on single outcomes, else by spread."""
    value = log.steps.outcomes[:, 0] if log.steps.outcomes is not None else log.steps.reward
    one, two = value[single], value[extra]
    if not sums:
        return True  # nothing in the value can tell; a re-sent outcome is the common case
    atoms = np.unique(one)
    if len(atoms) <= 20:
        return bool(np.isin(two / 2, atoms).mean() > 0.95)
    return bool(two.var() > 3 * one.var())


def _either(log: Log, rows: np.ndarray, said: str) -> Finding:
    """Where all values are alike, a copy and another decision's outcome look the same."""
    return log.finding(
        "surplus_rewards",
        rows,
        said + "; as all values are alike, they may be copies or another decision's",
        "Copies make values too high; outcomes of other decisions pull every action's value towards the mean.",
        "Give every outcome an outcome_id, which the join counts once; and join by decision id, not by time or row.",
    )


def _duplicated(log: Log, rows: np.ndarray, said: str, p: float | None, sums: bool) -> Finding:
    return log.finding(
        "duplicated_rewards",
        rows,
        said,
        "Their rewards count twice, and more where outcomes are frequent: values are too high, most for good actions."
        if sums
        else "The reward is not a sum, so its value is not touched; the counts of outcomes are.",
        "Give every outcome an outcome_id, which the join counts once.",
        p=p,
        severity="refuse" if sums else "warn",
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
        tail = stats.binomial_p(int(count[j]), total, 1 / 3) if count[j] > total / 3 else 1.0
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
        True,
    )
