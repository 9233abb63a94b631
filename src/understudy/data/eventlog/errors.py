"""Why an event could not be written down: what a caller may do about it differs, so the kinds do."""

from __future__ import annotations

from understudy.core.errors import StoreError


class LogFull(StoreError):
    """No space is left for the event log. Nothing of the batch was written; it works again once space returns."""

    kind = "log_full"


class LogDown(StoreError):
    """The event log cannot be reached, or the disk refuses. Whether the batch was written is unknown: ask again."""

    kind = "log_down"


class Busy(StoreError):
    """More events wait than the log may hold back. Nothing of the batch was written; ask again a little later."""

    kind = "busy"
