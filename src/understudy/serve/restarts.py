"""When a worker that died is started again: at once, then ever more slowly, and at last not at all."""

from __future__ import annotations

QUICK = 30.0  # seconds, of which the start itself may take a few; who lived longer died of something that may pass
FIRST, LONGEST = 0.2, 10.0  # seconds before a second quick death in a row is mended, doubled with each one, and at most
MOST = 10  # quick deaths in a row: with the pauses, about a minute


class Restarts:
    """The deaths of one worker. Times are seconds of a clock that never goes back."""

    def __init__(self, now: float) -> None:
        self.started, self.quick = now, 0
        self.due: float | None = None  # when it is to be started again; None while it runs, or once it is given up

    @property
    def given_up(self) -> bool:
        return self.quick >= MOST

    def died(self, now: float) -> None:
        """Settle when it is started again."""
        self.quick = self.quick + 1 if now - self.started < QUICK else 0
        pause = 0.0 if self.quick < 2 else min(FIRST * 2 ** (self.quick - 2), LONGEST)
        self.due = None if self.given_up else now + pause

    def start(self, now: float) -> bool:
        """Whether it is to be started now."""
        if self.due is None or now < self.due:
            return False
        self.started, self.due = now, None
        return True
