"""A caller that remembers every reply and asks again for what got none; and what must then be in the log."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import sqlite3
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from service import ALIAS, FEATURES, PROBLEM
from understudy.core.hashing import text_hash
from understudy.data.eventlog import Entry, open_event_log
from understudy.data.eventlog.export import export
from understudy.data.join import join


@dataclass
class Ask:
    """One request, until it has been acknowledged."""

    path: str
    key: str  # what it is: decision id, or decision id and outcome
    body: bytes
    tries: int = 0


@dataclass
class Caller:
    """Decisions and rewards at a rate over kept connections; what was not acknowledged is sent again.

    One decision in twenty is sent twice; of four decisions three get a reward, one reward in ten before its
    decision and one in ten twice.

    Args:
        again: whether refused and lost requests are sent again.
    """

    port: int
    rate: float = 200.0
    connections: int = 8
    prefix: str = "d"
    seed: int = 0
    again: bool = True
    baseline: str | None = None
    running: bool = True  # makes new decisions; set to False to let the waiting ones drain
    up: bool = True  # asks at all
    acknowledged: dict[str, bytes] = field(default_factory=dict)  # decision id → reply
    rewarded: dict[str, float] = field(default_factory=dict)  # decision id → the acknowledged reward
    statuses: Counter[int] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)  # connections that ended without a reply
    unanswered: list[Ask] = field(default_factory=list)  # asks whose connection was lost
    refusals: list[tuple[float, int, dict[str, str]]] = field(default_factory=list)  # (when, status, headers)
    successes: deque[float] = field(default_factory=lambda: deque(maxlen=200_000))  # when
    latencies: list[float] = field(default_factory=list)
    took: dict[str, float] = field(default_factory=dict)  # decision id → seconds to its first answer
    changed: list[str] = field(default_factory=list)  # decisions whose second reply was another
    made: int = 0

    def __post_init__(self) -> None:
        self._waiting: deque[Ask] = deque()
        self._random = random.Random(self.seed)
        self._inside = 0
        rows = np.random.default_rng(self.seed).standard_normal((256, FEATURES)).round(4).tolist()
        self._contexts = [json.dumps({f"x{j}": value for j, value in enumerate(row)}) for row in rows]
        self._stopped = False

    async def run(self) -> None:
        """Until ``stop``."""
        await asyncio.gather(self._make(), *(self._connection() for _ in range(self.connections)))

    def stop(self) -> None:
        """Ask no more."""
        self._stopped, self.running = True, False

    async def drained(self, limit: float = 30.0) -> bool:
        """Make no more decisions, and wait until nothing waits for an acknowledgement."""
        self.running = False
        end = time.monotonic() + limit
        while (self._waiting or self._inside) and time.monotonic() < end:
            await asyncio.sleep(0.01)
        return not self._waiting and not self._inside

    async def refused(self, count: int, limit: float) -> bool:
        """Wait until so many requests have been refused in all."""
        end = time.monotonic() + limit
        while len(self.refusals) < count and time.monotonic() < end:
            await asyncio.sleep(0.005)
        return len(self.refusals) >= count

    async def succeeded(self, since: float, limit: float) -> float:
        """Wait for a success after that moment. Returns the seconds it took; infinity if there was none."""
        end = time.monotonic() + limit
        while not (self.successes and self.successes[-1] > since) and time.monotonic() < end:
            await asyncio.sleep(0.002)
        return next((at - since for at in self.successes if at > since), float("inf"))

    def _decision(self, i: int) -> list[Ask]:
        """The requests of one decision, in the order they are sent."""
        key = f"{self.prefix}-{i:07d}"
        extra = f',"baseline":"{self.baseline}"' if self.baseline else ""
        body = f'{{"decision_id":"{key}","context":{self._contexts[i % 256]}{extra}}}'.encode()
        asks = [Ask("/decide", key, body)]
        pick = self._random.random()
        if pick < 0.05:
            asks.append(Ask("/decide", key, body))
        if i % 4:
            reward = Ask("/reward", key, f'{{"decision_id":"{key}","value":{i % 3 / 2}}}'.encode())
            order = self._random.random()
            asks = [reward, *asks] if order < 0.1 else [*asks, reward]
            if 0.1 <= order < 0.2:
                asks.append(Ask(reward.path, reward.key, reward.body))
        return asks

    async def _make(self) -> None:
        next_at = time.perf_counter()
        while not self._stopped:
            if not (self.running and self.up):
                next_at = time.perf_counter()
                await asyncio.sleep(0.005)
                continue
            while next_at <= time.perf_counter() and len(self._waiting) < 20_000:
                asks = self._decision(self.made)
                self.made += 1
                self._waiting.extend(asks)
                next_at += len(asks) / self.rate
            await asyncio.sleep(0.002)

    async def _connection(self) -> None:
        reader = writer = None
        while not self._stopped:
            if not self.up or not self._waiting:
                await asyncio.sleep(0.003)
                continue
            ask = self._waiting.popleft()
            self._inside += 1
            begun, fresh = time.perf_counter(), True
            try:
                fresh = writer is None
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                head = f"POST {ask.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                writer.write(f"{head}Content-Length: {len(ask.body)}\r\n\r\n".encode() + ask.body)
                assert reader is not None
                status, reply, closing, headers = await _answer(reader)
            except (OSError, asyncio.IncompleteReadError, EOFError) as error:
                writer = self._lost(ask, error, writer, fresh)
                await asyncio.sleep(0.01)
                continue
            finally:
                self._inside -= 1
            self.latencies.append(time.perf_counter() - begun)
            if ask.path == "/decide":
                self.took.setdefault(ask.key, self.latencies[-1])
            self._answered(ask, status, reply, headers)
            if closing:
                writer.close()
                writer = None
        if writer is not None:
            writer.close()

    def _lost(self, ask: Ask, error: BaseException, writer: asyncio.StreamWriter | None, fresh: bool) -> None:
        if writer is not None:  # else nobody listened, so nothing was sent
            self.lost[f"{type(error).__name__}, {'fresh' if fresh else 'kept'} connection"] += 1
            self.unanswered.append(ask)
            writer.close()
        if self.again:
            self._waiting.append(ask)

    def _answered(self, ask: Ask, status: int, reply: bytes, headers: dict[str, str]) -> None:
        self.statuses[status] += 1
        if 200 <= status < 300:
            self.successes.append(time.monotonic())
            if ask.path == "/decide":
                if self.acknowledged.setdefault(ask.key, reply) != reply:
                    self.changed.append(ask.key)
            else:
                self.rewarded[ask.key] = json.loads(ask.body)["value"]
            return
        self.refusals.append((time.monotonic(), status, headers))
        ask.tries += 1
        if self.again and status in (429, 503, 507):
            self._waiting.append(ask)


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bool, dict[str, str]]:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    reply = await reader.readexactly(int(headers.get("content-length", 0)))
    return int(lines[0].split()[1]), reply, headers.get("connection", "") == "close", headers


def entries(home: Path) -> Iterator[Entry]:
    """Everything in the event log of a home."""
    log, mark = open_event_log(home / "log" / ALIAS, None), {}
    try:
        while True:
            found, mark = log.read(mark)
            if not found:
                return
            yield from found
    finally:
        log.close()


def accounted(home: Path, *callers: Caller) -> dict[str, int]:
    """What became of every acknowledged event, and of the whole log once it is exported and joined."""
    seen: Counter[tuple[str, str]] = Counter()
    decisions: dict[str, dict] = {}
    outcomes: Counter[tuple[str, float]] = Counter()
    for entry in entries(home):
        seen[entry.kind, entry.key] += 1
        body = json.loads(entry.body)
        if entry.kind == "decision":
            decisions[entry.key] = body
        elif entry.kind == "outcome":
            outcomes[body["decision_id"], body["value"]] += 1
    lost = different = 0
    for caller in callers:
        for key, raw in caller.acknowledged.items():
            reply, logged = json.loads(raw), decisions.get(key)
            lost += logged is None
            different += logged is not None and any(reply[name] != logged[name] for name in ("action", "propensity"))
        lost += sum((key, value) not in outcomes for key, value in caller.rewarded.items())
    rewards = dict.fromkeys(decisions, 0.0) | {key: value for key, value in outcomes if key in decisions}
    return {
        "acknowledged_decisions": sum(len(caller.acknowledged) for caller in callers),
        "acknowledged_rewards": sum(len(caller.rewarded) for caller in callers),
        "lost": lost,
        "different": different,  # the log tells another action or propensity than the reply did
        "changed": sum(len(caller.changed) for caller in callers),  # a second reply unlike the first
        "logged_twice": sum(seen.values()) - len(seen) + sum(outcomes.values()) - len(outcomes),
        "decisions": len(decisions),
        **joined(home, rewards),
    }


def joined(home: Path, rewards: dict[str, float]) -> dict[str, int]:
    """After export and join: decisions that stand twice, are missing, or carry another reward than was reported.

    Args:
        rewards: decision id → the reward that must stand beside it, of every decision in the log.
    """
    with TemporaryDirectory() as folder:
        log = export(home / "log" / ALIAS, problem=PROBLEM, to=Path(folder) / "log")
        data = join(log, window="2h", backward="1h", as_of=time.time() + 3 * 3600, to=Path(folder) / "data")
        expected = {text_hash(key): reward for key, reward in rewards.items()}
        seen: Counter[int] = Counter()
        wrong = 0
        for steps in data.scan():
            assert steps.origin is not None
            for key, reward in zip(steps.origin.decision.tolist(), steps.reward.tolist()):
                seen[key] += 1
                wrong += reward != expected.get(key)
    return {
        "joined": data.n_steps,
        "joined_twice": data.n_steps - len(seen),
        "joined_short": len(expected.keys() - seen.keys()),
        "joined_wrong": wrong,
    }


def sound(home: Path) -> bool:
    """Whether SQLite finds nothing wrong in a copy of the log as it lies there now, its write-ahead log included."""
    with TemporaryDirectory() as folder:
        for path in (home / "log" / ALIAS).glob("worker-*.db*"):
            if not path.name.endswith("-shm"):
                shutil.copy(path, folder)
        for path in Path(folder).glob("worker-*.db"):
            with sqlite3.connect(path) as db:
                if db.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                    return False
    return True
