"""What is checked besides single rows: lengths, rewards that would be lost, the order of copies, the user's queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import Problem
from understudy.data.schema import quoted
from understudy.data.timeline import values
from understudy.data.timeline.filters import Input
from understudy.data.timeline.rules import Rules
from understudy.data.timeline.source import VIEW
from understudy.data.timeline.table import WHOLE, Table, map_types

if TYPE_CHECKING:
    from understudy.data.timeline.pairs import Pairs
    from understudy.data.timeline.sql import Query

TOLERANCE = 0.1  # relative, between the share of long episodes that was asked for and the one there is


def longest(sql: Any, of: Input, percentile: float) -> tuple[float, int]:
    """(most rows of an episode, rows of longer ones) at an exact percentile of episode lengths.

    Lengths are few different numbers: with N episodes, the percentile lies at place p(N − 1) of the sorted lengths,
    linearly between its neighbors.

    Raises:
        DataError: the share of longer episodes is not 1 − p, within a tenth of it: so many are equally long, or so few
            are there, that no length has that share above it.
    """
    if not 0 < percentile < 1:
        raise ConfigError(f"percentile {percentile} is not between 0 and 1", field="longest_percentile")
    lengths = sql.execute(of.lengths()).fetchall()
    most = threshold(lengths, percentile)
    episodes = sum(count for _, count in lengths)
    above = sum(count for n, count in lengths if n > most + 1e-9)
    share, wanted = above / max(episodes, 1), 1 - percentile
    if abs(share - wanted) > TOLERANCE * wanted:
        raise DataError(
            f"the {percentile:g} percentile of {episodes:,} episode lengths is {most:g}, and {above:,} episodes "
            f"({share:.2%}) are longer, where {wanted:.2%} should be",
            "Without such a length the filter would leave out another share than asked for, or nothing at all.",
            f"Choose another percentile, or none. Lengths run from {lengths[0][0] if lengths else 0} to "
            f"{lengths[-1][0] if lengths else 0}.",
            field="longest_percentile",
        )
    return most, sum(n * count for n, count in lengths if n > most + 1e-9)


def threshold(lengths: Sequence[tuple[int, int]], percentile: float) -> float:
    """The percentile of lengths given as sorted (length, episodes) pairs.

    >>> round(threshold([(2, 95), (100, 5)], 0.95), 9)
    6.9
    """
    place = percentile * (sum(count for _, count in lengths) - 1)
    low, seen, found = int(place), 0, []
    for n, count in lengths:
        seen += count
        while len(found) < 2 and low + len(found) < seen:
            found.append(n)
    if not found:
        return 0.0
    a, b = found[0], found[-1]
    return a + (place - low) * (b - a)


def check_lost(sql: Any, query: Query | Pairs, notes: dict[str, float]) -> dict[str, int]:
    """Count rows that only close their episode; a reward on them is never lost without a word.

    Raises:
        DataError: some have a reward, and nobody said what to do with it.
    """
    closing, n, total, first, alone = sql.execute(query.lost()).fetchall()[0]
    counts = {"closing": closing, "lost_rewards": n}
    rule = query.rules.lost_reward
    notes["lost_rewards"] = float(total or 0.0)
    if n and rule == "refuse":
        raise DataError(
            f"{n:,} last rows carry rewards of {total:g} in sum, and none of these rows is a step; first: episode "
            f"{first!r}",
            "Leaving them out would change every return.",
            "Add each to the step before with: --lost-reward add; or accept the loss with: --lost-reward discard.",
            field="lost_reward",
        )
    if alone and rule == "add":
        raise DataError(
            f"{alone:,} of {n:,} such rewards stand in episodes of one row, which have no step to add them to",
            hint="Keep these rows with: --terminal keep; or accept the loss with: --lost-reward discard.",
            field="lost_reward",
        )
    return counts


def check_stateless(rules: Rules, n: int, total: float | None, first: str | None) -> None:
    """Rewards on rows without a state that stand at an episode's end are left out only where that was said.

    Raises:
        DataError: it was not.
    """
    if not n or rules.lost_reward == "discard":
        return
    why = "Leaving them out would change every return."
    if rules.lost_reward == "add":
        why = "Each was earned by a decision that is left out, and not by the step before it."
    raise DataError(
        f"{n:,} rewards of {total:g} in sum stand on rows without a state that are left out and were the last of their "
        f"episode; first: episode {first!r}",
        why,
        "Complete the states; or accept the loss with: --lost-reward discard.",
        field="lost_reward",
    )


def check_order(rules: Rules, table: Table) -> None:
    """ConfigError where a rule asks for what the table does not have."""
    if rules.duplicates in ("first", "last") and not table.has("time"):
        raise ConfigError(
            f"--duplicates {rules.duplicates} needs a column of times, and the table has none",
            "A table has no order of its own: which copy came first cannot be told.",
            "Name it with: --columns time=COLUMN; or keep identical copies only: --duplicates identical.",
            field="duplicates",
        )
    if rules.discount_per == "time" and not table.has("time"):
        raise ConfigError(
            "γ per elapsed time needs a column of times", hint="--columns time=COLUMN", field="discount_per"
        )
    if rules.ds != (None, None) and not table.has("ds"):
        raise ConfigError("a range of ds needs a column ds", hint="--columns ds=COLUMN", field="ds")


def check_places(sql: Any, table: Table, problem: Problem | None, given: Mapping[str, str]) -> None:
    """A feature is read from one place. Where rows say it elsewhere (one line at the top, another in ``context``), they
    would seem to lack it.

    Raises:
        DataError: some row lacks a feature where it is read and has it in another place.
    """
    places = []
    for name in problem.feature_names if problem is not None else ():
        column = table.features.get(name)
        if column is None or name in given:
            continue
        others = [c for c in (f"context.{name}", name) if c in table.types and c != column]
        found = [quoted(c) for c in others if c not in table.roles.values()]
        keys = map_types(table.type("state")) if table.has("state") else None
        if keys and (keys[0] not in WHOLE or name.lstrip("-").isdigit()):
            found.append(values.looked_up(table, "state", name)[0])
        places += [(name, column, f"({quoted(column)} IS NULL AND {other} IS NOT NULL)") for other in found]
    if not places:
        return
    counted = ", ".join(f"COUNT(CASE WHEN {where} THEN 1 END) AS n{i}" for i, (_, _, where) in enumerate(places))
    rows = sql.execute(f"SELECT {counted} FROM {VIEW}").fetchall()[0]
    for n, (name, column, _) in zip(rows, places):
        if n:
            raise DataError(
                f"{n:,} rows have feature {name!r} in another place than in column {column!r}, and none there",
                "They would seem to lack it.",
                f"Write every row in the same way; or say which place counts: --columns {name}=COLUMN",
                field=name,
            )


def check_validation(sql: Any, queries: Sequence[str], output: str) -> None:
    """Run the user's own queries; each must give exactly one row, all of it true.

    Raises:
        DataError: one does not. ConfigError: one is not SQL.
    """
    import duckdb

    for query in queries:
        try:
            answer = sql.execute(query.replace("{input}", VIEW).replace("{output}", output))
            names, rows = [item[0] for item in answer.description], answer.fetchmany(2)
        except (duckdb.Error, DataError) as error:
            raise ConfigError(
                f"validation query {query!r} failed: {str(error).splitlines()[0]}",
                hint="{input} stands for the table that was read, {output} for the one that was made.",
                field="validate",
            ) from error
        if len(rows) != 1 or not all(value is True for value in rows[0]):
            said = f"gave {dict(zip(names, rows[0]))}" if len(rows) == 1 else f"gave {len(rows) or 'no'} rows or more"
            raise DataError(
                f"validation query {query!r} {said if rows else 'gave no row'}",
                "It must give exactly one row, and every value in it must be true.",
                "Correct the table or the query; nothing was written.",
                field="validate",
            )
