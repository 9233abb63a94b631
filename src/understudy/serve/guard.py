"""Who may ask, from where, and how often: decided from the headers, before a body is read."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from understudy.core.errors import StoreError
from understudy.serve.exchange import Call
from understudy.serve.keys import Denied, Scope, read_keys, stamp
from understudy.serve.limits import Buckets
from understudy.serve.refusal import Refusal, refuse

LOOPBACK = ("127.0.0.1", "::1", "localhost")

_SAID: dict[Denied, str] = {
    "missing": "a key is needed",
    "unknown": "the key is not known",
    "expired": "the key has expired",
    "revoked": "the key has been revoked",
}
_BEARER = "Send Authorization: Bearer KEY; make one with: understudy key add --scope {}"


class Guard:
    """Keys, origins and rates of one worker.

    Without any keys everybody on this machine may ask, for the service then listens on loopback only; and a browser
    may be misled to it by a foreign name, so the Host has to be a loopback name. Once there were keys, a lost or
    damaged file of keys lets nobody in.

    Args:
        rate: requests a second of one key, or of one peer without keys; 0 = any number.
        now: microseconds since 1970 UTC.
    """

    def __init__(self, home: str | Path, rate: float, now: Callable[[], int]) -> None:
        self._home, self._now = home, now
        self.keys = read_keys(home)
        self.fault = ""  # why the keys in force are not those of the file
        self._buckets = Buckets(rate) if rate else None
        self._local = b""  # the last Host that was found to be a loopback name

    def refresh(self) -> None:
        """Take over a changed file of keys; a damaged or lost one changes nothing, and is a fault."""
        seen = stamp(self._home)
        if seen == self.keys.stamp:
            self.fault = ""
        elif seen is None:
            self.fault = "keys.json is gone; the keys in force are those it held"
        else:
            try:
                self.keys, self.fault = read_keys(self._home), ""
            except StoreError as error:
                self.fault = error.what

    def admit(self, call: Call, scope: Scope | None) -> str:
        """The caller's name, for its rate. Raises: Refusal with 401 or 403."""
        if call.scope["method"] != "GET":
            _same_site(call)
        if not self.keys:
            if call.host != self._local:
                self._local = _loopback(call.host)
            return call.peer
        if scope is None:
            return call.peer
        found = self.keys.check(call.authorization, scope, self._now())
        if found == "scope":
            raise refuse(403, f"the key lacks the scope {scope!r}", f"understudy key add --scope {scope}", field=scope)
        if isinstance(found, str):
            raise _unauthorized(found, scope)
        return found.name

    def pace(self, caller: str, cost: float = 1.0) -> None:
        """Raises: Refusal with 429 if the caller asks more often than it may."""
        if self._buckets is None:
            return
        wait = self._buckets.take(caller, time.monotonic(), cost)
        if wait:
            raise refuse(429, "more requests a second than the service was told to take", retry_after=int(wait) + 1)


def _unauthorized(why: Denied, scope: Scope) -> Refusal:
    refusal = refuse(401, _SAID[why], _BEARER.format(scope), field="authorization")
    refusal.headers += ((b"www-authenticate", b'Bearer realm="understudy"'),)
    return refusal


def _loopback(host: bytes) -> bytes:
    """``host`` itself. Raises: Refusal if it is no name of this machine's own."""
    text = host.decode("latin-1")
    name = text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0].lower()
    if name not in LOOPBACK:
        raise refuse(403, f"the service without keys answers to loopback names, not to {text[:80]!r}")
    return host


def _same_site(call: Call) -> None:
    """A browser may not be led to change anything from another site's page."""
    origin = call.origin
    if call.site not in (b"", b"same-origin", b"none") or (origin and origin.rpartition(b"://")[2] != call.host):
        raise refuse(403, "a page of another site may not send this", field="origin")
