"""The timeline's SQL in the words of other engines."""

from __future__ import annotations

from typing import Any

from understudy.core.registry import unknown

DIALECTS = ("duckdb", "spark", "trino")

# Functions that sqlglot hands on as they are, though the engines call them otherwise.
SPELLINGS = {
    "duckdb": {},
    "spark": {
        "MAP_EXTRACT_VALUE": "ELEMENT_AT({0}, {1})",
        "EPOCH_US": "UNIX_MICROS({0})",
        "LIST_SUM": "AGGREGATE(ARRAY_SORT(COLLECT_LIST(STRUCT({0} AS place, {1} AS item))), CAST(0 AS DOUBLE), "
        "(total, next) -> total + next.item)",
    },
    "trino": {"MAP_EXTRACT_VALUE": "ELEMENT_AT({0}, {1})", "EPOCH_US": "CAST(TO_UNIXTIME({0}) * 1e6 AS BIGINT)"},
}


# What Spark must be told to mean what DuckDB means. Nulls in a list are no elements; division by 0 is that of floating
# point numbers, and no error.
_CONTAINS, _DISTINCT = "ARRAY_CONTAINS(ARRAY_COMPACT({0}), {1})", "ARRAY_DISTINCT(ARRAY_COMPACT({0}))"
_DIVIDED = (
    "CASE WHEN {1} = 0 THEN {0} * CAST(CASE WHEN CAST(CAST({1} AS DOUBLE) AS STRING) LIKE '-%' THEN '-Infinity' "
    "ELSE 'Infinity' END AS DOUBLE) ELSE {0} / {1} END"
)


def translate(text: str, dialect: str) -> str:
    """A text of ``Query`` or ``Pairs`` for ``duckdb`` (as it runs here), ``spark``, or ``trino`` (never run by us)."""
    if dialect not in DIALECTS:
        raise unknown("dialect", dialect, DIALECTS)
    import sqlglot

    def spelled(node: Any) -> Any:
        said = _said(node, dialect)
        if said is None:
            return node
        parts = [part.transform(spelled).sql(dialect) for part in said[1]]
        return sqlglot.parse_one(said[0].format(*parts), read=dialect)

    return sqlglot.parse_one(text, read="duckdb").transform(spelled).sql(dialect, pretty=True)


def _said(node: Any, dialect: str) -> tuple[str, list[Any]] | None:
    """(template, its arguments) of what sqlglot does not carry over by itself; None for everything else."""
    from sqlglot import exp

    if isinstance(node, exp.Anonymous):
        template, parts = SPELLINGS[dialect].get(str(node.this).upper()), node.expressions
        if template and isinstance(parts[0], exp.ArrayAgg):  # a list in an order: (what it is ordered by, its values)
            order = parts[0].this
            parts = [order.expressions[0].this, order.this]
        return (template, parts) if template else None
    if dialect != "spark":
        return None
    if isinstance(node, exp.ArrayContains):
        return _CONTAINS, [node.this, node.expression]
    if isinstance(node, exp.ArrayDistinct):
        return _DISTINCT, [node.this]
    if isinstance(node, exp.Div) and not isinstance(node.expression, (exp.Literal, exp.Count)):
        return _DIVIDED, [node.this, node.expression]
    return None
