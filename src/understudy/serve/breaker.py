"""After a few faults in a row a policy is not asked for a while: its faults must not cost every request its time."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock


class Breaker:
    """Opens after ``limit`` consecutive faults, for ``rest`` seconds; then one request tries again.

    Args:
        clock: seconds of a clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float], limit: int = 5, rest: float = 5.0) -> None:
        self._clock, self._limit, self._rest = clock, limit, rest
        self._faults, self._until, self._lock = 0, 0.0, Lock()
        self.tripped = False  # read on every decision without the lock: nothing else is needed while all is well

    def closed(self) -> bool:
        """Whether the policy may be asked now. When the rest is over, one caller may; it decides how it goes on."""
        if not self.tripped:
            return True
        with self._lock:
            if self._clock() < self._until:
                return False
            self._until = self._clock() + self._rest
            return True

    def fault(self, *, at_once: bool = False) -> None:
        """A policy failed; ``at_once`` opens whatever the count."""
        with self._lock:
            self._faults += 1
            if at_once or self._faults >= self._limit:
                self.tripped, self._until = True, self._clock() + self._rest

    def fine(self) -> None:
        """A policy answered as it should."""
        if self._faults:
            with self._lock:
                self._faults, self.tripped = 0, False
