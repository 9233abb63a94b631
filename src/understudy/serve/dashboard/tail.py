"""Reading the end of an event log that may be long: from near its head, never from its beginning."""

from __future__ import annotations

from understudy.data.eventlog import Entry, EventLog, Watermark

_FAR = 1 << 60  # behind every event there will ever be


def near_end(log: EventLog, last: int) -> Watermark:
    """A watermark behind which at most ``last`` events remain, as many of each part."""
    end = log.end()
    return {part: max(0, seq - last // len(end)) for part, seq in end.items()}


def oldest(log: EventLog, mark: Watermark, end: Watermark) -> list[Entry]:
    """The first event of each part behind a watermark, of parts that reach further than it."""
    found: list[Entry] = []
    for part, seq in end.items():
        if seq > mark.get(part, 0):
            others = {other: _FAR for other in end if other != part}
            found += log.read({**others, part: mark.get(part, 0)}, 1)[0]
    return found
