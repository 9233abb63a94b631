"""The pictures of a report. Each is drawn at the width it is asked for, and says in words what it shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from understudy.core.evidence import Lift
from understudy.core.summary import Diagnostics, OverlapRow, SeriesPoint
from understudy.report import forest
from understudy.report.canvas import place, sheet, write
from understudy.report.model import Candidate, Report
from understudy.report.palette import LIGHT, TONE
from understudy.report.words import Words, bar, count, growth, outcome, share, tidy, told

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, NARROW = 720, 336  # pixels: a page's column, and a telephone's
MOST_ROWS = 12  # rows of a segment or action picture; the tables hold the rest


@dataclass(frozen=True)
class Picture:
    """A picture that can be drawn at any width (call ``draw`` inside ``canvas.style()``)."""

    name: str
    title: str
    alt: str
    draw: Callable[[int], Figure]


def pictures(report: Report) -> tuple[Picture, ...]:
    """Every picture this report has the figures for, in the page's order."""
    return tuple(_all(report, Words.of(report)))


def _all(report: Report, words: Words) -> Iterator[Picture]:
    difference, value = forest.differences(report, words), forest.values(report, words)
    if difference.groups:
        alt = _forest_alt(difference, words, f"Differences from {report.incumbent}")
        title = f"Difference from {report.incumbent}"
        yield Picture("differences", title, alt, partial(forest.draw, difference, words))
    if value.groups:
        alt = _forest_alt(value, words, "Value of each policy")
        yield Picture("values", "Value of each policy", alt, partial(forest.draw, value, words))
    bets = [c for c in report.challengers if told(c)]
    if bets:
        alt = "Evidence that a candidate is better: " + "; ".join(_evidence_words(report, c) for c in bets)
        yield Picture("evidence", "Evidence of a lift", alt + ".", partial(evidence, report, bets))
    diagnosed = [c.diagnostics for c in report.challengers if c.diagnostics]
    if diagnosed:
        alt = "Weights of the logged decisions: " + "; ".join(f"{d.target}: {_weight_words(d)}" for d in diagnosed)
        yield Picture("weights", "How the log is re-weighted", alt + ".", partial(weights, diagnosed))
    covered = [d for d in diagnosed if _concerned(d)]
    if covered:
        worst = [(d.target, _concerned(d)[0]) for d in covered]
        alt = "Overlap by action and segment; weakest: " + "; ".join(
            f"{name} at {row.segment}, worth {count(row.ess)} of {count(row.n)}" for name, row in worst
        )
        yield Picture("overlap", "Overlap by action and segment", alt + ".", partial(overlap, covered))
    if len(report.log.rewards) > 1:
        first, last = report.log.rewards[0], report.log.rewards[-1]
        alt = f"Average reward over time, from {words.reward(first.mean)} to {words.reward(last.mean)}."
        yield Picture("rewards", "Reward over time", alt, partial(rewards, report.log.rewards, words))
    shown = [c for c in report.challengers if c.shares]
    if shown and report.log.actions:
        alt = f"Share of each action in the log and under {', '.join(c.name for c in shown)}."
        yield Picture("actions", "Who would do what", alt, partial(actions, report, shown))


def _forest_alt(drawn: forest.Forest, words: Words, lead: str) -> str:
    parts = []
    for group in drawn.groups:
        truth = f"; truth {words.reward(group.truth)}" if group.truth is not None else ""
        rows = ", ".join(f"{e.estimator} {words.reward(e.value)} ({words.interval(e)})" for e in group.estimates)
        parts.append(f"{group.name}: {rows}{truth}")
    return f"{lead}. " + ". ".join(parts) + "."


def _evidence_words(report: Report, c: Candidate) -> str:
    threshold = bar(report, c)
    wanted = "" if threshold is None else f" of {growth(threshold)} needed"
    return f"{c.name} {growth(c.lift.peak_log_e) if c.lift else '–'}{wanted}"


def _weight_words(d: Diagnostics) -> str:
    return f"worth {count(d.ess)} of {count(d.n)} decisions, heaviest row holds {share(d.max_weight_share)}"


def evidence(report: Report, candidates: list[Candidate], width: int) -> Figure:
    """Per candidate: to the right the bets that it is better, to the left that it is not; dashes where proof starts."""
    wide = width >= 600
    left, top, row = (132 if wide else 88), 26, 36
    drawing = sheet(width, top + row * len(candidates) + 44)
    axes = place(drawing, left, top, width - left - (66 if wide else 60), row * len(candidates))
    lifts: list[Lift] = [c.lift for c in candidates if c.lift]
    bars = [threshold for c in candidates if (threshold := bar(report, c)) is not None]
    reach = max([3.0, *bars]) * 1.5
    low = max([reach, *(lift.reverse_peak_log_e for lift in lifts if math.isfinite(lift.reverse_peak_log_e))])
    high = max([reach, *(lift.peak_log_e for lift in lifts if math.isfinite(lift.peak_log_e))])
    axes.set_xscale("symlog", linthresh=3.0, linscale=1.0)
    axes.set_xlim(-low * 1.15, high * 1.15)
    axes.set_ylim(len(candidates), 0)
    for i, c in enumerate(candidates):
        _evidence_row(drawing, axes, c, i, bar(report, c))
        write(drawing, 0, top + row * (i + 0.5) + 4, tidy(c.name, 17 if wide else 11), weight="bold")
        if c.lift:
            write(drawing, width, top + row * (i + 0.5) + 4, growth(c.lift.peak_log_e), ha="right")
    axes.axvline(0, color=LIGHT["muted"], linewidth=1, zorder=4)
    _bare(axes)
    ticks = _growth_ticks(low, high, wide)
    axes.set_xticks(ticks, [growth(abs(t)) for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel(
        "← bets that it is not better\u2003\u2003bets that it is better →" if wide else "← not better\u2003better →"
    )
    return drawing


def _evidence_row(drawing: Figure, axes: Axes, c: Candidate, i: int, threshold: float | None) -> None:
    assert c.lift is not None
    color = LIGHT[TONE.get(c.verdict.outcome, "quiet")] if c.verdict else LIGHT["quiet"]
    left, right = axes.get_xlim()
    axes.barh(i + 0.5, min(max(c.lift.peak_log_e, 0.0), right), height=0.46, color=color, zorder=2)
    axes.barh(i + 0.5, max(-max(c.lift.reverse_peak_log_e, 0.0), left), height=0.46, color=LIGHT["quiet"], zorder=2)
    if threshold is not None:
        for x in (-threshold, threshold):
            axes.plot([x, x], [i + 0.1, i + 0.9], color=LIGHT["ink"], linewidth=1.4, linestyle=(0, (3, 2)), zorder=5)


def _growth_ticks(low: float, high: float, wide: bool) -> list[float]:
    """Round figures inside the axis, far enough apart to be read."""
    steps = [math.log(10**k) for k in (3, 30, 300)] if wide else [math.log(10**k) for k in (30, 300)]
    return [*(-t for t in reversed(steps) if t <= low * 1.15), 0.0, *(t for t in steps if t <= high * 1.15)]


def _cells(count: int, width: int, height: float) -> tuple[Figure, list[tuple[float, float, float]]]:
    """A sheet of equal cells, two abreast where there is room: each cell's left, top and width."""
    columns = 2 if width >= 600 and count > 1 else 1
    cell = (width - 32 * (columns - 1)) / columns
    drawing = sheet(width, math.ceil(count / columns) * height)
    return drawing, [((i % columns) * (cell + 32), (i // columns) * height, cell) for i in range(count)]


def weights(diagnosed: list[Diagnostics], width: int) -> Figure:
    """A histogram of the weights per target, both axes logarithmic, with its ESS and its heaviest row."""
    drawing, cells = _cells(len(diagnosed), width, 196)
    live = [edge for d in diagnosed for edge in _live_edges(d)] or [0.0]
    low, high = min(-1.0, math.floor(min(live))), max(1.0, math.ceil(max(live)))
    tallest = max((max(d.weights.counts, default=1) for d in diagnosed), default=1)
    for d, (x, y, cell) in zip(diagnosed, cells):
        write(drawing, x, y + 14, tidy(d.target, int(cell / 9)), weight="bold", fontsize=13)
        write(drawing, x, y + 32, f"ESS {count(d.ess)} of {count(d.n)}, heaviest row {share(d.max_weight_share)}",
              color=LIGHT["muted"])  # fmt: skip
        axes = place(drawing, x + 44, y + 46, cell - 50, 96)
        _histogram(axes, d, low, high - low)
        axes.set_xlim(low - 0.22 * (high - low), high + 0.04 * (high - low))
        axes.set_ylim(0.7, tallest * 1.6)
        ticks = list(range(int(low), int(high) + 1, max(1, round((high - low) / 5))))
        none = low - 0.16 * (high - low)
        axes.set_xticks([none, *ticks], ["0", *(_decimal(t) for t in ticks)])
        axes.set_xlabel("weight of a logged decision", labelpad=4)
    return drawing


def _live_edges(d: Diagnostics) -> list[float]:
    """Edges of the bins that hold something, but for the first, which holds the zero weights."""
    bins = zip(d.weights.edges[1:], d.weights.edges[2:], d.weights.counts[1:])
    return [edge for low, high, n in bins if n for edge in (low, high)]


def _decimal(power: int) -> str:
    return f"{10.0**power:,.0f}" if power >= 0 else f"{10.0**power:.{-power}f}"


def _histogram(axes: Axes, d: Diagnostics, low: float, span: float) -> None:
    """Bars per bin; the first bin, of (next to) no weight, stands apart in gray."""
    edges, counts = d.weights.edges, d.weights.counts
    axes.set_yscale("log")
    axes.grid(axis="y")
    widths = [0.92 * (b - a) for a, b in pairwise(edges)]
    axes.bar(edges[1:-1], counts[1:], width=widths[1:], align="edge", color=LIGHT["data"])
    axes.bar([low - 0.16 * span], counts[:1], width=0.05 * span, color=LIGHT["quiet"])
    axes.axvline(0, color=LIGHT["muted"], linewidth=1, linestyle=(0, (4, 3)))
    ceiling = max(max(counts, default=1), 1)
    marks = [10**k for k in range(0, int(math.log10(ceiling)) + 1, 1 if ceiling < 2000 else 2)]
    axes.set_yticks(marks, [f"{m:,}" for m in marks])
    axes.minorticks_off()
    axes.spines["left"].set_visible(False)


def _concerned(d: Diagnostics) -> list[OverlapRow]:
    """Segments in which the candidate would act at all, weakest first."""
    return sorted((r for r in d.overlap if r.ess > 0 or r.unsupported > 0), key=lambda r: r.ess)


def overlap(diagnosed: list[Diagnostics], width: int) -> Figure:
    """Per segment: decisions in the log (hollow) and what they are worth to the candidate (solid), logarithmic."""
    concerned = [_concerned(d) for d in diagnosed]
    chosen = [rows[:MOST_ROWS] for rows in concerned]
    head, row, left = 28, 22, 118
    tallest = max(len(rows) for rows in chosen)
    drawing, cells = _cells(len(diagnosed), width, head + row * tallest + 62)
    low = max(min(r.ess for rows in chosen for r in rows), 0.5)
    high = max(2 * low, *(r.n for rows in chosen for r in rows))
    for d, rows, whole, (x, y, cell) in zip(diagnosed, chosen, map(len, concerned), cells):
        room = int(cell / (9 if len(rows) == whole else 18))
        write(drawing, x, y + 14, tidy(d.target, room), weight="bold", fontsize=13)
        if whole > len(rows):
            note = f"the {len(rows)} weakest of {whole}"
            write(drawing, x + cell - 8, y + 14, note, color=LIGHT["muted"], ha="right")
        axes = place(drawing, x + left, y + head, cell - left - 8, row * len(rows))
        axes.set_xscale("log")
        axes.set_ylim(len(rows), 0)
        axes.set_xlim(low / 1.5, high * 1.5)
        for i, r in enumerate(rows):
            _overlap_row(axes, r, i + 0.5, low)
            color = LIGHT["refused"] if r.unsupported > 0 else LIGHT["ink"]
            label = f"{tidy(r.segment, 10)}, {share(r.unsupported)} new" if r.unsupported > 0 else tidy(r.segment, 17)
            write(drawing, x, y + head + row * (i + 0.5) + 4, label, color=color)
        _bare(axes)
        axes.grid(axis="x")
        _count_ticks(axes)
        axes.set_xlabel("● ESS\u2003○ decisions logged", labelpad=5)
    return drawing


def _overlap_row(axes: Axes, r: OverlapRow, y: float, low: float) -> None:
    ess = max(r.ess, low)
    axes.plot([ess, max(r.n, low)], [y, y], color=LIGHT["rule"], linewidth=4, solid_capstyle="butt", zorder=1)
    axes.plot([max(r.n, low)], [y], "o", markerfacecolor=LIGHT["card"], markeredgecolor=LIGHT["muted"], markersize=7)
    axes.plot([ess], [y], "o", color=LIGHT["data"], markersize=7)


def _count_ticks(axes: Axes) -> None:
    """Powers of ten, or 1, 2, 5 of them where the axis is short."""
    low, high = axes.get_xlim()
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1,) if math.log10(high / low) > 2.5 else (1, 3) if math.log10(high / low) > 1.2 else (1, 2, 5)
    ticks = [t for k in powers for s in steps if low <= (t := s * 10**k) <= high and t >= 1]
    axes.set_xticks(ticks, [f"{t:,}" for t in ticks])
    axes.minorticks_off()


def rewards(points: tuple[SeriesPoint, ...], words: Words, width: int) -> Figure:
    """Mean reward of consecutive stretches of the log, with its interval as a band."""
    drawing = sheet(width, 230)
    axes = place(drawing, 56, 10, width - 64, 176)
    times = [p.time for p in points]
    axes.fill_between(times, [p.low for p in points], [p.high for p in points], color=LIGHT["band"], linewidth=0)
    axes.plot(times, [p.mean for p in points], color=LIGHT["data"], linewidth=1.8, marker="o", markersize=3.5)
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    ticks = _time_ticks(min(times), max(times), 7 if width >= 600 else 4)
    axes.set_xticks([time for time, _ in ticks], [label for _, label in ticks])
    axes.locator_params(axis="y", nbins=5)
    axes.margins(x=0.02)
    band = f"; line: average reward per {words.per}, band: its interval" if width >= 600 else ""
    axes.set_xlabel(f"time (UTC){band}", labelpad=6)
    return drawing


_STEPS = ((60, "%H:%M"), (900, "%H:%M"), (3600, "%H:%M"), (4 * 3600, "%H:%M"), (86400, "%d %b"), (7 * 86400, "%d %b"),
          (28 * 86400, "%d %b"), (91 * 86400, "%b %Y"), (364 * 86400, "%b %Y"))  # fmt: skip


def _time_ticks(first: int, last: int, most: int) -> list[tuple[int, str]]:
    """At most about ``most`` round moments between two, in microseconds since 1970, each with its label."""
    for seconds, form in _STEPS:
        for times in (1, 2, 3):
            step = seconds * times * 1_000_000
            if (last - first) / step < most:
                start = -(-first // step) * step
                return [(t, _moment(t, form)) for t in range(start, last + 1, step)] or [(first, _moment(first, form))]
    step = (last - first) // (most - 1)
    return [(t, _moment(t, "%Y")) for t in range(first, last + 1, step)]


def _moment(microseconds: int, form: str) -> str:
    """A tick's label; among hours, midnight is named by its day."""
    time = datetime.fromtimestamp(microseconds / 1e6, UTC)
    if form == "%H:%M" and not (time.hour or time.minute):
        form = "%d %b"
    return time.strftime(form).removeprefix("0" if form == "%d %b" else "")


def actions(report: Report, shown: list[Candidate], width: int) -> Figure:
    """Share of each action: gray in the log, blue under a candidate, one panel per candidate."""
    names = [row.name for row in sorted(report.log.actions, key=lambda row: -row.share)][:MOST_ROWS]
    logged = {row.name: row.share for row in report.log.actions}
    columns = min(len(shown), 3 if width >= 600 else 1)
    left, row, head = min(120 if width >= 600 else 96, 18 + 8 * max(map(len, names))), 20, 44
    cell_w = (width - left - 20 * (columns - 1)) / columns
    cell_h = head + row * len(names) + 26
    drawing = sheet(width, math.ceil(len(shown) / columns) * cell_h)
    top_share = (
        math.ceil(10 * max([*logged.values(), *(s for c in shown for s in c.shares.values()), 0.05]) - 1e-9) / 10
    )
    for i, c in enumerate(shown):
        x, y = left + (i % columns) * (cell_w + 20), (i // columns) * cell_h
        write(drawing, x, y + 14, tidy(c.name, int(cell_w / 8)), weight="bold", fontsize=12)
        write(drawing, x, y + 31, outcome(c), color=LIGHT["muted"])
        axes = place(drawing, x, y + head, cell_w, row * len(names))
        axes.set_ylim(len(names), 0)
        axes.set_xlim(0, top_share * 1.14)
        for j, name in enumerate(names):
            axes.barh(j + 0.34, logged.get(name, 0.0), height=0.3, color=LIGHT["quiet"])
            axes.barh(j + 0.66, c.shares.get(name, 0.0), height=0.3, color=LIGHT["data"])
            if i % columns == 0:
                write(drawing, 0, y + head + row * (j + 0.5) + 4, tidy(name, left // 8))
        _bare(axes)
        ticks = [0.0, top_share / 2, top_share]
        axes.set_xticks(ticks, [f"{100 * t:.0f} %" for t in ticks])
    return drawing


def _bare(axes: Axes) -> None:
    """No frame and no vertical ticks: rows are labelled in the margin."""
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
