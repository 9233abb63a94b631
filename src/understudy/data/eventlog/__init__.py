"""The durable event log: decisions, outcomes and activations, on the disk before anybody is answered."""

from __future__ import annotations

from pathlib import Path

from understudy.data.eventlog.errors import Busy, LogDown, LogFull
from understudy.data.eventlog.group import GroupCommit
from understudy.data.eventlog.records import KINDS, Entry, EventLog, Kind, Record, Watermark

__all__ = [
    "KINDS",
    "Busy",
    "Entry",
    "EventLog",
    "GroupCommit",
    "Kind",
    "LogDown",
    "LogFull",
    "Record",
    "Watermark",
    "open_event_log",
]


def open_event_log(url_or_folder: str | Path, worker: int | None = 0) -> EventLog:
    """The event log at a place: a folder of SQLite files, one per worker; or ``postgresql+psycopg://…``, a table.

    Args:
        worker: who writes. A worker's file has one writer at a time. None opens the log for reading only.

    Raises:
        StoreError: another process writes as this worker, or the place holds something else.
        LogFull, LogDown: it cannot be opened now.
    """
    place = str(url_or_folder)
    if "://" in place:
        from understudy.data.eventlog.postgres import PostgresLog

        return PostgresLog(place, worker)
    from understudy.data.eventlog.sqlite import SqliteLog

    return SqliteLog(Path(url_or_folder), worker)
