"""What a decision table says, as SQL expressions of our terms. Functions that engines spell differently stand here.

The dialect is the part of DuckDB's that sqlglot carries over to Spark and Trino unchanged in meaning, with the
functions of ``dialect.SPELLINGS``. Numbers are written with an exponent: without one they would be decimals.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from understudy.core.errors import ConfigError
from understudy.core.problem import Feature, Problem
from understudy.data.join_sql import arithmetic_sql, number
from understudy.data.schema import quoted
from understudy.data.timeline.table import REAL, WHOLE, Table, map_types, plain
from understudy.data.validate import FLOAT32_MAX, MATCH_TOLERANCE, SMALLEST, SUM_TOLERANCE, action_lookup

Faults = list[tuple[str, str]]  # (reason, condition that is true of a faulty row and never NULL)


def literal(value: str) -> str:
    """A text literal."""
    return "'" + value.replace("'", "''") + "'"


def texted(table: Table, role: str) -> str:
    """An id as text; numbers are allowed where they are whole."""
    kind = table.type(role)
    if kind not in WHOLE | {"VARCHAR", "UUID"}:
        raise ConfigError(
            f"column {table.roles[role]!r} ({role}) is {kind}; an id is text or a whole number",
            "Two engines write other types down differently, and an id must stay the same.",
            "Cast it before, or name another column with --columns.",
            field=role,
        )
    column = quoted(table.roles[role])
    return column if kind == "VARCHAR" else f"CAST({column} AS VARCHAR)"


def sequence(table: Table) -> str:
    kind = table.type("sequence")
    if kind not in WHOLE | REAL:
        raise ConfigError(
            f"column {table.roles['sequence']!r} (sequence) is {kind}; it must be a whole number",
            hint="Number the rows of each episode, or name another column: --columns sequence=COLUMN",
            field="sequence",
        )
    return f"CAST({quoted(table.roles['sequence'])} AS BIGINT)"


def micros(table: Table) -> str:
    """Microseconds since 1970 UTC; where the log has no clock, the sequence number stands in."""
    if not table.has("time"):
        return sequence(table)
    kind, column = table.type("time"), quoted(table.roles["time"])
    if kind in WHOLE:
        return f"CAST({column} AS BIGINT) * 1000000"
    if kind in REAL:
        return f"CAST(ROUND({column} * 1e6) AS BIGINT)"
    if kind == "VARCHAR":  # an offset counts; a text without one is UTC, which is the session's zone
        return f"EPOCH_US(CAST({column} AS TIMESTAMPTZ))"
    return f"EPOCH_US(CAST({column} AS TIMESTAMP))"


# ------------------------------------------------------------------------------------------------------------ features


def raw_feature(table: Table, feature: Feature) -> tuple[str, str]:
    """(expression, type) of a feature as it stands in the table."""
    if feature.name in table.features:
        column = table.features[feature.name]
        return quoted(column), plain(table.types[column])
    return looked_up(table, "state", feature.name)


def looked_up(table: Table, role: str, name: str) -> tuple[str, str]:
    """(expression, type) of a key of a map column."""
    types = map_types(table.type(role))
    assert types is not None
    key, value = types
    if key in WHOLE and not name.lstrip("-").isdigit():
        raise ConfigError(
            f"{name!r} is not a key of {table.roles[role]!r}, whose keys are whole numbers",
            hint=f"Name its column with: --columns {name}=COLUMN; or rename it in the problem.",
            field=name,
        )
    said = f"CAST({int(name)} AS {key})" if key in WHOLE else literal(name)
    return f"MAP_EXTRACT_VALUE({quoted(table.roles[role])}, {said})", plain(value)


def feature(table: Table, f: Feature) -> tuple[str, Faults]:
    """(FLOAT expression, faults): numbers as they are, booleans 0 and 1, categories by index; missing is NULL."""
    raw, kind = raw_feature(table, f)
    if f.kind == "category":
        missing = absent(raw, kind)
        value, faults = _category(raw, kind, f), []
        if not f.open:
            faults = [("feature_value", f"(NOT {missing} AND {value} IS NULL)")]
    elif kind == "BOOLEAN":
        value, faults, missing = f"CAST({raw} AS FLOAT)", [], f"{raw} IS NULL"
    else:
        if kind not in WHOLE | REAL:
            raise ConfigError(f"feature {f.name!r} is {kind} in the table and a {f.kind} in the problem", field=f.name)
        wide = f"CAST({raw} AS DOUBLE)" if kind != "DOUBLE" else raw
        fits = f"ABS({wide}) <= {number(FLOAT32_MAX)}"
        value = f"CASE WHEN {fits} THEN CAST({raw} AS FLOAT) END"
        missing = absent(raw, kind)
        odd = f"({wide} > {number(FLOAT32_MAX)} OR {wide} < {number(-FLOAT32_MAX)}) AND NOT ISNAN({wide})"
        faults = [("feature_value", f"COALESCE({odd}, FALSE)")]
        if f.kind == "boolean":
            faults = [("feature_value", f"COALESCE({wide} <> 0 AND {wide} <> 1 AND NOT ISNAN({wide}), FALSE)")]
    if not f.optional:
        faults.append(("feature_missing", missing))
    return value, faults


def absent(raw: str, kind: str) -> str:
    """True of a missing value; NaN is one."""
    return f"({raw} IS NULL OR ISNAN(CAST({raw} AS DOUBLE)))" if kind in REAL else f"({raw} IS NULL)"


def _category(raw: str, kind: str, f: Feature) -> str:
    """The place of a value among the category's; texts by their letters, numbers and flags by what they are."""
    subject, names = f"CAST({raw} AS VARCHAR)", {literal(value): i for i, value in enumerate(f.values)}
    if kind in WHOLE | REAL:
        said = {i: _figure(value) for i, value in enumerate(f.values)}
        _check_apart(f, [x for x in said.values() if x is not None])
        if kind in REAL:
            subject, names = f"CAST({raw} AS DOUBLE)", {number(float(x)): i for i, x in said.items() if x is not None}
        else:
            whole = {i: int(x) for i, x in said.items() if x is not None and x == int(x)}
            names = {literal(str(x)): i for i, x in whole.items()}
    elif kind == "BOOLEAN":
        names = {literal(value.lower()): i for i, value in enumerate(f.values)}
    other = f"CASE WHEN NOT {absent(raw, kind)} THEN {len(f.values)} END" if f.open else "NULL"
    cases = " ".join(f"WHEN {name} THEN {i}" for name, i in names.items())
    return f"CAST(CASE {subject} {cases} ELSE {other} END AS FLOAT)" if cases else f"CAST({other} AS FLOAT)"


def _figure(value: str) -> Decimal | None:
    try:
        found = Decimal(value.strip())
    except InvalidOperation:
        return None
    return found if found.is_finite() and abs(found) < Decimal("1e300") else None


def _check_apart(f: Feature, figures: list[Decimal]) -> None:
    twice = [x for i, x in enumerate(figures) if x in figures[:i]]
    if twice:
        raise ConfigError(
            f"feature {f.name!r} is a number in the table, and two of its values in the problem are {twice[0]}",
            "Which of them a row means cannot be told.",
            "Write the column as text.",
            field=f.name,
        )


def null_state(table: Table, problem: Problem | None) -> str:
    """True of a row that has no feature at all; FALSE where the problem has none."""
    if problem is None:
        return f"{quoted(table.roles['state'])} IS NULL" if table.has("state") else "FALSE"
    missing = [absent(*raw_feature(table, f)) for f in problem.features]
    return f"({' AND '.join(missing)})" if missing else "FALSE"


# ------------------------------------------------------------------------------------------------------------- actions


def no_action(table: Table) -> str:
    column = quoted(table.roles["action"])
    empty = f" OR {column} = ''" if table.type("action") == "VARCHAR" else ""
    return f"({column} IS NULL{empty})"


def actions(table: Table, problem: Problem) -> list[tuple[str, str]]:
    """(column, expression) of the action: a code, or one number per dimension; NULL where it is not the problem's."""
    if problem.actions.discrete:
        return [("action", f"CAST({action_code(table, problem)} AS INTEGER)")]
    found = []
    for i, (low, high) in enumerate(zip(problem.actions.low, problem.actions.high)):
        raw = f"CAST({_dimension(table, problem, i)} AS DOUBLE)"
        inside = f"{raw} BETWEEN {number(low)} AND {number(high)}"
        found.append((f"action.{i}", f"CASE WHEN {inside} THEN CAST({raw} AS FLOAT) END"))
    return found


def action_code(table: Table, problem: Problem) -> str:
    column, kind, names = quoted(table.roles["action"]), table.type("action"), problem.actions.names
    lookup = action_lookup(names)
    if kind in WHOLE:
        indices = len(lookup) > len(names) or names == tuple(map(str, range(len(names))))
        if indices:  # either no name looks like a number, or each is its own index
            return f"CASE WHEN {column} BETWEEN 0 AND {len(names) - 1} THEN {column} END"
        return _chosen(f"CAST({column} AS VARCHAR)", lookup)
    if kind != "VARCHAR":
        raise ConfigError(
            f"column {table.roles['action']!r} (action) is {kind}, but the problem's actions have names",
            hint="An action is a name or an index; for vectors declare low and high in the problem.",
            field="action",
        )
    return _chosen(column, lookup)


def _chosen(text: str, lookup: dict[str, int]) -> str:
    cases = " ".join(f"WHEN {literal(name)} THEN {place}" for name, place in lookup.items())
    return f"CASE {text} {cases} END"


def _dimension(table: Table, problem: Problem, i: int) -> str:
    kind, dims = table.type("action"), problem.actions.dims
    column = quoted(table.roles["action"])
    if kind.endswith("[]"):
        return f"CASE WHEN ARRAY_LENGTH({column}) = {dims} THEN {column}[{i + 1}] END"
    if map_types(kind):
        if len(table.action_keys) != dims:
            raise ConfigError(
                f"the action has {len(table.action_keys)} keys and the problem {dims} dimensions", field="action"
            )
        return looked_up(table, "action", table.action_keys[i])[0]
    if dims != 1:
        raise ConfigError(f"the action is one {kind} and the problem has {dims} dimensions", field="action")
    return column


def barred(table: Table, k: int) -> str:
    """True of a row whose possible actions are [], or whose mask bars all k: nothing could be done any more."""
    said = []
    if table.has("allowed"):
        said.append(f"COALESCE(ARRAY_LENGTH({quoted(table.roles['allowed'])}) = 0, FALSE)")
    if table.has("mask") and k:
        fits, flags = _masked(table, k)
        said.append(f"({fits} AND NOT ({' OR '.join(flags)}))")
    return f"({' OR '.join(said)})" if said else "FALSE"


def _masked(table: Table, k: int) -> tuple[str, list[str]]:
    """(true where the mask has k entries, whether each of them is set)."""
    column, on = quoted(table.roles["mask"]), "" if table.type("mask") == "BOOLEAN[]" else " <> 0"
    return f"COALESCE(ARRAY_LENGTH({column}) = {k}, FALSE)", [
        f"COALESCE({column}[{i + 1}]{on}, FALSE)" for i in range(k)
    ]


def allowed(table: Table, problem: Problem) -> tuple[list[str] | None, Faults]:
    """(one boolean per action, faults); a row that lists none could do anything. None where the table says nothing."""
    if not problem.actions.discrete or not (table.has("allowed") or table.has("mask")):
        return None, []
    k, faults = problem.actions.k, []
    flags = ["TRUE"] * k
    if table.has("mask"):
        fits, each = _masked(table, k)
        flags = [f"CASE WHEN {fits} THEN {flag} ELSE TRUE END" for flag in each]
        faults.append(("allowed", f"({quoted(table.roles['mask'])} IS NOT NULL AND NOT {fits})"))
    if table.has("allowed"):
        column, lookup = quoted(table.roles["allowed"]), action_lookup(problem.actions.names)
        whole = table.type("allowed").removesuffix("[]") in WHOLE
        said = [[n if whole else literal(n) for n, place in lookup.items() if place == i] for i in range(k)]
        if whole:
            said = [[n for n in names if n.lstrip("-").isdigit()] for names in said]
        held = [" OR ".join(f"ARRAY_CONTAINS({column}, {n})" for n in names) or "FALSE" for names in said]
        some = f"COALESCE(ARRAY_LENGTH({column}) > 0, FALSE)"
        flags = [f"CASE WHEN {some} THEN {mine} ELSE {other} END" for mine, other in zip(held, flags)]
        known = " + ".join(f"CASE WHEN {mine} THEN 1 ELSE 0 END" for mine in held)
        faults.append(("allowed", f"({some} AND {known} <> ARRAY_LENGTH(ARRAY_DISTINCT({column})))"))
    return flags, faults


def not_allowed(k: int) -> str:
    """True where the action is known and not among ``allowed_0`` …."""
    cases = " ".join(f"WHEN {i} THEN NOT allowed_{i}" for i in range(k))
    return f"COALESCE(CASE action {cases} END, FALSE)"


# ---------------------------------------------------------------------------------------------- propensities, outcomes


def propensity(table: Table, problem: Problem) -> tuple[str | None, list[str] | None, Faults]:
    """(propensity, one probability per action, faults)."""
    every, faults = _propensities(table, problem)
    mine = None
    if every is not None:
        cases = " ".join(f"WHEN {i} THEN {p}" for i, p in enumerate(every))
        mine = f"CASE {action_code(table, problem)} {cases} END"
    if not table.has("propensity"):
        return mine, every, faults
    said = f"CAST({quoted(table.roles['propensity'])} AS DOUBLE)"
    high = " <= 1e0" if problem.actions.discrete else " < CAST('Infinity' AS DOUBLE)"
    sound = f"({said} >= {number(SMALLEST)} AND {said}{high})"
    faults.append(("propensity", f"COALESCE(NOT {sound}, FALSE)"))
    if mine is not None:
        apart = f"ABS({mine} - {said}) > {number(MATCH_TOLERANCE)} * {said} + 1e-9"
        faults.append(("propensity_contradiction", f"COALESCE({apart}, FALSE)"))
        said = f"COALESCE({said}, {mine})"
    return said, every, faults


def _propensities(table: Table, problem: Problem) -> tuple[list[str] | None, Faults]:
    if not table.has("propensities") or not problem.actions.discrete:
        return None, []
    column, k = quoted(table.roles["propensities"]), problem.actions.k
    types = map_types(table.type("propensities"))
    if types:
        raws = [looked_up(table, "propensities", name)[0] for name in problem.actions.names]
        every = [f"COALESCE(CAST({raw} AS DOUBLE), 0e0)" for raw in raws]
        fits = f"{column} IS NOT NULL"
    else:
        fits = f"COALESCE(ARRAY_LENGTH({column}) = {k}, FALSE)"
        every = [f"CASE WHEN {fits} THEN CAST({column}[{i + 1}] AS DOUBLE) END" for i in range(k)]
    total = " + ".join(every)
    ranged = " AND ".join(f"({p}) BETWEEN 0e0 AND 1e0" for p in every)
    sound = f"{fits} AND {ranged} AND ABS({total} - 1e0) <= {number(SUM_TOLERANCE)}"
    return every, [("propensities", f"({column} IS NOT NULL AND NOT COALESCE({sound}, FALSE))")]


def outcome(table: Table, name: str) -> str:
    """An outcome as DOUBLE; NULL where it is missing."""
    if name in table.outcomes:
        return f"CAST({quoted(table.outcomes[name])} AS DOUBLE)"
    return f"CAST({looked_up(table, 'metrics', name)[0]} AS DOUBLE)"


def reward(problem: Problem, columns: dict[str, str] | None = None) -> str:
    """The reward over ``columns`` of outcomes; by default over those called ``outcome.<name>``."""
    return arithmetic_sql(problem, columns or {name: quoted(f"outcome.{name}") for name in problem.outcome_names})
