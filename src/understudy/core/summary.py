"""What a reader is shown besides estimates: frozen summaries that diagnostics compute and reports draw."""

from __future__ import annotations

import msgspec


class Histogram(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Counts between consecutive edges: len(edges) = len(counts) + 1."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class OverlapRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How well the log covers a target policy in one segment."""

    segment: str  # "feature=value", or an action's name
    n: int
    ess: float
    max_weight_share: float
    unsupported: float  # share of the target's probability on actions the log never took here
    matched: int


class Diagnostics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The weights of one target policy on one log."""

    target: str
    n: int
    ess: float
    max_weight_share: float
    heaviest: int  # row of the largest weight
    pareto_k: float | None  # tail shape of the weights; > 0.7 means no interval by a central limit can be trusted
    mean_weight: float  # 1 in expectation if the propensities are right
    mean_weight_se: float
    matched: int
    unsupported: float
    weights: Histogram  # edges in log10 of the weight; zero weights are in the first bin
    overlap: tuple[OverlapRow, ...] = ()


class ActionRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One action in the log."""

    name: str
    n: int
    share: float
    mean_propensity: float | None
    mean_reward: float


class SeriesPoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mean reward of a stretch of the log, with its interval."""

    time: int  # microseconds since 1970 UTC
    n: int
    mean: float
    low: float
    high: float


class LogSummary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A log at a glance."""

    n_steps: int
    n_episodes: int
    n_units: int
    first: int  # microseconds since 1970 UTC
    last: int
    mean_reward: float
    missing_outcomes: float  # share of steps on which no outcome arrived
    actions: tuple[ActionRow, ...]
    rewards: tuple[SeriesPoint, ...]
    propensities: Histogram | None = None
