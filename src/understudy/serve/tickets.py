"""What waits for an answer: requests, the decisions made for them, and who is to be woken."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from threading import Lock
from typing import Any

from understudy.core.service import DecideReply, DecideRequest, Logged


class Ticket:
    """The requests of one caller, answered together or refused together."""

    __slots__ = ("error", "future", "logged", "requests")

    def __init__(self, requests: Sequence[DecideRequest], future: Any) -> None:
        self.requests, self.future = requests, future  # an asyncio.Future, or a concurrent.futures.Future
        self.logged: list[Logged] = []
        self.error: BaseException | None = None

    def settle(self) -> None:
        """Answer; in the thread of the future's loop, if it has one."""
        if self.future.done():  # whoever waited has gone
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result([reply(logged) for logged in self.logged])


def reply(logged: Logged) -> DecideReply:
    """What the caller is told of a decision that stands in the log."""
    return DecideReply(
        decision_id=logged.decision_id,
        action=logged.action,  # pyright: ignore[reportArgumentType]  (the service's actions have names)
        propensity=logged.propensity,  # pyright: ignore[reportArgumentType]
        propensities=tuple(logged.propensities or ()),
        policy_id=logged.policy_id or "",
        fallback=logged.fallback,
    )


class Wakers:
    """Answers tickets; a loop is woken once for all that are ready, because waking it costs more than answering."""

    def __init__(self) -> None:
        self._ready: dict[asyncio.AbstractEventLoop, deque[Ticket]] = {}
        self._lock = Lock()

    def settle(self, tickets: Sequence[Ticket]) -> None:
        """From any thread."""
        wake: list[asyncio.AbstractEventLoop] = []
        with self._lock:
            for ticket in tickets:
                if isinstance(ticket.future, Future):
                    ticket.settle()
                    continue
                loop = ticket.future.get_loop()
                waiting = self._ready.get(loop)
                if waiting is None:
                    waiting = self._ready[loop] = deque()
                    wake.append(loop)
                waiting.append(ticket)
        for loop in wake:
            try:
                loop.call_soon_threadsafe(self._answer, loop)
            except RuntimeError:  # the loop is closed: nobody waits any more
                self._ready.pop(loop, None)

    def _answer(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            tickets = self._ready.pop(loop, ())
        for ticket in tickets:
            ticket.settle()
