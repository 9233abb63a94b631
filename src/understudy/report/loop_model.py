"""What the report of a loop holds: curves, turns and changes of who is live, computed elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from understudy.core.evidence import Estimate, Lift
from understudy.core.problem import Problem

Role = Literal["arm", "oracle", "constant", "other"]


@dataclass(frozen=True)
class Curve:
    """Rolling mean reward against decisions made so far; the three tuples (five with a band) have equal length.

    Args:
        role: ``arm`` is drawn in ink, ``oracle`` and ``constant`` as marks to compare with.
        at: decisions made when the point was reached, ascending.
        low, high: a band around the mean (an interval, or the spread over seeds); () = none.
        overall: mean reward over everything, where it is known; an arm's stands in ``Arm.mean``.
    """

    name: str
    role: Role
    at: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    overall: float | None = None


@dataclass(frozen=True)
class LoopRow:
    """One turn of the loop: what was served, what was trained, what was estimated, what was decided.

    Args:
        loop: 0 is the first batch, before anything was trained.
        decisions: made in this turn.
        mean_reward: of this turn's decisions.
        hosted, candidate: ids of the policy in service during the turn, and of the one on trial; "" = nobody.
        share: of the traffic that the candidate had.
        new, old: estimates of candidate and hosted policy on the same events.
        outcome: of the verdict: "ship", "hold", "not_enough_evidence", "refused"; "" = nobody was judged.
        reason: the verdict's, or why nobody was judged.
        promoted: whether the candidate was made live at the end of the turn.
    """

    loop: int
    decisions: int
    mean_reward: float
    hosted: str = ""
    candidate: str = ""
    share: float = 0.0
    new: Estimate | None = None
    old: Estimate | None = None
    lift: Lift | None = None
    outcome: str = ""
    reason: str = ""
    promoted: bool = False


@dataclass(frozen=True)
class Change:
    """One change of who is live: ``kind`` is "install", "promote", "override" or "rollback"."""

    time: int  # microseconds since 1970 UTC
    kind: str
    policy: str
    reason: str = ""


@dataclass(frozen=True)
class Arm:
    """One way of running the loop, over one seed or many.

    Args:
        curve: its rolling mean reward.
        mean: reward per decision over everything it did.
        last: the same over its last ``last_n`` decisions; None = not asked.
        rows, changes: of its one seed, or of the first.
    """

    name: str
    curve: Curve
    decisions: int
    mean: float
    last: float | None = None
    last_n: int = 0
    seeds: int = 1
    description: str = ""
    rows: tuple[LoopRow, ...] = ()
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class LoopStory:
    """Everything the reader of a loop's report is shown, in the order it is shown.

    Args:
        window: decisions that each point of a curve averages.
        band: what the bands around curves are, in words.
        marks: oracle, best constant and others to compare with.
        names: policy id → what people call it, where they call it something.
        generated: microseconds since 1970 UTC; an argument, so that equal stories are equal bytes.
        commands: what to type to make this again.
    """

    title: str
    problem: Problem
    arms: tuple[Arm, ...]
    generated: int
    window: int = 100
    band: str = ""
    marks: tuple[Curve, ...] = ()
    subtitle: str = ""
    names: dict[str, str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    code_version: str = ""
    seed: int | None = None
