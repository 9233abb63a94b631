"""What one worker process holds: its desk, its guard, its row of figures, and whether it is on its way out."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec

from understudy.core.errors import ConfigError, StoreError
from understudy.core.problem import Problem, decode_problem
from understudy.data.home import Home, now
from understudy.data.traffic import Traffic
from understudy.serve import openapi
from understudy.serve.desk import Desk
from understudy.serve.exchange import Answer, Reading, Room, hurry
from understudy.serve.guard import Guard
from understudy.serve.metrics import Board, render
from understudy.serve.refusal import refuse
from understudy.serve.routes import PAGES, ROUTES

MOST_WORKERS = 64
_BEAT = 0.2  # seconds between looks at the keys, the disk and the figures
_ROOM = 1 << 20  # bytes; with less the next commits of the event log will fail
_PAUSE = 0.03  # seconds a refused caller waits for its 503: it then asks less often than it could
_TOLD = 1_000  # refusals a second: the more callers wait for theirs the longer, so that work gets the time


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to serve one alias.

    Args:
        log: event log, a folder or ``postgresql+psycopg://…``; None is the home's own.
        problem: file of the problem that is served; None takes it from the policy that is live.
        client_times: requests bring their own times: a simulation.
        rate: requests a second of one key (or peer), per worker; 0 = any number.
        most: requests worked on at once, per worker; more are refused with 503.
        connections: that one worker keeps open; more wait to be accepted.
    """

    home: str
    alias: str = "production"
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    log: str | None = None
    problem: str | None = None
    client_times: bool = False
    rate: float = 0.0
    most: int = 256
    connections: int = 512


class Worker:
    """One process that answers. Made before its event loop runs; ``start`` and ``close`` in it."""

    def __init__(self, settings: Settings, index: int, cells: memoryview) -> None:
        self.settings, self.index = settings, index
        self.board = Board(cells.cast("d"), index)
        self.board.clear()
        self.guard = Guard(settings.home, settings.rate, now)
        self.desk = _desk(settings, index)
        self.draining = False
        self.reading: Reading = {}
        self.room = Room()
        self.in_flight, self.most = 0, settings.most
        self._pausing = 0
        busy = refuse(503, f"{self.most} requests are being worked on", "Ask again in a second.", retry_after=1)
        self.busy = Answer(busy.body, 503, headers=busy.headers)  # made once: refusing has to be cheap
        self._seen: dict[str, int] = {}
        self._since: tuple[tuple[int, int] | None, int] = (None, 0)
        self._document: tuple[str, bytes] = ("", b"")
        local = settings.log is None or "://" not in settings.log
        self._folder = (settings.log or Home(settings.home).log(settings.alias)) if local else None
        self._beat: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look after keys and figures."""
        gc.freeze()  # what is there now stays: looking at it again and again would take a fortieth of the time
        self._beat = asyncio.create_task(self._beats())

    async def close(self) -> None:
        """Write what waits, let go of the log."""
        if self._beat is not None:
            self._beat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._beat
        await self._count()
        await asyncio.to_thread(self.desk.close)

    async def shed(self) -> None:
        """Count a request that is refused unread because too much is being worked on, and let its caller wait."""
        self.board.add("shed")
        self._pausing += 1
        try:
            await asyncio.sleep(max(_PAUSE, self._pausing / _TOLD))
        finally:
            self._pausing -= 1

    # What is said of it

    async def status(self) -> dict[str, Any]:
        """The desk's own account; it reads the event log's files, so not in the loop."""
        try:
            return await asyncio.to_thread(self.desk.status)
        except StoreError as error:
            return {"log_fault": error.what}

    async def reasons(self) -> list[str]:
        """Why decisions cannot be relied on now; empty if they can."""
        found = ["shutting down"] if self.draining else []
        status = await self.status()
        if not self.desk.ready() or "counts" not in status:
            found.append(f"event log: {status['log_fault'] or 'closing'}")
        if self._no_room():
            found.append("disk: no space is left for the event log")
        if status.get("swap_fault"):
            found.append(f"deployment: {status['swap_fault']}")
        if self.desk.engine.breaker.tripped:
            found.append(f"policy: {status.get('last_fault')}")
        if self.guard.fault:
            found.append(f"keys: {self.guard.fault}")
        return found

    def policy(self) -> dict[str, Any]:
        """Who acts, and since when."""
        acts = self.desk.deployment
        if self._since[0] != acts.version:
            self._since = (acts.version, self._changed())
        return {
            "alias": self.settings.alias,
            "policy_id": acts.policy_id,
            "incumbent": acts.incumbent.id,
            "candidate": None if acts.candidate is None else acts.candidate.id,
            "mode": acts.mode,
            "share": acts.share,
            "version": acts.version,
            "since": self._since[1],
            "problem": acts.problem.hash,
            "fault": self.desk.engine.last_fault if self.desk.engine.breaker.tripped else "",
        }

    def document(self) -> bytes:
        """The OpenAPI document of the problem that is served."""
        problem = self.desk.problem
        if self._document[0] != problem.hash:
            self._document = (
                problem.hash,
                openapi.document((*ROUTES, *PAGES), problem, client_times=self.settings.client_times),
            )
        return self._document[1]

    async def figures(self) -> bytes:
        """The counts of all workers, and who acts here, as Prometheus reads them."""
        await self._count()
        acts, ready = self.desk.deployment, not await self.reasons()
        return render(self.board.totals(), version=acts.version, share=acts.share, ready=ready)

    def said(self) -> dict[str, Any]:
        """Who acts, for the log of the process."""
        acts = self.desk.deployment
        return {"alias": self.settings.alias, "policy_id": acts.policy_id, "mode": acts.mode, "version": acts.version}

    # What goes on beside the requests

    async def _beats(self) -> None:
        beat = 0
        while True:
            await asyncio.sleep(_BEAT)
            beat += 1
            self.guard.refresh()
            hurry(self.reading, perf_counter())
            if beat % 5 == 0:
                await self._count()

    async def _count(self) -> None:
        """Carry the desk's counts over to the board, by what they grew."""
        status = await self.status()
        if "counts" not in status:
            return
        counts, log = status["counts"], status["log"]
        grown = {
            "decisions": counts["decisions"],
            "outcomes": counts["rewards"],
            "activations": counts["activations"],
            "repeated": counts["repeated"] + counts["rewards_repeated"],
            "fallbacks": sum(status["fallbacks"].values()),
            "swaps": counts["swaps"],
            "log_commits": log["batches"],
            "log_failures": log["failed"],
            "log_torn_bytes": log["torn_bytes"],
        }
        for name, value in grown.items():
            self.board.add(name, value - self._seen.get(name, 0))
        self._seen = grown
        self.board.set("log_waiting", log["waiting"])
        self.board.set("undecided", status["undecided"])
        self.board.set("in_flight", self.in_flight)

    def _no_room(self) -> bool:
        if self._folder is None:
            return False
        try:
            space = os.statvfs(self._folder)
        except OSError:
            return True
        return space.f_bavail * space.f_frsize < _ROOM

    def _changed(self) -> int:
        """When who acts was last changed, by the ledger's time; 0 = never."""
        ledger = Home(self.settings.home).ledger
        promotion, direction = ledger.current(self.settings.alias), Traffic(ledger).current(self.settings.alias)
        return max(0 if promotion is None else promotion.time, direction.time)


def _desk(settings: Settings, index: int) -> Desk:
    """The desk with the worker's own file of the log, or the next one that nobody writes: an older process may still
    be finishing."""
    problem = _problem(settings.problem)
    for worker in range(index, MOST_WORKERS):
        try:
            return Desk(
                settings.home, settings.alias, log=settings.log, worker=worker, problem=problem,
                client_times=settings.client_times,
            )  # fmt: skip
        except StoreError as error:
            if "another process writes" not in error.what:
                raise
    raise StoreError(f"{MOST_WORKERS} processes write the event log of {settings.alias!r} already")


def _problem(file: str | None) -> Problem | None:
    if file is None:
        return None
    try:
        raw = Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}", field="problem") from error
    return decode_problem(raw, where=file, yaml=not file.endswith(".json"))
