"""The first look at a log, before anything is fitted: how long episodes are, what they earned, which were cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.core.evidence import Totals
from understudy.core.problem import Problem
from understudy.core.protocols import LoggedDataset
from understudy.core.steps import Steps
from understudy.ope.following import ended
from understudy.ope.sequential import too_long
from understudy.ops import blocks, returns


@dataclass(frozen=True)
class Survey:
    """Merges by ``+``."""

    longest: int
    cut: int  # episodes that neither ended nor reached the horizon
    lost: float  # Σ γ^{H} at the cuts: the discount of what nobody saw
    totals: Totals  # returns, by block of units
    low: float  # rewards seen
    high: float

    def __add__(self, other: Survey) -> Survey:
        return Survey(
            max(self.longest, other.longest),
            self.cut + other.cut,
            self.lost + other.lost,
            self.totals + other.totals,
            min(self.low, other.low),
            max(self.high, other.high),
        )

    @property
    def episodes(self) -> int:
        return int(self.totals.counts.sum())

    @property
    def mean(self) -> float:
        """Mean return of the log."""
        return float(self.totals.sums.sum() / self.totals.counts.sum())

    def logged(self) -> tuple[float | None, str]:
        """What values are normalized by, or None and why: a mean that may be 0 or of either sign divides nothing.

        A negative mean is as good as any: normalized values above 1 are then worse than the log.
        """
        error = float(blocks.jackknife(lambda mean: mean[..., 0], self.totals).bounds(0.95).std_error)
        if abs(self.mean) > 2 * error and self.mean != 0:
            return self.mean, ""
        why = f"the log's mean return {self.mean:.4g} is within two standard errors ({error:.2g}) of 0"
        return None, f"not normalized: {why}"

    @property
    def note(self) -> tuple[str, ...]:
        """What readers must know of episodes that were cut."""
        if not self.cut:
            return ()
        what = f"{self.cut:,} of {self.episodes:,} episodes were cut before their end"
        return (f"{what}: weights count only what was seen; sdr, wdr, magic, fqe and mis go on in the model",)


def survey(data: LoggedDataset, problem: Problem) -> Survey | None:
    """The survey of a log; None if it is empty. Raises: EvidenceError if an episode is longer than the horizon."""
    total: Survey | None = None
    for steps in data.scan():
        part = _part(steps, problem)
        total = part if total is None else total + part
    return total


def _part(steps: Steps, problem: Problem) -> Survey:
    longest = returns.longest(steps.starts)
    if problem.horizon is not None and longest > problem.horizon:
        raise too_long(longest, problem.horizon)
    gain = returns.totals(steps, problem.discount)
    cut = steps.starts[1:][~ended(steps, problem.horizon)] - 1
    return Survey(
        longest=longest,
        cut=len(cut),
        lost=float((returns.factors(steps, problem.discount) * returns.hops(steps, problem.discount))[cut].sum()),
        totals=blocks.totals(gain[:, None], steps.unit),
        low=float(steps.reward.min(initial=np.inf)),
        high=float(steps.reward.max(initial=-np.inf)),
    )
