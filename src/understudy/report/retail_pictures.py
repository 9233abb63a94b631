"""The pictures of a coupon benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from understudy.report.canvas import place, sheet, write
from understudy.report.compare_model import Line, Number, Panel
from understudy.report.compare_pictures import lines
from understudy.report.palette import LIGHT
from understudy.report.pictures import Picture
from understudy.report.retail_model import Policy, Segmentation, Shop
from understudy.report.words import share, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 6  # lines in one picture
ROW = 26


def retail_pictures(s: Shop) -> tuple[Picture, ...]:
    """Every picture this shop has the figures for, in the page's order."""
    return tuple(_all(s))


def _all(s: Shop) -> Iterator[Picture]:
    ranked = sorted(s.policies, key=lambda p: -p.revenue.value)
    best = ", ".join(f"{p.name} {p.revenue.value:.1f}" for p in ranked)
    yield Picture("revenue", "Revenue per customer", f"Mean revenue per customer: {best}.", partial(revenue, ranked))
    fixed = fixed_curve(s)
    if len(fixed) > 2:
        told = ", ".join(f"{p.name} {p.revenue.value:.1f}, retained {share(p.retention.value)}" for p in fixed)
        yield Picture("curve", "The same coupon for everybody", f"By coupon: {told}.", partial(curve, fixed))
    chosen = shown(s)
    told = "; ".join(f"{p.name} ends at {p.cumulative[-1]:.1f}" for p in chosen)
    course = Panel("", tuple(Line(p.name, tuple(range(1, s.steps + 1)), p.cumulative, (), ()) for p in chosen))
    inks = {p.name: i for i, p in enumerate(chosen)}
    yield Picture("cumulative", "Revenue as it adds up", f"Cumulative revenue per customer. {told}.",
                  partial(lines, course, inks, ("step", "revenue per customer up to the step"), False))  # fmt: skip
    if s.best:
        yield Picture("mix", f"Which coupons {s.best.name} offers, step by step",
                      f"Mean coupon {share(s.best.discount)}.", partial(mix, s.coupons, s.best.mix))  # fmt: skip
    for i, each in enumerate(s.segmentations):
        names = [p.name for p in chosen]
        cells = [c for c in each.cells if c.policy in names and c.policy != "random"]
        told = "; ".join(f"{c.policy} for {c.segment}: {share(c.discount)}" for c in cells)
        yield Picture(f"segments-{i}", f"Who is offered what, by {each.name}", f"Mean coupon. {told}.",
                      partial(by_segment, s.coupons, each, [n for n in names if n != "random"]))  # fmt: skip
    if s.dots:
        yield Picture("scatter", "Customers: price sensitivity and what they spend",
                      "Each dot is a customer, colored by estimated elasticity.", partial(scatter, s))  # fmt: skip
    if s.relevance:
        told = ", ".join(f"{name} {value:.3f}" for name, value in s.relevance)
        yield Picture("relevance", "What each feature says about spending", f"Mutual information: {told}.",
                      partial(bars, s.relevance, "mutual information with revenue, nats"))  # fmt: skip
    if s.sizes:
        names = list(dict.fromkeys(size.learner for size in s.sizes))
        panel = Panel("", tuple(_sized(s, name) for name in names), log=True,
                      dots=tuple((size.customers, size.revenue.value) for size in s.sizes))  # fmt: skip
        told = "; ".join(f"{z.learner} at {z.customers}: {z.revenue.value:.1f}" for z in s.sizes)
        yield Picture("sizes", "How much training data is enough", f"Revenue per customer. {told}.",
                      partial(lines, panel, {name: i for i, name in enumerate(names)},
                              ("customers in the training log", "revenue per customer"), False))  # fmt: skip


def fixed_curve(s: Shop) -> list[Policy]:
    """The policies that offer everybody the same, by coupon."""
    return sorted((p for p in s.policies if p.kind == "fixed"), key=lambda p: p.discount)


def shown(s: Shop) -> list[Policy]:
    """Who is drawn where not all fit: the best learned ones, the best fixed one, the random one."""
    fixed = max((p for p in s.policies if p.kind == "fixed"), key=lambda p: p.revenue.value, default=None)
    random = [p for p in s.policies if p.kind == "random"]
    others = [p for p in (fixed, *random) if p is not None]
    learned = sorted((p for p in s.policies if p.kind == "learned"), key=lambda p: -p.revenue.value)
    return [*learned[: SHOWN - len(others)], *others]


def _sized(s: Shop, name: str) -> Line:
    own = [size for size in s.sizes if size.learner == name]
    low = tuple(z.revenue.low if z.revenue.low is not None else z.revenue.value for z in own)
    high = tuple(z.revenue.high if z.revenue.high is not None else z.revenue.value for z in own)
    return Line(name, tuple(z.customers for z in own), tuple(z.revenue.value for z in own), low, high)


def revenue(ranked: Sequence[Policy], width: int) -> Figure:
    """A row per policy, the best first: the mean with its interval over shops."""
    left, right = (130, 130) if width >= 600 else (104, 62)
    drawing = sheet(width, 10 + ROW * len(ranked) + 44)
    axes = place(drawing, left, 10, width - left - right, ROW * len(ranked))
    axes.set_ylim(len(ranked), 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.locator_params(axis="x", nbins=6 if width >= 600 else 4)
    axes.set_xlabel("revenue per customer", labelpad=6)
    inks = {"learned": LIGHT["data"], "fixed": LIGHT["quiet"], "random": LIGHT["truth"]}
    for i, p in enumerate(ranked):
        _span(axes, i + 0.5, p.revenue, inks[p.kind])
        write(drawing, 0, 10 + ROW * i + 18, tidy(p.name, 17 if width >= 600 else 13), color=LIGHT["ink"])
        said = f"{p.revenue.value:.1f}"
        if width >= 600 and p.ratio is not None:
            said += f"  (× {p.ratio.value:.3f})"
        write(drawing, width, 10 + ROW * i + 18, said, color=LIGHT["muted"], ha="right")
    return drawing


def _span(axes: Axes, y: float, number: Number, ink: str) -> None:
    if number.low is not None and number.high is not None:
        axes.plot([number.low, number.high], [y, y], color=ink, linewidth=2.4, solid_capstyle="butt", zorder=3)
    axes.plot([number.value], [y], "o", color=ink, markersize=6, zorder=4)


def curve(fixed: Sequence[Policy], width: int) -> Figure:
    """Revenue by coupon above, retention below: the same axis of coupons."""
    tall = 190
    drawing = sheet(width, 2 * (tall + 48) + 30)
    x = [100 * p.discount for p in fixed]
    for k, (name, values, ink) in enumerate((
        ("revenue per customer", [p.revenue for p in fixed], "data"),
        ("share of customers who bought in the last 3 steps", [p.retention for p in fixed], "ship"),
    )):  # fmt: skip
        top = k * (tall + 48)
        axes = place(drawing, 56, top + 24, width - 66, tall)
        write(drawing, 0, top + 14, tidy(name, 60), color=LIGHT["muted"])
        low = [n.low if n.low is not None else n.value for n in values]
        high = [n.high if n.high is not None else n.value for n in values]
        axes.fill_between(x, low, high, color=LIGHT[ink], alpha=0.14, linewidth=0)
        axes.plot(x, [n.value for n in values], color=LIGHT[ink], marker="o", markersize=5, linewidth=1.8)
        axes.grid(axis="y")
        axes.spines["left"].set_visible(False)
        axes.locator_params(axis="y", nbins=6)
        if k:
            axes.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.0f} %")
        axes.xaxis.set_major_formatter(lambda v, _: f"{v:.0f} %")
    axes.set_xlabel("coupon", labelpad=6)
    return drawing


def _blues(k: int) -> list[str]:
    """From the color of no coupon to that of the largest: light to dark."""
    from matplotlib.colors import LinearSegmentedColormap, to_hex

    ramp = LinearSegmentedColormap.from_list("coupons", [LIGHT["band"], LIGHT["data"], "#12294a"])
    return [LIGHT["rule"], *(to_hex(ramp(i / max(k - 2, 1))) for i in range(k - 1))]


def _key(drawing: Figure, names: Sequence[str], inks: Sequence[str], left: float, top: float, width: float) -> None:
    """Colored squares with the names of coupons, as many as fit in a row."""
    from matplotlib.patches import Rectangle

    w, h = drawing.get_size_inches() * 72
    each = 52
    for i, (name, ink) in enumerate(zip(names, inks)):
        x, y = left + each * (i % max(1, int(width // each))), top + 18 * (i // max(1, int(width // each)))
        drawing.add_artist(Rectangle((x / w, 1 - (y + 2) / h), 10 / w, 10 / h, facecolor=ink, linewidth=0))
        write(drawing, x + 14, y, name, color=LIGHT["ink"], fontsize=11)


def mix(coupons: Sequence[str], rows: Sequence[Sequence[float]], width: int) -> Figure:
    """A stacked bar per step: the share of each coupon."""
    drawing = sheet(width, 220 + 52 + 38)
    axes = place(drawing, 50, 8, width - 60, 220)
    inks, bottom = _blues(len(coupons)), [0.0] * len(rows)
    for k, ink in enumerate(inks):
        part = [row[k] for row in rows]
        axes.bar(range(1, len(rows) + 1), part, bottom=bottom, color=ink, width=0.92, linewidth=0)
        bottom = [a + b for a, b in zip(bottom, part)]
    axes.set_ylim(0, 1)
    axes.set_xlim(0.4, len(rows) + 0.6)
    axes.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.0f} %")
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", integer=True, nbins=8)
    axes.set_xlabel("step", labelpad=4)
    _key(drawing, coupons, inks, 50, 220 + 62, width - 60)
    return drawing


def by_segment(coupons: Sequence[str], each: Segmentation, names: Sequence[str], width: int) -> Figure:
    """A stacked bar per policy and segment, its mean coupon beside it."""
    rows = [(n, c) for n in names for c in each.cells if c.policy == n]
    left, right, tall = (210, 60, 24) if width >= 600 else (150, 52, 24)
    drawing = sheet(width, 8 + tall * len(rows) + 30 + 40)
    axes = place(drawing, left, 8, width - left - right, tall * len(rows))
    inks = _blues(len(coupons))
    for i, (name, cell) in enumerate(rows):
        start = 0.0
        for k, part in enumerate(cell.shares):
            axes.barh(i + 0.5, part, left=start, color=inks[k], height=0.74, linewidth=0)
            start += part
        label = f"{tidy(name, 15)}, {cell.segment}"
        write(drawing, 0, 8 + tall * i + 17, tidy(label, 30 if width >= 600 else 20), color=LIGHT["ink"])
        write(drawing, width, 8 + tall * i + 17, share(cell.discount), color=LIGHT["muted"], ha="right")
    axes.set_ylim(len(rows), 0)
    axes.set_xlim(0, 1)
    axes.set_yticks([])
    axes.set_xticks([])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    _key(drawing, coupons, inks, 0, 8 + tall * len(rows) + 26, width - 10)
    return drawing


def scatter(s: Shop, width: int) -> Figure:
    """Latent price coefficient against revenue, colored by the segment that was estimated."""
    groups = s.segmentations[1]
    inks = [LIGHT["data"], LIGHT["truth"], LIGHT["quiet"]]
    drawing = sheet(width, 20 + 240 + 70)
    axes = place(drawing, 56, 24, width - 66, 240)
    write(drawing, 0, 14, "revenue under random coupons", color=LIGHT["muted"])
    for code, label in enumerate(groups.segments):
        own = [d for d in s.dots if d.segment == code]
        axes.plot([d.sensitivity for d in own], [d.revenue for d in own], "o", color=inks[code], markersize=4.5,
                  alpha=0.65, markeredgewidth=0)  # fmt: skip
        write(drawing, 56 + 150 * code, 20 + 240 + 62, f"● {label}", color=inks[code])
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("true price coefficient (more negative: more sensitive)" if width >= 600 else "price coefficient",
                    labelpad=6)  # fmt: skip
    return drawing


def bars(rows: Sequence[tuple[str, float]], label: str, width: int) -> Figure:
    """A bar per name, the longest first."""
    left = 170 if width >= 600 else 150
    drawing = sheet(width, 10 + ROW * len(rows) + 44)
    axes = place(drawing, left, 10, width - left - 60, ROW * len(rows))
    for i, (name, value) in enumerate(rows):
        axes.barh(i + 0.5, value, color=LIGHT["data"], height=0.6, linewidth=0)
        write(drawing, 0, 10 + ROW * i + 18, tidy(name.replace("_", " "), 22), color=LIGHT["ink"])
        write(drawing, width, 10 + ROW * i + 18, f"{value:.3f}", color=LIGHT["muted"], ha="right")
    axes.set_ylim(len(rows), 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", nbins=4)
    axes.set_xlabel(tidy(label, 60), labelpad=6)
    return drawing
