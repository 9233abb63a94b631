"""What the service is measured against: the least an HTTP handler can do on the same server and framework.

    python benchmarks/bare.py json --port 8081                   JSON in, JSON of a decision's shape out
    python benchmarks/bare.py raw --port 8081                    the same without the framework's Request and Response
    python benchmarks/bare.py commit --port 8082 --to FOLDER     json, and a body of a log line's size into SQLite
                                                                 (WAL, FULL, group commit) before the reply

No decision is made, nothing is checked, nothing is counted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
from queue import SimpleQueue
from threading import Thread
from typing import Any

import msgspec
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

REPLY = {
    "decision_id": "",
    "action": "a3",
    "propensity": 0.91,
    "propensities": [0.01] * 3 + [0.91] + [0.01] * 6,
    "policy_id": "0123456789abcdef0123456789abcdef",
    "fallback": None,
}
LINE = {"time": 1790000000.123456, "application": "production", "mode": "live", "t": 0, "deferred": False}
LINE |= dict.fromkeys(("allowed", "episode_id", "unit_id", "baseline", "shadow"))
LINE["padding"] = "." * 110  # as long as what the service writes down
HEADERS = {"content-type": "application/json"}
RAW_HEADERS = [(b"content-type", b"application/json")]


class Commits:
    """A thread that writes whatever waits in one transaction, and wakes the loop once per commit."""

    def __init__(self, path: str) -> None:
        self._queue: SimpleQueue[tuple[str, bytes, asyncio.Future[None]]] = SimpleQueue()
        self._path = path
        Thread(target=self._write, daemon=True).start()

    def write(self, key: str, body: bytes) -> asyncio.Future[None]:
        """Done once the body is on the disk."""
        future = asyncio.get_running_loop().create_future()
        self._queue.put((key, body, future))
        return future

    def _write(self) -> None:
        db = sqlite3.connect(self._path, isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, key TEXT UNIQUE, body BLOB)")
        while True:
            batch = [self._queue.get()]
            while not self._queue.empty() and len(batch) < 2_000:
                batch.append(self._queue.get())
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT OR IGNORE INTO events (key, body) VALUES (?, ?)", [one[:2] for one in batch])
            db.execute("COMMIT")
            batch[0][2].get_loop().call_soon_threadsafe(_done, [future for *_, future in batch])


def _done(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


def app(what: str, folder: str) -> Any:
    """The handler as an ASGI application."""
    commits: list[Commits] = []
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode

    async def plain(request: Request) -> Response:
        asked = decode(await request.body())
        return Response(encode(REPLY | {"decision_id": asked["decision_id"]}), headers=HEADERS)

    async def durable(request: Request) -> Response:
        asked = decode(await request.body())
        if not commits:
            commits.append(Commits(os.path.join(folder, "bare.db")))
        reply = REPLY | {"decision_id": asked["decision_id"]}
        await commits[0].write(asked["decision_id"], encode(asked | reply | LINE))
        return Response(encode(reply), headers=HEADERS)

    async def raw(scope: Any, receive: Any, send: Any) -> None:
        asked = decode((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": RAW_HEADERS})
        await send({"type": "http.response.body", "body": encode(REPLY | {"decision_id": asked["decision_id"]})})

    ready = Route("/ready", lambda _: Response(b"{}"), methods=["GET"])
    if what == "raw":
        return Router([Route("/decide", Plain(raw)), ready], redirect_slashes=False)
    return Starlette(routes=[Route("/decide", plain if what == "json" else durable, methods=["POST"]), ready])


class Plain:
    """An ASGI application as an object, which the router does not wrap."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI."""
        await self._call(scope, receive, send)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["json", "raw", "commit"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--to", default=".")
    options = parser.parse_args()
    asyncio.run(listen(app(options.what, options.to), options.port))


async def listen(served: Any, port: int) -> None:
    """As the service does it: one process, HTTP/1.1, no log."""
    server = Server(
        served,
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
        backlog=2_048,
        backpressure=512,
    )
    await server.serve()


if __name__ == "__main__":
    main()
