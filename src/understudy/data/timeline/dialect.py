"""The timeline's SQL in the words of other engines."""

from __future__ import annotations

from typing import Any

from understudy.core.registry import unknown

DIALECTS = ("duckdb", "spark", "trino")

# Functions that sqlglot hands on as they are, though the engines call them otherwise.
SPELLINGS = {
    "duckdb": {},
    "spark": {"MAP_EXTRACT_VALUE": "ELEMENT_AT({})", "EPOCH_US": "UNIX_MICROS({})"},
    "trino": {"MAP_EXTRACT_VALUE": "ELEMENT_AT({})", "EPOCH_US": "CAST(TO_UNIXTIME({}) * 1e6 AS BIGINT)"},
}


def translate(text: str, dialect: str) -> str:
    """A text of ``Query`` or ``Pairs`` for ``duckdb`` (as it runs here), ``spark``, or ``trino`` (never run by us)."""
    if dialect not in DIALECTS:
        raise unknown("dialect", dialect, DIALECTS)
    import sqlglot
    from sqlglot import exp

    def spelled(node: Any) -> Any:
        template = SPELLINGS[dialect].get(str(node.this).upper()) if isinstance(node, exp.Anonymous) else None
        if template is None:
            return node
        arguments = ", ".join(argument.transform(spelled).sql(dialect) for argument in node.expressions)
        return sqlglot.parse_one(template.format(arguments), read=dialect)

    return sqlglot.parse_one(text, read="duckdb").transform(spelled).sql(dialect, pretty=True)
