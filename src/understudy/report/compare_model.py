"""What the report of a comparison holds: learners, tasks, intervals and curves, computed elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mode = Literal["fresh", "single", "same"]


@dataclass(frozen=True)
class Number:
    """A value and its interval; None = there is none, and the reader is told why."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Result:
    """One learner at its chosen setting, on one task or over all of them.

    Args:
        task: "" = over all tasks.
        setting: the fields in which the chosen setting differs from the others, in words; "" = there was one.
        settings: how many there were to choose from.
        scores: of the runs reported on, in the order of ``seeds``; failed ones have the score that failures get.
        failed, missing: seeds of runs that failed, and of runs that are planned and not there.
        chosen_at: mean score on the seeds it was chosen on; ``optimism``: that less the mean that is reported.
    """

    arm: str
    task: str
    setting: str
    settings: int
    seeds: tuple[int, ...]
    scores: tuple[float, ...]
    mean: Number
    median: Number
    iqm: Number
    failed: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()
    chosen_at: float | None = None
    optimism: float | None = None


@dataclass(frozen=True)
class Pair:
    """Two learners on the seeds they share: mean of a − b with an interval that holds for all pairs at once.

    Args:
        p: of this pair alone;  adjusted: Holm's, over the family.
        better: the chance that a run of a beats a run of b.
        note: why there is no interval, where there is none.
    """

    a: str
    b: str
    task: str
    seeds: int
    difference: Number | None = None
    p: float | None = None
    adjusted: float | None = None
    better: Number | None = None
    note: str = ""


@dataclass(frozen=True)
class Line:
    """A line with a band: a learner's curve or profile. Equal lengths; ``low`` and ``high`` may be ()."""

    name: str
    at: tuple[float, ...]
    value: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True)
class Panel:
    """Lines on one pair of axes. ``labels``: what stands under each of 0, 1, … where ``at`` counts categories.

    ``dots``: (at, value) of every other setting, drawn faintly. ``log``: the horizontal axis is logarithmic.
    """

    title: str
    lines: tuple[Line, ...]
    labels: tuple[str, ...] = ()
    dots: tuple[tuple[float, float], ...] = ()
    log: bool = False


@dataclass(frozen=True)
class Comparison:
    """Everything the reader of a comparison is shown, in the order it is shown.

    Args:
        statistic: of the three summaries, the one that ranks and is drawn.
        mode: "fresh": chosen on ``select``, reported on ``fresh``; "single": nothing was chosen; "same": chosen and
            reported on the same seeds, corrected.
        overall: over all tasks; equal to ``results`` where there is one task; () where scores have no common scale.
        family: pairs that the adjusted p-values and intervals hold for at once.
        claims: (better, worse, task) of the pairs whose difference is claimed.
        notes: what a reader must know: failures, missing runs, few runs.
        generated: microseconds since 1970 UTC; an argument, so that equal comparisons are equal bytes.
        commands: what to type to make this again.
    """

    title: str
    metric: str
    statistic: Literal["mean", "median", "iqm"]
    mode: Mode
    level: float
    tasks: tuple[str, ...]
    arms: tuple[str, ...]
    select: tuple[int, ...]
    fresh: tuple[int, ...]
    failures: str
    results: tuple[Result, ...]
    overall: tuple[Result, ...]
    pairs: tuple[Pair, ...]
    claims: tuple[tuple[str, str, str], ...]
    curves: tuple[Panel, ...]
    profiles: tuple[Panel, ...]
    sensitivity: tuple[Panel, ...]
    scales: tuple[tuple[str, float, float], ...]
    notes: tuple[str, ...]
    generated: int
    code_version: str
    commands: tuple[str, ...] = ()
    curve: str = ""
