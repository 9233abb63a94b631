"""Reading the end of an event log that may be long: from near its head, never from its beginning."""

from __future__ import annotations

from understudy.data.eventlog import Entry, EventLog, Watermark

_FAR = 1 << 60  # behind every event there will ever be


def heads(log: EventLog) -> Watermark:
    """How far the log reaches, found by asking for single events: about 40 look-ups for each part of the log."""
    found: Watermark = {}
    while True:
        behind = dict.fromkeys(found, _FAR)
        _, mark = log.read(behind, 1)
        part = next((key for key, seq in mark.items() if seq != behind.get(key, 0)), None)
        if part is None:
            return found
        low, high = mark[part], 2 * mark[part]
        while (more := _after(log, behind, part, high)) is not None:
            low, high = more, 2 * more
        while low < high:
            middle = (low + high) // 2
            more = _after(log, behind, part, middle)
            low, high = (low, middle) if more is None else (more, high)
        found[part] = low


def _after(log: EventLog, behind: Watermark, part: str, seq: int) -> int | None:
    """The number of the first event of a part behind ``seq``; None if there is none."""
    _, mark = log.read({**behind, part: seq}, 1)
    return mark[part] if mark[part] > seq else None


def near_end(log: EventLog, last: int) -> Watermark:
    """A watermark behind which at most ``last`` events remain, as many of each part."""
    found = heads(log)
    return {part: max(0, seq - last // len(found)) for part, seq in found.items()}


def oldest(log: EventLog, mark: Watermark, reach: Watermark) -> list[Entry]:
    """The first event of each part behind a watermark, of parts that reach further than it."""
    found: list[Entry] = []
    for part, seq in reach.items():
        if seq > mark.get(part, 0):
            others = {other: _FAR for other in reach if other != part}
            found += log.read({**others, part: mark.get(part, 0)}, 1)[0]
    return found
