"""A log at a glance: counts, actions, reward over time, propensities. One pass for the range, one for the sums."""

from __future__ import annotations

import numpy as np
from scipy import special

from understudy.core.errors import DataError
from understudy.core.problem import Problem
from understudy.core.protocols import LoggedDataset
from understudy.core.steps import Steps
from understudy.core.summary import ActionRow, Histogram, LogSummary, SeriesPoint

POINTS = 60
BINS = 20


def summarize(data: LoggedDataset, *, level: float = 0.95) -> LogSummary:
    """Counts, actions, mean reward over time with t intervals, and the histogram of propensities.

    mean ± t_{n−1} s / √n in at most 60 stretches of equal duration; empty stretches are left out.

    Raises:
        DataError: the log is empty.
    """
    span: tuple[int, int] | None = None
    units = np.zeros(0, np.uint64)
    for steps in data.scan():
        low, high = int(steps.time.min()), int(steps.time.max())
        span = (low, high) if span is None else (min(low, span[0]), max(high, span[1]))
        units = np.union1d(units, steps.unit)
    if span is None:
        raise DataError("the log is empty", "There is nothing to describe.")
    total: dict[str, np.ndarray] = {}
    for steps in data.scan():
        for name, part in _sums(steps, span, data.problem).items():
            total[name] = total[name] + part if name in total else part
    n = int(total["series"][0].sum())
    return LogSummary(
        n_steps=n,
        n_episodes=data.n_episodes,
        n_units=len(units),
        first=span[0],
        last=span[1],
        mean_reward=float(total["series"][1].sum() / n),
        missing_outcomes=float(total["missing"][0] / n),
        actions=_actions(total, data.problem, n),
        rewards=_series(total["series"], span, data.problem, level),
        propensities=_histogram(total),
    )


def missing(steps: Steps) -> np.ndarray:
    """bool[n]: no outcome arrived at all."""
    if steps.origin is not None:
        return np.asarray(steps.origin.arrived == 0)
    if steps.outcomes is not None and steps.outcomes.shape[1]:
        return np.asarray(np.isnan(steps.outcomes).all(1))
    return np.zeros(steps.n, bool)


def _sums(steps: Steps, span: tuple[int, int], problem: Problem) -> dict[str, np.ndarray]:
    """Everything one batch adds: plain sums, so that batches merge by ``+``."""
    place = ((steps.time - span[0]) * POINTS // max(span[1] - span[0] + 1, 1)).astype(np.int64)
    parts = {
        "series": np.array(
            [np.bincount(place, weights=v, minlength=POINTS) for v in (np.ones(steps.n), steps.reward, steps.reward**2)]
        ),
        "missing": np.array([missing(steps).sum()], np.float64),
    }
    p = steps.propensity
    if problem.actions.discrete:
        columns = (np.ones(steps.n), np.zeros(steps.n) if p is None else p, steps.reward)
        parts["actions"] = np.array(
            [np.bincount(steps.action, weights=c, minlength=problem.actions.k) for c in columns]
        )
        if p is not None:
            parts["propensities"] = np.histogram(p, bins=BINS, range=(0.0, 1.0))[0]
    return parts


def _actions(total: dict[str, np.ndarray], problem: Problem, n: int) -> tuple[ActionRow, ...]:
    if "actions" not in total:
        return ()
    count, propensity, reward = total["actions"]
    known = "propensities" in total
    return tuple(
        ActionRow(
            name=name,
            n=int(count[a]),
            share=float(count[a] / n),
            mean_propensity=float(propensity[a] / count[a]) if known and count[a] else None,
            mean_reward=float(reward[a] / count[a]) if count[a] else 0.0,
        )
        for a, name in enumerate(problem.actions.names)
    )


def _series(sums: np.ndarray, span: tuple[int, int], problem: Problem, level: float) -> tuple[SeriesPoint, ...]:
    """One point per stretch that has rows; a single row knows no more than the declared range of rewards."""
    points = []
    for place, (n, total, square) in enumerate(sums.T):
        if n == 0:
            continue
        mean = total / n
        low, high = problem.reward_range
        if n > 1:
            half = special.stdtrit(n - 1, 0.5 + level / 2) * np.sqrt(max(square / n - mean**2, 0.0) / (n - 1))
            low, high = mean - half, mean + half
        time = span[0] + (2 * place + 1) * (span[1] - span[0] + 1) // (2 * POINTS)
        points.append(SeriesPoint(time=time, n=int(n), mean=float(mean), low=float(low), high=float(high)))
    return tuple(points)


def _histogram(total: dict[str, np.ndarray]) -> Histogram | None:
    if "propensities" not in total:
        return None
    edges = tuple(float(e) for e in np.linspace(0, 1, BINS + 1))
    return Histogram(edges=edges, counts=tuple(int(c) for c in total["propensities"]))
