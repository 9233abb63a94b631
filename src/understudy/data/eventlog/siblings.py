"""The files of all workers of one folder, seen read-only; one that appears later is noticed."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

_NAME = re.compile(r"worker-(\d+)\.db")
_SETTLED = 50_000_000  # nanoseconds; a folder changed less long ago may change again without a new time stamp


def path_of(folder: Path, worker: int) -> Path:
    """Where a worker writes."""
    return folder / f"worker-{worker}.db"


class Siblings:
    """Read-only connections to the files of a folder, but for one worker's if asked. Threads take turns."""

    def __init__(self, folder: Path, *, but: int | None = None) -> None:
        self._folder, self._but = folder, but
        self._open: dict[int, sqlite3.Connection] = {}
        self._seen = -1
        self._lock = Lock()

    @contextmanager
    def connections(self) -> Iterator[list[tuple[int, sqlite3.Connection]]]:
        """(worker, connection) of every file there is now, by worker."""
        with self._lock:
            self._look()
            yield sorted(self._open.items())

    def close(self) -> None:
        """Close them; they are opened again when they are needed."""
        with self._lock:
            for connection in self._open.values():
                with contextlib.suppress(sqlite3.Error):
                    connection.close()
            self._open, self._seen = {}, -1

    def _look(self) -> None:
        changed = os.stat(self._folder).st_mtime_ns
        if changed == self._seen:
            return
        for name in os.listdir(self._folder):
            found = _NAME.fullmatch(name)
            worker = int(found[1]) if found else self._but
            if worker is not None and worker != self._but and worker not in self._open:
                self._connect(worker)
        self._seen = changed if time.time_ns() - changed > _SETTLED else -1

    def _connect(self, worker: int) -> None:
        connection = connect(path_of(self._folder, worker), "rw")
        try:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("SELECT 1 FROM events LIMIT 0")
        except sqlite3.Error:  # its writer is only just making it
            connection.close()
        else:
            self._open[worker] = connection


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection that any thread may use and that begins no transaction by itself."""
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False, timeout=5
    )
