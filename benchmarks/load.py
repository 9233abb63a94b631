"""Load on a loopback HTTP server: keep-alive connections, a bounded count, every reply accounted for.

    python benchmarks/load.py --port 8080 --requests 20000 --connections 32 [--rate 500] [--path /decide] [--key K]

Prints one JSON object: requests, statuses, seconds, per_second, latency percentiles in milliseconds, failures.
A hand-written client: on one core a general HTTP library would cost several times what the server costs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

Bodies = Callable[[int], bytes]


@dataclass
class Seen:
    """What came back."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)  # seconds, of replies
    failures: Counter[str] = field(default_factory=Counter)  # connections refused, reset, closed early
    acknowledged: list[tuple[int, bytes]] = field(default_factory=list)  # (request number, body) of each 200
    seconds: float = 0.0

    def summary(self) -> dict:
        """For a machine."""
        ms = np.percentile(self.latencies, [50, 95, 99, 100]) * 1e3 if self.latencies else [float("nan")] * 4
        done = sum(self.statuses.values())
        return {
            "requests": done,
            "statuses": {str(code): count for code, count in sorted(self.statuses.items())},
            "failures": dict(self.failures),
            "seconds": self.seconds,
            "per_second": done / self.seconds if self.seconds else 0.0,
            "ms": dict(zip(("p50", "p95", "p99", "max"), (round(float(x), 3) for x in ms))),
        }


def decide_bodies(features: int, *, prefix: str = "load", seed: int = 0) -> Bodies:
    """Requests of ``features`` standard normal numbers x0, x1, …; decision ids ``<prefix>-<i>``."""
    contexts = np.random.default_rng(seed).standard_normal((512, features)).round(4).tolist()
    texts = [json.dumps({f"x{j}": value for j, value in enumerate(row)}) for row in contexts]
    return lambda i: f'{{"decision_id":"{prefix}-{i:08d}","context":{texts[i % 512]}}}'.encode()


def row_bodies(features: int, *, seed: int = 0) -> Bodies:
    """The same numbers as a table of one row, as MLflow wants them."""
    contexts = np.random.default_rng(seed).standard_normal((512, features)).round(4).tolist()
    texts = [json.dumps({"inputs": [row]}).encode() for row in contexts]
    return lambda i: texts[i % 512]


async def load(
    port: int,
    bodies: Bodies,
    *,
    requests: int,
    connections: int = 32,
    path: str = "/decide",
    key: str | None = None,
    rate: float | None = None,
    keep: bool = False,
    seconds: float | None = None,
    host: str = "127.0.0.1",
) -> Seen:
    """Send ``requests`` POSTs over ``connections`` connections; at most ``rate`` a second, for at most ``seconds``.

    A lost connection is counted and opened again; its request is not sent a second time.
    """
    seen, numbers, start = Seen(), iter(range(requests)), time.perf_counter()
    end = start + seconds if seconds else float("inf")
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {key}\r\n" if key else ""
    workers = [_worker(host, port, head, bodies, numbers, seen, (start, rate, end), keep) for _ in range(connections)]
    await asyncio.gather(*workers)
    seen.seconds = time.perf_counter() - start
    return seen


async def _worker(
    host: str, port: int, head: str, bodies: Bodies, numbers: Iterator[int], seen: Seen, pace: tuple, keep: bool
) -> None:
    start, rate, end = pace
    reader = writer = None
    for i in numbers:
        if time.perf_counter() > end:
            return
        if rate and (wait := start + i / rate - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        body = bodies(i)
        begun = time.perf_counter()
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection(host, port)
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            status, reply, closing = await _reply(reader)
        except (OSError, asyncio.IncompleteReadError, EOFError) as error:
            seen.failures[type(error).__name__] += 1
            writer = None
            await asyncio.sleep(0.005)
            continue
        seen.latencies.append(time.perf_counter() - begun)
        seen.statuses[status] += 1
        if keep and status == 200:
            seen.acknowledged.append((i, reply))
        if closing:
            writer.close()
            writer = None
    if writer is not None:
        writer.close()


async def _reply(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    head = await reader.readuntil(b"\r\n\r\n")
    status, lower = int(head[9:12]), head.lower()
    at = lower.find(b"content-length:")
    if at < 0:
        raise EOFError("no content-length")
    length = int(lower[at + 15 : lower.index(b"\r\n", at)])
    return status, await reader.readexactly(length), b"connection: close" in lower


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--path", default="/decide")
    parser.add_argument("--prefix", default="load")
    parser.add_argument("--key")
    parser.add_argument("--rows", action="store_true", help="bodies for MLflow")
    o = parser.parse_args()
    bodies = row_bodies(o.features) if o.rows else decide_bodies(o.features, prefix=o.prefix)
    seen = asyncio.run(
        load(o.port, bodies, requests=o.requests, connections=o.connections, path=o.path, key=o.key, rate=o.rate)
    )
    print(json.dumps(seen.summary()))


if __name__ == "__main__":
    main()
