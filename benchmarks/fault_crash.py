"""The service is killed, its log torn, asked to stop: nothing that was acknowledged is lost, nothing counts twice."""

from __future__ import annotations

import asyncio
import os
import random
import statistics
from pathlib import Path
from typing import Any

from caller import Caller, accounted, entries, sound
from service import ALIAS, Server, make_home


def kills(home: Path, n: int, *, rate: float = 200.0, seed: int = 0) -> dict[str, Any]:
    """SIGKILL under load n times, each at a random moment; everything unacknowledged is sent again to the next one."""
    make_home(home)
    return asyncio.run(_kills(home, n, rate, seed))


async def _kills(home: Path, n: int, rate: float, seed: int) -> dict[str, Any]:
    rng, server = random.Random(seed), Server(home)
    caller = Caller(server.port, rate, seed=seed, up=False)
    task = asyncio.create_task(caller.run())
    ready, damaged, inside = [], 0, 0
    try:
        for _ in range(n):
            server.start()
            ready.append(await asyncio.to_thread(server.wait_ready))
            caller.up = True
            await asyncio.sleep(rng.uniform(0.05, 0.55))
            before = sum(caller.lost.values())
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(0.02)
            caller.up = False
            inside += sum(caller.lost.values()) > before
            damaged += not await asyncio.to_thread(sound, home)
        server.start()
        await asyncio.to_thread(server.wait_ready)
        caller.up = True
        drained = await caller.drained()
    finally:
        caller.stop()
        await task
        server.kill()
    return {
        "kills": n,
        "kills_with_requests_inside": inside,
        "drained": drained,
        "ready_seconds": {"median": statistics.median(ready), "max": max(ready)},
        "damaged": damaged,
        "statuses": {str(code): count for code, count in caller.statuses.items()},
        **accounted(home, caller),
    }


GARBAGE = ("zeros", "noise", "half a frame", "a frame again", "a frame with one bit flipped")


def torn(home: Path, n: int, *, rate: float = 200.0, seed: int = 0) -> dict[str, Any]:
    """After each kill the write-ahead log gets a tail that no commit wrote; the next start must cut it off."""
    make_home(home)
    return asyncio.run(_torn(home, n, rate, seed))


async def _torn(home: Path, n: int, rate: float, seed: int) -> dict[str, Any]:
    rng, server = random.Random(seed), Server(home)
    caller = Caller(server.port, rate, seed=seed, up=False)
    task = asyncio.create_task(caller.run())
    counted = appended = 0
    try:
        for i in range(n):
            server.start()
            await asyncio.to_thread(server.wait_ready)
            if i:
                counted += _torn_bytes(server) > 0
            caller.up = True
            await asyncio.sleep(rng.uniform(0.2, 0.5))
            await asyncio.to_thread(server.kill)
            caller.up = False
            if i < n - 1:
                _tear(home / "log" / ALIAS / "worker-0.db-wal", GARBAGE[i % len(GARBAGE)], rng)
                appended += 1
        server.start()
        await asyncio.to_thread(server.wait_ready)
        caller.up = True
        drained = await caller.drained()
    finally:
        caller.stop()
        await task
        server.kill()
    return {"torn": appended, "counted": counted, "drained": drained, "damaged": int(not sound(home)),
            **accounted(home, caller)}  # fmt: skip


def _tear(wal: Path, how: str, rng: random.Random) -> None:
    body = wal.read_bytes()
    frame = 24 + int.from_bytes(body[8:12], "big")
    last = bytearray(body[-frame:])
    if how == "zeros":
        tail = bytes(rng.randrange(100, 9_000))
    elif how == "noise":
        tail = rng.randbytes(rng.randrange(100, 9_000))
    elif how == "half a frame":
        tail = bytes(last[: frame // 2])
    else:
        if how.endswith("flipped"):
            last[rng.randrange(24, frame)] ^= 1
        tail = bytes(last)
    with wal.open("ab") as file:
        file.write(tail)
        file.flush()
        os.fsync(file.fileno())


def _torn_bytes(server: Server) -> float:
    """What the service says it cut off when it started."""
    for line in server.get("/metrics")[1].decode().splitlines():
        if "torn" in line and not line.startswith("#"):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


def stops(home: Path, n: int, *, rate: float = 200.0, seed: int = 0) -> dict[str, Any]:
    """SIGTERM under load n times: whatever was accepted is answered, and the process goes."""
    make_home(home)
    return asyncio.run(_stops(home, n, rate, seed))


async def _stops(home: Path, n: int, rate: float, seed: int) -> dict[str, Any]:
    rng, server = random.Random(seed), Server(home)
    caller = Caller(server.port, rate, seed=seed, up=False)
    task = asyncio.create_task(caller.run())
    seconds, codes, cut, resets = [], [], 0, 0
    try:
        for _ in range(n):
            server.start()
            await asyncio.to_thread(server.wait_ready)
            caller.unanswered.clear()
            caller.up = True
            await asyncio.sleep(rng.uniform(0.2, 0.6))
            family = server.pids()
            took, code = await asyncio.to_thread(server.terminate)
            caller.up = False
            await asyncio.sleep(0.05)
            seconds.append(took)
            codes.append(code)
            assert not [pid for pid in family if os.path.exists(f"/proc/{pid}")], "a process was left behind"
            there = {entry.key for entry in entries(home) if entry.kind == "decision"}
            asked = {ask.key for ask in caller.unanswered if ask.path == "/decide"}
            cut += len(asked & there - caller.acknowledged.keys())
            resets += len(caller.unanswered)
        server.start()
        await asyncio.to_thread(server.wait_ready)
        caller.up = True
        drained = await caller.drained()
    finally:
        caller.stop()
        await task
        server.kill()
    return {
        "stops": n,
        "accepted_and_cut": cut,  # written down, and no reply came
        "how": dict(caller.lost),
        "closed_before_reading": resets,  # of those kept connections that closed as the next request was on its way
        "exit_seconds": {"median": statistics.median(seconds), "max": max(seconds)},
        "exit_codes": sorted(set(codes)),
        "drained": drained,
        "statuses": {str(code): count for code, count in caller.statuses.items()},
        **accounted(home, caller),
    }
