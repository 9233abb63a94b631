"""What the dashboard shows, made on demand: at most once a second, reading only what the log has gained since."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec
import numpy as np

from understudy.core.problem import Problem
from understudy.data.eventlog import EventLog, Watermark, open_event_log
from understudy.data.home import Home, now
from understudy.serve.dashboard import figures
from understudy.serve.dashboard.chronicle import Chronicle
from understudy.serve.dashboard.tail import near_end, oldest
from understudy.serve.dashboard.window import Columns, Window

ROLLING = 100  # decisions that a point of the reward curve averages
PER_POLL = 20_000  # events read for one answer; the rest waits for the next
PART = 1_000  # events between two breaths


class Board:
    """One alias's dashboard. Thread-safe; nothing is read before somebody looks.

    Args:
        home: the folder of ledger, policies, verdicts and event log.
        problem: asked for what is served: its actions, reward and units.
        log: folder or URL of the event log; None is the home's own.
        limit: decisions that figures are made of.
        fresh: seconds for which an answer is good for everybody who asks.
        clock: microseconds since 1970 UTC.
    """

    def __init__(
        self, home: str | Path | Home, alias: str, problem: Callable[[], Problem], *, log: str | Path | None = None,
        limit: int = 10_000, fresh: float = 1.0, clock: Callable[[], int] = now,
    ) -> None:  # fmt: skip
        self.home, self.alias, self._problem = home if isinstance(home, Home) else Home(home), alias, problem
        self._place = self.home.log(alias) if log is None else log
        self._limit, self._fresh, self._clock, self._lock = limit, fresh, clock, Lock()
        self._chronicle = Chronicle(self.home, alias)
        self._log: EventLog | None = None
        self._window: Window | None = None
        self._mark: Watermark = {}
        self._behind, self._taken = False, 0
        self._made: tuple[float, dict[str, Any]] | None = None

    def data(self) -> dict[str, Any]:
        """Every figure of the page, as JSON can carry it; see docs/dashboard.md for the names.

        Raises: StoreError if ledger or event log cannot be read.
        """
        with self._lock:
            if self._made is None or time.monotonic() - self._made[0] > self._fresh:
                made = self._make()
                self._made = time.monotonic(), made
            return self._made[1]

    def body(self) -> bytes:
        """The same as JSON."""
        return msgspec.json.encode(self.data())

    def close(self) -> None:
        """Close the event log; the next question opens it again, at its end."""
        with self._lock:
            if self._log is not None:
                self._log.close()
            self._log, self._window, self._made = None, None, None

    def _make(self) -> dict[str, Any]:
        moment, problem = self._clock(), self._problem()
        window = self._read(problem)
        c = window.columns(moment)
        told = {
            "application": self.alias, "now": moment,
            "problem": {"hash": problem.hash, "reward": problem.reward, "unit": problem.unit,
                        "range": list(problem.reward_range), "actions": problem.actions.k},
            "window": {"decisions": c.n, "limit": window.limit, "deferred": window.deferred, "first": _edge(c, 0),
                       "last": _edge(c, -1), "closes": None if window.closes is None else window.closes / 1e6},
            "rewards": figures.rolling(c, problem, ROLLING), "actions": figures.actions(c, problem),
            "propensity": figures.propensities(c, window.reasons), "policies": figures.policies(c),
            "lag": self._lag(window, c),
        }  # fmt: skip
        return told | self._chronicle.read()

    def _read(self, problem: Problem) -> Window:
        """Take in what the log has gained, in parts between which other threads get their turn."""
        if self._log is None:
            self._log = open_event_log(self._place, None)
        if self._window is None or self._window.problem != problem:
            self._window = Window(problem, limit=self._limit, closes=self._chronicle.closes())
            self._mark = near_end(self._log, 3 * self._window.limit)  # decisions, rewards, and some to spare
        left, self._behind = PER_POLL, True
        while left > 0 and self._behind:
            entries, self._mark = self._log.read(self._mark, min(PART, left))
            for entry in entries:
                self._window.add(entry.kind, entry.body)
            left -= len(entries)
            self._taken += len(entries)
            self._behind = len(entries) > 0
            time.sleep(0)
        return self._window

    def _lag(self, window: Window, c: Columns) -> dict[str, Any]:
        """What was written and not yet put to use: not read here, not exported for the join, not rewarded."""
        assert self._log is not None
        exported, end = self._chronicle.exported(), self._log.end()
        read = exported or {}
        waiting = sum(max(0, seq - read.get(part, 0)) for part, seq in end.items())
        first = [t for e in oldest(self._log, read, end) if (t := window.moment(e.body)) is not None]
        unrewarded = c.time[np.isnan(c.reward)]
        return {
            "written": sum(end.values()), "read": self._taken, "behind": self._behind, "exported": exported is not None,
            "waiting": waiting, "oldest": min(first, default=None), "unrewarded": len(unrewarded),
            "oldest_unrewarded": int(unrewarded[0]) if len(unrewarded) else None, "strays": window.strays,
        }  # fmt: skip


def _edge(c: Columns, at: int) -> int | None:
    return int(c.time[at]) if c.n else None
