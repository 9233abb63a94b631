"""Policies are swapped, fail, and are asked for more than they can give, while a caller goes on asking."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from caller import Caller, accounted, entries
from service import ACTIONS, ALIAS, PROBLEM, Server, keep, make_home
from understudy.core.protocols import State
from understudy.core.service import Logged
from understudy.data.home import Home, now
from understudy.data.traffic import Direction, Traffic
from understudy.models.policies import Discrete
from understudy.serve.deployment import policy_of
from understudy.serve.engine import replay

HERE = Path(__file__).parent


def replayed(home: Path) -> tuple[int, int, Counter[str]]:
    """Decisions of the log, how many of them are not made again bit for bit, and who chose how often."""
    get, count, wrong = policy_of(home), 0, 0
    who: Counter[str] = Counter()
    decode = msgspec.json.Decoder(Logged).decode
    for entry in entries(home):
        if entry.kind == "decision":
            logged = decode(entry.body)
            who[logged.policy_id or ""] += 1
            count += 1
            wrong += replay(logged, get, PROBLEM) != logged
    return count, wrong, who


def swaps(home: Path, n: int, seconds: float, *, rate: float = 300.0, seed: int = 0) -> dict[str, Any]:
    """n changes of who acts within so many seconds under load: a tenth of them rollbacks, a third canaries."""
    ids = make_home(home, policies=6)
    return asyncio.run(_swaps(home, ids, n, seconds, rate, seed))


async def _swaps(home: Path, ids: list[str], n: int, seconds: float, rate: float, seed: int) -> dict[str, Any]:
    rng, server = random.Random(seed), Server(home)
    caller = Caller(server.port, rate, seed=seed, again=False)
    done: Counter[str] = Counter()
    with server:
        task = asyncio.create_task(caller.run())
        try:
            await asyncio.sleep(min(5.0, seconds / 4))
            steady, begun = list(caller.latencies), time.monotonic()
            at = len(caller.latencies)
            for i in range(n):
                kind = (
                    ("rollback", "canary", "canary", "shadow", "live", "canary")[i % 10] if i % 10 < 6 else "override"
                )
                await asyncio.to_thread(_change, home, ids, kind, rng)
                done[kind] += 1
                await asyncio.sleep(max(0.0, begun + seconds * (i + 1) / n - time.monotonic()))
            swapping = caller.latencies[at:]
            drained = await caller.drained()
        finally:
            caller.stop()
            await task
        memory = server.rss()
    count, wrong, who = replayed(home)
    return {
        "swaps": n,
        "seconds": seconds,
        "kinds": dict(done),
        "policies_seen": len(who),
        "failed": sum(k for code, k in caller.statuses.items() if code != 200) + sum(caller.lost.values()),
        "replayed": count,
        "wrong_propensities": wrong,
        "drained": drained,
        "ms": {"steady": quantiles(steady), "swapping": quantiles(swapping)},
        "mib": round(memory, 1),
        **accounted(home, caller),
    }


KINDS = ("override", "rollback", "canary", "override", "canary", "shadow", "override", "live", "canary", "override")


def _change(home: Path, ids: list[str], kind: str, rng: random.Random) -> None:
    ledger = Home(home).ledger
    if kind in ("rollback", "override"):
        live = ledger.current(ALIAS)
        others = [id for id in ids if live is None or id != live.policy]
        if kind == "override" or sum(one.kind != "rollback" for one in ledger.history(ALIAS)) < 2:
            ledger.override(ALIAS, rng.choice(others), time=now(), reason="a swap under load")
        else:
            ledger.rollback(ALIAS, time=now(), reason="a rollback under load")
        return
    candidate = None if kind == "live" else rng.choice(ids)
    share = round(rng.uniform(0.05, 0.5), 3) if kind == "canary" else 0.0
    Traffic(ledger).direct(Direction(alias=ALIAS, mode=kind, candidate=candidate, share=share, time=now()))  # pyright: ignore


def quantiles(seconds: Iterable[float]) -> dict[str, float]:
    """Milliseconds: half, 99 in 100, the longest."""
    found = np.asarray(list(seconds)) * 1e3
    if not len(found):
        return {}
    return {name: round(float(np.quantile(found, q)), 2) for name, q in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}


class Hostile(Discrete):
    """A policy that fails in one way; a third party's, as the service sees it: registered by an entry point."""

    WAYS = ("raises", "nan", "short", "negative", "sleeps", "wrong size")

    def __init__(self, k: int, way: str, share: float = 1.0) -> None:
        self.k, self.way, self.share, self._random = k, way, share, random.Random(0)

    def probs(self, context: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        """Not a pmf."""
        p = np.full((len(context), self.k), 1.0 / self.k)
        if self._random.random() >= self.share:
            return p
        if self.way == "raises":
            raise ZeroDivisionError("this policy cannot")
        if self.way == "sleeps":
            time.sleep(10)
        if self.way == "nan":
            p[:, 0] = np.nan
        elif self.way == "short":
            p *= 0.97
        elif self.way == "negative":
            p[:, 0] -= 1.5 / self.k
            p[:, 1] += 1.5 / self.k
        elif self.way == "wrong size":
            return p[:, :-1]
        return p

    def state(self) -> State:
        return State("hostile", {"k": self.k, "way": self.way, "share": self.share})

    @classmethod
    def from_state(cls, state: State) -> Hostile:
        return cls(state.config["k"], state.config["way"], state.config["share"])


def plugin(folder: Path) -> dict[str, str]:
    """An installed package that brings the hostile kind: the environment in which it is found."""
    info = folder / "hostile-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[understudy.states]\nhostile = fault_traffic:Hostile\n")
    return {"PYTHONPATH": f"{folder}:{HERE}"}


def failing(home: Path, way: str, n: int, *, share: float = 1.0, rate: float = 60.0, seed: int = 0) -> dict[str, Any]:
    """The live policy fails: the baseline answers everything, with its own propensity. Half bring a baseline."""
    env = plugin(home / "plugin")
    id = keep(home, Hostile(ACTIONS, way, share), "hostile")
    Home(home).ledger.install(ALIAS, id, time=now(), reason="hostile")
    return {"way": way, "share": share} | asyncio.run(_failing(home, n, rate, seed, env))


async def _failing(home: Path, n: int, rate: float, seed: int, env: dict[str, str]) -> dict[str, Any]:
    server = Server(home, env=env)
    callers = [
        Caller(server.port, rate / 2, 4, "with", seed, again=False, baseline="a3"),
        Caller(server.port, rate / 2, 4, "none", seed + 1, again=False),
    ]
    with server:
        tasks = [asyncio.create_task(caller.run()) for caller in callers]
        try:
            end = time.monotonic() + 60
            while sum(caller.made for caller in callers) < n and time.monotonic() < end:
                await asyncio.sleep(0.01)
            drained = all([await caller.drained() for caller in callers])
        finally:
            for caller in callers:
                caller.stop()
            await asyncio.gather(*tasks)
    replies = [(i, json.loads(raw)) for i, caller in enumerate(callers) for raw in caller.acknowledged.values()]
    by = [(i, reply) for i, reply in replies if reply["policy_id"] == "baseline"]
    wrong = 0
    for i, reply in replies:
        if reply["policy_id"] == "baseline":
            right = 1.0 if i == 0 else 1.0 / ACTIONS
            wrong += reply["propensity"] != right or (i == 0 and reply["action"] != "a3")
            wrong += reply["fallback"] is None
    return {
        "answered": len(replies),
        "by_baseline": len(by),
        "reasons": dict(Counter(reply["fallback"] for _, reply in by)),
        "failed": sum(k for caller in callers for code, k in caller.statuses.items() if code != 200),
        "wrong_propensities": wrong,
        "ms": quantiles(value for caller in callers for value in caller.latencies),
        "over_50_ms": sum(value > 0.05 for caller in callers for value in caller.latencies),
        "given_up_ms": [
            round(1e3 * callers[i].took[one["decision_id"]], 1) for i, one in by if one["fallback"] == "slow"
        ],
        "drained": drained,
    }


SERVER_CORE, LOAD_CORE = ["taskset", "-c", "0"], ["taskset", "-c", "1"]


def overload(home: Path, seconds: float, *, times: float = 10.0, connections: int = 2_000) -> dict[str, Any]:
    """Capacity in a closed loop; then an open loop of ``times`` that; then how soon a calm caller is served again.

    The server has one core and the load another.
    """
    make_home(home)
    with Server(home, wrap=SERVER_CORE) as server:
        told = ["--connections", "32", "--requests"]
        _load(server, *told, "4000", "--prefix", "warm")
        closed = _load(server, *told, str(int(4_000 * max(1.0, seconds / 8))), "--prefix", "closed")
        capacity = closed["statuses"].get("200", 0) / closed["seconds"]
        resting = server.rss()
        kept = home / "acknowledged"
        command = [*LOAD_CORE, sys.executable, str(HERE / "flood.py"), "--port", str(server.port)]
        command += ["--rate", str(times * capacity), "--seconds", str(seconds), "--connections", str(connections)]
        with subprocess.Popen([*command, "--to", str(kept)], stdout=subprocess.PIPE, text=True) as child:
            most = resting
            while child.poll() is None:
                most = max(most, server.rss())
                time.sleep(0.1)
            assert child.stdout is not None
            found = json.loads(child.stdout.read())
        recovery = asyncio.run(_calm(server.port))
    logged = {entry.key for entry in entries(home)}
    acknowledged = kept.read_text().split()
    middle = found["ok_by_second"][1 : int(seconds)]  # whole seconds, the connections open
    goodput = float(np.mean(middle))
    return {
        "capacity_per_second": round(capacity),
        "offered_per_second": round(times * capacity),
        "reached_the_server_per_second": round(sum(found["statuses"].values()) / seconds),
        "goodput_per_second": round(goodput),
        "goodput_of_capacity": round(goodput / capacity, 3),
        "recovery_seconds": round(recovery, 3),
        "mib": {"before": round(resting, 1), "most": round(most, 1), "ratio": round(most / resting, 3)},
        "lost": len(set(acknowledged) - logged),
        "acknowledged": len(acknowledged),
        "flood": {name: value for name, value in found.items() if name != "ok_by_second"},
        "lowest_second": min(middle),
    }


def _load(server: Server, *arguments: str) -> dict[str, Any]:
    command = [*LOAD_CORE, sys.executable, str(HERE / "load.py"), "--port", str(server.port), *arguments]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


async def _calm(port: int) -> float:
    """Seconds until a hundred requests in a row have been answered within 50 ms each, at 50 a second."""
    begun, caller = time.monotonic(), Caller(port, 50.0, 2, "calm", again=False)
    task = asyncio.create_task(caller.run())
    try:
        while time.monotonic() - begun < 20:
            await asyncio.sleep(0.02)
            if len(caller.latencies) >= 100 and max(caller.latencies[-100:]) < 0.05 and not caller.refusals:
                return max(0.0, time.monotonic() - begun - 2.0)
            if caller.refusals:
                caller.refusals.clear()
                caller.latencies.clear()
    finally:
        caller.stop()
        await task
    return float("inf")
