"""What an event log holds, and what every event log promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

Kind = Literal["decision", "outcome", "activation"]
KINDS: tuple[Kind, ...] = ("decision", "outcome", "activation")

Watermark = dict[str, int]  # worker → seq of the last event that was read; {} = from the beginning
ALL = "all"  # the worker of a watermark whose workers share one numbering


class Record(NamedTuple):
    """One event to be written down. ``body`` is JSON; (kind, key) names the event, so that a repeated one is known."""

    kind: Kind
    key: str
    body: bytes


class Entry(NamedTuple):
    """One event as it was written down: the seq-th of its worker."""

    kind: Kind
    key: str
    body: bytes
    seq: int
    worker: int


def within(entry: Entry, mark: Watermark) -> bool:
    """Whether an event lies before a watermark."""
    return entry.seq <= mark.get(ALL, mark.get(str(entry.worker), 0))


@runtime_checkable
class EventLog(Protocol):
    """An append-only log of events, safe against crashes. One writer per worker, any number of readers."""

    def append(self, records: Sequence[Record]) -> list[bytes | None]:
        """Write all of a batch or nothing; durable on return.

        Returns:
            Per record None if it was new, else the body that was stored first under its (kind, key), also where that
            was earlier in the same batch. What was stored first stays.

        Raises:
            LogFull, LogDown.
        """
        ...

    def find(self, kind: Kind, key: str) -> bytes | None:
        """The durable body under (kind, key), whichever worker wrote it; None if there is none."""
        ...

    def read(self, after: Watermark, limit: int = 10_000) -> tuple[list[Entry], Watermark]:
        """At most ``limit`` events behind the watermark, per worker in order, and the watermark behind these."""
        ...

    def end(self) -> Watermark:
        """The watermark behind the last event there is now."""
        ...

    def copies(self, kind: Kind, keys: Sequence[str]) -> list[Entry]:
        """Every event under these keys: one each, or several where workers stored the same key at the same moment."""
        ...

    def counts(self) -> dict[str, int]:
        """``events`` of this log, ``torn_bytes`` cut off when it was opened, ``failures`` and ``reopened`` since."""
        ...

    def close(self) -> None: ...
