"""Readers: JSONL, CSV, Parquet and tables → batches of raw rows that know where they stand.

What cannot be read at all is a DataError that names the file; a row that cannot be read is a Reject with its place,
its reason and its text. Nothing is dropped in silence.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from understudy.core.errors import DataError
from understudy.data.sources import Source

MAX_LINE = 1 << 20  # bytes; a longer line is quarantined
KEEP_LINE = 1 << 24  # bytes of such a line that the quarantine keeps
BATCH = 16_384  # rows
BLOCK = 1 << 22  # bytes read at a time
FIELDS = ("decision_id", "time", "context", "action", "propensity", "propensities", "allowed", "episode_id", "t",
          "unit_id", "policy_id", "name", "value", "outcome_id")  # fmt: skip

Column = Any  # a list of Python objects (None = missing), or a pa.Array


@dataclass(frozen=True)
class Reject:
    """A row that was set aside: where it stands, why, and what it said."""

    line: int
    reason: str
    detail: str
    raw: str


@dataclass(frozen=True)
class Names:
    """The names a problem knows: features, outcomes (they may stand beside a decision), and what it ignores."""

    features: frozenset[str]
    outcomes: frozenset[str] = frozenset()
    ignore: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Rows:
    """n raw rows of one source, by column; features are ``context.<name>``, outcomes in place ``outcome.<name>``."""

    lines: np.ndarray  # i64[n] line (JSONL, CSV) or row number (Parquet, table), from 1
    columns: dict[str, Column]
    raw: Callable[[int], str]
    text: bool = False  # every value is text (CSV), so numbers are parsed from it
    extra: dict[int, str] = field(default_factory=dict)  # row → first key that no field or feature has
    rejects: list[Reject] = field(default_factory=list)
    batch: Any = None  # the pa.RecordBatch that the rows came from, as it was read (CSV: all text)

    @property
    def n(self) -> int:
        return len(self.lines)


def read(source: Source, names: Names | None = None) -> Iterator[Rows]:
    """Batches of raw rows. ``names`` bounds the columns; None takes all there are (to identify).

    Raises:
        DataError: the file as a whole cannot be read.
    """
    try:
        if source.format == "jsonl":
            yield from _jsonl(source.path, names)  # type: ignore[arg-type]
        elif source.format == "csv":
            yield from _csv(source.path, names)  # type: ignore[arg-type]
        else:
            yield from _columnar(source, names)
    except (pa.ArrowException, OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"{source.path or source.name} cannot be read: {reason}",
            "Half a file is worse than none: which rows are missing could not be told.",
            "Copy or export it again; nothing was written.",
            field=source.name,
        ) from error


# ------------------------------------------------------------------------------------------------------------- JSONL


def _jsonl(path: Path, names: Names | None) -> Iterator[Rows]:
    lines: list[bytes] = []
    places: list[int] = []
    rejects: list[Reject] = []
    for place, line in event_lines(path):
        if isinstance(line, Reject):
            rejects.append(line)
            continue
        lines.append(line)
        places.append(place)
        if len(lines) == BATCH:
            yield _json_rows(lines, places, rejects, names)
            lines, places, rejects = [], [], []
    if lines or rejects:
        yield _json_rows(lines, places, rejects, names)


def event_lines(path: Path) -> Iterator[tuple[int, bytes | Reject]]:
    """(number, line) of every line that is not blank; an over-long line comes as a Reject and never fills memory."""
    opener = gzip.open if path.suffix == ".gz" else open
    number, rest, first, overlong = 0, b"", True, 0
    with opener(path, "rb") as file:
        while block := file.read(BLOCK):
            if first:
                block, first = block.removeprefix(b"\xef\xbb\xbf"), False
            *whole, tail = block.split(b"\n")
            for piece in whole:
                number += 1
                line, size = rest + piece[:KEEP_LINE], overlong + len(rest) + len(piece)
                rest, overlong = b"", 0
                if size > MAX_LINE:
                    yield number, _overlong(number, size, line)
                elif line.strip():
                    yield number, line
            if len(rest) < KEEP_LINE:
                rest += tail
            else:
                overlong += len(tail)
    if overlong + len(rest) > MAX_LINE:
        yield number + 1, _overlong(number + 1, overlong + len(rest), rest)
    elif rest.strip():
        yield number + 1, rest


def _overlong(number: int, size: int, line: bytes) -> Reject:
    detail = f"the line has {size:,} bytes; the most is {MAX_LINE:,}"
    return Reject(number, "line_too_long", detail, _text(line[:KEEP_LINE]))


def _json_rows(lines: list[bytes], places: list[int], rejects: list[Reject], names: Names | None) -> Rows:
    decode = msgspec.json.Decoder().decode
    rows, kept, good = [], [], []
    for place, line in zip(places, lines):
        try:
            row = decode(line)
            if type(row) is not dict:
                raise ValueError("not_an_object")
            context = row.get("context")
            keys = len(row) + (len(context) if type(context) is dict else 0)
            if line.count(b'":') != keys or b" :" in line or b"\t:" in line:
                _refuse_duplicate_keys(line)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            rejects.append(_json_reject(place, line, error))
            continue
        rows.append(row)
        kept.append(line)
        good.append(place)
    columns, extra = _from_dicts(rows, names)
    return Rows(np.asarray(good, np.int64), columns, lambda i: _text(kept[i]), extra=extra, rejects=rejects)


def _refuse_duplicate_keys(line: bytes) -> None:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            names = [name for name, _ in items]
            raise ValueError(f"duplicate_key:{next(name for name in names if names.count(name) > 1)}")
        return found

    json.loads(line, object_pairs_hook=pairs)


def _json_reject(place: int, line: bytes, error: Exception) -> Reject:
    message = str(error)
    if isinstance(error, UnicodeDecodeError):
        reason, detail = "not_utf8", f"byte {error.start} of the text is not UTF-8"
    elif isinstance(error, RecursionError):
        reason, detail = "too_deep", "nested too deeply"
    elif message == "not_an_object":
        reason, detail = "not_an_object", "the line is JSON but not an object"
    elif message.startswith("duplicate_key:"):
        reason, detail = "duplicate_key", f"key {message.partition(':')[2]!r} stands twice"
    elif "out of range" in message:
        reason, detail = "number_out_of_range", "a number is too large for a 64-bit float"
    else:
        reason, detail = "not_json", message
    return Reject(place, reason, detail, _text(line))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _from_dicts(rows: list[dict], names: Names | None) -> tuple[dict[str, Column], dict[int, str]]:
    """Columns of JSON objects. Without a ``context`` object, keys that are no field are features or outcomes."""
    contexts, fields, loose = [], [], []
    for row in rows:
        context = row.get("context")
        if type(context) is dict:
            contexts.append(context)
            fields.append(row)
            loose.append(_NOTHING)
        else:
            rest = {k: v for k, v in row.items() if k not in _FIELD_SET}
            contexts.append(_NOTHING if names is not None else rest)
            fields.append({k: v for k, v in row.items() if k in _FIELD_SET} if rest else row)
            loose.append(_NOTHING if names is None else rest)
    columns: dict[str, Column] = {}
    extra: dict[int, str] = {}
    for name in FIELDS[:2] + FIELDS[3:]:
        values = [row.get(name) for row in fields]
        if values.count(None) < len(values):
            columns[name] = values
    for i, row in enumerate(fields):
        if not row.keys() <= _FIELD_SET:
            extra[i] = min(row.keys() - _FIELD_SET)
        elif "context" in row and type(row["context"]) is not dict and row["context"] is not None:
            extra[i] = "context"  # not an object, so the row is refused by name
    _add(columns, extra, contexts, None if names is None else {f: f"context.{f}" for f in names.features}, names)
    if any(loose):
        _add(columns, extra, loose, _flat_names(names), names)
    return columns, extra


def _add(
    columns: dict[str, Column], extra: dict[int, str], objects: list[dict], targets: dict[str, str] | None,
    names: Names | None,
) -> None:  # fmt: skip
    """One column per key of the objects; a key with no target is ``extra``, unless the problem ignores it."""
    found: set[str] = set().union(*objects)
    if targets is None or names is None:
        targets = {name: f"context.{name}" for name in found}
    elif unknown := found - targets.keys() - names.ignore:
        for i, row in enumerate(objects):
            if not unknown.isdisjoint(row):
                extra.setdefault(i, min(unknown & row.keys()))
    for name in sorted(found & targets.keys()):
        values, before = [row.get(name) for row in objects], columns.get(targets[name])
        columns[targets[name]] = values if before is None else [a if b is None else b for a, b in zip(before, values)]


def _flat_names(names: Names | None) -> dict[str, str]:
    """Where a flat table's column goes: a feature or an outcome, by its bare or its full name."""
    if names is None:
        return {}
    targets = {name: f"outcome.{name}" for name in names.outcomes}
    targets |= {name: f"context.{name}" for name in names.features}
    return targets | {full: full for full in list(targets.values()) + [f"outcome.{name}" for name in names.outcomes]}


_NOTHING: dict[str, Any] = {}
_FIELD_SET = frozenset(FIELDS)

# --------------------------------------------------------------------------------------------- CSV, Parquet, tables


def _csv(path: Path, names: Names | None) -> Iterator[Rows]:
    import pyarrow.csv as arrow_csv

    broken: list[Reject] = []

    def skip(row: Any) -> str:
        detail = f"{row.actual_columns} values where the header has {row.expected_columns} columns"
        broken.append(Reject(row.number, "wrong_number_of_columns", detail, row.text))
        return "skip"

    parse = arrow_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip)
    how = arrow_csv.ReadOptions(use_threads=False, block_size=BLOCK)
    with arrow_csv.open_csv(path, read_options=how, parse_options=parse) as peek:
        header = peek.schema.names
    if len(set(header)) != len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise DataError(f"{path}: column {twice!r} stands twice in the header")
    convert = arrow_csv.ConvertOptions(
        column_types={name: pa.binary() for name in header}, strings_can_be_null=True, null_values=[""]
    )
    broken.clear()
    number, reported = 1, 0
    with arrow_csv.open_csv(path, read_options=how, parse_options=parse, convert_options=convert) as reader:
        for batch in reader:
            bad_numbers = {reject.line for reject in broken}
            places = []
            while len(places) < batch.num_rows:
                number += 1
                if number not in bad_numbers:
                    places.append(number)
            yield _text_rows(batch, np.asarray(places, np.int64), names, broken[reported:])
            reported = len(broken)
    if reported < len(broken):
        yield Rows(np.zeros(0, np.int64), {}, lambda i: "", rejects=broken[reported:])


def _text_rows(batch: pa.RecordBatch, places: np.ndarray, names: Names | None, rejects: list[Reject]) -> Rows:
    """Bytes → text; rows with bytes that are not UTF-8 are set aside."""
    try:
        columns = [column.cast(pa.string()) for column in batch.columns]
    except pa.ArrowInvalid:
        good = np.array([all(map(_is_utf8, row.values())) for row in batch.to_pylist()], bool)
        for i in np.flatnonzero(~good):
            row = {k: _text(v) if v is not None else None for k, v in batch.slice(int(i), 1).to_pylist()[0].items()}
            rejects = [*rejects, Reject(int(places[i]), "not_utf8", "a value is not UTF-8", _as_json(row))]
        batch, places = batch.filter(pa.array(good)), places[good]
        columns = [column.cast(pa.string()) for column in batch.columns]
    table = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
    return _table_rows(table, places, names, rejects, text=True)


def _is_utf8(value: bytes | None) -> bool:
    try:
        return value is None or value.decode() is not None
    except UnicodeDecodeError:
        return False


def _columnar(source: Source, names: Names | None) -> Iterator[Rows]:
    if isinstance(source.table, dict):
        columns = source.table
        n = len(next(iter(columns.values())))
        for first in range(0, n, BATCH):
            part = {name: values[first : first + BATCH] for name, values in columns.items()}
            rows = [dict(zip(part, values)) for values in zip(*part.values())]
            made, extra = _from_dicts(rows, names)
            places = np.arange(first, first + len(rows)) + 1
            yield Rows(places, made, lambda i, rows=rows: _as_json(rows[i]), extra=extra)
        return
    row = 0
    for batch in _batches(source):
        batch.validate(full=True)  # a flipped bit may have made text that is none
        yield _table_rows(batch, np.arange(row, row + batch.num_rows) + 1, names, [])
        row += batch.num_rows


def _batches(source: Source) -> Iterator[pa.RecordBatch]:
    if source.table is not None:
        yield from source.table.to_batches(max_chunksize=BATCH)
        return
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(source.path, pre_buffer=False) as file:  # read ahead, it would all stay in memory
        if file.metadata.num_rows == 0:
            raise DataError(f"{source.path} is empty: it has a header and no rows")
        yield from file.iter_batches(batch_size=BATCH)


def _table_rows(
    batch: pa.RecordBatch, places: np.ndarray, names: Names | None, rejects: list[Reject],
    *, text: bool = False,
) -> Rows:  # fmt: skip
    """Columns of a flat table: fields by their names, features by theirs (or as ``context.<name>``, or nested)."""
    columns: dict[str, Column] = {}
    extra: dict[int, str] = {}
    targets = _flat_names(names)
    for name, column in zip(batch.schema.names, batch.columns):
        column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        if name == "context":
            made, extra = _nested(column, names)
            columns |= made
        elif name in _FIELD_SET:
            columns[name] = column
        elif names is None or name in targets:
            columns[targets.get(name, f"context.{name.removeprefix('context.')}")] = column
        elif name not in names.ignore:
            for i in np.flatnonzero(np.asarray(column.is_valid())):
                extra.setdefault(int(i), name)
    raw = lambda i: _as_json(batch.slice(i, 1).to_pylist()[0])
    return Rows(places, columns, raw, text, extra, rejects, batch)


def _nested(column: pa.Array, names: Names | None) -> tuple[dict[str, Column], dict[int, str]]:
    """The ``context`` column of a table: a struct, a map, or JSON text."""
    values = column.to_pylist()
    if pa.types.is_map(column.type):
        values = [dict(pairs) if pairs is not None else {} for pairs in values]
    elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        values = [_json_object(value) for value in values]
    made, extra = _from_dicts([{"context": value} for value in values], names)
    return made, extra


def _json_object(value: str | None) -> Any:
    try:
        return msgspec.json.decode(value) if value else {}
    except (msgspec.MsgspecError, RecursionError):
        return value


def _as_json(row: dict[str, Any]) -> str:
    return json.dumps(row, default=str, ensure_ascii=False)
