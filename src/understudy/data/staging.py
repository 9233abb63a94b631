"""Where rows wait while the rest of the log is read: valid ones typed, faulty ones with their reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as parquet

from understudy.core.problem import Problem
from understudy.data.read import Reject
from understudy.data.schema import decision_schema, outcome_schema, quarantine_schema, staged

HEAVY = 1 << 24  # characters of set-aside text held in memory before they are written


class Staging:
    """Typed rows in arrival order, one Parquet file per kind."""

    def __init__(self, folder: Path, problem: Problem) -> None:
        folder.mkdir()
        self.folder = folder
        self.counts: Counter[str] = Counter()
        self.schemas = {
            "decisions": staged(decision_schema(problem), problem),
            "outcomes": staged(outcome_schema()),
            "beside": staged(outcome_schema()),
        }
        self._writers = {
            kind: parquet.ParquetWriter(self.path(kind), schema, compression="lz4")
            for kind, schema in self.schemas.items()
            if kind != "beside"
        }

    def path(self, kind: str) -> Path:
        return self.folder / f"{kind}.parquet"

    def add(self, kind: str, batch: pa.RecordBatch | None) -> None:
        if batch is not None and batch.num_rows:
            self.counts[kind] += batch.num_rows
            self._writers[kind].write_batch(batch)

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for writer in self._writers.values():
            writer.close()


class Quarantine:
    """Rows set aside, with source, line, kind, reason, detail and text; counted by reason."""

    def __init__(self, path: Path, sources: list[str]) -> None:
        self.counts: Counter[str] = Counter()
        self.first = ""
        self._sources, self._held, self._weight = sources, [], 0
        self._writer = parquet.ParquetWriter(path, quarantine_schema(), compression="zstd")

    def add(self, source: int, rejects: Iterable[tuple[str, Reject]]) -> None:
        for kind, reject in rejects:
            place = f"{self._sources[source]}, line {reject.line}: {reject.reason}: {reject.detail}"
            self.first = self.first or place
            self.counts[reject.reason] += 1
            self._weight += len(reject.raw) + 100
            self._held.append(
                (self._sources[source], reject.line, kind, reject.reason, reject.detail, _storable(reject.raw))
            )
            if self._weight > HEAVY:
                self._flush()

    def _flush(self) -> None:
        if self._held:
            columns = [list(column) for column in zip(*self._held)]
            self._writer.write_table(pa.table(columns, schema=quarantine_schema()))
            self._held, self._weight = [], 0

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self._flush()
        self._writer.close()


def _storable(raw: str) -> str:
    """JSON may carry lone surrogates, which no UTF-8 file can."""
    return raw.encode("utf-8", "backslashreplace").decode()
