"""The service in this process: no network, the same promises."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from understudy.core.problem import Problem
from understudy.core.service import ActivateRequest, DecideReply, DecideRequest, RewardRequest
from understudy.serve.desk import POLL, Desk


class LocalService:
    """A decision service for one process: ``core.service.Service`` over a Desk. A context manager.

    Args:
        home, alias, log, worker, problem, clock, client_times, poll: as in Desk.
        deadline: seconds a policy may take before the baseline answers; None: the calling thread asks the
            policy and waits for it, which is the cheapest, and all that a simulation needs.
    """

    def __init__(
        self,
        home: str | Path,
        alias: str,
        *,
        log: str | Path | None = None,
        worker: int = 0,
        problem: Problem | None = None,
        clock: Callable[[], float] | None = None,
        client_times: bool = False,
        deadline: float | None = None,
        poll: float = POLL,
    ) -> None:
        self.desk = Desk(
            home, alias, log=log, worker=worker, problem=problem, clock=clock or time.time,
            client_times=client_times, deadline=deadline, poll=poll,
        )  # fmt: skip

    def decide(self, request: DecideRequest) -> DecideReply:
        """One decision; durable when it is returned."""
        return self.desk.decide([request])[0]

    def decide_batch(self, requests: Sequence[DecideRequest]) -> Sequence[DecideReply]:
        """Many decisions, one commit; all or none."""
        return self.desk.decide(requests)

    def reward(self, request: RewardRequest) -> None:
        """One outcome; durable on return."""
        self.desk.reward([request])

    def reward_batch(self, requests: Sequence[RewardRequest]) -> None:
        """Many outcomes, one commit; all or none."""
        self.desk.reward(requests)

    def activate(self, request: ActivateRequest) -> None:
        """A deferred decision was carried out; durable on return."""
        self.desk.activate([request])

    def status(self) -> dict[str, Any]:
        """Who acts, and counts."""
        return self.desk.status()

    def close(self) -> None:
        """Write what waits, and let go of the log."""
        self.desk.close()

    def __enter__(self) -> LocalService:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
