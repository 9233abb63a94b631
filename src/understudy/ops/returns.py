"""Rewards over time: discount factors, returns, returns-to-go, and the padded layout. Arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from understudy.core.steps import Steps

LOOSE = 4  # a padded table may hold this many times the rows; beyond, episodes are walked step by step


def lengths(starts: np.ndarray) -> np.ndarray:
    """i64[m] steps of each episode."""
    return np.diff(starts)


def longest(starts: np.ndarray) -> int:
    """T, the steps of the longest episode; 0 of none."""
    return int(lengths(starts).max(initial=0))


def places(starts: np.ndarray) -> np.ndarray:
    """i64[n] t of each row within its episode, from 0."""
    size = lengths(starts)
    return np.arange(starts[-1]) - np.repeat(starts[:-1], size)


def level(starts: np.ndarray) -> bool:
    """Whether all episodes are equally long, so that a table [m, T] is a view."""
    return len(starts) > 1 and (len(starts) - 1) * longest(starts) == int(starts[-1])


def walk(starts: np.ndarray) -> Iterator[np.ndarray]:
    """Rows i64[alive] of step t of all episodes that have one, for t = 0, 1, …; memory O(m) however long one is."""
    size = lengths(starts)
    order = np.argsort(-size, kind="stable")
    first, alive = starts[:-1][order], np.searchsorted(-size[order], -np.arange(longest(starts)), side="left")
    for t, count in enumerate(alive):
        yield first[:count] + t


def factors(steps: Steps, discount: float) -> np.ndarray:
    """γ^{H_t}, H_t = Σ_{s<t} span_s of the same episode (t itself where the log gives no spans). → f64[n]."""
    starts = steps.starts
    if discount == 1.0:
        return np.ones(steps.n)
    if steps.span is None:
        power = discount ** np.arange(longest(starts), dtype=np.float64)
        return np.tile(power, steps.m) if level(starts) else power[places(starts)]
    before = np.concatenate([[0.0], np.cumsum(steps.span)])[:-1]
    return discount ** (before - np.repeat(before[starts[:-1]], lengths(starts)))


def hops(steps: Steps, discount: float) -> np.ndarray:
    """γ^{span_t}: the discount from each step to the next. → f64[n]."""
    return np.full(steps.n, discount) if steps.span is None else discount**steps.span


def sums(column: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Σ_t of a column f64[n] over each episode. → f64[m]."""
    if level(starts):
        table = column.reshape(len(starts) - 1, -1)
        return table @ np.ones(table.shape[1])
    return np.add.reduceat(column, starts[:-1])


def totals(steps: Steps, discount: float) -> np.ndarray:
    """G = Σ_t γ^{H_t} r_t of each episode. → f64[m], in units of reward."""
    return sums(steps.reward * factors(steps, discount), steps.starts)


def to_go(steps: Steps, discount: float) -> np.ndarray:
    """G_t = r_t + γ^{span_t} G_{t+1}: what an episode still brought from each step on. → f64[n].

    Walked backward, not divided by γ^{H_t}, which underflows in long episodes.
    >>> # rewards 1, 2 at γ = .9: G = 1 + .9 · 2 = 2.8, then 2
    """
    out, hop, starts = steps.reward.copy(), hops(steps, discount), steps.starts
    last = np.zeros(steps.n, bool)
    last[starts[1:] - 1] = True
    for rows in reversed(list(walk(starts))):
        on = rows[~last[rows]]
        out[on] += hop[on] * out[on + 1]
    return out


def advantages(
    steps: Steps, value: np.ndarray, beyond: np.ndarray, discount: float, trace: float, scale: float = 1.0
) -> np.ndarray:
    """Generalised advantages A_t = δ_t + γ^{span_t} λ A_{t+1}, δ_t = r_t + γ^{span_t} V_{t+1} − V_t. → f64[n].

    After the last step of an episode V is 0 if it terminated, else ``beyond`` f64[m], and A is 0.
    Args: value V_t f64[n]; trace λ; scale, a factor on rewards. Source: Schulman et al. 2016, equations 11, 12, 16.
    """
    hop, starts = hops(steps, discount), steps.starts
    last = starts[1:] - 1
    ahead = np.append(value[1:], 0.0)
    ahead[last] = np.where(steps.terminated[last], 0.0, beyond)
    out = scale * steps.reward + hop * ahead - value
    ends = np.zeros(steps.n, bool)
    ends[last] = True
    for rows in reversed(list(walk(starts))):
        on = rows[~ends[rows]]
        out[on] += hop[on] * trace * out[on + 1]
    return out


def padded(column: np.ndarray, starts: np.ndarray, width: int, *, keep: bool = False) -> np.ndarray:
    """A column f64[n] as a table [m, width]; past its end an episode has 0, or with ``keep`` its last entry."""
    m, size = len(starts) - 1, lengths(starts)
    if level(starts) and size[0] == width:
        return column.reshape(m, width)
    table = np.zeros((m, width))
    inside = np.arange(width) < size[:, None]
    table[inside] = column
    if keep:
        np.copyto(table, column[starts[1:] - 1][:, None], where=~inside)
    return table


def bounds(low: float, high: float, discount: float, horizon: int | None, spans: bool = False) -> tuple[float, float]:
    """Lowest and highest return of rewards in [low, high]: Σ γ^t over at most ``horizon`` steps.

    An episode may be shorter than the horizon, so 0 is in the range of all but a bandit. Where steps have spans, γ
    counts time and not steps: then only γ^{H} ≤ 1 holds, and without a horizon there is no bound.
    """
    if horizon == 1:
        return low, high
    if spans or discount == 1.0:
        most = np.inf if horizon is None else float(horizon)
    else:
        most = (1.0 - (0.0 if horizon is None else discount**horizon)) / (1.0 - discount)
    return (min(low, 0.0) * most if low < 0 else 0.0), (max(high, 0.0) * most if high > 0 else 0.0)
