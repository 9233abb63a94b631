"""States with what was decided beside them, written as a stream: the next log. JSON lines, CSV or Parquet.

A JSON line keeps its text, and what is new is put before its last brace; a table keeps its columns.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as arrow_compute

from understudy.core.errors import DataError
from understudy.core.problem import Problem
from understudy.data import columns as col
from understudy.data.read import Reject
from understudy.data.sources import FORMATS
from understudy.data.states import OWN, Batch

pc: Any = arrow_compute  # its functions are made when it is imported, so a type checker does not know them


class Whole:
    """A file that appears under its name whole, or not at all: written beside it, synced, and moved."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.partial = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.partial")

    def __enter__(self) -> BinaryIO:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = self.partial.open("xb")
        return self.file

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self.file.flush()
                os.fsync(self.file.fileno())
        finally:
            self.file.close()
            if kind is not None:
                self.partial.unlink(missing_ok=True)
        if kind is None:
            os.replace(self.partial, self.path)


class Decided:
    """Writes batches in the format of the file's suffix; ``close`` ends the table."""

    def __init__(self, file: BinaryIO, path: Path, problem: Problem) -> None:
        self.file, self.problem = file, problem
        self.format = FORMATS[path.suffix]
        self.table: Any = None

    def write(self, batch: Batch, made: Mapping[str, pa.Array]) -> None:
        """A batch, and the columns to put beside it; what has their names is replaced."""
        if batch.rows.text and self.format != "csv":
            batch = Batch(replace(batch.rows, batch=_typed(batch.rows.batch, self.problem)))
        if self.format == "jsonl":
            self.file.write(lines(batch, made))
            return
        table = _beside(batch, made)
        if self.format == "csv":
            table = _flat(table)
        if self.table is None:
            self.table = self._opened(table.schema)
        try:
            self.table.write_batch(table.cast(self.table_schema) if table.schema != self.table_schema else table)
        except (pa.ArrowException, ValueError, KeyError) as error:
            raise DataError(
                f"rows from {batch.rows.lines[0]} on do not have the columns of those before them: {error}",
                "A table has the same columns, of the same types, from its first row to its last.",
                "Write JSON lines: --to out.jsonl",
            ) from error

    def close(self) -> None:
        """The end of a table."""
        if self.table is not None:
            self.table.close()

    def _opened(self, schema: pa.Schema) -> Any:
        self.table_schema = schema
        if self.format == "csv":
            import pyarrow.csv as arrow_csv

            return arrow_csv.CSVWriter(self.file, schema, write_options=arrow_csv.WriteOptions(quoting_style="needed"))
        import pyarrow.parquet as parquet

        return parquet.ParquetWriter(self.file, schema, compression="zstd")


def lines(batch: Batch, made: Mapping[str, pa.Array]) -> memoryview:
    """JSON lines: each as it came, and the new keys at its end."""
    texts = batch.lines
    if texts is None:
        kept = [name for name in batch.rows.batch.schema.names if name not in made]
        rows = batch.rows.batch.select(kept).to_pylist()
        texts = [msgspec.json.encode({name: v for name, v in row.items() if v is not None}) for row in rows]
    elif batch.standing.any():
        texts = list(texts)
        for i in np.flatnonzero(batch.standing):
            row = msgspec.json.decode(texts[i])
            texts[i] = msgspec.json.encode(
                {k: v for k, v in row.items() if k not in made or (k in OWN[:2] and v is not None)}
            )
    heads = pc.binary_slice(pa.array(texts, pa.binary()), 0, -1)
    if pc.any(pc.match_substring_regex(heads, r"^\s*\{\s*$")).as_py():  # {}: nothing comes before the first new key
        heads = pa.array([head.strip() if head.strip() != b"{" else b'{"context":{}' for head in heads.to_pylist()])
    parts: list[Any] = [heads]
    for name, column in made.items():
        _add(parts, f',"{name}":', column)
    joined = pc.binary_join_element_wise(*_merged(parts), b"}\n", b"")
    _, ends, body = joined.buffers()
    return memoryview(body)[: int(np.frombuffer(ends, np.int32)[len(joined)])]


def _add(parts: list[Any], key: str, column: pa.Array) -> None:
    """A key and its value as JSON text; nothing where the value is null."""
    if pa.types.is_fixed_size_list(column.type):
        k = column.type.list_size
        flat = column.flatten()
        for j in range(k):
            parts += [f"{key}[" if j == 0 else ",", _number(flat.take(pa.array(np.arange(j, len(flat), k))))]
        parts.append("]")
    elif pa.types.is_floating(column.type):
        if column.null_count:  # a null would make the whole line null
            whole = pc.binary_join_element_wise(key.encode(), _number(column), b"")
            parts.append(whole.fill_null(b""))
        else:
            parts += [key, _number(column)]
    elif pa.types.is_string(column.type) and not column.null_count and not pc.any(_odd(column)).as_py():
        parts += [f'{key}"', column.cast(pa.binary()), '"']
    else:
        encoded = column.dictionary_encode() if not pa.types.is_dictionary(column.type) else column
        words = [None if w is None else key.encode() + msgspec.json.encode(w) for w in encoded.dictionary.to_pylist()]
        texts = pa.array(words, pa.binary()).take(encoded.indices)
        parts.append(texts.fill_null(b"") if texts.null_count else texts)


def _odd(texts: pa.Array) -> pa.Array:
    """Where a text holds what JSON escapes."""
    return pc.match_substring_regex(texts, r'["\\\x00-\x1f]')


def _number(column: pa.Array) -> pa.Array:
    return column.cast(pa.string()).cast(pa.binary())


def _merged(parts: list[Any]) -> list[Any]:
    """Neighboring constants as one."""
    found: list[Any] = []
    for part in parts:
        if isinstance(part, str) and found and isinstance(found[-1], bytes):
            found[-1] += part.encode()
        else:
            found.append(part.encode() if isinstance(part, str) else part)
    return found


def _beside(batch: Batch, made: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """A table's columns, and the new ones behind them; JSON lines become columns, ``context`` one per feature."""
    base = batch.rows.batch
    if base is None:
        rows = [msgspec.json.decode(line) for line in batch.lines or []]
        for row in rows:
            context = row.pop("context", None)
            if isinstance(context, dict):
                row |= {f"context.{name}": value for name, value in context.items()}
        keys = dict.fromkeys(key for row in rows for key in row)  # Arrow would take those of the first row only
        base = pa.RecordBatch.from_pydict({key: [row.get(key) for row in rows] for key in keys})
    columns = {name: column for name, column in zip(base.schema.names, base.columns) if name not in made}
    for name, column in made.items():
        if name in base.schema.names and name in OWN[:2]:  # an id or a time that stood there is kept
            column = pc.coalesce(base.column(name).cast(column.type), column)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if pa.types.is_fixed_size_list(column.type):
            column = column.cast(pa.list_(column.type.value_type))
        columns[name] = column
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _typed(table: pa.RecordBatch, problem: Problem) -> pa.RecordBatch:
    """A CSV's texts as what they are by their names; a column of the caller's stays text, whatever it looks like."""
    kinds = {feature.name: feature.kind for feature in problem.features} | {"t": "number", "time": "number"}
    columns = []
    for name, column in zip(table.schema.names, table.columns):
        kind = kinds.get(name.removeprefix("context."))
        if kind in ("number", "boolean"):
            parsed = (col.numbers if kind == "number" else col.flags)(column, text=True)
            if not parsed.wrong.any():  # a time may be ISO 8601 text
                column = pa.array(parsed.values, mask=parsed.missing)
                column = column.cast(pa.bool_()) if kind == "boolean" else column
                column = column.cast(pa.int64()) if name == "t" else column
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, names=table.schema.names)


def _flat(table: pa.RecordBatch) -> pa.RecordBatch:
    """Lists and objects as JSON text, for a format that has neither."""
    columns = [
        pa.array([None if v is None else msgspec.json.encode(v).decode() for v in column.to_pylist()], pa.string())
        if pa.types.is_nested(column.type) else column
        for column in table.columns
    ]  # fmt: skip
    return pa.RecordBatch.from_arrays(columns, names=table.schema.names)


def aside(rejects: list[Reject]) -> bytes:
    """Rows that were set aside, as JSON lines: where each stood, why, and what it said."""
    rows = [{"line": r.line, "reason": r.reason, "detail": r.detail, "raw": r.raw} for r in rejects]
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
