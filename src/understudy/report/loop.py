"""The report of a loop: one self-contained page, Markdown, JSON and pictures from one frozen story."""

from __future__ import annotations

from pathlib import Path

from understudy.core.evidence import Estimate, Lift
from understudy.core.hashing import canonical
from understudy.report import loop_words, words
from understudy.report.loop_model import Arm, Change, Curve, LoopRow, LoopStory
from understudy.report.words import Words

__all__ = ["Arm", "Change", "Curve", "LoopRow", "LoopStory", "loop_markdown", "write_loop_report"]

_TEMPLATES = Path(__file__).parent / "templates"

NOTES = {
    "rolling": "Each point averages the decisions just before it. Dashed and dotted: what nobody who has to learn can "
    "beat, and what one action for everybody earns.",
    "turns": "Each turn's candidate is held against the policy in service, on decisions made after it was trained. "
    "✓ shipped, ■ held, … not enough evidence, ✗ refused. The difference's line is valid at every look.",
}


def write_loop_report(story: LoopStory, folder: Path) -> Path:
    """Write ``report.html``, ``report.md``, ``report.json`` and ``pictures/*.png``. Equal stories, equal bytes.

    Args:
        folder: made if absent; files of an earlier report in it are replaced.

    Returns the path of ``report.html``, which needs none of the other files.
    """
    from understudy.report import canvas
    from understudy.report.loop_pictures import loop_pictures
    from understudy.report.pictures import WIDE

    drawn = loop_pictures(story, loop_words.spoken(story))
    gallery = folder / "pictures"
    gallery.mkdir(parents=True, exist_ok=True)
    for old in gallery.glob("*.png"):
        old.unlink()
    for picture in drawn:
        with canvas.style():
            (gallery / f"{picture.name}.png").write_bytes(canvas.png(picture.draw(WIDE), picture.title))
    (folder / "report.json").write_bytes(canonical(story) + b"\n")
    (folder / "report.md").write_text(loop_markdown(story), encoding="utf-8", newline="\n")
    page = folder / "report.html"
    page.write_text(_html(story), encoding="utf-8", newline="\n")
    return page


def loop_markdown(story: LoopStory) -> str:
    """The story without pictures; names from data cannot form markup."""
    from understudy.report.text import plain, table

    spoken = loop_words.spoken(story)
    about = plain(f"{story.title}. {story.subtitle}".strip(" .") + ".")
    lines = [f"# {plain(loop_words.headline(story))}", "", about]
    lines += ["", plain(" ".join(loop_words.lede(story))), ""]
    lines += table(
        ("Arm", "Seeds", "Decisions", "Mean reward", "At the end"), (_arm(arm, spoken) for arm in story.arms)
    )
    for arm in story.arms:
        if arm.rows:
            lines += ["", f"## {plain(arm.name)}", "", *table(_HEAD, (_turn(story, row, spoken) for row in arm.rows))]
        if arm.changes:
            rows = (_change(story, change) for change in arm.changes)
            lines += ["", *table(("When", "What", "Policy", "Why"), rows)]
    lines += ["", plain(f"Made {words.moment(story.generated)} by understudy {story.code_version}.")]
    return "\n".join(lines) + "\n"


def _arm(arm: Arm, spoken: Words) -> tuple[str, ...]:
    end = f"{spoken.reward(arm.last)} {loop_words.alone(arm)}" if arm.last is not None else "–"
    return (arm.name, words.count(arm.seeds), words.count(arm.decisions), spoken.reward(arm.mean), end)


def _change(story: LoopStory, change: Change) -> tuple[str, ...]:
    what = loop_words.KINDS.get(change.kind, change.kind)
    return (words.moment(change.time), what, loop_words.who(story, change.policy), change.reason)


_HEAD = ("Turn", "Decisions", "Mean reward", "In service", "On trial", "Value in service", "Value on trial", "Gain",
         "At least", "Verdict", "Promoted")  # fmt: skip


def _turn(story: LoopStory, row: LoopRow, spoken: Words) -> tuple[str, ...]:
    lift = told(row)
    return (
        str(row.loop), words.count(row.decisions), spoken.reward(row.mean_reward), loop_words.who(story, row.hosted),
        loop_words.who(story, row.candidate), value(row.old, spoken), value(row.new, spoken),
        spoken.reward(lift.mean, True) if lift else "–", spoken.reward(lift.low, True) if lift else "–",
        loop_words.outcome(row), "yes" if row.promoted else "no",
    )  # fmt: skip


def told(row: LoopRow) -> Lift | None:
    """The lift a reader may be told: none where the gate refused, for a number would be believed."""
    return None if row.outcome == "refused" else row.lift


def value(e: Estimate | None, spoken: Words) -> str:
    """An estimate with its interval: "0.912 (0.880 to 0.944)"."""
    return "–" if e is None else "refused" if e.refused else f"{spoken.value(e)} ({spoken.interval(e)})"


def _html(story: LoopStory) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from understudy.report.html import drawn
    from understudy.report.loop_pictures import loop_pictures
    from understudy.report.palette import DARK, LIGHT, css

    spoken = loop_words.spoken(story)
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)  # fmt: skip
    environment.filters.update(
        {f.__name__: f for f in (words.count, words.moment, words.sentence, words.share, words.figure, told)},
        outcome=loop_words.outcome, who=lambda id: loop_words.who(story, id), deeds=loop_words.deeds,
        alone=loop_words.alone, mark=lambda row: loop_words.MARKS.get(row.outcome, ""),
        tone=lambda row: row.outcome if row.outcome in loop_words.MARKS else "none",
        kind=lambda change: loop_words.KINDS.get(change.kind, change.kind), value=lambda e: value(e, spoken),
    )  # fmt: skip
    return environment.get_template("loop.html.j2").render(
        story=story, words=spoken, headline=loop_words.headline(story), lede=loop_words.lede(story), notes=NOTES,
        pictures=[drawn(picture) for picture in loop_pictures(story, spoken)],
        light=Markup(css(LIGHT)), dark=Markup(css(DARK)),
        stylesheet=Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8")),
    )  # fmt: skip
