"""The report of a comparison: one self-contained page, Markdown, JSON and pictures from one frozen comparison."""

from __future__ import annotations

from pathlib import Path

from understudy.report import compare_words as say
from understudy.report import words
from understudy.report.compare_model import Comparison, Pair, Result
from understudy.report.words import Words

MOST = 12  # differences said on a terminal; the page holds all
_TEMPLATES = Path(__file__).parent / "templates"

NOTES = {
    "results": "Small dots are single runs; the bar is the interval of the large dot. A red arrow head: runs beyond "
    "the picture, such as failed ones.",
    "differences": "By seeds that both learners share. Green: proven. The intervals hold all at once, a harder promise "
    "than that of the proofs, so that a proven difference may still touch 0.",
    "curves": "At each step the statistic over the seeds reported; bands are pointwise intervals.",
    "profiles": "Right and up is better. Bands are pointwise intervals.",
    "sensitivity": "The line varies this field and keeps the others as they were chosen; faint dots are all settings "
    "that were tried. On the seeds that chose, so the highest dot flatters.",
}


def write_comparison(comparison: Comparison, folder: Path) -> Path:
    """The report of a folder; see ``report.folder.write_folder``."""
    from understudy.report.compare_pictures import compare_pictures
    from understudy.report.folder import write_folder

    pictures = compare_pictures(comparison)
    return write_folder(
        folder, comparison, pictures=pictures, markdown=compare_markdown(comparison), html=_html(comparison)
    )


def compare_markdown(c: Comparison) -> str:
    """The comparison without pictures; names from data cannot form markup."""
    from understudy.report.text import plain, table

    spoken = say.spoken(c)
    lines = [f"# {plain(say.headline(c))}", "", plain(" ".join(say.lede(c, spoken)))]
    for rows in (c.overall if len(c.tasks) > 1 else (), c.results):
        lines += ["", *table(_HEAD, (_row(row, say.spoken(c, rows)) for row in rows))] if rows else []
    if c.pairs:
        lines += ["", *table(_PAIRS, (_pair(c, pair, spoken) for pair in c.pairs))]
    lines += ["", *(f"- {plain(note)}" for note in c.notes)]
    return "\n".join([*lines, "", plain(f"Made {words.moment(c.generated)} by understudy {c.code_version}.")]) + "\n"


def compare_lines(c: Comparison) -> list[str]:
    """A terminal's worth."""
    spoken = say.spoken(c)
    lines = [say.headline(c), *say.lede(c, spoken)]
    for rows in (c.overall if len(c.tasks) > 1 else (), c.results):
        lines += [_told(c, row, say.spoken(c, rows)) for row in rows]
    proven = [pair for pair in c.pairs if say.claimed(c, pair)]
    for pair in proven[:MOST]:
        told = spoken.reward(pair.difference.value if pair.difference else None, True)
        lines.append(f"{pair.a} − {pair.b} on {say.named(pair)}: {told}, adjusted p {say.p_value(pair.adjusted)}")
    lines += [f"and {len(proven) - MOST} more proven differences"] if len(proven) > MOST else []
    return [*map(words.tidy, [*lines, *c.notes])]


def _told(c: Comparison, row: Result, spoken: Words) -> str:
    about = f" at {row.setting}" if row.setting else ""
    told = f"{say.STATISTICS[c.statistic]} {say.value(getattr(row, c.statistic), spoken)}"
    extra = "" if row.optimism is None else f", optimism {spoken.reward(row.optimism, True)}"
    return f"{row.arm} on {say.named(row)}{about}: {told}, {say.runs(row)}{extra}"


_HEAD = ("Learner", "Task", "IQM", "Mean", "Median", "Runs", "Setting", "Of", "When chosen", "Optimism")
_PAIRS = ("Pair", "Task", "Difference", "Adjusted p", "Chance to beat", "Seeds shared", "")


def _row(row: Result, spoken: Words) -> tuple[str, ...]:
    return (
        row.arm, say.named(row), *(say.value(n, spoken) for n in (row.iqm, row.mean, row.median)), say.runs(row),
        row.setting or "–", str(row.settings), spoken.reward(row.chosen_at), spoken.reward(row.optimism, True),
    )  # fmt: skip


def _pair(c: Comparison, pair: Pair, spoken: Words) -> tuple[str, ...]:
    what = "proven" if say.claimed(c, pair) else pair.note
    return (
        f"{pair.a} − {pair.b}", say.named(pair), say.value(pair.difference, spoken, True), say.p_value(pair.adjusted),
        say.chance(pair.better), str(pair.seeds), what,
    )  # fmt: skip


def _html(c: Comparison) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from understudy.report.compare_pictures import compare_pictures
    from understudy.report.html import drawn
    from understudy.report.palette import DARK, LIGHT, css

    spoken, each = say.spoken(c), say.spoken(c, c.results)
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)  # fmt: skip
    environment.filters.update(
        {f.__name__: f for f in (words.moment, words.level, say.runs, say.named, say.p_value, say.chance, say.seeds)},
        value=say.value, claimed=lambda pair: say.claimed(c, pair),
    )  # fmt: skip
    return environment.get_template("compare.html.j2").render(
        c=c, words=spoken, each=each, headline=say.headline(c), lede=say.lede(c, spoken), notes=NOTES, terms=say.TERMS,
        statistic=say.STATISTICS[c.statistic], pictures=[drawn(picture) for picture in compare_pictures(c)],
        light=Markup(css(LIGHT)), dark=Markup(css(DARK)),
        stylesheet=Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8")),
    )  # fmt: skip
