"""One request and its answer at the ASGI border: read the body within its limits, send bytes."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any, NamedTuple

from starlette.types import Message, Receive, Scope, Send

from understudy.serve.refusal import Refusal, refuse

ONE = 256 * 1024  # bytes of a body with one request
MANY = 4 * 1024 * 1024  # bytes of a body with a batch
ROOM = 64 * 1024 * 1024  # bytes of all bodies larger than ONE that a worker holds at a time
PATIENCE = 10.0  # seconds for a body to arrive

JSON = b"application/json"
# No answer is kept by a cache, taken for another type, framed, or signed with a server's name and version.
COMMON: tuple[tuple[bytes, bytes], ...] = (
    (b"server", b"understudy"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)
LAST = (b"connection", b"close")
_LATE = "the body did not arrive in time"

Reading = dict[asyncio.Task[Any], float]  # whoever waits for a body, since when


class Answer(NamedTuple):
    """What goes back."""

    body: bytes
    status: int = 200
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Room:
    """The bytes of large bodies that one worker may hold. Small ones need none: there are never too many of them."""

    __slots__ = ("free",)

    def __init__(self, free: int = ROOM) -> None:
        self.free = free

    def take(self, size: int) -> None:
        """Raises: Refusal with 503 if it is not there."""
        if size > self.free:
            what = "bodies larger than 256 KiB are being worked on, and there is no room for another"
            refusal = refuse(503, what, "Ask again in a second, or send a batch in smaller parts.", retry_after=1)
            refusal.headers += (LAST,)  # what is left of the body is not read
            raise refusal
        self.free -= size


class Call:
    """A request as far as it has been read: its headers, and who sent it."""

    __slots__ = (
        "authorization",
        "caller",
        "content_type",
        "held",
        "host",
        "length",
        "origin",
        "peer",
        "reading",
        "receive",
        "room",
        "scope",
        "site",
    )

    def __init__(self, scope: Scope, receive: Receive, reading: Reading, room: Room) -> None:
        self.scope, self.receive, self.reading, self.room, self.held = scope, receive, reading, room, 0
        self.authorization = self.content_type = self.length = self.origin = self.host = self.site = b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                self.authorization = value
            elif name == b"content-type":
                self.content_type = value
            elif name == b"content-length":
                self.length = value
            elif name == b"host":
                self.host = value
            elif name == b"origin":
                self.origin = value
            elif name == b"sec-fetch-site":
                self.site = value
        self.caller = self.peer = (scope.get("client") or ("",))[0]

    async def body(self, limit: int) -> bytes:
        """The whole body. Raises: Refusal for a wrong type or too many bytes (counted as they come); TimeoutError.

        What it holds of the worker's room is given back by ``let_go``, once the request has been answered.
        """
        kind = self.content_type
        if kind != JSON and kind.partition(b";")[0].strip().lower() != JSON:
            raise refuse(
                415,
                f"the content type is {kind[:80].decode('latin-1')!r}" if kind else "the request has no content type",
                "Send Content-Type: application/json.",
            )
        if self.length and (len(self.length) > 12 or int(self.length) > limit):
            raise _too_large(limit)
        task = asyncio.current_task()
        assert task is not None
        self.reading[task] = perf_counter()
        try:
            message = await self.receive()
            body = message.get("body", b"")
            # The server says that there is more until it is asked in vain; the announced length knows better.
            if not message.get("more_body") or (self.length and len(body) == int(self.length)):
                self._hold(len(body), limit)
                return body
            return await self._rest(message, limit)
        except asyncio.CancelledError as error:
            if error.args != (_LATE,):
                raise
            task.uncancel()
            raise TimeoutError from None
        finally:
            del self.reading[task]

    def let_go(self) -> None:
        """Give back the room of the body."""
        self.room.free += self.held
        self.held = 0

    def _hold(self, size: int, limit: int) -> None:
        """So many bytes have come by now. Raises: Refusal."""
        if size > limit:
            raise _too_large(limit)
        if size > ONE:
            self.room.take(size - self.held)
            self.held = size

    async def _rest(self, message: Message, limit: int) -> bytes:
        parts, size = [], 0
        while True:
            if message["type"] == "http.disconnect":
                raise refuse(400, "the connection was closed before the body was whole")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            self._hold(size, limit)
            if not message.get("more_body"):
                return b"".join(parts)
            message = await self.receive()


def hurry(reading: Reading, now: float) -> None:
    """End the reading of bodies that have not arrived within PATIENCE: one look for all costs less than a timer each.

    Args:
        now: seconds of ``perf_counter``.
    """
    for task, since in list(reading.items()):
        if now - since > PATIENCE:
            task.cancel(_LATE)


def _too_large(limit: int) -> Refusal:
    refusal = refuse(413, f"the body is larger than {limit:,} bytes", "Send less, or a batch in parts.")
    refusal.headers += (LAST,)  # what is left of the body is not read
    return refusal


async def reply(send: Send, answer: Answer, *, last: bool = False) -> None:
    """Send an answer; ``last`` asks the client to use another connection for its next request."""
    headers = [(b"content-type", answer.content_type), *COMMON, *answer.headers]
    if last and LAST not in answer.headers:
        headers.append(LAST)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
