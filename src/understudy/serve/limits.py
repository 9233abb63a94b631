"""How much one caller may ask, and how much is worked on at once: the rest is told so early and cheaply."""

from __future__ import annotations

_CALLERS = 10_000  # buckets kept; beyond it the full ones are forgotten, which changes nothing for their callers


class Buckets:
    """A token bucket per caller: ``rate`` requests a second on average, ``burst`` at once.

    Time is an argument, in seconds of a clock that never goes back.
    """

    def __init__(self, rate: float, burst: float | None = None) -> None:
        self._rate, self._burst = rate, max(1.0, rate if burst is None else burst)
        self._tokens: dict[str, tuple[float, float]] = {}  # caller → (tokens, when)

    def take(self, caller: str, now: float, cost: float = 1.0) -> float:
        """Seconds the caller has to wait; 0.0 if it may go ahead now, and then its tokens are taken.

        What costs more than a whole bucket is let through a full one and paid back: it could never pass otherwise.
        """
        tokens, since = self._tokens.get(caller, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._rate)
        need = min(cost, self._burst)
        if tokens < need:
            self._tokens[caller] = (tokens, now)
            return (need - tokens) / self._rate
        if len(self._tokens) >= _CALLERS and caller not in self._tokens:
            self._forget(now)
        self._tokens[caller] = (tokens - cost, now)
        return 0.0

    def _forget(self, now: float) -> None:
        """Drop whoever has a full bucket by now; if nobody has, everybody: memory is bounded before it is fair."""
        kept = {c: (t, s) for c, (t, s) in self._tokens.items() if t + (now - s) * self._rate < self._burst}
        self._tokens = kept if len(kept) < _CALLERS else {}
