"""A training as it went: every estimator and every figure of the learner, epoch by epoch, as a page and as pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.core.curves import Curves, Point
from understudy.core.evidence import Estimate
from understudy.report.canvas import place, sheet, write
from understudy.report.palette import LIGHT
from understudy.report.pictures import WIDE, Picture
from understudy.report.words import Words, count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TEMPLATES = Path(__file__).parent / "templates"
TALL = 132  # pixels of a panel

NOTES = {
    "estimates": "Estimates of the policy after each epoch, on episodes it never trained on. Band: the interval. "
    "Hollow: the log carries no interval, so the number alone proves nothing. Dashed: what the log itself earned. "
    "Crosses: the truth, where a simulator knows it, with its standard error where it is a mean over episodes. "
    "The line down is the epoch that was chosen.",
    "figures": "The learner’s own figures: means over the updates before each epoch’s end. They say whether training "
    "is stable, not whether the policy is good.",
}


def write_curves_page(curves: Curves, folder: Path, title: str) -> Path:
    """``curves.html`` and ``curves.png`` into ``folder``. Equal input, equal bytes; the page loads nothing."""
    from understudy.report import canvas

    drawn = curve_pictures(curves)
    with canvas.style():
        (folder / "curves.png").write_bytes(canvas.png(drawn[0].draw(WIDE), f"{title}: {drawn[0].title}"))
    page = folder / "curves.html"
    page.write_text(_html(curves, drawn, title), encoding="utf-8", newline="\n")
    return page


def curve_pictures(curves: Curves, name: str = "") -> tuple[Picture, ...]:
    """The pictures of these curves; ``name`` tells those of several trainings on one page apart."""
    return tuple(_all(curves, name))


def _all(curves: Curves, name: str) -> Iterator[Picture]:
    names = list(dict.fromkeys(e.estimator for point in curves.points for e in point.estimates))
    if not names and any(point.truth is not None for point in curves.points):
        alt = f"Mean return of the policy at {len(curves.points)} evaluations; chosen: number {curves.chosen}."
        yield Picture(f"estimates{name}", "What it earned, as it learned", alt, partial(_panels, curves, [""]))
    if names:
        best = _estimate(_chosen(curves), curves.chosen_by or names[0])
        told = "" if best is None else f" There {best.estimator} says {_words(curves).value(best)}."
        alt = f"Estimates of the policy over {len(curves.points)} epochs; chosen: epoch {curves.chosen}.{told}"
        yield Picture(f"estimates{name}", "Estimates, epoch by epoch", alt, partial(_panels, curves, names))
    figures = [key for key in (curves.points[-1].figures if curves.points else {}) if key != "step"]
    if figures:
        ends = ", ".join(f"{key} {curves.points[-1].figures[key]:.4g}" for key in figures)
        yield Picture(
            f"figures{name}", "What the learner saw", f"At the end: {ends}.", partial(_figures, curves, figures)
        )


def _panels(curves: Curves, names: list[str], width: int) -> Figure:
    """One panel per estimator, under each other, on one axis of epochs."""
    drawing = sheet(width, len(names) * (TALL + 26) + 34)
    for i, name in enumerate(names):
        top = i * (TALL + 26)
        write(drawing, 0, top + 14, name or "mean return", color=LIGHT["muted"])
        axes = place(drawing, 56, top + 20, width - 64, TALL)
        _band(axes, curves, name)
        _truth(axes, curves)
        _dress(axes, curves, last=i == len(names) - 1)
    return drawing


def _band(axes: Axes, curves: Curves, name: str) -> None:
    nan = float("nan")
    found = [_estimate(point, name) for point in curves.points]
    at = [point.epoch for point in curves.points]
    sound = [e if e is not None and not e.refused else None for e in found]
    bare = [(epoch, e.value) for epoch, e in zip(at, found) if e is not None and e.refused and math.isfinite(e.value)]
    low, high, value = ([nan if e is None else getattr(e, side) for e in sound] for side in ("low", "high", "value"))
    axes.fill_between(at, low, high, color=LIGHT["data"], alpha=0.16, linewidth=0)
    axes.plot(at, value, "-", color=LIGHT["data"], linewidth=1.8, marker="o", markersize=3)
    if bare:
        axes.plot(*zip(*bare), "o", color=LIGHT["quiet"], markerfacecolor="none", markersize=5)
    everyone = (e for point in curves.points for e in point.estimates if e.estimator == name)
    behind = next((e for e in everyone if e.target == curves.baseline), None)
    if behind is not None:
        axes.axhline(behind.value, color=LIGHT["muted"], linewidth=1.1, linestyle=(0, (4, 3)))
    chosen = _estimate(_chosen(curves), name)
    axes.axvline(curves.chosen, color=LIGHT["ship"], linewidth=1.0)
    if chosen is not None and not chosen.refused:
        axes.plot([curves.chosen], [chosen.value], "o", color=LIGHT["ship"], markersize=7)


def _truth(axes: Axes, curves: Curves) -> None:
    known = [(point.epoch, point.truth) for point in curves.points if point.truth is not None]
    if known:
        axes.plot(*zip(*known), "x-", color=LIGHT["truth"], markersize=5, linewidth=1.2)
    sure = [(p.epoch, p.truth, p.truth_error) for p in curves.points if p.truth is not None and p.truth_error]
    if sure:
        at, truth, error = zip(*sure)
        axes.errorbar(at, truth, yerr=error, fmt="none", ecolor=LIGHT["truth"], elinewidth=1.0, capsize=2)


def _figures(curves: Curves, names: list[str], width: int) -> Figure:
    drawing = sheet(width, len(names) * (TALL + 26) + 34)
    for i, name in enumerate(names):
        top = i * (TALL + 26)
        write(drawing, 0, top + 14, name, color=LIGHT["muted"])
        axes = place(drawing, 56, top + 20, width - 64, TALL)
        at, value = [p.epoch for p in curves.points], [p.figures.get(name, float("nan")) for p in curves.points]
        axes.plot(at, value, "-", color=LIGHT["data"], linewidth=1.8, marker="o", markersize=3)
        _dress(axes, curves, last=i == len(names) - 1)
    return drawing


def _dress(axes: Axes, curves: Curves, last: bool) -> None:
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="y", nbins=4)
    axes.set_xlim(0.5, max(curves.points[-1].epoch, 2) + 0.5)
    if last:
        axes.locator_params(axis="x", integer=True)
        axes.set_xlabel("epoch", labelpad=6)
    else:
        axes.set_xticklabels([])


def _chosen(curves: Curves) -> Point:
    return next(point for point in curves.points if point.epoch == curves.chosen)


def _estimate(point: Point, name: str) -> Estimate | None:
    return next((e for e in point.estimates if e.estimator == name and e.target != "logged"), None)


def _words(curves: Curves) -> Words:
    values = [abs(e.value) for p in curves.points for e in p.estimates if not e.refused]
    values += [abs(point.truth) for point in curves.points if point.truth is not None] or [1.0]
    return Words(4 if max(values) < 2 else 2, "decision" if curves.rewards == "reward" else "episode")


def _html(curves: Curves, drawn: tuple[Picture, ...], title: str) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from understudy.report.html import drawn as inline
    from understudy.report.palette import DARK, LIGHT, css

    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)  # fmt: skip
    environment.filters.update(count=count)
    names = list(dict.fromkeys(e.estimator for point in curves.points for e in point.estimates))
    return environment.get_template("curves.html.j2").render(
        curves=curves, title=title, words=_words(curves), names=names,
        known=any(point.truth is not None for point in curves.points), estimate=_estimate, notes=NOTES,
        pictures=[inline(picture) for picture in drawn], light=Markup(css(LIGHT)), dark=Markup(css(DARK)),
        stylesheet=Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8")),
    )  # fmt: skip
