"""How the ledger's database is connected to: durable commits, writers that take turns, refusals in one shape."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc

from understudy.core.errors import ConfigError, StoreError

_BUSY = 30_000  # milliseconds a writer waits for another one's transaction
_GATE = 0x6C656467  # of PostgreSQL's advisory lock; any number that nobody else uses


@contextmanager
def refusals(url: str) -> Iterator[None]:
    """What the database refuses, as a StoreError."""
    try:
        yield
    except exc.SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error)
        raise StoreError(f"the ledger at {sa.engine.make_url(url)!r} refused: {cause}") from error


def connect(url: str) -> sa.Engine:
    """The engine behind a URL, whose writers take turns. Raises: ConfigError."""
    try:
        turns = url.startswith(("sqlite", "postgresql"))  # writers wait for each other; elsewhere they may collide
        made = sa.create_engine(url, **({} if turns else {"isolation_level": "SERIALIZABLE"}))
    except (exc.ArgumentError, ModuleNotFoundError) as error:
        raise ConfigError(
            f"no ledger can be opened at {url!r}: {error}",
            hint='Use sqlite:///FILE, or postgresql+psycopg://… after: pip install "understudy[postgres]"',
        ) from error
    if made.dialect.name == "sqlite":
        event.listen(made, "connect", _durable)
    if turns:
        event.listen(made, "begin", _begin)
    return made


def _durable(connection: Any, _: Any) -> None:
    """An acknowledged commit survives a power cut; readers never block the writer. The driver begins nothing."""
    connection.isolation_level = None
    for pragma in (f"busy_timeout={_BUSY}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(db: sa.Connection) -> None:
    """Writers take the lock before they read, so that what they decide on cannot change under them."""
    writes = db.get_execution_options().get("writes")
    if db.dialect.name == "sqlite":
        db.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
    elif writes:
        db.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_GATE})")
