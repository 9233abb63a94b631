"""The timeline's SQL in the words of other engines."""

from __future__ import annotations

import re

from understudy.core.errors import ConfigError
from understudy.core.registry import unknown

DIALECTS = ("duckdb", "spark", "trino")

# Functions that sqlglot hands on as they are, though the engines call them otherwise.
SPELLINGS = {
    "spark": {"MAP_EXTRACT_VALUE": "ELEMENT_AT", "EPOCH_US": "UNIX_MICROS"},
    "trino": {"MAP_EXTRACT_VALUE": "ELEMENT_AT"},
}


def translate(text: str, dialect: str) -> str:
    """A text of ``Query`` for ``duckdb`` (as it runs here), ``spark``, or ``trino`` (printed, never run by us).

    Raises:
        ConfigError: another dialect, or a text that has a function which the dialect lacks.
    """
    if dialect not in DIALECTS:
        raise unknown("dialect", dialect, DIALECTS)
    import sqlglot

    if dialect == "duckdb":
        return sqlglot.transpile(text, read="duckdb", write="duckdb", pretty=True)[0]
    made = sqlglot.transpile(text, read="duckdb", write=dialect, pretty=True)[0]
    for ours, theirs in SPELLINGS[dialect].items():
        made = re.sub(rf"\b{ours}\(", f"{theirs}(", made)
    if "EPOCH_US(" in made:
        raise ConfigError(f"a time as text or timestamp cannot be written for {dialect}", field="print_sql")
    return made
