"""What the caller pointed at: paths, patterns, folders, DataFrames, Arrow tables → one list of named sources."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from understudy.core.errors import DataError

FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".parquet": "parquet",
           ".pq": "parquet"}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """One file or table. ``format`` is jsonl, csv, parquet or table; ``sha256`` names the content."""

    name: str
    format: str
    path: Path | None = None
    table: Any = None  # pa.Table, or dict of columns where Arrow could not type one
    sha256: str = ""


def resolve(what: Any) -> list[Source]:
    """Sources behind a path, a pattern, a folder, a pandas DataFrame, an Arrow table, or a list of these.

    Raises:
        DataError: nothing matches, a file is empty or its format is not known.
    """
    if what is None:
        return []
    if isinstance(what, (str, Path)):
        return [_file(path) for path in _paths(what)]
    if isinstance(what, Sequence):
        return [source for item in what for source in resolve(item)]
    return [_table(what)]


def _paths(what: str | Path) -> list[Path]:
    path = Path(what)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.is_file() and format_of(p) is not None)
    elif path.exists():
        found = [path]
    else:
        found = [Path(p) for p in sorted(glob.glob(str(what), recursive=True)) if Path(p).is_file()]
    if not found:
        raise DataError(f"no file matches {str(what)!r}", hint="Check the path; patterns need quotes in a shell.")
    return found


def format_of(path: Path) -> str | None:
    """jsonl, csv or parquet by the file's suffix (``.gz`` may follow the first two); None if unknown."""
    suffixes = path.suffixes[-2:]
    if suffixes and suffixes[-1] == ".gz":
        kind = FORMATS.get(suffixes[0]) if len(suffixes) == 2 else None
        return None if kind == "parquet" else kind
    return FORMATS.get(path.suffix)


def _file(path: Path) -> Source:
    kind = format_of(path)
    if kind is None:
        raise DataError(
            f"{path} is of an unknown format",
            hint=f"Readable are {', '.join(sorted(FORMATS))}, and .jsonl.gz, .csv.gz.",
        )
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty", "An empty file is more often a broken export than a day of silence.",
                            "Write it again, or leave it out.")  # fmt: skip
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return Source(path.name, kind, path=path, sha256=digest)


def _table(what: Any) -> Source:
    """A pandas DataFrame or anything Arrow can take for a table; columns of mixed types travel as Python lists."""
    if isinstance(what, (pa.Table, pa.RecordBatch)):
        table: Any = pa.Table.from_batches([what]) if isinstance(what, pa.RecordBatch) else what
    elif isinstance(what, pa.RecordBatchReader):
        table = what.read_all()
    elif type(what).__module__.partition(".")[0] == "pandas":
        table = _pandas(what)
    elif hasattr(what, "__arrow_c_stream__"):
        table = pa.table(what)
    else:
        raise DataError(
            f"cannot read decisions from a {type(what).__name__}",
            hint="Give a path, a pattern, a pandas DataFrame or an Arrow table.",
        )
    if _length(table) == 0:
        raise DataError("the table is empty", "There is nothing to learn or estimate from.")
    return Source("table", "table", table=table, sha256=_digest(table))


def _pandas(frame: Any) -> pa.Table | dict[str, Any]:
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):  # a column of mixed types
        return {str(name): list(frame[name]) for name in frame.columns}


def _length(table: Any) -> int:
    return table.num_rows if isinstance(table, pa.Table) else len(next(iter(table.values()), ()))


def _digest(table: Any) -> str:
    digest = hashlib.sha256()
    if isinstance(table, pa.Table):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema.remove_metadata()) as writer:
            writer.write_table(table.replace_schema_metadata(None).combine_chunks())
        digest.update(sink.getvalue())
    else:
        digest.update(repr(table).encode(errors="backslashreplace"))
    return digest.hexdigest()
