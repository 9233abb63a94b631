"""Decisions under a deadline: a thread that may be abandoned asks the policy, and another one watches it."""

from __future__ import annotations

import contextlib
import ctypes
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Event, Lock, Thread, current_thread

from understudy.core.service import Logged
from understudy.data.eventlog import Busy, LogDown
from understudy.serve.breaker import Breaker
from understudy.serve.deployment import Deployment
from understudy.serve.engine import Engine, Fault
from understudy.serve.tickets import Ticket

TICKS = 5  # looks per deadline; a request that is found unfinished at TICKS - 2 of them is given up
MOST = 256  # requests decided before their commit is asked for

Write = Callable[[Sequence[Ticket]], None]  # makes what was decided durable, then answers


class Abandoned(BaseException):
    """Raised in a thread that nobody waits for any more, where it stands."""


class Batch:
    """Tickets that are being decided; ``done`` of them are, after ``step`` requests."""

    __slots__ = ("done", "step", "thread", "tickets")

    def __init__(self, tickets: list[Ticket], thread: Thread) -> None:
        self.tickets, self.thread, self.step = tickets, thread, 0
        self.done: list[tuple[Ticket, list[Logged], BaseException | None]] = []


class Decider:
    """Takes all requests that wait, decides them, hands them on to be written.

    A policy that keeps a request longer than the deadline allows is not waited for: its thread is abandoned, what
    waited is answered by the baseline, and the breaker rests until the thread has ended, if it ever does. One that
    is merely so slow that those behind would be late loses them to the baseline as well.

    Args:
        deployment: who acts now; read once per batch, so that a batch has one policy.
        clock: seconds since 1970 UTC.
        deadline: seconds within which the baseline decides instead; its commit comes on top.
        max_waiting: tickets beyond which Busy is the answer.
    """

    def __init__(
        self, engine: Engine, deployment: Callable[[], Deployment], write: Write, *,
        clock: Callable[[], float], deadline: float, max_waiting: int = 4_096,
    ) -> None:  # fmt: skip
        self._engine, self._deployment, self._write, self._clock = engine, deployment, write, clock
        self._deadline, self._max_waiting = deadline, max_waiting
        self._queue: SimpleQueue[Ticket | None] = SimpleQueue()
        self._lock, self._entering = Lock(), Lock()
        self._batch: Batch | None = None  # the batch that a policy is asked about now
        self._stop, self._closed, self._ended = Event(), False, Event()
        self._stuck: list[tuple[Thread, Breaker]] = []
        self.abandoned = 0
        self._start()
        self._watchdog = Thread(target=self._watch, name="decider-watchdog", daemon=True)
        self._watchdog.start()

    def submit(self, ticket: Ticket) -> None:
        """From any thread. Raises: Busy, and LogDown while it closes."""
        if self._queue.qsize() >= self._max_waiting:
            raise Busy(
                f"{self._max_waiting:,} requests wait to be decided",
                "Requests come faster than they can be answered.",
                "Ask again in a second.",
            )
        with self._entering:  # behind the end nobody would find it
            if self._closed:
                raise LogDown("the service is closing", hint="Ask another worker, or this one once it is back.")
            self._queue.put(ticket)

    @property
    def waiting(self) -> int:
        """Tickets nobody has begun."""
        return self._queue.qsize()

    def close(self, timeout: float = 5.0) -> None:
        """Decide what waits, then stop."""
        with self._entering:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._ended.wait(timeout)
        self._stop.set()
        self._watchdog.join(timeout)

    def _start(self) -> None:
        Thread(target=self._run, name="decider", daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(Abandoned):
            self._work()

    def _work(self) -> None:
        me, going = current_thread(), True
        while going:
            tickets, size, ticket = [], 0, self._queue.get()
            while ticket is not None:
                tickets.append(ticket)
                size += len(ticket.requests)
                if size >= MOST or self._queue.empty():
                    break
                ticket = self._queue.get()
            going = ticket is not None
            if tickets and not self._decide(Batch(tickets, me)):
                return  # abandoned: another thread works on
        self._ended.set()

    def _decide(self, batch: Batch) -> bool:
        """Decide and hand on; False if it took so long that somebody else did."""
        self._batch = batch
        deployment, late = self._deployment(), time.monotonic() + self._deadline * (TICKS - 1) / TICKS
        fault: Fault | None = None
        for ticket in batch.tickets:
            if fault is None and batch.done and time.monotonic() > late:
                fault = "slow"
                self._engine.asked.fault()
            batch.done.append((ticket, *self._made(ticket, deployment, fault, batch)))
            if self._batch is not batch:
                return False
        with self._lock:
            if self._batch is not batch:
                return False
            self._batch = None
        self._hand_on(batch.done)
        return True

    def _made(
        self, ticket: Ticket, deployment: Deployment, fault: Fault | None, batch: Batch
    ) -> tuple[list[Logged], BaseException | None]:
        try:
            now, decide, made = self._clock(), self._engine.decide, []
            for request in ticket.requests:
                made.append(decide(request, deployment, now, fault))
                batch.step += 1
            return made, None
        except Exception as error:  # a wrong request; or a fault of ours, of which whoever waits must hear as well
            return [], error

    def _hand_on(self, done: Sequence[tuple[Ticket, list[Logged], BaseException | None]]) -> None:
        for ticket, logged, error in done:
            ticket.logged, ticket.error = logged, error
        self._write([ticket for ticket, _, _ in done])

    def _watch(self) -> None:
        seen, step, looks = None, 0, 0
        while not self._stop.wait(self._deadline / TICKS):
            batch = self._batch
            looks = looks + 1 if batch is not None and batch is seen and batch.step == step else 0
            seen, step = batch, 0 if batch is None else batch.step
            # Looks are counted, not seconds: where nothing of this process ran, the policy had no time either.
            if batch is not None and looks >= TICKS - 2:
                self._abandon(batch)
            for thread, breaker in self._stuck:
                if thread.is_alive():
                    breaker.fault(at_once=True)
            self._stuck = [(thread, breaker) for thread, breaker in self._stuck if thread.is_alive()]

    def _abandon(self, batch: Batch) -> None:
        breaker = self._engine.asked
        with self._lock:
            if self._batch is not batch:
                return
            self._batch = None
            done = list(batch.done)
        breaker.fault(at_once=True)
        self.abandoned += 1
        self._engine.last_fault = f"slower than {self._deadline:g} s"
        self._stuck.append((batch.thread, breaker))
        # Ends a policy that loops in Python, which would take turns with us; one that waits ends with its wait.
        ident = ctypes.c_ulong(batch.thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(Abandoned))
        deployment = self._deployment()
        rest = batch.tickets[len(done) :]
        done += [(ticket, *self._made(ticket, deployment, "slow", batch)) for ticket in rest]
        self._start()
        self._hand_on(done)
