"""One self-contained page: inline style, inline pictures, no scripts, nothing loaded from anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.report import canvas, words
from understudy.report.model import Candidate, Report
from understudy.report.palette import DARK, LIGHT, css
from understudy.report.pictures import NARROW, WIDE, Picture

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_TEMPLATES = Path(__file__).parent / "templates"

# What to look for in each picture, in one or two sentences.
NOTES = {
    "differences": "Right of the dashed line a candidate earns more. Both policies are scored on the same decisions, "
    "so luck that touches both cancels.",
    "values": "The dashed line is the current policy. Where the log cannot carry an interval, "
    "it says “refused” and why.",
    "evidence": "What a stake of 1 on “it is better” (right) and on “it is not” (left) had grown to, at most, as the "
    "log was read. Past its dashes, luck is ruled out at the agreed level.",
    "weights": "Dashed: weight 1, where candidate and log act alike. Bars far to the right are single decisions that "
    "count for many. Gray: decisions of no weight, where the candidate would never have acted so.",
    "overlap": "Hollow: decisions in the log, by the action taken or by segment. Solid: what they are worth to the "
    "candidate. The further apart, the less the log knows. Weakest first; “new” is what it would do and the log "
    "never did.",
    "rewards": "What the log earned as time went by. A trend means that old and new decisions are not alike.",
    "actions": "Gray: how often the log took each action. Blue: how often the candidate would.",
}


@dataclass(frozen=True)
class Drawn:
    """A picture as the page shows it, for a wide and for a narrow screen."""

    name: str
    title: str
    wide: Markup
    narrow: Markup


def to_html(report: Report, pictures: tuple[Picture, ...]) -> str:
    """The page. Everything that comes from data is escaped."""
    from markupsafe import Markup

    quoted = [report.quoted(report.values(c)) for c in report.candidates]
    seen = dict.fromkeys(e.estimator for c in report.candidates for e in c.estimates)
    page = _environment(report).get_template("report.html.j2")
    return page.render(
        report=report,
        policies=(*report.challengers, *(c for c in report.candidates if c.name == report.incumbent)),
        words=words.Words.of(report),
        pictures=[drawn(p) for p in pictures],
        notes=NOTES,
        level=next((e.level for e in quoted if e), 0.95),
        estimators=[(name, words.ESTIMATORS[name]) for name in seen if name in words.ESTIMATORS],
        terms=words.TERMS,
        light=Markup(css(LIGHT)),
        dark=Markup(css(DARK)),
        stylesheet=Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8")),
    )


def drawn(picture: Picture) -> Drawn:
    """Both sizes of a picture as inline SVG."""
    from markupsafe import Markup

    with canvas.style():
        wide = canvas.svg(picture.draw(WIDE), f"{picture.name}-w", picture.alt)
        narrow = canvas.svg(picture.draw(NARROW), f"{picture.name}-n", picture.alt)
    return Drawn(picture.name, picture.title, Markup(wide), Markup(narrow))


def _environment(report: Report) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    spoken = words.Words.of(report)
    plain = (words.headline, words.outcome, words.share, words.count, words.figure, words.growth, words.period,
             words.moment, words.sentence, words.level, words.kind, words.accounts, words.reasons)  # fmt: skip
    environment.filters.update({f.__name__: f for f in plain})
    environment.filters.update(
        story=lambda c: words.story(report, c, spoken),
        tone=_tone,
        mark=_mark,
        told=words.told,
        bar=lambda c: words.bar(report, c),
        figures=lambda check, c: words.figures(c, check),
    )
    return environment


def _tone(candidate: Candidate) -> str:
    return candidate.verdict.outcome if candidate.verdict and candidate.verdict.outcome in words.OUTCOMES else "none"


def _mark(candidate: Candidate) -> str:
    return {"ship": "✓", "hold": "■", "not_enough_evidence": "…", "refused": "✗"}.get(_tone(candidate), "")
