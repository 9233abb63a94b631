"""The forest plot: every estimate with its interval, grouped by policy, the truth beside it when it is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from understudy.core.evidence import Estimate
from understudy.report.canvas import place, sheet, write
from understudy.report.model import Report
from understudy.report.palette import LIGHT
from understudy.report.words import Words, reason, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Speak = Callable[[Estimate], tuple[str, str]]  # an estimate's value and interval in figures

ROW, HEAD, TOP, BOTTOM = 22, 27, 34, 44
INTERVAL = 136  # room for the interval's figures, right of the estimate's


@dataclass(frozen=True)
class Group:
    """The estimates of one target, and where the truth lies."""

    name: str
    estimates: tuple[Estimate, ...]
    truth: float | None


@dataclass(frozen=True)
class Forest:
    """What one forest plot shows: groups, the line to compare with, and the axis's words."""

    groups: tuple[Group, ...]
    line: float | None
    line_label: str
    axis: str
    signed: bool = False


def values(report: Report, words: Words) -> Forest:
    """Each policy's value; the line is the incumbent's."""
    groups = tuple(
        Group(c.name, report.values(c), report.truth(c))
        for c in (*report.challengers, *(c for c in report.candidates if c.name == report.incumbent))
        if report.values(c)
    )
    incumbent = report.candidate(report.incumbent)
    quoted = report.quoted(report.values(incumbent)) if incumbent else None
    line = quoted.value if quoted and not quoted.refused else None
    return Forest(groups, line, report.incumbent, f"value: average reward per {words.per}")


def differences(report: Report, words: Words) -> Forest:
    """Each candidate's paired difference from the incumbent; the line is no difference."""
    groups = tuple(
        Group(c.name, report.differences(c), report.truth(c, difference=True))
        for c in report.challengers
        if report.differences(c)
    )
    axis = f"difference from {tidy(report.incumbent, 24)}, in reward per {words.per}"
    return Forest(groups, 0.0, "no difference", axis, signed=True)


def limits(forest: Forest) -> tuple[float, float]:
    """Where the axis starts and ends: all that matters, but one enormous interval may not squash the rest."""
    drawn = [e for g in forest.groups for e in g.estimates if not e.refused]
    marks = [g.truth for g in forest.groups if g.truth is not None] + ([forest.line] if forest.line is not None else [])
    centers = [e.value for e in drawn] + marks
    if not centers:
        return 0.0, 1.0
    half = median([max(e.high - e.value, e.value - e.low) for e in drawn]) if drawn else 0.0  # type: ignore[operator]
    low = max(min([e.low for e in drawn if e.low is not None] + marks), min(centers) - 6 * half)
    high = min(max([e.high for e in drawn if e.high is not None] + marks), max(centers) + 6 * half)
    pad = 0.06 * (high - low) or max(abs(high), 1.0) * 0.06
    return low - pad, high + pad


def draw(forest: Forest, words: Words, width: int) -> Figure:
    """Rows from top to bottom; beside each the figures in words where the page is wide enough."""
    wide = width >= 600
    left, right = (132, 208) if wide else (84, 14)
    rows = sum(len(g.estimates) for g in forest.groups)
    body = rows * ROW + len(forest.groups) * HEAD
    drawing = sheet(width, TOP + body + BOTTOM)
    axes = place(drawing, left, TOP, width - left - right, body)
    axes.set_ylim(body, 0)
    axes.set_xlim(*limits(forest))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.locator_params(axis="x", nbins=6 if wide else 4)
    axes.set_xlabel(tidy(forest.axis if wide else forest.axis.partition(", ")[0], 70 if wide else 46), labelpad=6)
    _line(axes, forest, wide)

    def speak(e: Estimate) -> tuple[str, str]:
        return words.reward(e.value, forest.signed), words.interval(e)

    y = 0.0
    for group in forest.groups:
        y = _group(drawing, axes, group, y, speak if wide else None)
    if any(g.truth is not None for g in forest.groups):
        write(drawing, 0, 18, "◆ truth, known here" if wide else "◆ truth", color=LIGHT["truth"])
    return drawing


def _line(axes: Axes, forest: Forest, wide: bool) -> None:
    if forest.line is None:
        return
    axes.axvline(forest.line, color=LIGHT["muted"], linewidth=1.1, linestyle=(0, (4, 3)), zorder=1)
    label = tidy(forest.line_label, 30 if wide else 16)
    axes.annotate(
        label,
        (forest.line, 0),
        xytext=(0, 5),
        textcoords="offset points",
        ha="center",
        color=LIGHT["muted"],
        annotation_clip=False,
    )


def _group(drawing: Figure, axes: Axes, group: Group, y: float, speak: Speak | None) -> float:
    """One policy: its name, then a row per estimate, its figure spoken where there is room. → where the next starts."""
    wide = speak is not None
    start = TOP + y + HEAD - 8
    write(drawing, 0, start, tidy(group.name, 44 if wide else 24), weight="bold", color=LIGHT["ink"], fontsize=13)
    end = y + HEAD + len(group.estimates) * ROW
    if group.truth is not None:
        stop = y + HEAD - 2 if all(e.refused for e in group.estimates) else end - 2
        axes.plot([group.truth] * 2, [y + HEAD - 2, stop], color=LIGHT["truth"], linewidth=1.4, zorder=2)
        axes.plot([group.truth], [y + HEAD - 5], "D", color=LIGHT["truth"], markersize=5, zorder=4, clip_on=False)
    for i, e in enumerate(group.estimates):
        center = y + HEAD + (i + 0.5) * ROW
        write(drawing, 14, TOP + center + 4, tidy(e.estimator, 19 if wide else 12), color=LIGHT["muted"])
        if e.refused:
            _refused(axes, e, center, wide)
            continue
        _row(axes, e, center)
        if speak:
            x = drawing.get_size_inches()[0] * 72
            value, interval = speak(e)
            write(drawing, x - INTERVAL, TOP + center + 4, value, color=LIGHT["ink"], ha="right")
            write(drawing, x, TOP + center + 4, interval, color=LIGHT["muted"], ha="right")
    return end


def _row(axes: Axes, e: Estimate, y: float) -> None:
    """An interval with its estimate; an arrow head where it runs off the picture."""
    low, high = axes.get_xlim()
    start, stop = max(e.low or 0.0, low), min(e.high or 0.0, high)
    axes.plot([start, stop], [y, y], color=LIGHT["data"], linewidth=2.2, solid_capstyle="butt", zorder=3)
    if low <= e.value <= high:
        axes.plot([e.value], [y], "o", color=LIGHT["data"], markersize=6, zorder=4)
    for edge, cut, marker in ((low, start == low, "<"), (high, stop == high, ">")):
        if cut:
            axes.plot([edge], [y], marker, color=LIGHT["data"], markersize=6, clip_on=False, zorder=4)


def _refused(axes: Axes, e: Estimate, y: float, wide: bool) -> None:
    low, high = axes.get_xlim()
    axes.plot([low, high], [y, y], color=LIGHT["refused"], linewidth=0.9, linestyle=(0, (1, 3)), zorder=1)
    axes.annotate(
        tidy(f"refused: {reason(e)}", 88 if wide else 40),
        (low, y),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        color=LIGHT["refused"],
        bbox={"facecolor": LIGHT["card"], "edgecolor": "none", "pad": 1.5},
        zorder=5,
        annotation_clip=False,
    )
