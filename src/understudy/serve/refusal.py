"""What a request can be told besides yes: a status, and the package's one error shape."""

from __future__ import annotations

import msgspec

from understudy.core.errors import ConfigError, DataError, UnderstudyError
from understudy.data.eventlog import Busy, LogDown, LogFull

Headers = tuple[tuple[bytes, bytes], ...]

# Every status of the service that is no success, and what it means: also what the OpenAPI document says.
REFUSALS: dict[int, str] = {
    400: "The body is not JSON, or says something twice.",
    401: "A key is needed, or this one is unknown, expired or revoked.",
    403: "The key lacks the scope, or a browser sends this for another site.",
    404: "No such path, or no such decision.",
    405: "The path knows other methods.",
    408: "The body did not arrive in time.",
    409: "The same id was used for something else.",
    413: "The body is too large.",
    415: "The content type is not application/json.",
    422: "The JSON does not describe what is asked for here.",
    429: "More requests a second than this key may send; Retry-After says when.",
    500: "A fault of the service; nothing was promised.",
    503: "Too busy, shutting down, or the event log is not writable; Retry-After says when.",
    507: "No space is left for the event log; nothing was written.",
}


class Refusal(Exception):
    """An answer that is no success.

    Args:
        status: one of REFUSALS.
        error: what is said, in the package's shape.
        retry_after: seconds after which asking again makes sense.
        headers: what else the answer carries.
    """

    def __init__(self, status: int, error: UnderstudyError, *, retry_after: int = 0, headers: Headers = ()) -> None:
        super().__init__(error.what)
        self.status, self.error, self.retry_after = status, error, retry_after
        wait = ((b"retry-after", b"%d" % retry_after),) if retry_after else ()
        self.headers = wait + headers

    @property
    def body(self) -> bytes:
        """The one error shape, as JSON."""
        return msgspec.json.encode(self.error.as_dict())


def refuse(status: int, what: str, hint: str = "", *, kind: str = "", field: str = "", retry_after: int = 0) -> Refusal:
    """A Refusal in one line; ``kind`` is a machine's word for it."""
    error = UnderstudyError(what, hint=hint, field=field)
    error.kind = kind or _KINDS.get(status, "data")
    return Refusal(status, error, retry_after=retry_after)


def from_error(error: UnderstudyError) -> Refusal:
    """What an error of the rooms below means to a caller."""
    if isinstance(error, LogFull):
        return Refusal(507, error, retry_after=5)
    if isinstance(error, Busy | LogDown):
        return Refusal(503, error, retry_after=1)
    if isinstance(error, DataError | ConfigError):
        return Refusal(409 if error.kind == "conflict" else 422, error)
    return Refusal(503, error, retry_after=1)  # the store, the ledger: a fault of the machine that may pass


_KINDS = {
    400: "json",
    401: "key",
    403: "forbidden",
    404: "not_found",
    405: "method",
    408: "timeout",
    409: "conflict",
    413: "too_large",
    415: "content_type",
    422: "data",
    429: "rate",
    500: "internal",
    503: "busy",
    507: "log_full",
}
