"""The pictures of a comparison: results, differences, learning curves, profiles, and the metric against settings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from understudy.report import compare_words as say
from understudy.report.canvas import place, sheet, write
from understudy.report.compare_model import Comparison, Line, Number, Pair, Panel, Result
from understudy.report.loop_pictures import INKS
from understudy.report.palette import LIGHT
from understudy.report.pictures import Picture
from understudy.report.words import Words, count, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DASHES = ("solid", (0, (4, 2)), (0, (1, 1.5)))  # of lines beyond the inks
MOST_PAIRS = 16  # drawn; the table holds all
HEIGHT = 220


def compare_pictures(c: Comparison) -> tuple[Picture, ...]:
    """Every picture this comparison has the figures for, in the page's order."""
    return tuple(_all(c, say.spoken(c)))


def _all(c: Comparison, words: Words) -> Iterator[Picture]:
    rows = say.ranking(c)
    several = len({row.task for row in rows}) > 1
    for i, task in enumerate(dict.fromkeys(row.task for row in rows)):
        mine = [row for row in rows if row.task == task]
        told = "; ".join(f"{row.arm} {say.value(getattr(row, c.statistic), words)}" for row in mine)
        title = f"Each learner's {c.metric}{f' on {task or say.EVERYWHERE}' if several else ''}"
        yield Picture(f"results-{i}", title, f"{say.band(c)}: {told}.", partial(results, c, mine, words))
    drawn = [pair for pair in c.pairs if pair.difference and pair.difference.low is not None]
    if drawn:
        told = "; ".join(f"{p.a} minus {p.b} {say.value(p.difference, words, True)}" for p in drawn[:MOST_PAIRS])
        yield Picture("differences", "Differences between learners", f"{told}.", partial(differences, c, drawn, words))
    inks = {arm: i for i, arm in enumerate(c.arms)}
    for kind, panels, title, axes in (
        ("curves", c.curves, "As they learned", ("steps", c.curve)),
        ("profiles", c.profiles, "Share of runs above a score", (c.metric, "")),
        ("sensitivity", c.sensitivity, f"{c.metric[:1].upper()}{c.metric[1:]} against", ("", "")),
    ):
        for i, panel in enumerate(panels):
            swept = kind == "sensitivity"
            own = f"{title} {panel.title}" if swept else f"{title}, {panel.title}" if len(panels) > 1 else title
            x = panel.title.rpartition(" on ")[0] or panel.title if swept else axes[0]
            alt = f"{own}. At the end: " + "; ".join(f"{e.name} {e.value[-1]:.4g}" for e in panel.lines) + "."
            yield Picture(f"{kind}-{i}", own, alt, partial(lines, panel, inks, (x, axes[1]), kind == "profiles"))


def results(c: Comparison, rows: list[Result], words: Words, width: int) -> Figure:
    """A row per learner, the best first: its runs as dots, the statistic with its interval."""
    spans = [(row.arm, getattr(row, c.statistic), row.scores, False) for row in rows]
    return _forest(spans, words, width, f"{c.metric}: {say.STATISTICS[c.statistic]}", signed=False)


def differences(c: Comparison, pairs: list[Pair], words: Words, width: int) -> Figure:
    """A row per pair; those of the best learner where there are too many."""
    best = say.ranking(c)[0].arm
    shown = pairs if len(pairs) <= MOST_PAIRS else [pair for pair in pairs if best in (pair.a, pair.b)][:MOST_PAIRS]
    several = len({pair.task for pair in pairs}) > 1
    spans = [(f"{p.a} − {p.b}{f', {p.task}' if several else ''}", p.difference, (), say.claimed(c, p)) for p in shown]
    return _forest(spans, words, width, f"difference of mean {c.metric}, all intervals at once", signed=True)


Row = tuple[str, "Number | None", tuple[float, ...], bool]  # name, value, runs, whether it is claimed


def _forest(rows: list[Row], words: Words, width: int, label: str, signed: bool) -> Figure:
    wide = width >= 600 and max(len(name) for name, *_ in rows) <= 26  # beside the lines, else above them
    left, right, each = (180, 200, 30) if wide else (8, 8, 46)
    drawing = sheet(width, 10 + each * len(rows) + 44)
    axes = place(drawing, left, 10, width - left - right, each * len(rows))
    axes.set_ylim(len(rows), 0)
    axes.set_xlim(*_limits(rows, signed))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.locator_params(axis="x", nbins=6 if width >= 600 else 4)
    axes.set_xlabel(tidy(label, 60 if width >= 600 else 48), labelpad=6)
    if signed:
        axes.axvline(0, color=LIGHT["muted"], linewidth=1.1, linestyle=(0, (4, 3)), zorder=1)
    for i, (name, number, scores, claimed) in enumerate(rows):
        y, told = i + (0.5 if wide else 0.72), say.value(number, words, signed)
        top = 10 + each * i
        write(
            drawing,
            0,
            top + (19 if wide else 18),
            tidy(name, 26 if wide else 72 if width >= 600 else 24),
            color=LIGHT["ink"],
        )
        write(drawing, width, top + (19 if wide else 18), told, color=LIGHT["muted"], ha="right")
        _span(axes, y, number, scores, LIGHT["ship" if claimed else "data"])
    return drawing


def _limits(rows: list[Row], signed: bool) -> tuple[float, float]:
    """All intervals, and the runs that lie within twice their breadth: one failure may not squash the rest."""
    ends = [x for _, n, *_ in rows if n for x in (n.value, n.low, n.high) if x is not None] + [0.0] * signed
    low, high = min(ends), max(ends)
    reach = 2 * (high - low)
    near = [x for _, _, scores, _ in rows for x in scores if low - reach <= x <= high + reach] if reach else []
    low, high = min([low, *near]), max([high, *near])
    pad = 0.05 * (high - low) or max(abs(high), 1.0) * 0.05
    return low - pad, high + pad


def _span(axes: Axes, y: float, number: Number | None, scores: tuple[float, ...], ink: str) -> None:
    """One row: runs as faint dots (an arrow head where one is beyond the picture), the interval, the value."""
    low, high = axes.get_xlim()
    axes.plot([x for x in scores if low <= x <= high], [y for x in scores if low <= x <= high], "o",
              color=LIGHT["quiet"], markersize=4, alpha=0.7, markeredgewidth=0, zorder=2)  # fmt: skip
    for edge, beyond, marker in ((low, any(x < low for x in scores), "<"), (high, any(x > high for x in scores), ">")):
        if beyond:
            axes.plot([edge], [y], marker, color=LIGHT["refused"], markersize=6, clip_on=False, zorder=4)
    if number is None:
        return
    if number.low is not None and number.high is not None:
        axes.plot([number.low, number.high], [y, y], color=ink, linewidth=2.4, solid_capstyle="butt", zorder=3)
    axes.plot([number.value], [y], "o", color=ink, markersize=6.5, zorder=5)


def lines(panel: Panel, inks: dict[str, int], words: tuple[str, str], share: bool, width: int) -> Figure:
    """Lines with their bands on one pair of axes, their names below."""
    wide = width >= 600
    across = (3 if wide else 1) if max((len(line.name) for line in panel.lines), default=0) > 14 else (5 if wide else 2)
    rows = -(-len(panel.lines) // across)
    named = 18 if words[1] else 0
    drawing = sheet(width, named + HEIGHT + 52 + 20 * rows)
    axes = place(drawing, 56, named + 6, width - 66, HEIGHT)
    if words[1]:
        write(drawing, 0, 12, tidy(words[1], 50), color=LIGHT["muted"])
    if panel.dots:
        axes.plot(*zip(*panel.dots), "o", color=LIGHT["quiet"], markersize=3.5, alpha=0.55, markeredgewidth=0, zorder=1)
    if panel.log:
        axes.set_xscale("log")
    for i, line in enumerate(panel.lines):
        ink, dash = _ink(inks[line.name])
        _draw(axes, line, ink, dash, share, marked=bool(panel.dots))
        _name(drawing, 56 + (i % across) * (width - 66) / across, named + HEIGHT + 62 + 20 * (i // across), line, inks)
    _dress(axes, panel, wide, share)
    axes.set_xlabel(tidy(words[0], 60), labelpad=6)
    return drawing


def _ink(i: int) -> tuple[str, Any]:
    return LIGHT[INKS[i % len(INKS)]], DASHES[i // len(INKS) % len(DASHES)]


def _draw(axes: Axes, line: Line, ink: str, dash: Any, share: bool, marked: bool) -> None:
    step: dict[str, Any] = {"step": "post"} if share else {}
    if line.low:
        axes.fill_between(
            line.at, line.low, line.high, color=ink, alpha=0.13 if not share else 0.08, linewidth=0, **step
        )
    marker: dict[str, Any] = {"marker": "o", "markersize": 4} if marked or len(line.at) == 1 else {}
    drawn: dict[str, Any] = {"drawstyle": "steps-post"} if share else {}
    axes.plot(line.at, line.value, color=ink, linewidth=1.8, linestyle=dash, **marker, **drawn)


def _name(drawing: Figure, left: float, top: float, line: Line, inks: dict[str, int]) -> None:
    from matplotlib.lines import Line2D

    w, h = drawing.get_size_inches() * 72
    ink, dash = _ink(inks[line.name])
    at, height = [left / w, (left + 18) / w], 1 - (top - 4) / h
    drawing.add_artist(Line2D(at, [height] * 2, color=ink, linewidth=2, linestyle=dash))
    write(drawing, left + 24, top, tidy(line.name, 26), color=LIGHT["ink"])


def _dress(axes: Axes, panel: Panel, wide: bool, share: bool) -> None:
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="y", nbins=6)
    if share:
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.0f} %")
    if panel.labels:
        axes.set_xticks(range(len(panel.labels)), [tidy(label, 14 if wide else 8) for label in panel.labels])
    elif panel.dots:
        at = sorted({x for x, _ in panel.dots})
        if len(at) <= 8:
            axes.set_xticks(at, [f"{x:g}" for x in at])
            axes.set_xticks([], minor=True)
    else:
        axes.locator_params(axis="x", nbins=6 if wide else 4)
        if max((abs(x) for line in panel.lines for x in line.at), default=0) >= 1000:
            axes.xaxis.set_major_formatter(lambda x, _: f"{'−' if x < 0 else ''}{count(abs(round(x)))}")
