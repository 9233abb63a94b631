"""Figures of a window of decisions, as the page shows them: means with intervals, shares, propensities. Pure."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np

from understudy.core.errors import EvidenceError
from understudy.core.problem import Problem
from understudy.core.service import parse_canary
from understudy.ops.blocks import jackknife, totals
from understudy.ops.intervals import clopper_pearson
from understudy.ops.stats import bennett_p, bonferroni
from understudy.serve.dashboard.window import Columns

LEVEL = 0.95
POINTS = 120  # of the rolling mean
STRETCHES = 40  # of the shares over time
CHANGES = 12  # of who is live, drawn
SHOWN = 12  # actions and policies that are named; the others are one row
EXACT, BLOCKS = "exact binomial (Clopper–Pearson)", "jackknife over blocks of units"


def rolling(c: Columns, problem: Problem, size: int) -> dict[str, Any]:
    """The mean reward of the last ``size`` rewarded decisions at up to 120 moments, with pointwise intervals.

    0/1 rewards of independent decisions: the exact binomial interval; any others: the block jackknife over units.
    """
    known = np.flatnonzero(~np.isnan(c.reward))
    reward, unit, time = c.reward[known], c.unit[known], c.time[known]
    binary = problem.unit == "decision" and bool(np.isin(reward, (0.0, 1.0)).all())
    n = len(reward)
    ends = np.unique(np.linspace(min(size, n), n, POINTS).astype(int)).tolist() if n else []
    points = [_mean(reward, unit, max(0, end - size), end, binary) | {"time": int(time[end - 1])} for end in ends]
    return {
        "size": size, "level": LEVEL, "method": EXACT if binary else BLOCKS, "unit": problem.unit,
        "points": points, "latest": points[-1] if points else None,
        "all": _mean(reward, unit, 0, n, binary) if n else None, "rewarded": n, "waiting": c.n - n,
        "changes": _changes(c),
    }  # fmt: skip


def _changes(c: Columns) -> list[dict[str, Any]]:
    """Where another policy was live than before, by the log's own time; () where that is more often than can be drawn.

    Decisions of the baseline say nothing of who is live, and a canary's are its incumbent's.
    """
    live: dict[str, str] = {}  # policy id → who is live where it acts
    found: list[dict[str, Any]] = []
    last = ""
    for i, id in enumerate(c.policy):
        if id not in live:
            mixed = parse_canary(id)
            live[id] = mixed[0] if mixed else id
        if live[id] not in (last, "baseline"):
            if last:
                found.append({"time": int(c.time[i]), "policy": live[id]})
            last = live[id]
        if len(found) > CHANGES:
            return []
    return found


def _mean(reward: np.ndarray, unit: np.ndarray, start: int, end: int, binary: bool) -> dict[str, Any]:
    """Mean and interval of one stretch; the interval is None where a single unit says nothing of how units differ."""
    part, n = reward[start:end], end - start
    mean = float(part.mean())
    if binary:
        low, high = clopper_pearson(round(float(part.sum())), n, LEVEL)
        return {"n": n, "mean": mean, "low": float(low), "high": float(high)}
    try:
        terms = np.stack([part, np.ones(n)], axis=1)  # a ratio of sums: units may have several decisions
        bounds = jackknife(lambda m: m[..., 0] / m[..., 1], totals(terms, unit[start:end])).bounds(LEVEL)
        low, high = float(bounds.low), float(bounds.high)
    except EvidenceError:
        low = high = math.nan
    return {"n": n, "mean": mean, "low": _finite(low), "high": _finite(high)}


def actions(c: Columns, problem: Problem) -> dict[str, Any]:
    """How often each action was taken, beside how often the logged probabilities say it should have been."""
    names, k = problem.actions.names, problem.actions.k
    taken = np.bincount(c.action, minlength=k)
    full = ~np.isnan(c.probs).any(1)
    expected = c.probs[full].sum(0)  # f64[k]
    order = np.argsort(-taken, kind="stable")[:SHOWN]
    edges = np.unique(np.linspace(0, c.n, min(STRETCHES, max(1, c.n // 20)) + 1).astype(int)).tolist()
    rows = [
        {"name": names[a], "n": int(taken[a]), "share": _share(taken[a], c.n),
         "expected": _share(expected[a], int(full.sum()))}
        for a in order
    ]  # fmt: skip
    points = [
        {"time": int(c.time[stop - 1]), "n": int(stop - start),
         "shares": [_share((c.action[start:stop] == a).sum(), stop - start) for a in order]}
        for start, stop in pairwise(edges)
        if stop > start
    ]  # fmt: skip
    others = int(taken.sum() - taken[order].sum())
    return {"rows": rows, "others": {"kinds": k - len(rows), "n": others, "share": _share(others, c.n)},
            "points": points}  # fmt: skip


def propensities(c: Columns, reasons: Counter[str]) -> dict[str, Any]:
    """Are the logged probabilities healthy? Smallest, histogram, mean weight, agreement with what was drawn.

    Mean weight: of a policy that picks alike among the m actions with a chance, w = 1 / (m p_a): 1 in expectation if
    actions were drawn from the logged probabilities, with variance Σ_a 1 / (m² p_a) − 1, known without having seen it.
    Agreement: per action taken − Σ p_a is a sum of martingale differences of variance Σ p_a (1 − p_a); Bennett's
    two-sided p-value, the smallest times the number of actions.
    """
    p = c.propensity[~np.isnan(c.propensity)]
    edges = [-4.0, -3.5, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.0]
    counts = np.histogram(np.log10(np.maximum(p, 1e-4)), edges)[0] if len(p) else np.zeros(len(edges) - 1, int)
    found: dict[str, Any] = {
        "n": len(p), "min": float(p.min()) if len(p) else None, "median": float(np.median(p)) if len(p) else None,
        "missing": c.n - len(p), "histogram": {"edges": edges, "counts": counts.tolist()},
        "weight": None, "agreement": None,
        "fallbacks": {"n": int(c.fallback.sum()), "share": _share(c.fallback.sum(), c.n),
                      "reasons": [{"reason": why, "n": n} for why, n in reasons.most_common(5) if n > 0]},
    }  # fmt: skip
    full = ~np.isnan(c.probs).any(1) & (c.propensity > 0)
    if full.any():
        found["weight"] = _weight(c.propensity[full], c.probs[full])
        found["agreement"] = _agreement(c.action[full], c.probs[full])
    return found


def _weight(drawn: np.ndarray, probs: np.ndarray) -> dict[str, Any]:
    n, m = len(drawn), (probs > 0).sum(1)
    inverse = np.divide(1.0, probs, out=np.zeros_like(probs), where=probs > 0)  # f64[n, k]
    weight, variance = 1 / (m * drawn), float((inverse.sum(1) / m**2 - 1).sum())
    most = float((inverse.max(1) / m).max())
    p = float(bennett_p(float((weight - 1).sum()), variance, most))
    return {"mean": float(weight.mean()), "std_error": math.sqrt(max(variance, 0.0)) / n, "n": n, "p": p}


def _agreement(action: np.ndarray, probs: np.ndarray) -> dict[str, Any]:
    excess = np.bincount(action, minlength=probs.shape[1]) - probs.sum(0)  # f64[k]
    p = bennett_p(excess, (probs * (1 - probs)).sum(0))
    return {"p": bonferroni(p), "worst": int(p.argmin())}


def policies(c: Columns) -> list[dict[str, Any]]:
    """Who acted in the window: decisions, rewarded ones and their mean, most frequent first."""
    counts = Counter(c.policy)
    who = np.array(c.policy, dtype=object)
    rows = []
    for id, n in counts.most_common(SHOWN):
        reward = c.reward[who == id]
        known = reward[~np.isnan(reward)]
        mean = float(known.mean()) if len(known) else None
        rows.append({"policy": id, "n": n, "share": _share(n, c.n), "rewarded": len(known), "mean": mean})
    return rows


def _share(part: Any, whole: int) -> float | None:
    return float(part) / int(whole) if whole else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
