"""The disk is full, or answers with an error: 507 or 503, never a 200 without a durable record, and then it goes on."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import signal
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caller import Caller, accounted
from service import Server, make_home


class Unavailable(RuntimeError):
    """This machine does not let the fault be made."""


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of that size, in memory. Raises: Unavailable without the right to mount."""
    folder.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
    if made.returncode:
        raise Unavailable("a small file system cannot be mounted here (needs root)")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def full(home: Path, n: int, *, rate: float = 300.0, seed: int = 0) -> dict[str, Any]:
    """The log's disk runs full under load and is freed again, n times, without a restart."""
    make_home(home)
    with small_disk(home / "log", "64m"):
        return asyncio.run(_full(home, n, rate, seed))


async def _full(home: Path, n: int, rate: float, seed: int) -> dict[str, Any]:
    server = Server(home)
    caller = Caller(server.port, rate, seed=seed)
    ballast = home / "log" / "ballast"
    recoveries: list[float] = []
    refused_times = 0
    with server:
        task = asyncio.create_task(caller.run())
        try:
            for _ in range(n):
                await asyncio.sleep(0.5)
                before = len(caller.refusals)
                await asyncio.to_thread(_fill, ballast, 256 << 10)
                await caller.refused(before + 20, 15)
                await asyncio.sleep(0.3)
                refused_times += len(caller.refusals) > before
                ballast.unlink()
                freed = time.monotonic()
                recoveries.append(await caller.succeeded(freed, 15))
            drained = await caller.drained()
            ready = server.get("/ready")[0]
        finally:
            caller.stop()
            await task
    return {
        "times_full": refused_times,
        "recovery_seconds": {"median": statistics.median(recoveries), "max": max(recoveries)},
        "refused": _codes(caller),
        "without_retry_after": sum("retry-after" not in headers for _, _, headers in caller.refusals),
        "drained": drained,
        "ready_afterwards": ready == 200,
        **accounted(home, caller),
    }


def _fill(path: Path, leave: int) -> None:
    """Take all of the file system but ``leave`` bytes."""
    free = shutil.disk_usage(path.parent).free
    with contextlib.suppress(OSError), path.open("wb") as file:
        for _ in range(max(0, (free - leave) // 65_536)):
            file.write(bytes(65_536))


SYSCALLS = {"eio": ("fdatasync,fsync", "EIO"), "enospc": ("pwrite64", "ENOSPC")}


def injected(home: Path, n: int, what: str, *, rate: float = 200.0, seed: int = 0) -> dict[str, Any]:
    """The k-th fdatasync (or write) of the serving process fails, for n random k in 1…40, under load."""
    if shutil.which("strace") is None:
        raise Unavailable("strace is not installed")
    make_home(home)
    return asyncio.run(_injected(home, n, what, rate, seed))


async def _injected(home: Path, n: int, what: str, rate: float, seed: int) -> dict[str, Any]:
    calls, error = SYSCALLS[what]
    rng, server = random.Random(seed), Server(home)
    caller = Caller(server.port, rate, seed=seed)
    struck, recoveries, restarts = 0, [], 0
    server.start().wait_ready()
    task = asyncio.create_task(caller.run())
    try:
        for _ in range(n):
            trace = f"inject={calls}:error={error}:when={rng.randrange(1, 41)}"
            command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", trace]
            before = len(caller.refusals)
            tracer = subprocess.Popen([*command, "-p", str(server.worker())], stderr=subprocess.DEVNULL)
            await caller.refused(before + 1, 4)
            tracer.send_signal(signal.SIGTERM)
            await asyncio.to_thread(tracer.wait, 10)
            if len(caller.refusals) > before:
                struck += 1
                recoveries.append(await caller.succeeded(caller.refusals[before][0], 10))
            if server.process is not None and server.process.poll() is not None:
                restarts += 1
                server.start()
                await asyncio.to_thread(server.wait_ready)
        drained = await caller.drained()
    finally:
        caller.stop()
        await task
        server.kill()  # what only the page cache knew is still there: a power cut is the event log's own test
    return {
        "injected": struck,
        "of": n,
        "refused": _codes(caller),
        "recovery_seconds": {"median": statistics.median(recoveries or [0]), "max": max(recoveries or [0])},
        "restarts": restarts,
        "drained": drained,
        **accounted(home, caller),
    }


def _codes(caller: Caller) -> dict[str, int]:
    return {str(code): count for code, count in sorted(Counter(code for _, code, _ in caller.refusals).items())}
