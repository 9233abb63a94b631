"""What the report of a coupon benchmark holds: policies, figures by segment, courses; computed elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from understudy.report.compare_model import Number


@dataclass(frozen=True)
class Judgement:
    """One off-policy estimate beside the truth; ``number`` None = the estimator refused."""

    estimator: str
    number: Number | None
    truth: float


@dataclass(frozen=True)
class Policy:
    """One policy in the shops that judge; figures per customer over an episode, intervals over environments.

    Args:
        kind: random, fixed, or learned.
        ratio: revenue over that of the random policy, paired by environment; None where nobody was random.
        behind: the best learned policy's revenue less this one's, paired by environment.
        shares: of each coupon. cumulative: revenue up to each step. mix: shares of each coupon in each step.
    """

    name: str
    kind: str
    revenue: Number
    ratio: Number | None
    behind: Number | None
    demand: float
    retention: Number
    penetration: float
    coupon_spend: float
    discount: float
    shares: tuple[float, ...]
    cumulative: tuple[float, ...]
    mix: tuple[tuple[float, ...], ...]
    judgements: tuple[Judgement, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One policy in one segment."""

    policy: str
    segment: str
    revenue: Number
    ratio: Number | None
    discount: float
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Segmentation:
    """A way to cut the customers: its segments with the number of customers in each, and a cell per policy.

    ``known``: from what a shop could know, rather than from what only the simulator knows.
    """

    name: str
    note: str
    known: bool
    segments: tuple[str, ...]
    sizes: tuple[int, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Dot:
    """A customer in the scatter: latent price coefficient, revenue under random coupons, segment by estimate."""

    sensitivity: float
    revenue: float
    segment: int


@dataclass(frozen=True)
class Size:
    """A learner at a number of training customers."""

    learner: str
    customers: int
    revenue: Number


@dataclass(frozen=True)
class Shop:
    """The whole benchmark. Equal studies give equal shops."""

    title: str
    code_version: str
    environments: int
    customers: int
    steps: int
    seeds: tuple[int, ...]
    training: int
    coupons: tuple[str, ...]
    policies: tuple[Policy, ...]
    segmentations: tuple[Segmentation, ...]
    dots: tuple[Dot, ...]
    relevance: tuple[tuple[str, float], ...]
    sizes: tuple[Size, ...]
    elasticity_rank: float | None
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> Policy | None:
        """The learned policy with the highest revenue."""
        learned = [p for p in self.policies if p.kind == "learned"]
        return max(learned, key=lambda p: p.revenue.value) if learned else None
