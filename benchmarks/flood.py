"""More requests than a server can answer: an open loop, whose arrivals do not wait for replies.

    python benchmarks/flood.py --port 8080 --rate 30000 --seconds 20 [--connections 1000] [--to FILE]

An arrival takes an idle connection; where all are busy and no more may be opened it is not sent, and counted.
Prints one JSON object; the decision ids that were answered with 200 go to FILE, one per line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from pathlib import Path

import numpy as np


class Tally:
    """What came back, second by second."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.seconds: dict[int, Counter[int]] = {}
        self.unsent = self.lost = self.no_retry_after = 0
        self.acknowledged: list[str] = []
        self.waits: dict[bool, list[float]] = {True: [], False: []}  # seconds, of successes and of refusals
        self.begun = time.perf_counter()

    def note(self, status: int, key: str, wait: float, head: bytes) -> None:
        """One reply."""
        self.statuses[status] += 1
        second = int(time.perf_counter() - self.begun)
        self.seconds.setdefault(second, Counter())[status] += 1
        self.waits[status == 200].append(wait)
        if status == 200:
            self.acknowledged.append(key)
        elif b"retry-after" not in head.lower():
            self.no_retry_after += 1

    def summary(self) -> dict:
        """For a machine."""
        waits = {
            name: {q: round(float(np.percentile(found, p)) * 1e3, 1) for q, p in (("p50", 50), ("p99", 99))}
            for name, found in (("ok_ms", self.waits[True]), ("refused_ms", self.waits[False]))
            if found
        }
        return {
            "statuses": {str(code): count for code, count in sorted(self.statuses.items())},
            "unsent": self.unsent,
            "lost": self.lost,
            "without_retry_after": self.no_retry_after,
            "ok_by_second": [self.seconds[second][200] for second in sorted(self.seconds)],
            **waits,
        }


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, idle: list[Connection], tally: Tally, gone: set[Connection]) -> None:
        self.idle, self.tally, self.gone = idle, tally, gone
        self.key, self.begun, self.seen = "", 0.0, b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready for a request."""
        self.transport = transport  # pyright: ignore[reportAttributeAccessIssue]

    def ask(self, key: str, request: bytes) -> None:
        """Send it."""
        self.key, self.begun = key, time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """A reply, or a part of one."""
        self.seen = seen = self.seen + data if self.seen else data
        end = seen.find(b"\r\n\r\n")
        if end < 0:
            return
        at = seen.lower().find(b"content-length:")
        if len(seen) < end + 4 + int(seen[at + 15 : seen.index(b"\r\n", at)]):
            return
        self.tally.note(int(seen[9:12]), self.key, time.perf_counter() - self.begun, seen[:end])
        self.key, self.seen = "", b""
        if b"connection: close" in data[: end + 4].lower():
            self.transport.close()
        else:
            self.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Counted if a reply was still to come."""
        self.tally.lost += bool(self.key)
        self.key = ""
        self.gone.add(self)


async def flood(port: int, rate: float, seconds: float, connections: int, prefix: str) -> Tally:
    """``rate`` arrivals a second, evenly, for so many seconds."""
    loop, idle, gone, tally = asyncio.get_running_loop(), [], set(), Tally()
    rows = np.random.default_rng(0).standard_normal((256, 20)).round(4).tolist()
    contexts = [json.dumps({f"x{j}": value for j, value in enumerate(row)}) for row in rows]
    head = "POST /decide HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
    tails = [f'","context":{text}}}' for text in contexts]
    opened = opening = 0
    begun, i = time.perf_counter(), 0

    async def connect() -> None:
        nonlocal opening, opened
        try:
            _, made = await loop.create_connection(lambda: Connection(idle, tally, gone), "127.0.0.1", port)
            idle.append(made)
            opened += 1
        except OSError:
            tally.lost += 1
        opening -= 1

    tasks: set[asyncio.Task[None]] = set()
    while (at := time.perf_counter() - begun) < seconds:
        due = int(at * rate)
        while gone:
            one = gone.pop()
            opened -= 1
            if one in idle:
                idle.remove(one)
        while i < due:
            if not idle:
                for _ in range(min(connections - opened - opening, due - i, 50)):
                    opening += 1
                    tasks.add(task := loop.create_task(connect()))
                    task.add_done_callback(tasks.discard)
                tally.unsent += due - i
                i = due
                break
            key = f"{prefix}-{i:09d}"
            body = f'{{"decision_id":"{key}{tails[i % 256]}'
            idle.pop().ask(key, f"{head}{len(body)}\r\n\r\n{body}".encode())
            i += 1
        await asyncio.sleep(0.001)
    await asyncio.sleep(1.0)
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--connections", type=int, default=1_000)
    parser.add_argument("--prefix", default="f")
    parser.add_argument("--to", type=Path)
    o = parser.parse_args()
    tally = asyncio.run(flood(o.port, o.rate, o.seconds, o.connections, o.prefix))
    if o.to:
        o.to.write_text("\n".join(tally.acknowledged))
    print(json.dumps(tally.summary() | {"rate": o.rate, "seconds": o.seconds, "arrivals": int(o.rate * o.seconds)}))


if __name__ == "__main__":
    main()
