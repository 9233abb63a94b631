"""The event log in PostgreSQL: one table for all workers, numbered in the order of their commits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from understudy.core.errors import ConfigError, StoreError
from understudy.data.eventlog.errors import LogDown, LogFull
from understudy.data.eventlog.records import ALL, Entry, Kind, Record, Watermark

_GATE = 0x756E6465  # of the advisory lock; any number that nobody else uses
_TABLES = sa.MetaData()
_EVENTS = sa.Table(
    "events",
    _TABLES,
    sa.Column("seq", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("worker", sa.Integer, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("kind", "key"),
)
_ENTER = sa.text(f"SELECT pg_advisory_xact_lock({_GATE})")
# Columns as arrays: one statement whatever the size of the batch, so that it is prepared once.
_INSERT = sa.text(
    "INSERT INTO events (worker, kind, key, body) SELECT :worker, * FROM "
    "unnest(CAST(:kinds AS text[]), CAST(:keys AS text[]), CAST(:bodies AS bytea[])) "
    "ON CONFLICT DO NOTHING RETURNING kind, key"
)
_FIND = sa.text("SELECT body FROM events WHERE kind = :kind AND key = :key")
_STORED = sa.text(
    "SELECT kind, key, body FROM events JOIN unnest(CAST(:kinds AS text[]), CAST(:keys AS text[])) "
    "AS asked (kind, key) USING (kind, key)"
)
_READ = sa.text("SELECT kind, key, body, seq, worker FROM events WHERE seq > :after ORDER BY seq LIMIT :limit")
_COPIES = sa.text("SELECT kind, key, body, seq, worker FROM events WHERE kind = :kind AND key = ANY(:keys)")
_LAST = sa.text("SELECT coalesce(max(seq), 0) FROM events")


class PostgresLog:
    """Events of all workers in the table ``events``; a schema of its own is chosen in the URL (search_path).

    Every append enters through one advisory lock, held until its commit is visible. So numbers are given in the order
    of commits, and a reader who has seen number n will never meet a smaller one later. What that costs is commits at
    the same instant; each worker's own requests share commits anyway.

    Args:
        worker: None reads only.

    Raises:
        ConfigError: a URL that no installed driver understands.
    """

    def __init__(self, url: str, worker: int | None = 0) -> None:
        self._worker = worker
        try:
            self._engine = sa.create_engine(url, pool_size=2)
        except (exc.ArgumentError, ModuleNotFoundError) as error:
            raise ConfigError(
                f"no event log can be opened at that URL: {error}",
                hint='Use a folder, or postgresql+psycopg://… after: pip install "understudy[postgres]"',
            ) from error
        if self._engine.name != "postgresql":
            raise ConfigError(f"an event log is a folder or PostgreSQL, not {self._engine.name}", field="log")
        self._reads = self._engine.execution_options(isolation_level="AUTOCOMMIT")  # one round trip instead of three
        self._place = self._engine.url.render_as_string(hide_password=True)
        self._writer: sa.Connection | None = None
        self._lock = Lock()
        self._failures = self._reopened = 0
        try:
            if worker is not None:
                with self._faults(), self._engine.begin() as db:
                    db.execute(_ENTER)
                    _TABLES.create_all(db)
                self._writer = self._opened()
            self._query(_LAST)
        except BaseException:
            self.close()
            raise

    def append(self, records: Sequence[Record]) -> list[bytes | None]:
        """See EventLog."""
        if self._worker is None:
            raise StoreError(f"the event log at {self._place} was opened for reading only")
        with self._lock:
            try:
                with self._faults():
                    if self._writer is None:
                        self._writer = self._opened()
                        self._reopened += 1
                    return self._append(self._writer, records)
            except BaseException:
                self._failures += 1
                self._drop()
                raise

    def find(self, kind: Kind, key: str) -> bytes | None:
        """See EventLog."""
        rows = self._query(_FIND, kind=kind, key=key)
        return rows[0][0] if rows else None

    def read(self, after: Watermark, limit: int = 10_000) -> tuple[list[Entry], Watermark]:
        """See EventLog."""
        rows = self._query(_READ, after=after.get(ALL, 0), limit=limit)
        entries = [Entry(*row) for row in rows]
        return entries, {ALL: entries[-1].seq} if entries else dict(after)

    def end(self) -> Watermark:
        """See EventLog."""
        return {ALL: self._query(_LAST)[0][0]}

    def copies(self, kind: Kind, keys: Sequence[str]) -> list[Entry]:
        """See EventLog."""
        return [Entry(*row) for row in self._query(_COPIES, kind=kind, keys=list(keys))]

    def counts(self) -> dict[str, int]:
        """See EventLog."""
        found = {"events": self.end()[ALL], "torn_bytes": 0}
        return found | {"failures": self._failures, "reopened": self._reopened}

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            self._drop()

    def _opened(self) -> sa.Connection:
        db = self._engine.connect()
        db.execute(sa.text("SET synchronous_commit = on"))  # a server may be set to answer before its disk does
        db.commit()
        return db

    def _append(self, db: sa.Connection, records: Sequence[Record]) -> list[bytes | None]:
        if not records:
            return []
        kinds, keys, bodies = (list(column) for column in zip(*records))
        names = list(zip(kinds, keys))
        stored: dict[tuple[str, str], bytes] = {}
        with db.begin():
            db.execute(_ENTER)
            asked = {"worker": self._worker, "kinds": kinds, "keys": keys, "bodies": bodies}
            new = {(kind, key) for kind, key in db.execute(_INSERT, asked)}
            if len(new) < len(records):
                rows = db.execute(_STORED, {"kinds": kinds, "keys": keys})
                stored = {(kind, key): body for kind, key, body in rows}
        answers: list[bytes | None] = []
        for name in names:  # of copies in one batch the first is new
            answers.append(None if name in new else stored[name])
            new.discard(name)
        return answers

    def _query(self, statement: sa.TextClause, **values: Any) -> Sequence[Any]:
        with self._faults(), self._reads.connect() as db:
            return db.execute(statement, values).all()

    def _drop(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(exc.SQLAlchemyError):
                self._writer.invalidate()
                self._writer.close()
            self._writer = None
        self._engine.dispose()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except exc.SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            what = f"the event log at {self._place} refused: {cause}"
            if getattr(cause, "sqlstate", None) == "53100":
                raise LogFull(what, "No space is left, so nothing of the batch was written.") from error
            raise LogDown(what, "Nothing is acknowledged that may not be on the disk.", "Ask again.") from error
