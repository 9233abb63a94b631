"""One raw column → one array, with masks of what is missing and what is of the wrong type. Fast where it is clean."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from understudy.core.errors import ConfigError
from understudy.data.times import FIRST, LAST, MICRO, instant

NONE = type(None)
_TRUTH = {"true": "1", "false": "0"}


class Parsed(NamedTuple):
    """values [n]; missing bool[n]; wrong bool[n] (the type, or what the text says). Values are defined elsewhere."""

    values: Any
    missing: np.ndarray
    wrong: np.ndarray

    @property
    def good(self) -> np.ndarray:
        return ~(self.missing | self.wrong)


def absent(n: int, dtype: Any = np.float64) -> Parsed:
    """A column that is not there."""
    return Parsed(np.zeros(n, dtype), np.ones(n, bool), np.zeros(n, bool))


def numbers(column: Any, *, text: bool = False) -> Parsed:
    """f64[n]. Numbers, and text that is a number where the source is text (CSV). Booleans are of the wrong type."""
    if not isinstance(column, pa.Array):
        return _listed_numbers(column)
    n, missing, kind = len(column), _nulls(column), column.type
    if text and pa.types.is_string(kind):
        return _parsed_numbers(column, missing)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return Parsed(_filled(column.cast(pa.float64())), missing, np.zeros(n, bool))
    return Parsed(np.zeros(n), missing, ~missing)


def _listed_numbers(column: list) -> Parsed:
    n, kinds = len(column), set(map(type, column))
    if kinds <= {float, int}:
        try:
            return Parsed(np.array(column, np.float64), np.zeros(n, bool), np.zeros(n, bool))
        except OverflowError:
            pass
    missing = np.array([value is None for value in column], bool)
    values, wrong = np.zeros(n), np.zeros(n, bool)
    for i, value in enumerate(column):
        if value is None:
            continue
        if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
            try:
                values[i] = value
            except OverflowError:
                values[i] = np.inf
        else:
            wrong[i] = True
    return Parsed(values, missing, wrong)


def _parsed_numbers(column: pa.Array, missing: np.ndarray) -> Parsed:
    try:
        return Parsed(_filled(column.cast(pa.float64())), missing, np.zeros(len(column), bool))
    except pa.ArrowInvalid:
        values, wrong = np.zeros(len(column)), np.zeros(len(column), bool)
        for i, value in enumerate(column.to_pylist()):
            if value is not None:
                try:
                    values[i] = float(value.replace("_", "x"))  # 1_000 is Python, not data
                except ValueError:
                    wrong[i] = True
        return Parsed(values, missing, wrong)


def flags(column: Any, *, text: bool = False) -> Parsed:
    """f64[n] of 0 and 1. Booleans, the numbers 0 and 1, and in text also true and false."""
    if isinstance(column, pa.Array) and pa.types.is_boolean(column.type):
        column, text = column.cast(pa.uint8()), False
    elif text and isinstance(column, pa.Array):
        encoded = column.dictionary_encode()
        words = [_TRUTH.get(word.lower(), word) for word in encoded.dictionary.to_pylist()]
        column = pa.DictionaryArray.from_arrays(encoded.indices, pa.array(words, pa.string())).cast(pa.string())
    elif not isinstance(column, pa.Array) and bool in set(map(type, column)):
        column = [float(value) if isinstance(value, (bool, np.bool_)) else value for value in column]
    parsed = numbers(column, text=text)
    odd = parsed.good & (parsed.values != 0) & (parsed.values != 1)
    return Parsed(parsed.values, parsed.missing, parsed.wrong | odd)


def measures(column: Any, *, text: bool = False) -> Parsed:
    """f64[n] of an outcome's value: numbers; booleans count as 0 and 1."""
    if isinstance(column, pa.Array) and pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    elif not isinstance(column, pa.Array) and bool in set(map(type, column)):
        column = [float(value) if isinstance(value, bool) else value for value in column]
    return numbers(column, text=text)


def texts(column: Any) -> Parsed:
    """Object array of str [n]. Whole numbers become their decimal text, so that ids may be numbers."""
    values = _texted(column).to_pylist() if isinstance(column, pa.Array) else column
    kinds = set(map(type, values))
    n = len(values)
    if kinds == {str}:
        return Parsed(_objects(values), np.zeros(n, bool), np.zeros(n, bool))
    missing = np.array([value is None for value in values], bool)
    if kinds <= {str, NONE}:
        return Parsed(_objects(values), missing, np.zeros(n, bool))
    fixed = [str(v) if isinstance(v, (int, np.integer)) and not isinstance(v, bool) else v for v in values]
    wrong = np.array([v is not None and not isinstance(v, str) for v in fixed], bool)
    return Parsed(_objects(fixed), missing, wrong)


def _texted(column: pa.Array) -> pa.Array:
    return column.cast(pa.string()) if pa.types.is_integer(column.type) else column


def codes(column: Any, lookup: dict[str, int]) -> Parsed:
    """i64[n] place of each text in ``lookup``, -1 where it is not there."""
    if isinstance(column, pa.Array):
        column = _texted(column)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            encoded = column.dictionary_encode()
            table = np.array([lookup.get(word, -1) for word in encoded.dictionary.to_pylist()] + [-1], np.int64)
            missing = _nulls(column)
            places = np.where(missing, len(table) - 1, _filled(encoded.indices).astype(np.int64))
            return Parsed(table[places], missing, np.zeros(len(column), bool))
    parsed = texts(column)
    found = [lookup.get(v, -1) if type(v) is str else -1 for v in parsed.values]
    return Parsed(np.array(found, np.int64), parsed.missing, parsed.wrong)


def times(column: Any, *, text: bool = False) -> Parsed:
    """i64[n] microseconds since 1970 UTC, from seconds or ISO 8601 text; text without a zone is UTC."""
    if isinstance(column, pa.Array):
        kind = column.type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            micros = column.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False)
            return _in_range(Parsed(_filled(micros.cast(pa.int64())), _nulls(column), np.zeros(len(column), bool)))
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            return _seconds(numbers(column))
    else:
        kinds = set(map(type, column))
        if kinds <= {float, int, NONE}:
            return _seconds(numbers(column))
        if not kinds <= {str, NONE}:
            return _mixed_times(column)
        column = pa.array(column, pa.string())
    return _text_times(column, text)


def _text_times(column: pa.Array, text: bool) -> Parsed:
    if text:
        seconds = _parsed_numbers(column, _nulls(column))
        if not seconds.wrong.any():
            return _seconds(seconds)
    for zone in ("UTC", None):
        try:
            micros = column.cast(pa.timestamp("us", zone)).cast(pa.int64())
            return _in_range(Parsed(_filled(micros), _nulls(column), np.zeros(len(column), bool)))
        except pa.ArrowInvalid:
            continue
    return _mixed_times(column.to_pylist(), text)


def _mixed_times(column: list, text: bool = False) -> Parsed:
    values, missing = np.zeros(len(column), np.int64), np.array([value is None for value in column], bool)
    wrong = np.zeros(len(column), bool)
    for i, value in enumerate(column):
        if value is None:
            continue
        try:
            if isinstance(value, datetime):
                value = (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
            if text and isinstance(value, str):
                value = _number_or_text(value)
            if not isinstance(value, (str, int, float)):
                raise TypeError
            values[i] = instant(value)
        except (ConfigError, TypeError):
            wrong[i] = True
    return Parsed(values, missing, wrong)


def _number_or_text(value: str) -> float | str:
    try:
        return float(value)
    except ValueError:
        return value


def _seconds(parsed: Parsed) -> Parsed:
    wrong = parsed.wrong | (parsed.good & ~((parsed.values >= FIRST) & (parsed.values < LAST)))
    micros = np.rint(np.where(wrong | parsed.missing, 0.0, parsed.values) * MICRO).astype(np.int64)
    return Parsed(micros, parsed.missing, wrong)


def _in_range(parsed: Parsed) -> Parsed:
    outside = parsed.good & ~((parsed.values >= FIRST * MICRO) & (parsed.values < LAST * MICRO))
    return Parsed(parsed.values, parsed.missing, parsed.wrong | outside)


def matrix(column: Any, k: int) -> Parsed:
    """f64[n, k] of rows of exactly k numbers; a row of another length or with anything else in it is wrong."""
    if isinstance(column, pa.Array) and not column.null_count and pa.types.is_list(column.type):
        flat = column.flatten()
        lengths = np.diff(column.offsets.to_numpy())
        if (lengths == k).all() and not flat.null_count and pa.types.is_floating(flat.type):
            n = len(column)
            return Parsed(flat.cast(pa.float64()).to_numpy().reshape(n, k), np.zeros(n, bool), np.zeros(n, bool))
    rows = sequences(column)
    values, wrong = np.zeros((len(rows.values), k)), rows.wrong.copy()
    for i in np.flatnonzero(rows.good):
        row = rows.values[i]
        if len(row) == k and set(map(type, row)) <= {float, int}:
            try:
                values[i] = row
                continue
            except OverflowError:
                pass
        wrong[i] = True
    return Parsed(values, rows.missing, wrong)


def members(column: Any, lookup: dict[str, int]) -> Parsed:
    """bool[n, k] of the listed names; an empty list or a name that is not in ``lookup`` is wrong."""
    rows = sequences(column)
    values, wrong = np.zeros((len(rows.values), len(lookup)), bool), rows.wrong.copy()
    good = np.flatnonzero(rows.good)
    names = [name for i in good for name in rows.values[i]]
    lengths = np.array([len(rows.values[i]) for i in good], np.int64)
    places = codes(names, lookup).values if names else np.zeros(0, np.int64)
    owner = np.repeat(good, lengths)
    values[owner[places >= 0], places[places >= 0]] = True
    wrong[owner[places < 0]] = True
    wrong[good[lengths == 0]] = True
    return Parsed(values, rows.missing, wrong)


def sequences(column: Any) -> Parsed:
    """Object array of lists [n]; JSON text of a list counts as one."""
    values = column.to_pylist() if isinstance(column, pa.Array) else column
    if str in set(map(type, values)):
        values = [_json_list(value) if isinstance(value, str) else value for value in values]
    missing = np.array([value is None for value in values], bool)
    wrong = np.array([value is not None and not isinstance(value, (list, tuple, np.ndarray)) for value in values], bool)
    return Parsed(_objects(values), missing, wrong)


def _json_list(value: str) -> Any:
    try:
        return json.loads(value)
    except (json.JSONDecodeError, RecursionError):
        return value


def _nulls(column: pa.Array) -> np.ndarray:
    return np.asarray(column.is_null()) if column.null_count else np.zeros(len(column), bool)


def _filled(column: pa.Array) -> np.ndarray:
    return column.fill_null(0).to_numpy(zero_copy_only=False)


def _objects(values: list) -> np.ndarray:
    return np.fromiter(values, object, len(values))
