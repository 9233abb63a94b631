"""Bringing a log in: draft the problem, validate, join; each step told in a few lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.core.errors import ConfigError
from understudy.core.problem import Problem
from understudy.data import identify
from understudy.data.engine import MASTER, distant
from understudy.data.identify import draft_yaml, load_problem
from understudy.data.importers.imported import import_log
from understudy.data.ingest import ingest
from understudy.data.join import join
from understudy.data.log import Log
from understudy.data.timeline.draft import draft_table, is_table
from understudy.runs.home import Home

EVENTS = "events"


@dataclass(frozen=True)
class Brought:
    """What came in, counted."""

    lines: list[str]
    data: dict[str, Any] = field(default_factory=dict)


def draft(sources: Sequence[Path], to: Path | None) -> tuple[str, Problem, list[str]]:
    """A problem drafted from files, as YAML text with its notes, written to ``to`` unless that is None."""
    tables = bool(sources) and all(is_table(path) for path in sources)
    problem, notes = draft_table(list(sources)) if tables else identify.draft(list(sources))
    text = draft_yaml(problem, notes)
    if to is not None:
        if to.exists() and to.read_text() != text:
            raise ConfigError(
                f"{to} already exists, and is not this draft",
                "A person may have edited it; a draft must not undo that.",
                "Give another file with --to, or delete it.",
                field=str(to),
            )
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(text)
    return text, problem, [f"{about}: {note}" for about, said in notes.items() for note in said]


def bring(
    sources: Sequence[Path],
    *,
    layout: str,
    problem: Path | None,
    options: Mapping[str, Any],
    to: Path | None,
    home: str | Path,
    complete: bool = False,
) -> Brought:
    """Validate events (or let an importer read another layout) and write the log artifact; None only counts."""
    if layout == EVENTS:
        if problem is None:
            raise ConfigError(
                "events need a problem to be validated against",
                hint="Draft one with: understudy identify EVENTS --to problem.yaml; then pass --problem problem.yaml",
                field="problem",
            )
        log = ingest(list(sources), problem=load_problem(problem), to=to, complete=complete)
    else:
        log = _import(layout, sources, problem, options, to)
    if to is not None:
        Home(home).record(to)
    return Brought(log_lines(log), {"counts": log.counts})


def _import(
    layout: str, sources: Sequence[Path], problem: Path | None, options: Mapping[str, Any], to: Path | None
) -> Log:
    if problem is not None or len(sources) != 1:
        raise ConfigError(
            f"layout {layout!r} takes one path and drafts its own problem; got {len(sources)} paths"
            + (" and a problem" if problem else ""),
            hint=f"understudy ingest PATH --as {layout} --to logs",
            field="as",
        )
    try:
        return import_log(layout, sources[0], to=to, **options)
    except TypeError as error:
        raise ConfigError(f"importer {layout!r} does not take these options: {error}", field="set") from error


def log_lines(log: Log) -> list[str]:
    """In = kept + duplicates + quarantined, with the reasons."""
    counts = dict(log.counts)
    lines = [
        f"{counts.get('rows', 0)} rows in: {counts.get('decisions', 0)} decisions and {counts.get('outcomes', 0)} "
        f"outcomes kept, {counts.get('duplicates', 0)} duplicates, {counts.get('quarantined', 0)} in quarantine"
    ]
    reasons = {key.split(".", 1)[1]: n for key, n in counts.items() if key.startswith("quarantined.")}
    return lines + [f"  {n} × {reason}" for reason, n in sorted(reasons.items(), key=lambda item: -item[1])]


def bring_together(
    logs: Path, *, window: str, backward: str, as_of: str | None, to: str | Path | None, home: str | Path,
    engine: str = "duckdb", master: str = MASTER,
) -> Brought:  # fmt: skip
    """Join outcomes to decisions and write the dataset artifact; None only counts."""
    dataset = join(logs, window=window, backward=backward, as_of=as_of, to=to, engine=engine, master=master)
    if to is not None and not distant(to):
        Home(home).record(to)
    counts = dataset.manifest.counts
    return Brought(joined_lines(counts), {"counts": counts})


def joined_lines(counts: Mapping[str, int]) -> list[str]:
    """What became of every decision and of every outcome, in sums that can be checked."""
    had = dict.fromkeys(_DECISIONS + _OUTCOMES + ("decisions", "outcomes", "defaulted"), 0) | dict(counts)
    return [
        f"{had['decisions']} decisions = " + " + ".join(f"{had[name]} {_SAID[name]}" for name in _DECISIONS),
        f"{had['outcomes']} outcomes = " + " + ".join(f"{had[name]} {_SAID[name]}" for name in _OUTCOMES),
        f"{had['defaulted']} times nothing arrived and the outcome's default stands in",
    ]


_DECISIONS = ("steps", "pending", "quarantined")
_OUTCOMES = ("joined", "late", "early", "orphans", "waiting", "duplicates")
_SAID = {name: name for name in _DECISIONS + _OUTCOMES} | {
    "steps": "ready",
    "pending": "pending (window still open)",
    "orphans": "orphans (no such decision)",
    "waiting": "waiting (for a pending decision)",
}
