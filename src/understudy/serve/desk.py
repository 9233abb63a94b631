"""The desk: requests in, durable answers out. Owns the event log, who acts now, and the counts."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import msgspec

from understudy.core.errors import ConfigError, DataError, UnderstudyError
from understudy.core.problem import Problem
from understudy.core.service import ActivateRequest, DecideReply, DecideRequest, Logged, RewardRequest
from understudy.data.eventlog import GroupCommit, Record, open_event_log
from understudy.data.home import Home
from understudy.data.times import instant
from understudy.serve.agreement import Conflict, Unreadable, same_question, same_value
from understudy.serve.decider import Decider
from understudy.serve.deployment import Deployment, load_deployment
from understudy.serve.engine import Engine
from understudy.serve.outcomes import activation_record, outcome_record
from understudy.serve.tickets import Ticket, Wakers, reply

DEADLINE = 0.025  # seconds a policy may take; what is left of 50 ms is for the baseline, the commit and a busy machine
POLL = 0.25  # seconds between looks at the ledger
_FEW = 16  # requests that may be decided where others wait to be read
RETRY = 5.0  # seconds before a policy that could not be loaded is tried again

_encode = msgspec.json.Encoder().encode


class Desk:
    """One worker's service under one alias.

    Args:
        home: whose ledger says who acts, and where its policies lie.
        alias: under which the policy is live; also the application whose randomness decisions have.
        log: event log, a folder or ``postgresql+psycopg://…``; None is ``<home>/log/<alias>``.
        worker: whose file of the log this is.
        problem: what is served; None takes it from the policies.
        clock: seconds since 1970 UTC, what decisions are stamped with.
        client_times: a simulation, so requests bring their own time.
        deadline: seconds a policy may take before the baseline answers; None: the caller's thread asks it and waits.
        poll: seconds between looks at the ledger; 0 looks only when ``swap_now`` is called.

    Raises: ConfigError, StoreError if nobody can be served.
    """

    def __init__(
        self,
        home: str | Path,
        alias: str,
        *,
        log: str | Path | None = None,
        worker: int = 0,
        problem: Problem | None = None,
        clock: Callable[[], float] = time.time,
        client_times: bool = False,
        deadline: float | None = DEADLINE,
        poll: float = POLL,
    ) -> None:
        self.home, self.alias, self.worker = Home(home), alias, worker
        self._given, self._clock, self._client_times = problem, clock, client_times
        self.deployment = load_deployment(self.home, alias, problem)
        self.engine = Engine(alias)
        self.log = open_event_log(self.home.log(alias) if log is None else log, worker)
        self._group, self._wakers = GroupCommit(self.log), Wakers()
        self._counts: Counter[str] = Counter()
        self._log_fault, self._swap_fault = (0.0, ""), (0.0, "")
        self._lag = 0.0  # seconds that the last decisions waited for their commit
        self._swapping, self._closing = Lock(), Event()
        self._decider = None
        if deadline is not None:
            acts = lambda: self.deployment
            self._decider = Decider(self.engine, acts, self._write, clock=clock, deadline=deadline)
        self._poller = Thread(target=self._watch, args=(poll,), name="deployment-poller", daemon=True)
        if poll:
            self._poller.start()

    @property
    def problem(self) -> Problem:
        """What is served."""
        return self.deployment.problem

    # Decisions

    def decide(self, requests: Sequence[DecideRequest]) -> list[DecideReply]:
        """Decisions that are durable, all or none.

        Blocks. Raises: DataError, Conflict, StoreError.
        """
        return self._enter(requests, Future()).result()

    async def decide_soon(self, requests: Sequence[DecideRequest]) -> list[DecideReply]:
        """The same for a coroutine; a loop is woken once for all that are ready.

        A few requests to prompt policies are decided here and now: handing them to another thread costs more.
        """
        deployment = self.deployment
        if len(requests) > _FEW or not deployment.prompt:
            return await self._enter(requests, asyncio.get_running_loop().create_future())
        ticket, records = self._decided(requests, deployment)
        since, writing = time.monotonic(), self._group.write(records, same_question)
        try:
            stored = await writing
        except UnderstudyError as error:
            self._note(error)
            raise
        self._stands([ticket], records, since, stored)
        if ticket.error is not None:
            raise ticket.error
        return [reply(one) for one in ticket.logged]

    def _enter(self, requests: Sequence[DecideRequest], future: Any) -> Any:
        if self._decider is not None:
            self._check_times(requests)
            ticket = Ticket(requests, future)
            self._decider.submit(ticket)
            return future
        ticket, records = self._decided(requests, self.deployment, future)
        self._write([ticket], records)
        return future

    def _decided(
        self, requests: Sequence[DecideRequest], deployment: Deployment, future: Any = None
    ) -> tuple[Ticket, list[Record]]:
        """Decisions made in this thread, and what is to be written down."""
        self._check_times(requests)
        ticket, now = Ticket(requests, future), self._clock()
        ticket.logged = [self.engine.decide(request, deployment, now) for request in requests]
        return ticket, [_record(one) for one in ticket.logged]

    def _write(self, tickets: Sequence[Ticket], records: Sequence[Record] | None = None) -> None:
        """Make decisions durable, then answer; called where they were decided. Each batch stands or falls by itself."""
        if records is not None:
            return self._hand_in(tickets, records)
        singles = [ticket for ticket in tickets if len(ticket.requests) == 1]
        batches = [[ticket] for ticket in tickets if len(ticket.requests) != 1]
        for together in ([singles] if singles else []) + batches:
            self._hand_in(together, [record for ticket in together for record in _records(ticket)])
        return None

    def _hand_in(self, tickets: Sequence[Ticket], records: Sequence[Record]) -> None:
        if not records:
            self._wakers.settle(tickets)
            return
        # Of tickets with one request each, only the one that is a conflict may be refused: nothing of it is written.
        agree = same_question if len(tickets) == 1 else None
        try:
            future = self._group.submit(records, agree)
            future.add_done_callback(partial(self._written, tickets, records, time.monotonic()))
        except UnderstudyError as error:
            self._refuse(tickets, error)

    def _written(self, tickets: Sequence[Ticket], records: Sequence[Record], since: float, future: Future) -> None:
        """Answer what is durable now; in the log's thread."""
        error = future.exception()
        if error is not None:
            self._note(error)
            self._refuse(tickets, error)
            return
        self._stands(tickets, records, since, future.result())
        self._wakers.settle(tickets)

    def _stands(
        self, tickets: Sequence[Ticket], records: Sequence[Record], since: float, stored: Sequence[bytes | None]
    ) -> None:
        """Decisions are durable: count them, and let those that were known before say what they said."""
        self._lag, self._log_fault = time.monotonic() - since, (0.0, "")
        new = stored.count(None)
        self._counts["decisions"] += new
        if new < len(stored):
            self._counts["repeated"] += _give_stored(tickets, records, stored)

    def _note(self, error: BaseException) -> None:
        """A fault of the log, unless it was the request's own."""
        if not isinstance(error, Conflict | Unreadable):
            self._log_fault = (time.monotonic(), str(error))

    def _refuse(self, tickets: Sequence[Ticket], error: BaseException) -> None:
        for ticket in tickets:
            ticket.error = ticket.error or error
        self._wakers.settle(tickets)

    # Rewards and activations

    def reward(self, requests: Sequence[RewardRequest]) -> None:
        """Outcomes that are durable, all or none.

        Blocks. Raises: DataError, Conflict, StoreError.
        """
        records = self._outcomes(requests)
        self._rewarded(records, self._group.submit(records, same_value).result())

    async def reward_soon(self, requests: Sequence[RewardRequest]) -> None:
        """The same for a coroutine."""
        records = self._outcomes(requests)
        self._rewarded(records, await self._group.write(records, same_value))

    def activate(self, requests: Sequence[ActivateRequest]) -> None:
        """Activations that are durable. Blocks. Raises: DataError, StoreError."""
        self._activated(self._group.submit(self._activations(requests)).result())

    async def activate_soon(self, requests: Sequence[ActivateRequest]) -> None:
        """The same for a coroutine."""
        self._activated(await self._group.write(self._activations(requests)))

    def _outcomes(self, requests: Sequence[RewardRequest]) -> list[Record]:
        self._check_times(requests)
        problem, now = self.problem, self._clock()
        return [outcome_record(request, problem, now) for request in requests]

    def _activations(self, requests: Sequence[ActivateRequest]) -> list[Record]:
        self._check_times(requests)
        now = self._clock()
        return [activation_record(request, now) for request in requests]

    def _rewarded(self, records: Sequence[Record], stored: Sequence[bytes | None]) -> None:
        self._counts["rewards"] += stored.count(None)
        for record, before in zip(records, stored):
            if before is not None:
                same_value(record, before)
                self._counts["rewards_repeated"] += 1

    def _activated(self, stored: Sequence[bytes | None]) -> None:
        self._counts["activations"] += stored.count(None)

    def _check_times(self, requests: Sequence[DecideRequest | RewardRequest | ActivateRequest]) -> None:
        for request in requests:
            if request.time is None:
                continue
            if not self._client_times:
                raise DataError(
                    "time is set by the service",
                    "A clock that is wrong would put a reward outside its window.",
                    "Leave it out (drive --no-times); a simulation may bring its own: understudy serve --client-times.",
                    field="time",
                )
            try:
                instant(request.time)
            except ConfigError as error:
                raise DataError(error.what, hint=error.hint, field="time") from error

    # Who acts

    def swap_now(self) -> bool:
        """Look at the ledger and put whoever acts now in place, as one reference. Returns whether anything changed.

        Raises: StoreError, ConfigError if it cannot be loaded; whoever acted goes on acting.
        """
        with self._swapping:
            try:
                found = load_deployment(self.home, self.alias, self._given, self.deployment)
            except UnderstudyError as error:
                self._swap_fault = (time.monotonic(), str(error))
                raise
            self._swap_fault = (0.0, "")
            if found is self.deployment:
                return False
            if found.policy_id != self.deployment.policy_id or found.candidate != self.deployment.candidate:
                self.engine.renew()
            self.deployment = found
            self._counts["swaps"] += 1
            return True

    def _watch(self, poll: float) -> None:
        while not self._closing.wait(poll):
            since, fault = self._swap_fault
            if fault and time.monotonic() < since + RETRY:
                continue
            try:
                self.swap_now()
            except Exception as error:  # whatever it is, whoever acts goes on acting
                self._swap_fault = (time.monotonic(), str(error))

    # Health

    def ready(self) -> bool:
        """Whether requests can be answered; after a fault of the log it is tried again a second later."""
        return not self._closing.is_set() and not time.monotonic() < self._log_fault[0] + 1.0

    def figures(self) -> dict[str, float]:
        """Counts since the start, and how the log keeps up; cheap enough to ask several times a second."""
        counts, log = self._counts, self._group.counts()
        return {
            "decisions": counts["decisions"],
            "outcomes": counts["rewards"],
            "activations": counts["activations"],
            "repeated": counts["repeated"] + counts["rewards_repeated"],
            "fallbacks": self.engine.faults.total(),
            "swaps": counts["swaps"],
            "log_waiting": log["waiting"],
            "log_commits": log["batches"],
            "log_failures": log["failed"],
            "lag": self._lag,
        }

    def status(self) -> dict[str, Any]:
        """Who acts and what was counted since the start."""
        now = self.deployment
        return {
            "alias": self.alias,
            "worker": self.worker,
            "policy_id": now.policy_id,
            "mode": now.mode,
            "version": list(now.version),
            "incumbent": now.incumbent.id,
            "candidate": None if now.candidate is None else now.candidate.id,
            "share": now.share,
            "problem_hash": now.problem.hash,
            "ready": self.ready(),
            "fallbacks": dict(self.engine.faults),
            "missed": dict(self.engine.missed),
            "last_fault": self.engine.last_fault,
            "swap_fault": self._swap_fault[1],
            "log_fault": self._log_fault[1],
            "abandoned": 0 if self._decider is None else self._decider.abandoned,
            "undecided": 0 if self._decider is None else self._decider.waiting,
            "counts": {name: self._counts[name] for name in COUNTS},
            "log": self._group.counts() | self.log.counts(),
        }

    def close(self) -> None:
        """Answer what waits, write what waits, let go of the log; within 10 s."""
        if self._closing.is_set():
            return
        self._closing.set()
        if self._decider is not None:
            self._decider.close()
        self._group.close()
        self.log.close()


COUNTS = ("decisions", "repeated", "rewards", "rewards_repeated", "activations", "swaps")


def _records(ticket: Ticket) -> list[Record]:
    """What is to be written down of a ticket; nothing if one of its texts cannot be."""
    try:
        return [_record(one) for one in ticket.logged]
    except UnicodeEncodeError as error:  # of callers in this process; over HTTP it is refused where it is read
        ticket.logged, ticket.error = [], error
        return []


def _record(logged: Logged) -> Record:
    return Record("decision", logged.decision_id, _encode(logged))


def _give_stored(tickets: Sequence[Ticket], records: Sequence[Record], stored: Sequence[bytes | None]) -> int:
    """Where an id stands in the log already, what stands there is the answer, if the question was the same.

    Returns how many were answered so.
    """
    at = given = 0
    for ticket in tickets:
        for i in range(len(ticket.logged)):
            before = stored[at]
            if before is not None:
                try:
                    ticket.logged[i] = same_question(records[at], before)
                    given += 1
                except UnderstudyError as error:
                    ticket.error = error
            at += 1
    return given
