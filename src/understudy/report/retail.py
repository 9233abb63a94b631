"""The report of a coupon benchmark: one self-contained page, Markdown, JSON and pictures from one frozen shop."""

from __future__ import annotations

from pathlib import Path

from understudy.report.compare_model import Number
from understudy.report.retail_model import Judgement, Policy, Shop
from understudy.report.words import share

_TEMPLATES = Path(__file__).parent / "templates"

NOTES = {
    "revenue": "Intervals are over shops: customers of one shop share its prices, so shops are what is independent. "
    "Differences between policies are sharper than these intervals, for all meet the same shops; see the table.",
    "curve": "Above, what everybody's coupon costs or brings; below, who still buys. A coupon keeps customers long "
    "before it pays.",
    "cumulative": "Per customer, from the first step on.",
    "mix": "One bar per step; darker is a larger coupon.",
    "segments": "Darker is a larger coupon; the number is the mean coupon. What is worth a coupon to one segment is "
    "money given away in another.",
    "scatter": "Estimated from a history of uniform coupons, as a shop could; the true coefficient only the simulator "
    "knows.",
    "relevance": "From the same history, in ten quantile bins, less the bias of so many bins.",
    "sizes": "Bands are over shops. Dots are single settings.",
}
_HEAD = ("Policy", "Revenue", "To random", "Best less this", "Units", "Retained", "Categories", "Coupon", "Taken off")
_BESIDE = ("Policy", "Estimator", "Estimate", "Interval", "Truth", "")


def write_shop(s: Shop, folder: Path) -> Path:
    """The report of a folder; see ``report.folder.write_folder``."""
    from understudy.report.folder import write_folder
    from understudy.report.retail_pictures import retail_pictures

    pictures = retail_pictures(s)
    return write_folder(folder, s, pictures=pictures, markdown=shop_markdown(s), html=_html(s))


def headline(s: Shop) -> str:
    """What a marketing manager is to take away."""
    best, against = s.best, _yardstick(s)
    if best is None:
        return "Coupons for everybody, compared"
    if against is None or against.behind is None or against.behind.low is None:
        return f"{best.name} earns {best.revenue.value:.1f} per customer"
    gain = against.behind
    if (gain.low or 0) > 0:
        return f"{best.name} earns {share(gain.value / against.revenue.value)} more than {against.name}"
    return f"No learned policy is proven better than {against.name}"


def lede(s: Shop) -> str:
    """Two sentences under the headline."""
    told = (
        f"{len(s.policies)} policies in {s.environments} shops that none of them learned from, "
        f"{s.customers:,} customers, {s.steps} steps each."
    )
    against = _yardstick(s)
    if s.best is None or against is None or against.behind is None:
        return told
    return (
        f"{told} Per customer, {s.best.name} earns {number(s.best.revenue)}; the best coupon for everybody, "
        f"“{against.name}”, {number(against.revenue)}; in the same shops the difference is "
        f"{number(against.behind, True)}."
    )


def number(n: Number | None, sign: bool = False, places: int = 2) -> str:
    """ "31.20 (30.10 to 32.40)"; a dash where there is none."""
    if n is None:
        return "–"
    plus = "+" if sign else ""
    value = f"{n.value:{plus}.{places}f}".replace("-", "−")
    if n.low is None or n.high is None:
        return value
    return f"{value} ({n.low:{plus}.{places}f} to {n.high:{plus}.{places}f})".replace("-", "−")


def shop_markdown(s: Shop) -> str:
    """The report without pictures; names from data cannot form markup."""
    from understudy.report.text import plain, table

    lines = [f"# {plain(headline(s))}", "", plain(lede(s)), "", *table(_HEAD, map(_row, _ranked(s)))]
    for each in s.segmentations:
        lines += ["", f"## By {plain(each.name)}", "", plain(each.note), ""]
        lines += table(("Policy", "Segment", "Revenue", "To random", "Coupon"),
                       ((c.policy, c.segment, number(c.revenue), number(c.ratio, places=3), share(c.discount))
                        for c in each.cells))  # fmt: skip
    if any(p.judgements for p in s.policies):
        lines += ["", "## Estimates beside the truth", "", plain(" ".join(tally(s))), ""]
        lines += table(_BESIDE, ((p.name, *beside(j)) for p in s.policies for j in p.judgements))
    if s.relevance:
        lines += ["", "## What features say", ""]
        lines += table(("Feature", "Nats"), ((name, f"{value:.4f}") for name, value in s.relevance))
    lines += ["", *(f"- {plain(note)}" for note in s.notes)]
    return "\n".join([*lines, "", plain(f"Made by understudy {s.code_version}.")]) + "\n"


def beside(j: Judgement) -> tuple[str, ...]:
    """One estimate beside the truth; a refusal stands as one."""
    n = j.number
    if n is None or n.low is None or n.high is None:
        return j.estimator, "–", "refused", f"{j.truth:.3f}", ""
    covers = "covers" if n.low <= j.truth <= n.high else "misses"
    return j.estimator, f"{n.value:.3f}", f"{n.low:.3f} to {n.high:.3f}", f"{j.truth:.3f}", covers


def tally(s: Shop) -> list[str]:
    """Per estimator: how many intervals hold the truth, how many were refused."""
    told = []
    for name in dict.fromkeys(j.estimator for p in s.policies for j in p.judgements):
        rows = [beside(j) for p in s.policies for j in p.judgements if j.estimator == name]
        refused = sum(row[2] == "refused" for row in rows)
        told.append(f"{name}: {sum(row[4] == 'covers' for row in rows)} of {len(rows) - refused} intervals hold the "
                    f"truth, {refused} refused.")  # fmt: skip
    return told


def _yardstick(s: Shop) -> Policy | None:
    """The best coupon for everybody, else the random policy."""
    fixed = [p for p in s.policies if p.kind == "fixed"] or [p for p in s.policies if p.kind == "random"]
    return max(fixed, key=lambda p: p.revenue.value, default=None)


def _ranked(s: Shop) -> list[Policy]:
    return sorted(s.policies, key=lambda p: -p.revenue.value)


def _row(p: Policy) -> tuple[str, ...]:
    return (
        p.name, number(p.revenue), number(p.ratio, places=3), number(p.behind, True), f"{p.demand:.1f}",
        share(p.retention.value), share(p.penetration), share(p.discount), f"{p.coupon_spend:.2f}",
    )  # fmt: skip


def _html(s: Shop) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from understudy.report.html import drawn
    from understudy.report.palette import DARK, LIGHT, css
    from understudy.report.retail_pictures import retail_pictures, shown

    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)  # fmt: skip
    environment.filters.update(number=number, share=share, row=_row, beside=beside)
    return environment.get_template("retail.html.j2").render(
        s=s, headline=headline(s), lede=lede(s), ranked=_ranked(s), notes=NOTES, head=_HEAD, beside_head=_BESIDE,
        tally=tally(s), shown=[p.name for p in shown(s)], pictures=[drawn(picture) for picture in retail_pictures(s)],
        light=Markup(css(LIGHT)), dark=Markup(css(DARK)),
        stylesheet=Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8")),
    )  # fmt: skip
