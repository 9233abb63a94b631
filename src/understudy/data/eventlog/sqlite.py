"""The event log in SQLite: one file per worker, each commit on the disk before it counts."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from understudy.core.errors import StoreError
from understudy.data.artifact import sync_folder
from understudy.data.eventlog.errors import LogDown, LogFull
from understudy.data.eventlog.records import Entry, Kind, Record, Watermark
from understudy.data.eventlog.siblings import Siblings, connect, path_of
from understudy.data.eventlog.wal import torn_bytes

_TABLE = """CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL,
    UNIQUE (kind, key))"""
_INSERT = "INSERT INTO events (kind, key, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_FIND = "SELECT body FROM events WHERE kind = ? AND key = ?"
_PLACE = "SELECT seq, body FROM events WHERE kind = ? AND key = ?"
_LAST = "SELECT coalesce(max(seq), 0) FROM events"
_READ = "SELECT kind, key, body, seq FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
# CROSS JOIN keeps the order: key by key through the index. Left to itself the planner walks the whole table.
_COPIES = (
    "SELECT e.kind, e.key, e.body, e.seq FROM json_each(?) AS asked "
    "CROSS JOIN events AS e ON e.kind = ? AND e.key = asked.value"
)
_ROOM = 1 << 18  # bytes; a disk with less is full, whatever the error says


class SqliteLog:
    """Events of one worker in ``worker-<k>.db``; the other workers' files beside it are read.

    WAL with full synchronization: a commit returns when the disk has it. After a failed commit nothing is tried again
    on the same descriptors, since a second fsync may report success for pages that the first one lost: the file is
    opened anew and everything in it moved to the disk before the next event is taken.

    Args:
        worker: None reads only.
    """

    def __init__(self, folder: Path, worker: int | None = 0) -> None:
        self.folder, self.worker = Path(folder), worker
        self._db: sqlite3.Connection | None = None
        self._lock = Lock()
        self._torn = self._failures = self._reopened = 0
        self._claimed: int | None = None
        with _faults(self.folder):
            if worker is not None:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._claimed = _claim(self.folder, worker)
            elif not self.folder.is_dir():
                raise StoreError(f"there is no event log in {self.folder}", field=str(self.folder))
        self._others = Siblings(self.folder, but=-1 if worker is None else worker)
        self._finding, self._reading = Siblings(self.folder), Siblings(self.folder)
        if worker is not None:
            try:
                with _faults(self.folder):
                    self._torn = torn_bytes(Path(f"{path_of(self.folder, worker)}-wal"))
                    self._db = self._opened()
            except BaseException:
                self.close()
                raise

    def append(self, records: Sequence[Record]) -> list[bytes | None]:
        """See EventLog."""
        if self.worker is None:
            raise StoreError(f"the event log in {self.folder} was opened for reading only")
        with self._lock:
            try:
                with _faults(self.folder):
                    if self._db is None:
                        self._db = self._opened()
                        self._reopened += 1
                    return self._append(self._db, records)
            except BaseException:
                self._failures += 1
                self._drop()
                raise

    def find(self, kind: Kind, key: str) -> bytes | None:
        """See EventLog."""
        with _faults(self.folder), self._finding.connections() as files:
            for _, db in files:
                row = db.execute(_FIND, (kind, key)).fetchone()
                if row is not None:
                    return row[0]
        return None

    def read(self, after: Watermark, limit: int = 10_000) -> tuple[list[Entry], Watermark]:
        """See EventLog."""
        entries: list[Entry] = []
        mark = dict(after)
        with _faults(self.folder), self._reading.connections() as files:
            for worker, db in files:
                rows = db.execute(_READ, (after.get(str(worker), 0), limit - len(entries))).fetchall()
                if rows:
                    entries += [Entry(kind, key, body, seq, worker) for kind, key, body, seq in rows]
                    mark[str(worker)] = rows[-1][3]
        return entries, mark

    def end(self) -> Watermark:
        """See EventLog."""
        with _faults(self.folder), self._reading.connections() as files:
            return {str(worker): db.execute(_LAST).fetchone()[0] for worker, db in files}

    def copies(self, kind: Kind, keys: Sequence[str]) -> list[Entry]:
        """See EventLog."""
        asked, found = json.dumps(list(keys)), []
        with _faults(self.folder), self._reading.connections() as files:
            for worker, db in files:
                rows = db.execute(_COPIES, (asked, kind))
                found += [Entry(kind, key, body, seq, worker) for kind, key, body, seq in rows]
        return found

    def counts(self) -> dict[str, int]:
        """See EventLog."""
        found = {"events": sum(self.end().values()), "torn_bytes": self._torn}
        return found | {"failures": self._failures, "reopened": self._reopened}

    def close(self) -> None:
        """Close every file; another process may then write as this worker."""
        with self._lock:
            self._drop()
            for siblings in (self._others, self._finding, self._reading):
                siblings.close()
            if self._claimed is not None:
                os.close(self._claimed)
                self._claimed = None

    def _opened(self) -> sqlite3.Connection:
        """A connection to write with, behind which nothing is left that only the page cache knows."""
        assert self.worker is not None
        path = path_of(self.folder, self.worker)
        fresh = not path.exists()
        db = connect(path, "rwc")
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute(_TABLE)
            busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise LogDown(f"readers of {path} did not let it be opened", hint="Ask again.")
            if fresh:
                sync_folder(self.folder)
        except BaseException:
            db.close()
            raise
        return db

    def _append(self, db: sqlite3.Connection, records: Sequence[Record]) -> list[bytes | None]:
        stored: list[bytes | None] = [None] * len(records)
        db.execute("BEGIN IMMEDIATE")
        new = self._unknown_elsewhere(records, stored)
        last = db.execute(_LAST).fetchone()[0]
        if db.executemany(_INSERT, new).rowcount < len(new):
            seen: set[tuple[str, str]] = set()
            for i, record in enumerate(records):
                if stored[i] is None:
                    seq, body = db.execute(_PLACE, record[:2]).fetchone()
                    if seq <= last or record[:2] in seen:
                        stored[i] = body
                    seen.add(record[:2])
        db.execute("COMMIT")
        return stored

    def _unknown_elsewhere(self, records: Sequence[Record], stored: list[bytes | None]) -> Sequence[Record]:
        """The records that no other worker holds; the bodies of the others go into ``stored``."""
        with self._others.connections() as files:
            if not files:
                return records
            theirs: dict[tuple[str, str], bytes] = {}
            for kind in {record.kind for record in records}:
                asked = json.dumps([record.key for record in records if record.kind == kind])
                for _, db in files:
                    theirs |= {(kind, key): body for _, key, body, _ in db.execute(_COPIES, (asked, kind))}
        stored[:] = [theirs.get(record[:2]) for record in records]
        return [record for record, body in zip(records, stored) if body is None]

    def _drop(self) -> None:
        """Close what writes; its pages may be marked clean without being on the disk."""
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None
            self._finding.close()
            self._reading.close()


def _claim(folder: Path, worker: int) -> int:
    """A lock that lasts as long as this process: one writer per file. Returns its descriptor."""
    handle = os.open(folder / f"worker-{worker}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise StoreError(
            f"another process writes the event log {folder} as worker {worker}",
            "Two writers of one file would make each other wait, and a torn tail could not be told from a live one.",
            "Give this one another worker number, or stop the other.",
        ) from None
    return handle


@contextmanager
def _faults(folder: Path) -> Iterator[None]:
    """SQLite's and the system's refusals as LogFull or LogDown."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise _named(folder, error) from error


def _named(folder: Path, error: Any) -> StoreError:
    full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL or getattr(error, "errno", None) == 28
    with contextlib.suppress(OSError):
        space = os.statvfs(folder)
        full = full or space.f_bavail * space.f_frsize < _ROOM
    what = f"the event log in {folder} refused: {error}"
    if full:
        return LogFull(what, "No space is left, so nothing of the batch was written.", "Free space; it then goes on.")
    return LogDown(what, "Nothing is acknowledged that may not be on the disk.", "Ask again; see the system's log.")
