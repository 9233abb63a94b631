"""The report without pictures: Markdown for people, plain text for terminals, JSON for machines."""

from __future__ import annotations

from collections.abc import Iterable

from understudy.core.hashing import canonical
from understudy.report import words
from understudy.report.model import Candidate, Report
from understudy.report.words import Words


def to_json(report: Report) -> bytes:
    """Everything the report holds, keys sorted: equal reports give equal bytes."""
    return canonical(report) + b"\n"


def to_text(report: Report) -> str:
    """A terminal's worth: the decision, a table of candidates, what failed, what the audit found."""
    spoken = Words.of(report)
    lines = [words.headline(report), ""]
    lines += _columns([_HEAD, *(_glance(report, c, spoken) for c in report.challengers)])
    for c in report.challengers:
        lines += ["", f"{words.tidy(c.name)}: {words.outcome(c)}"]
        lines += [f"  {words.tidy(line)}" for line in words.story(report, c, spoken)]
        for check in c.verdict.checks if c.verdict else ():
            seen, threshold = words.figures(c, check)
            lines.append(f"  {'✓' if check.passed else '✗'} {words.kind(check.name)}: {seen} (threshold {threshold})")
    lines += ["", _audit(report)]
    lines += [
        f"  {f.severity}: {words.tidy(f.name)}, {words.count(f.rows)} rows. {f.cure}" for f in report.findings or ()
    ]
    return "\n".join(map(_printable, lines)) + "\n"


def _printable(line: str) -> str:
    """No character that could move the cursor or retitle the terminal."""
    return "".join(ch if ch.isprintable() else " " for ch in line)


def to_markdown(report: Report) -> str:
    """The same for a pull request or a wiki; names from data cannot form markup."""
    spoken = Words.of(report)
    lines = [f"# {plain(words.headline(report))}", "", plain(f"{report.title}. {report.subtitle}".strip(" .") + ".")]
    lines += ["", *table(_HEAD, (_glance(report, c, spoken) for c in report.challengers))]
    for c in report.challengers:
        lines += ["", f"## {plain(c.name)}: {words.outcome(c).lower()}", ""]
        lines.append(plain(" ".join(words.story(report, c, spoken))))
        if c.verdict and c.verdict.checks:
            rows = (
                ("✓" if k.passed else "✗", words.kind(k.name), *words.figures(c, k), k.why) for k in c.verdict.checks
            )
            lines += ["", *table(("", "Check", "Seen", "Threshold", "What it means"), rows)]
        if report.values(c):
            rows = ((e.estimator, spoken.value(e), spoken.interval(e), words.count(e.ess), "; ".join(e.notes))
                    for e in report.values(c))  # fmt: skip
            lines += ["", *table(("Estimator", "Estimate", "Interval", "ESS", "Notes"), rows)]
    lines += ["", "## Audit", "", plain(_audit(report))]
    lines += [
        f"- {plain(f'{f.name} ({f.severity}), {f.rows} rows: {f.effect} Cure: {f.cure}')}"
        for f in report.findings or ()
    ]
    lines += ["", plain(f"Made {words.moment(report.generated)} by understudy {report.code_version}.")]
    return "\n".join(lines) + "\n"


_HEAD = ("Candidate", "Verdict", "Gain", "At least", "Value", "ESS")


def _glance(report: Report, c: Candidate, spoken: Words) -> tuple[str, ...]:
    """One candidate in one row."""
    e, lift = report.quoted(report.values(c)), words.told(c)
    return (
        words.tidy(c.name, 40),
        words.outcome(c),
        spoken.reward(lift.mean, True) if lift else "–",
        spoken.reward(lift.low, True) if lift else "–",
        "–" if e is None else "refused" if e.refused else spoken.reward(e.value),
        words.count(c.diagnostics.ess) if c.diagnostics else "–",
    )


def _audit(report: Report) -> str:
    if report.findings is None:
        return "No audit was run on this log."
    if not report.findings:
        return "The audit found nothing wrong with this log."
    return f"The audit found {len(report.findings)} thing{'s' * (len(report.findings) > 1)} wrong with this log."


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Aligned columns: the first two to the left, figures to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))).rstrip()
        for row in rows
    ]


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """The lines of a Markdown table."""
    return [_row(head), _row(("---",) * len(head)), *(_row(tuple(map(plain, row))) for row in rows)]


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"


def plain(text: str) -> str:
    """One line in which no character can start markup."""
    line = words.tidy(text)
    for ch in "\\`*_[]<>|#~":
        line = line.replace(ch, "\\" + ch) if ch not in "<>" else line.replace(ch, {"<": "&lt;", ">": "&gt;"}[ch])
    return line
