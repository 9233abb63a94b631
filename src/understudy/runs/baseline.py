"""A log of episodes at a glance: how long, what they earned, what was done, how healthy the propensities are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from understudy.core.protocols import LoggedDataset
from understudy.core.steps import Steps
from understudy.ops.returns import lengths, sums, totals
from understudy.runs.assess import aligned

RARE = 0.01  # propensities below are counted: each weighs a hundred rows or more


class Mean(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mean with its standard error, clustered by unit; a single unit has none."""

    value: float
    std_error: float | None

    def __str__(self) -> str:
        return f"{self.value:.4f}" if self.std_error is None else f"{self.value:.4f} ± {self.std_error:.4f}"


class Health(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The log's propensities, or densities."""

    least: float
    most: float
    rare: float  # share of steps below .01
    mean_inverse: Mean | None  # of 1/(p · allowed actions): 1 in expectation if they are right; None for densities


class ActionUse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One dimension of a continuous action."""

    low: float
    high: float
    mean: float
    spread: float


class EpisodeSummary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a log of episodes says before anybody learns from it; ``returns`` are the baseline to beat."""

    n_episodes: int
    terminated: int
    truncated: int
    lengths: tuple[float, float, float, float]  # shortest, mean, median, longest
    returns: Mean  # Σ r
    discounted: Mean  # Σ γ^t r, in the problem's discount
    health: Health | None
    actions: tuple[ActionUse, ...] = ()  # of a continuous problem


def summarize_episodes(data: LoggedDataset) -> EpisodeSummary:
    """One pass; a few numbers per episode are held.

    Standard errors are clustered by unit: √(Σ_u (Σ_{i∈u} (G_i − Ḡ))² · U / (U − 1)) / m.
    """
    parts: list[dict[str, np.ndarray]] = [_figures(steps, data) for steps in data.scan()]
    each = {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if not name.startswith("sum_")}
    size, unit = each["length"], each["unit"]
    return EpisodeSummary(
        n_episodes=len(size),
        terminated=int(each["terminated"].sum()),
        truncated=int(len(size) - each["terminated"].sum()),
        lengths=(float(size.min()), float(size.mean()), float(np.median(size)), float(size.max())),
        returns=clustered(each["return"], unit),
        discounted=clustered(each["discounted"], unit),
        health=_health(each) if "least" in each else None,
        actions=_used({name: [part[name] for part in parts] for name in parts[0] if name.startswith("sum_")}, size),
    )


def clustered(values: np.ndarray, unit: np.ndarray, weight: np.ndarray | None = None) -> Mean:
    """The mean of values f64[m] — with ``weight`` the ratio Σ values / Σ weight — and its standard error by unit."""
    share = np.ones(len(values)) if weight is None else weight
    mean = float(values.sum() / share.sum())
    _, code = np.unique(unit, return_inverse=True)
    off = np.bincount(code, weights=values - mean * share)
    if len(off) < 2:
        return Mean(value=mean, std_error=None)
    error = np.sqrt((off**2).sum() * len(off) / (len(off) - 1)) / share.sum()
    return Mean(value=mean, std_error=float(error))


def episode_lines(summary: EpisodeSummary, discount: float) -> list[str]:
    """For a person."""
    shortest, mean, median, longest = summary.lengths
    lines = [
        f"{summary.n_episodes} episodes of {shortest:.0f} to {longest:.0f} steps, {mean:.1f} on average, "
        f"{median:.0f} in the middle: "
        f"{summary.terminated} terminated, {summary.truncated} truncated",
        f"mean return {summary.returns}; discounted by {discount:g} a step {summary.discounted}: the baseline to beat",
    ]
    if summary.actions:
        rows = [
            [str(i), *(f"{x:.4g}" for x in (u.low, u.high, u.mean, u.spread))] for i, u in enumerate(summary.actions)
        ]
        lines += aligned(rows, ["action", "least", "most", "mean", "sd"])
    if summary.health is None:
        return [*lines, *(["no densities in this log: trajectories cannot be weighted"] if summary.actions else [])]
    health = summary.health
    if health.mean_inverse is None:
        return [*lines, f"densities of the logged actions: {health.least:.4g} to {health.most:.4g}"]
    return [
        *lines,
        f"propensities {health.least:.4g} to {health.most:.4g}, below {RARE:g} on {health.rare:.1%} of steps; "
        f"mean weight of acting uniformly {health.mean_inverse} (1 if they are right)",
    ]


def _figures(steps: Steps, data: LoggedDataset) -> dict[str, np.ndarray]:
    """What one batch says of each of its episodes; ``sum_…`` are sums over the batch."""
    space, starts = data.problem.actions, steps.starts
    found = {
        "unit": steps.unit,
        "length": lengths(starts),
        "terminated": steps.terminated[starts[1:] - 1],
        "return": totals(steps, 1.0),
        "discounted": totals(steps, data.problem.discount),
    }
    if steps.propensity is not None:
        p = steps.propensity
        found["least"], found["most"] = np.minimum.reduceat(p, starts[:-1]), np.maximum.reduceat(p, starts[:-1])
        found["rare"] = sums((p < RARE).astype(np.float64), starts)
        if space.discrete:
            possible = space.k if steps.allowed is None else steps.allowed.sum(1)
            found["inverse"] = sums(1.0 / (p * possible), starts)
    if not space.discrete:
        action = steps.action.astype(np.float64)
        found |= {"sum_low": action.min(0), "sum_high": action.max(0)}
        found |= {"sum_1": action.sum(0), "sum_2": (action**2).sum(0)}
    return found


def _health(each: Mapping[str, np.ndarray]) -> Health:
    size = each["length"].astype(np.float64)
    return Health(
        least=float(each["least"].min()),
        most=float(each["most"].max()),
        rare=float(each["rare"].sum() / size.sum()),
        mean_inverse=clustered(each["inverse"], each["unit"], size) if "inverse" in each else None,
    )


def _used(parts: Mapping[str, list[Any]], size: np.ndarray) -> tuple[ActionUse, ...]:
    if not parts:
        return ()
    n = size.sum()
    low, high = np.min(parts["sum_low"], 0), np.max(parts["sum_high"], 0)
    mean, square = np.sum(parts["sum_1"], 0) / n, np.sum(parts["sum_2"], 0) / n
    spread = np.sqrt(np.maximum(square - mean**2, 0.0))
    return tuple(
        ActionUse(low=float(a), high=float(b), mean=float(c), spread=float(d))
        for a, b, c, d in zip(low, high, mean, spread)
    )
