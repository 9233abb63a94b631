"""Bringing in a table of episodes: read the choices, sort it out, and tell what became of every row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.core.errors import ConfigError
from understudy.core.problem import Problem
from understudy.core.registry import find, unknown
from understudy.data.artifact import read_manifest
from understudy.data.engine import MASTER, distant
from understudy.data.identify import load_problem
from understudy.data.timeline.rules import Rules
from understudy.data.timeline.run import print_sql, timeline
from understudy.data.timeline.transitions import transitions
from understudy.data.times import MICRO, duration
from understudy.runs.bring import Brought
from understudy.runs.home import Home

FORMS = ("steps", "transitions")


@dataclass(frozen=True)
class Wanted:
    """The options of the verb, as they were given."""

    problem: Path | None
    columns: str
    layout: str
    form: str
    n: int
    lead: str
    percentile: float | None
    validate: Sequence[str]
    engine: str = "duckdb"
    master: str = MASTER


def bring_episodes(
    sources: Sequence[str | Path], wanted: Wanted, rules: Rules, *, to: str | Path | None, home: Path
) -> Brought:
    """Write the artifact (None only counts) and say what came in."""
    if wanted.form not in FORMS:
        raise unknown("form", wanted.form, FORMS)
    table, problem, notes = _opened(sources, wanted)
    given: dict[str, Any] = {
        "rules": rules, "percentile": wanted.percentile, "columns": _pairs(wanted.columns), "validate": wanted.validate,
        "to": to, "engine": wanted.engine, "master": wanted.master,
    }  # fmt: skip
    if wanted.form == "steps":
        manifest = timeline(table, problem=_needed(problem), **given).manifest
    else:
        lead = tuple(filter(None, wanted.lead.split(",")))
        manifest = read_manifest(transitions(table, problem=problem, n=wanted.n, lead=lead, **given).parent)
    if to is not None and not distant(to):
        Home(home).record(to)
    return Brought([*notes, *timeline_lines(manifest.counts)], {"counts": manifest.counts})


def sql_text(sources: Sequence[str | Path], wanted: Wanted, rules: Rules, dialect: str) -> str:
    """The timeline's text in another engine's words."""
    if wanted.form != "steps":
        raise ConfigError(
            f"--print-sql prints the text of steps, and not of {wanted.form}",
            hint="What a run did stands in its folder, in timeline.sql.", field="form",
        )  # fmt: skip
    table, problem, _ = _opened(sources, wanted)
    return print_sql(table, _needed(problem), rules, _pairs(wanted.columns), dialect, wanted.percentile)


def _opened(sources: Sequence[str | Path], wanted: Wanted) -> tuple[Any, Problem | None, list[str]]:
    """(table, problem, notes); an importer drafts the problem where none is given."""
    problem = None if wanted.problem is None else load_problem(wanted.problem)
    if not wanted.layout:
        return list(sources), problem, []
    if len(sources) != 1:
        raise ConfigError(f"--from {wanted.layout} takes one path; got {len(sources)}", field="from")
    made = find("tables", wanted.layout)(Path(sources[0]))
    if problem is not None:
        return made.decisions, problem, []
    return made.decisions, made.problem, [f"note: {note}" for note in made.notes]


def _needed(problem: Problem | None) -> Problem:
    if problem is None:
        raise ConfigError(
            "a table of episodes needs a problem to be checked against",
            hint="Draft one with: understudy identify TABLE --to problem.yaml; then pass --problem problem.yaml",
            field="problem",
        )
    return problem


def _pairs(said: str) -> dict[str, str]:
    """``role=column,role=column`` as a dict."""
    found = {}
    for item in filter(None, said.split(",")):
        role, equals, column = item.partition("=")
        if not equals or not role or not column:
            raise ConfigError(f"--columns {item!r} is not role=column", field="columns")
        found[role.strip()] = column.strip()
    return found


def read_rules(ds: str, per: str, **choices: Any) -> Rules:
    """Rules as they stand on a command line: ``drop-truncated``, ``FIRST..LAST``, ``1d``."""
    choices = {name: v.replace("-", "_") if isinstance(v, str) else v for name, v in choices.items()}
    return Rules(ds=_range(ds), per=_unit(per, choices["discount_per"]), **choices)


def _range(said: str) -> tuple[str | None, str | None]:
    if not said:
        return None, None
    first, dots, last = said.partition("..")
    return (first or None, last or None) if dots else (first, first)


def _unit(said: str, counted: str) -> float:
    if counted == "time":
        return duration(said or 1.0, field="per") / MICRO
    try:
        return float(said or 1)
    except ValueError:
        raise ConfigError(f"per {said!r} is not a number of sequence numbers", field="per") from None


def timeline_lines(counts: Mapping[str, int]) -> list[str]:
    """What became of every row, in a sum that can be checked, and what is worth knowing besides."""
    parts = [f"{counts.get(name, 0):,} {said}" for name, said in _PARTS.items() if counts.get(name) or name == "steps"]
    if "transitions" in counts:
        parts = [f"{counts['transitions']:,} transitions"]
        lines = [f"{counts['rows']:,} rows: {parts[0]}"]
    else:
        lines = [
            f"{counts['rows']:,} rows = {' + '.join(parts)}",
            f"{counts['episodes']:,} episodes: {counts['terminated']:,} terminated, {counts['truncated']:,} truncated",
        ]
    return lines + [f"  {counts[name]:,} {said}" for name, said in _WORTH.items() if counts.get(name)]


_PARTS = {
    "steps": "steps",
    "closing": "closing rows (the state after the last step)",
    "beyond": "beyond the window",
    "outside": "outside of ds",
    "too_long": "of episodes that are too long",
    "null_states": "without a state",
    "repeated": "repeated",
    "quarantined": "in quarantine",
}
_WORTH = {
    "shuffled": "rows stood after a later one of their episode; they were sorted",
    "gaps": "times the next sequence number is more than one further",
    "one_step_episodes": "episodes have one step only",
    "joined_across": "neighbors were joined across rows outside of ds",
    "cut_short": "episodes go on after ds; they are truncated there",
    "cut_stateless": "episodes end in rows without a state; their last step is truncated",
    "lost_rewards": "rewards stood on closing rows (timeline.json has their sum)",
    "null_state_rewards": "rewards stood on rows without a state (timeline.json has their sum)",
}
