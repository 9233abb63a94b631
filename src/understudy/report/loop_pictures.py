"""The pictures of a loop's report: what it earned as it went, and what was estimated at every turn."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from understudy.core.evidence import Estimate, Lift
from understudy.report.canvas import place, sheet, write
from understudy.report.loop_model import Curve, LoopRow, LoopStory
from understudy.report.loop_words import MARKS, outcome
from understudy.report.palette import LIGHT, TONE
from understudy.report.pictures import Picture
from understudy.report.words import Words, count, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INKS = ("data", "truth", "ship", "refused", "hold")  # of arms, in their order; more arms share them again
MOST_LOOPS = 40  # turns drawn, the last ones; the table holds all


def loop_pictures(story: LoopStory, words: Words) -> tuple[Picture, ...]:
    """Every picture this story has the figures for, in the page's order."""
    return tuple(_all(story, words))


def _all(story: LoopStory, words: Words) -> Iterator[Picture]:
    shown = [arm for arm in story.arms if arm.curve.at]
    if shown:
        ends = [
            f"{c.name} ends at {words.reward(c.mean[-1])}" for c in (*(a.curve for a in shown), *story.marks) if c.at
        ]
        alt = f"Mean reward of the last {count(story.window)} decisions as the loop went on: {'; '.join(ends)}."
        yield Picture("rolling", "What the loop earned as it went", alt, partial(rolling, story, words))
    for i, arm in enumerate(story.arms):
        judged = [row for row in arm.rows if row.outcome]
        if not judged:
            continue
        name = f": {arm.name}" if len(story.arms) > 1 else ""
        told = "; ".join(f"turn {row.loop} {outcome(row).lower()}" for row in judged)
        alt = f"Estimates of the policy on trial and of the one in service{name}. {told}."
        yield Picture(f"turns-{i}", f"Turn by turn{name}", alt, partial(turns, judged[-MOST_LOOPS:], words))


def rolling(story: LoopStory, words: Words, width: int) -> Figure:
    """Rolling mean reward of every arm, with its band; oracle and best constant as lines to compare with."""
    wide = width >= 600
    named = [*((arm.curve, LIGHT[INKS[i % len(INKS)]]) for i, arm in enumerate(story.arms)),
             *((mark, LIGHT["muted"]) for mark in story.marks)]  # fmt: skip
    named = [(curve, ink) for curve, ink in named if curve.at]
    right, foot = (150, 52) if wide else (10, 52 + 18 * len(named))
    drawing = sheet(width, 244 + foot)
    axes = place(drawing, 50, 10, width - 50 - right, 234)
    for curve, ink in named:
        _curve(axes, curve, ink)
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="y", nbins=6)
    axes.locator_params(axis="x", nbins=6 if wide else 4)
    axes.xaxis.set_major_formatter(lambda x, _: count(round(x)))
    axes.margins(x=0.01)
    axes.set_xlabel("decisions made", labelpad=6)
    labels = [
        (curve, ink, f"{tidy(curve.name, 17 if wide else 28)}  {words.reward(curve.mean[-1])}") for curve, ink in named
    ]
    if wide:
        _beside(axes, labels)
    else:
        for i, (_, ink, text) in enumerate(labels):
            write(drawing, 50, 244 + 52 + 18 * i, f"— {text}", color=ink)
    return drawing


def _curve(axes: Axes, curve: Curve, ink: str) -> None:
    if curve.low:
        axes.fill_between(curve.at, curve.low, curve.high, color=ink, alpha=0.16, linewidth=0)
    if len(curve.at) == 1 or curve.role == "constant":
        axes.axhline(curve.mean[-1], color=ink, linewidth=1.2, linestyle=(0, (1, 2)))
    else:
        style = "-" if curve.role == "arm" else (0, (4, 3))
        axes.plot(curve.at, curve.mean, color=ink, linewidth=1.8 if curve.role == "arm" else 1.2, linestyle=style)


def _beside(axes: Axes, labels: list[tuple[Curve, str, str]]) -> None:
    """Each curve's name at its end, moved apart where two end alike."""
    low, high = axes.get_ylim()
    apart = (high - low) * 17 / 234  # the height of a line of text, in units of reward
    places = sorted(((curve.mean[-1], ink, text) for curve, ink, text in labels), key=lambda label: label[0])
    heights: list[float] = []
    for value, _, _ in places:
        heights.append(max(value, heights[-1] + apart) if heights else value)
    over = max(0.0, heights[-1] - high) if heights else 0.0
    for y, (_, ink, text) in zip(heights, places):
        axes.annotate(text, (1, y - over), xycoords=("axes fraction", "data"), xytext=(8, -4),
                      textcoords="offset points", color=ink, annotation_clip=False)  # fmt: skip


def turns(rows: list[LoopRow], words: Words, width: int) -> Figure:
    """Above: both policies' values at each turn. Below: their paired difference, and what the gate made of it."""
    valued = [row for row in rows if _drawn(row.new) or _drawn(row.old)]
    top = 190 if valued else 0
    drawing = sheet(width, top + 216)
    if valued:
        write(drawing, 0, 14, "value: ● on trial  ■ in service", color=LIGHT["muted"])
        axes = place(drawing, 56, 24, width - 64, 140)
        for row in rows:
            _value(axes, row.loop - 0.13, row.old, LIGHT["quiet"], "s")
            _value(axes, row.loop + 0.13, row.new, LIGHT["data"], "o")
        _dress(axes, rows)
        axes.set_xticks([])
    write(drawing, 0, top + 14, "difference, on trial − in service", color=LIGHT["muted"])
    axes = place(drawing, 56, top + 24, width - 64, 124)
    axes.axhline(0, color=LIGHT["muted"], linewidth=1.1, linestyle=(0, (4, 3)))
    for row in rows:
        if row.lift is not None and row.outcome != "refused":
            _lift(axes, row.loop, row.lift, LIGHT[TONE.get(row.outcome, "quiet")])
    _dress(axes, rows)
    _verdicts(axes, rows, width)
    axes.set_xlabel("turn of the loop", labelpad=6)
    return drawing


def _drawn(e: Estimate | None) -> bool:
    return e is not None and not e.refused


def _value(axes: Axes, x: float, e: Estimate | None, ink: str, marker: str) -> None:
    if e is not None and e.low is not None and e.high is not None:
        axes.plot([x, x], [e.low, e.high], color=ink, linewidth=2, solid_capstyle="butt")
        axes.plot([x], [e.value], marker, color=ink, markersize=5)


def _lift(axes: Axes, x: float, lift: Lift, ink: str) -> None:
    low, high = (lift.mean if bound is None else bound for bound in (lift.low, lift.high))
    axes.plot([x, x], [low, high], color=ink, linewidth=2, solid_capstyle="butt")
    axes.plot([x], [lift.mean], "o", color=ink, markersize=5)


def _dress(axes: Axes, rows: list[LoopRow]) -> None:
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="y", nbins=5)
    axes.set_xlim(rows[0].loop - 0.7, rows[-1].loop + 0.7)


def _verdicts(axes: Axes, rows: list[LoopRow], width: int) -> None:
    """Under every turn the gate's mark and the turn's number; every so many where they would touch."""
    every = max(1, -(-len(rows) * 26 // (width - 64)))
    marked = [row for i, row in enumerate(rows) if i % every == 0 or row.promoted]
    axes.set_xticks([row.loop for row in marked], [f"{MARKS.get(row.outcome, '')}\n{row.loop}" for row in marked])
    for tick, row in zip(axes.get_xticklabels(), marked):
        tick.set_color(LIGHT[TONE.get(row.outcome, "muted")])
