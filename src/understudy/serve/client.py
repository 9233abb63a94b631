"""The service over HTTP, for programs: safe to retry, safe in threads, nothing but the standard library below."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from understudy.core.errors import ConfigError, DataError, ExecutorError, StoreError, UnderstudyError
from understudy.core.service import ActivateRequest, DecideReply, DecideRequest, RewardRequest
from understudy.serve.randomness import new_id

_encode = msgspec.json.Encoder().encode
_reply = msgspec.json.Decoder(DecideReply).decode
_replies = msgspec.json.Decoder(list[DecideReply]).decode
_LOST = (OSError, http.client.HTTPException)  # the connection, not the request
_LATER = (429, 503)
_PAUSE = (0.02, 2.0)  # seconds: the first wait, and the longest that is not asked for


class Client:
    """``core.service.Service`` over HTTP.

    Every decision carries an id, made here if the caller gives none, and an outcome is named by what it says: so a
    request whose answer was lost is sent again, and counts once. One connection per thread is kept open.

    Args:
        url: such as ``http://127.0.0.1:8080``.
        key: made by ``understudy key add``; None where the service needs none.
        timeout: seconds for one request with all its retries.

    Raises, from every method: DataError for a request that is wrong, ConfigError for a key that does not fit,
    ExecutorError where the service cannot be reached or does not answer in time, StoreError where it cannot write.
    """

    def __init__(self, url: str, key: str | None = None, *, timeout: float = 10.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{url!r} is no address of a service", hint="Such as http://127.0.0.1:8080", field="url")
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._place, self._base = (parts.hostname, parts.port), parts.path.rstrip("/")
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._timeout, self._mine = timeout, threading.local()
        self._open: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def decide(self, request: DecideRequest) -> DecideReply:
        """One decision, durable in the service's log."""
        return _reply(self._ask("POST", "/decide", _encode(_named(request))))

    def decide_batch(self, requests: Sequence[DecideRequest]) -> Sequence[DecideReply]:
        """Up to 1,000 decisions, all or none."""
        return _replies(self._ask("POST", "/decide/batch", _encode([_named(r) for r in requests]))) if requests else []

    def reward(self, request: RewardRequest) -> None:
        """One outcome."""
        self._ask("POST", "/reward", _encode(request))

    def reward_batch(self, requests: Sequence[RewardRequest]) -> None:
        """Up to 1,000 outcomes, all or none."""
        if requests:
            self._ask("POST", "/reward/batch", _encode(requests))

    def activate(self, request: ActivateRequest) -> None:
        """A deferred decision has been carried out."""
        self._ask("POST", "/activate", _encode(request))

    def status(self) -> dict[str, Any]:
        """Who acts, as ``GET /policy`` says it."""
        return msgspec.json.decode(self._ask("GET", "/policy"))

    def reload(self) -> dict[str, Any]:
        """Have the service look into its ledger now; who acts then. Needs the scope admin where there are keys."""
        return msgspec.json.decode(self._ask("POST", "/policy/reload"))

    def close(self) -> None:
        """Close the connections of all threads; a later request opens a new one."""
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """The body of a 200, however often it takes to get one within the timeout."""
        end, pause = time.monotonic() + self._timeout, _PAUSE[0]
        while True:
            try:
                status, said, wait = self._send(method, path, body, end)
                if status == 200:
                    return said
                error: UnderstudyError = _error(status, said)
                if status not in _LATER:
                    raise error
            except _LOST as lost:
                wait = None
                error = ExecutorError(
                    f"{self._place[0]}:{self._place[1]} does not answer: {lost or type(lost).__name__}",
                    hint="Start it with: understudy serve",
                    field="url",
                )
                error.__cause__ = lost
            # As long as it was asked to, else a little longer each time; spread, so that callers do not come together.
            pause, rest = min(2 * pause, _PAUSE[1]), (wait if wait is not None else pause) * random.uniform(0.5, 1.0)
            if time.monotonic() + rest >= end:
                raise error
            time.sleep(rest)

    def _send(self, method: str, path: str, body: bytes | None, end: float) -> tuple[int, bytes, float | None]:
        connection: http.client.HTTPConnection | None = getattr(self._mine, "connection", None)
        left = max(0.001, end - time.monotonic())
        if connection is None:
            connection = self._mine.connection = self._kind(*self._place, timeout=left)
            with self._lock:
                self._open.append(connection)
        if connection.sock is not None:
            connection.sock.settimeout(left)
        connection.timeout = left
        try:
            connection.request(method, self._base + path, body, self._headers)
            answer = connection.getresponse()
            said = answer.read()
        except BaseException:
            connection.close()
            raise
        wait = answer.headers.get("Retry-After", "")
        return answer.status, said, float(wait) if wait.isdigit() else None


def _named(request: DecideRequest) -> DecideRequest:
    if request.decision_id is not None:
        return request
    return msgspec.structs.replace(request, decision_id=new_id(time.time()))


def _error(status: int, said: bytes) -> UnderstudyError:
    """The package's error from the one error shape."""
    try:
        told = msgspec.json.decode(said)["error"]
        what, hint, field, kind = (str(told[name]) for name in ("message", "hint", "field", "kind"))
    except (msgspec.MsgspecError, UnicodeError, KeyError, TypeError):
        what, hint, field, kind = f"status {status}, and not the service's error shape", "", "", "unknown"
    made = _CLASSES.get(status, DataError if 400 <= status < 500 else ExecutorError)(what, hint=hint, field=field)
    made.kind = kind
    return made


_CLASSES: dict[int, type[UnderstudyError]] = {
    401: ConfigError,
    403: ConfigError,
    404: ConfigError,
    405: ConfigError,
    429: ExecutorError,
    500: ExecutorError,
    503: ExecutorError,
    507: StoreError,
}
