"""A log: validated decisions and outcomes in a folder, with everything that was set aside beside them."""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from understudy.core.errors import StoreError
from understudy.core.manifest import Manifest
from understudy.core.problem import Problem, decode_problem
from understudy.data.artifact import read_manifest

PROBLEM, DECISIONS, OUTCOMES, QUARANTINE = "problem.json", "decisions.parquet", "outcomes.parquet", "quarantine.parquet"


@dataclass(frozen=True)
class Log:
    """An artifact of kind ``log``."""

    folder: Path
    manifest: Manifest

    @property
    def counts(self) -> dict[str, int]:
        """rows = decisions + duplicates + outcome_rows + quarantined; and quarantined.<reason> for each reason."""
        return self.manifest.counts

    @cached_property
    def problem(self) -> Problem:
        return read_problem(self.folder)

    def quarantine(self) -> pa.Table:
        """The rows that were set aside: source, line, kind, reason, detail, raw."""
        return parquet.read_table(self.folder / QUARANTINE)


def open_log(folder: str | Path | Log) -> Log:
    """The log in a folder; StoreError if the folder holds something else."""
    if isinstance(folder, Log):
        return folder
    return Log(Path(folder), expect(folder, "log", "understudy ingest EVENTS --problem problem.yaml --to FOLDER"))


def expect(folder: str | Path, kind: str, how: str) -> Manifest:
    """The manifest of an artifact of that kind; StoreError says how to make one."""
    manifest = read_manifest(folder)
    if manifest.kind != kind:
        raise StoreError(f"{folder} holds a {manifest.kind}, not a {kind}", hint=f"Make one with: {how}")
    return manifest


def read_problem(folder: str | Path) -> Problem:
    """The problem an artifact was made under."""
    path = Path(folder) / PROBLEM
    return decode_problem(path.read_bytes(), where=str(path), yaml=False)


def scratch(name: str) -> Path:
    """A folder that lives as long as this process, for artifacts nobody asked to keep."""
    root = Path(tempfile.mkdtemp(prefix="understudy-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root / name


def database(folder: Path, *, threads: int = 1, memory: str = "1200MB") -> Any:
    """A DuckDB connection that spills into ``folder``; one thread, so that equal inputs give equal bytes."""
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"SET threads = {int(threads)}")
    connection.execute(f"SET memory_limit = '{memory}'")
    connection.execute(f"SET temp_directory = '{text(folder / 'spill')}'")
    connection.execute("SET preserve_insertion_order = true")
    connection.execute("SET TimeZone = 'UTC'")  # of texts without an offset, on whatever machine
    return connection


def copy_to(sql: Any, query: str, path: Path, how: str) -> int:
    """Write the rows of a query to a file. Returns how many there were."""
    return sql.execute(f"COPY ({query}) TO '{text(path)}' {how}").fetchall()[0][0]


def text(value: object) -> str:
    """A value inside SQL quotes."""
    return str(value).replace("'", "''")


def exactly(path: object) -> str:
    """A path inside SQL quotes that is read as it stands: ``run[1]`` is no pattern, which ``run1`` would match."""
    return re.sub(r"[\[*?]", r"[\g<0>]", text(path))
