"""A decision table → a table of transitions for other tools, as an artifact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any

import msgspec

from understudy import __version__
from understudy.core.errors import DataError
from understudy.core.manifest import Manifest
from understudy.core.problem import Problem
from understudy.data.engine import MASTER, Engine, located, opened, reaching, write
from understudy.data.log import PROBLEM
from understudy.data.schema import check_names, quoted
from understudy.data.timeline.faults import fault_error
from understudy.data.timeline.filters import Input
from understudy.data.timeline.pairs import Pairs
from understudy.data.timeline.rules import Rules
from understudy.data.timeline.run import NOTES, TEXT, Asked, connect, counted, recipe, repeated, vanished
from understudy.data.timeline.source import VIEW, readable
from understudy.data.timeline.sql import Query
from understudy.data.timeline.verdicts import check_lost, check_order, check_places, check_validation, longest

TRANSITIONS = "transitions.parquet"


def transitions(
    source: Any,
    *,
    problem: Problem | None = None,
    to: str | Path | None = None,
    rules: Rules | None = None,
    n: int = 1,
    lead: Sequence[str] = (),
    percentile: float | None = None,
    columns: Mapping[str, str] | None = None,
    validate: Sequence[str] = (),
    replace: bool = False,
    engine: str = "duckdb",
    master: str = MASTER,
) -> Path:
    """Put every row beside the ``n`` that follow it in its episode, and write a Parquet file in an artifact's folder.

    Columns keep their names and stay as they are; added are ``ordinal`` (from 1), ``time_diff`` (to the next row, 0 on
    the last), ``since_first``, ``last``, and ``next_<name>`` of state, action, possible actions and of ``lead``. With
    n > 1, rewards, metrics, ``time_diff`` (from this row) and ``next_<name>`` are arrays of as many as follow, at most
    n; on the last row arrays of one. Places are counted before rows are left out.

    Args:
        problem: checks every row and computes the reward; without one, only keys and duplicates are checked.
        lead: further columns to look ahead in.
        source, to, rules, percentile, columns, validate, replace, engine, master: as for ``timeline``.

    Returns:
        Path of the Parquet file on this machine.

    Raises:
        DataError: rows break a rule, with their number and the first of them.
    """
    with reaching(engine, master, source, to):
        sources, rules = located(source, master), rules or Rules()
        config = recipe(sources, rules, percentile, columns, validate) | {"n": n, "lead": list(lead)}
        hashed = problem.hash if problem is not None else ""
        manifest = Manifest(kind="transitions", problem_hash=hashed, config=config, code_version=__version__)
        asked = Asked(sources, rules, percentile, dict(columns or {}), tuple(validate), engine, master)

        def fill(part: Path) -> dict[str, int]:
            return _fill(part, problem, asked, n, tuple(lead))

        return write(to, "transitions", manifest, fill, master=master, replace=replace)[0] / TRANSITIONS


def _fill(folder: Path, problem: Problem | None, asked: Asked, n: int, lead: tuple[str, ...]) -> dict[str, int]:
    if problem is not None:
        check_names(problem)
        (folder / PROBLEM).write_bytes(msgspec.json.format(msgspec.json.encode(problem)) + b"\n")
    path, notes = folder / TRANSITIONS, {}
    with opened(asked.engine, asked.master, folder, connect) as sql:
        of, counts = _input(sql, problem, asked, notes)
        pairs = Pairs(of.table, of.rules, problem, n, lead, VIEW)
        _check_rows(sql, of, counts["rows"])
        if of.rules.terminal != "keep":
            counts |= check_lost(sql, pairs, notes)
        with readable(asked.sources):
            counts["transitions"] = sql.copy(pairs.text(), path)
        if asked.validate:
            check_validation(sql, asked.validate, sql.written(path))
        (folder / TEXT).write_text(sql.said(pairs.text()) + "\n")
    (folder / NOTES).write_bytes(msgspec.json.encode(notes) + b"\n")
    return {name: int(count) for name, count in sorted(counts.items())}


def _input(sql: Engine, problem: Problem | None, asked: Asked, notes: dict[str, float]) -> tuple[Input, dict[str, int]]:
    table = sql.table(asked.sources, problem, asked.columns)
    check_order(asked.rules, table)
    check_places(sql, table, problem, asked.columns)
    seen = sql.look(table)
    of = Input(replaced(table, closing=seen.no_action > 0), asked.rules, problem, VIEW)
    counts = counted(seen)
    if asked.percentile is not None:
        most, counts["too_long"] = longest(sql, of, asked.percentile)
        of = replaced(of, rules=replaced(of.rules, longest=most))
    counts |= vanished(sql, of, seen, counts.get("too_long", 0), notes)
    if of.rules.duplicates != "refuse":
        counts["repeated"] = repeated(sql, of)
    return of, counts


def _check_rows(sql: Engine, of: Input, rows: int) -> None:
    """Keys and duplicates; with a problem, all that is asked of a step but a state after the last one."""
    if of.problem is not None:
        bare = replaced(of.rules, terminal="keep", lost_reward="refuse", within=None, faulty="refuse")
        query = Query(of.problem, of.table, bare, VIEW)
        sql.fetch("faulty", query.faulty())
        sql.local.execute("DELETE FROM faulty WHERE fault LIKE 'final_state%' OR fault = 'next_time_missing'")
        if sql.local.execute("SELECT count(*) FROM faulty").fetchall()[0][0]:
            raise fault_error(sql.local, "faulty", rows, of.problem, aside=False)
        return
    keys = [quoted(of.table.roles[role]) for role in ("episode", "sequence")]
    missing = sql.execute(f"SELECT count(*) FROM {VIEW} WHERE {keys[0]} IS NULL OR {keys[1]} IS NULL").fetchall()[0][0]
    if missing:
        raise DataError(f"{missing:,} of {rows:,} rows have no episode or no sequence number", hint="Complete them.")
    if of.rules.duplicates == "refuse" and (n := repeated(sql, of)):
        raise DataError(
            f"{n:,} of {rows:,} rows repeat the episode and sequence number of another",
            "Between them would be a transition that never was.",
            "Correct the table, or keep one of each with: --duplicates identical, first or last.",
            field="duplicates",
        )
