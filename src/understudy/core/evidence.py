"""What an estimator reads, what it sums to, and what is reported."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np

from understudy.core.steps import Steps


@dataclass(frozen=True)
class Evidence:
    """All that an estimator may read about one target policy; computed once, shared by all estimators."""

    steps: Steps
    discount: float  # γ of the problem; 1 never matters in a bandit
    ratio: np.ndarray  # f64[n] ρ = π(a|x) / b(a|x)
    q: np.ndarray | None = None  # f64[n] Q̂(x, a), out-of-fold by unit
    v: np.ndarray | None = None  # f64[n] Σ_a π(a|x) Q̂(x, a), from the same fold
    match: np.ndarray | None = None  # bool[n] the logged action is a most probable one of the target
    density_ratio: np.ndarray | None = None  # f64[n] ω(x): discounted visits of the target ÷ visits of the log
    horizon: int | None = None  # T of terms that have a column per step; None = the longest episode here
    v_end: np.ndarray | None = None  # f64[m] V̂ after the last step: 0 where the world ended, V̂(final_context) if cut

    @cached_property
    def shared(self) -> dict[str, np.ndarray]:
        """Columns that one estimator has worked out and the next need not."""
        return {}


@dataclass(frozen=True)
class Totals:
    """Terms summed into K blocks of units; ``a + b`` is the whole, whatever the order or the partition."""

    sums: np.ndarray  # f64[K, p]
    counts: np.ndarray  # f64[K] episodes in each block

    def __add__(self, other: Totals) -> Totals:
        return Totals(self.sums + other.sums, self.counts + other.counts)


class Estimate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value with its interval, in units of reward; never a bare float.

    ``low`` and ``high`` are None where the data cannot carry an interval of that method; ``notes`` then say why.
    """

    target: str  # a policy, or a difference "a - b"
    estimator: str
    value: float
    std_error: float | None
    low: float | None
    high: float | None
    level: float
    method: str  # "jackknife", "bootstrap", "studentised", "empirical_bernstein", "betting"
    n_episodes: int
    n_units: int
    ess: float
    max_weight_share: float
    matched: int
    segment: str = ""  # "" = everybody, else "feature=value"
    notes: tuple[str, ...] = ()
    ess_by_step: tuple[float, ...] = ()  # of the weights up to each step of an episode; empty in a bandit
    normalized: float | None = None  # value ÷ mean return of the log, where asked for and where that is not about 0

    @property
    def refused(self) -> bool:
        """Whether the data could not carry an interval."""
        return self.low is None or self.high is None


class Pair(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How well a log can tell a candidate from the incumbent."""

    n: int
    n_units: int
    ess: float  # of the candidate's weights
    max_weight_share: float  # of the candidate's weights
    heaviest: int  # row of the largest weight
    disagreement: float  # share of decisions whose most probable action differs between the two
    matched: int  # logged actions that are a most probable one of the candidate
    matched_disagreeing: int  # the same, where the two disagree (all of one unknown: where the candidate is likelier)
    unsupported: float  # share of the candidate's probability on actions that the log cannot contain


class Lift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The gate's evidence that a candidate beats the incumbent: an e-process on the paired difference.

    Rewards are scaled to [0, 1] by the problem's reward_range. ``log_e`` is the natural logarithm of the e-process
    at the end of the log, ``peak_log_e`` its maximum over all prefixes; under "no lift" the chance that the peak
    ever reaches ln(1/α) is at most α (Ville).
    """

    candidate: str
    incumbent: str
    n: int
    margin: float  # smallest lift worth shipping, in units of reward; negative = non-inferiority
    log_e: float
    peak_log_e: float
    mean: float  # of the paired difference (doubly robust where there is a model), in units of reward
    low: float | None  # anytime-valid lower bound of the difference at the rules' level, in units of reward
    second_moment: float  # E D² of the scaled difference: what the planner's forecast needs
    parts: dict[str, float] = {}  # final log e-value of each averaged process
    level: float = 0.95
    high: float | None = None  # anytime-valid upper bound of the difference, in units of reward
    std_error: float | None = None  # of ``mean``; for people, never for the proof
    reverse_peak_log_e: float = 0.0  # the same process for "the lift is at least the margin": large = evidence against
    growth: float = 0.0  # logarithmic growth per unit of the best bet so far: the forecast divides by it
    n_units: int = 0
    anytime: bool = True  # False: units may return in later looks, so the proof is valid per look only
    design: str = ""  # what must not change between looks at one candidate: margin, Q̂, level
    pair: Pair | None = None
    notes: tuple[str, ...] = ()


class Check(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing the gate looked at."""

    name: str
    observed: float | str | None
    threshold: float | str | None
    passed: bool
    why: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """ship, hold, not_enough_evidence (with the further decisions needed) or refused. Never "ship" by absence."""

    outcome: str
    candidate: str
    incumbent: str
    checks: tuple[Check, ...]
    reason: str
    needed: int | None = None  # further decisions of the same kind, where more would help


class Finding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing an audit found wrong with a log: which rows, what it does to estimates, how to cure it."""

    name: str
    severity: str  # "refuse" (no estimate may be trusted) or "warn"
    rows: int
    first: str  # the first offender, as a person would look it up
    observed: str
    effect: str
    cure: str
    p_value: float | None = None
