"""A network that fails between us and a real server: requests refused, connections cut, answers lost on their way."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.clouds import BUCKET, keys, lead

from understudy.core.errors import StoreError
from understudy.core.manifest import Manifest
from understudy.data import objects
from understudy.data.artifact import verify_artifact, write_artifact
from understudy.data.objects import ObjectStore
from understudy.data.places import fetch, publish, standing

URL = f"s3://{BUCKET}/far"
Mishap = Callable[[int, str, str], str]  # (number of the request, method, path) → "", refuse, cut, or lose


@contextlib.contextmanager
def between(server: str, mishap: Mishap) -> Iterator[str]:
    """A proxy that passes requests on, except where ``mishap`` says otherwise. Yields its address."""
    there, count, lock = urlsplit(server).netloc, [0], threading.Lock()

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            with lock:
                count[0] += 1
                what = mishap(count[0], self.command, self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if what == "refuse":
                return self.say(503, {}, b"<Error><Code>SlowDown</Code></Error>")
            if what == "cut":
                return self.hang_up()
            onward = http.client.HTTPConnection(there, timeout=30)
            onward.request(self.command, self.path, body, dict(self.headers))
            came = onward.getresponse()
            data = came.read()
            onward.close()
            return self.hang_up() if what == "lose" else self.say(came.status, dict(came.getheaders()), data)

        def say(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                    self.send_header(name, value)
            length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(body))
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def hang_up(self) -> None:
            self.close_connection = True
            self.connection.close()

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

        def handle(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().handle()

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    proxy.daemon_threads = True
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_address[1]}"
    finally:
        proxy.shutdown()
        proxy.server_close()


def artifact(folder: Path, files: int = 4) -> Manifest:
    def fill(partial: Path) -> None:
        for k in range(files):
            (partial / f"{k}.txt").write_text(f"text {k}")

    return write_artifact(folder, Manifest(kind="log", problem_hash="p"), fill)


@pytest.mark.parametrize("what", ["refuse", "cut"])
def test_every_second_request_fails(amazon, monkeypatch, tmp_path, what):
    """503, or a connection that ends: tried again, and all arrives whole, in one request and in parts."""
    monkeypatch.setattr(objects, "PART", 5 << 20)
    body = hashlib.sha256(b"seed").digest() * (6 << 15)  # 6 MiB
    with between(amazon, lambda n, method, path: what if n % 2 else "") as address:
        lead(monkeypatch, address, tmp_path)
        store = ObjectStore(URL)
        store.put("small", io.BytesIO(b"small"))
        store.put("large", io.BytesIO(body))
        assert list(store.list("")) == ["large", "small"]
        for key, sent in (("small", b"small"), ("large", body)):
            with store.open(key) as file:
                assert file.read() == sent
        made = artifact(tmp_path / "a")
        publish(tmp_path / "a", f"{URL}/a")
        assert verify_artifact(fetch(f"{URL}/a", tmp_path / "cache")) == made


def test_the_answer_to_the_manifest_is_lost(amazon, monkeypatch, tmp_path):
    """It was written, and nobody said so: the artifact is there, and publishing it is no error."""
    made, lost = artifact(tmp_path / "a"), []

    def mishap(n: int, method: str, path: str) -> str:
        if method == "PUT" and path.endswith("/manifest.json") and not lost:
            lost.append(path)
            return "lose"
        return ""

    with between(amazon, mishap) as address:
        lead(monkeypatch, address, tmp_path)
        assert publish(tmp_path / "a", f"{URL}/a") == made
    lead(monkeypatch, amazon, tmp_path)
    assert lost and "far/a/manifest.json" in keys()


def test_a_server_that_never_recovers(amazon, monkeypatch, tmp_path):
    """An error that names the place; what was brought so far is no artifact, and the next attempt completes it."""
    made = artifact(tmp_path / "a")

    def mishap(n: int, method: str, path: str) -> str:
        return "refuse" if method == "PUT" and path.endswith("/manifest.json") else ""

    with between(amazon, mishap) as address:
        lead(monkeypatch, address, tmp_path)
        with pytest.raises(StoreError, match=r"s3://bucket/far/a/manifest\.json cannot be written"):
            publish(tmp_path / "a", f"{URL}/a")
    lead(monkeypatch, amazon, tmp_path)
    assert standing(f"{URL}/a") is None
    publish(tmp_path / "a", f"{URL}/a")
    assert standing(f"{URL}/a") == made
