"""Where a user's record lies, and the clock of the verbs: kept in ``data``, because a service reads the same home."""

from __future__ import annotations

from understudy.data.home import LOGGED, Home, now

__all__ = ["LOGGED", "Home", "now"]
