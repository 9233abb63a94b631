"""A real service in a process of its own, for tests: ``understudy serve`` on a free port of loopback."""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

PROBLEM = """
features: [{name: age}, {name: visits, optional: true}, {name: city, kind: category, values: [Bern, Oslo], open: true},
  {name: member, kind: boolean}]
actions: {names: [left, right, stay]}
outcomes: [{name: reward}, {name: cost, aggregate: sum}]
"""
CONTEXT = {"age": 31, "city": "Bern", "member": True}
_START = "import sys; from understudy.cli import main; sys.exit(main(sys.argv[1:]))"
_ENV = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class Reply(NamedTuple):
    """What came back."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Running:
    """One ``understudy serve`` that has said that it is ready."""

    def __init__(self, home: Path, *options: str) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        problem = home / "problem.yaml"
        problem.write_text(PROBLEM)
        line = [sys.executable, "-c", _START, "serve", "production", "--home", str(home), "--problem", str(problem)]
        self.errors = (home / "stderr.log").open("ab")
        self.process = subprocess.Popen(
            [*line, "--port", "0", *options], stdout=subprocess.PIPE, stderr=self.errors, env=_ENV
        )
        assert self.process.stdout is not None
        told = select.select([self.process.stdout], [], [], 30)[0] and self.process.stdout.readline().decode()
        assert told and told.startswith("ready: http://127.0.0.1:"), (home / "stderr.log").read_text()
        self.url = told.split()[1]
        self.port = int(self.url.rpartition(":")[2])

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """One request on a connection of its own; what is not bytes is sent as JSON."""
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if raw is not None and "content-type" not in given:
            given["content-type"] = "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, raw, {name: value for name, value in given.items() if value})
            got = connection.getresponse()
            return Reply(got.status, got.read(), {name.lower(): value for name, value in got.getheaders()})
        finally:
            connection.close()

    def stop(self, by: int = signal.SIGTERM) -> tuple[int, float]:
        """(exit code, seconds until it had ended)."""
        begun = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(by)
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.errors.close()
            if self.process.stdout is not None:
                self.process.stdout.close()
        return code, time.monotonic() - begun

    def said(self) -> str:
        """Its log so far."""
        return (self.home / "stderr.log").read_text()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service without keys that all tests of a run share."""
    with Running(tmp_path_factory.mktemp("service")) as running:
        yield running
