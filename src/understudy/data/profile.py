"""What a log's columns look like: a fold with a merge, one small summary per column."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from understudy.data import columns as col
from understudy.data.read import Rows

MOST_VALUES = 2_000  # distinct values that a summary remembers


@dataclass
class ColumnProfile:
    """Counts of one column: ``a + b`` is the profile of both parts."""

    n: int = 0
    missing: int = 0
    numbers: int = 0
    booleans: int = 0
    other: int = 0  # lists, objects
    whole: bool = True  # every number is an integer
    low: float = np.inf
    high: float = -np.inf
    values: Counter[Any] = field(default_factory=Counter)
    many: bool = False  # more than MOST_VALUES distinct ones: ``values`` is no longer complete

    def __add__(self, b: ColumnProfile) -> ColumnProfile:
        values = self.values + b.values
        many = self.many or b.many or len(values) > MOST_VALUES
        return ColumnProfile(
            self.n + b.n, self.missing + b.missing, self.numbers + b.numbers, self.booleans + b.booleans,
            self.other + b.other, self.whole and b.whole, min(self.low, b.low), max(self.high, b.high),
            Counter(dict(values.most_common(MOST_VALUES))) if many else values, many,
        )  # fmt: skip

    @property
    def texts(self) -> int:
        return self.n - self.missing - self.numbers - self.booleans - self.other


def profile(column: Any, *, text: bool = False) -> ColumnProfile:
    """The profile of one raw column; in a text source, numbers and true/false are recognised by how they read."""
    values = column.to_pylist() if isinstance(column, pa.Array) else column
    made = ColumnProfile(n=len(values))
    made.missing = values.count(None)
    present = [value for value in values if value is not None]
    if text:
        present = _read_texts(present)
    made.booleans = sum(isinstance(value, (bool, np.bool_)) for value in present)
    numeric = [v for v in present if isinstance(v, (int, float)) and not isinstance(v, bool)]
    made.numbers = len(numeric)
    made.other = sum(not isinstance(value, (str, int, float, np.bool_)) for value in present)
    if numeric:
        finite = np.array([v for v in numeric if abs(v) < 1e300 and v == v], np.float64)
        made.whole = bool((finite % 1 == 0).all())
        made.low, made.high = (float(finite.min()), float(finite.max())) if len(finite) else (np.inf, -np.inf)
    made.values = Counter(value for value in present if isinstance(value, (str, int, float)))
    return made + ColumnProfile() if len(made.values) > MOST_VALUES else made


def _read_texts(values: list[str]) -> list[Any]:
    if set(values) <= {"true", "false", "True", "False"}:
        return [value.lower() == "true" for value in values]
    parsed = col.numbers(pa.array(values, pa.string()), text=True)
    return values if parsed.wrong.any() else parsed.values.tolist()


def profiles(rows: Rows) -> dict[str, ColumnProfile]:
    """The profile of every column of a batch."""
    return {name: profile(column, text=rows.text) for name, column in rows.columns.items()}


def merge(a: dict[str, ColumnProfile], b: dict[str, ColumnProfile]) -> dict[str, ColumnProfile]:
    """Profiles of both parts; a column absent from one counts as missing there."""
    n, m = (max((p.n for p in part.values()), default=0) for part in (a, b))
    return {
        name: a.get(name, ColumnProfile(n=n, missing=n)) + b.get(name, ColumnProfile(n=m, missing=m))
        for name in [*a, *(name for name in b if name not in a)]
    }
