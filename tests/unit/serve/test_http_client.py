"""What the client does when the other side does not: a real socket that misbehaves on demand."""

import json
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from understudy.core.errors import ExecutorError, StoreError
from understudy.core.service import DecideRequest, RewardRequest
from understudy.serve.client import Client

REPLY = {"action": "a", "propensity": 1.0, "propensities": [1.0], "policy_id": "p", "fallback": None}


class Moody(socketserver.ThreadingTCPServer):
    """Does to each request what the script says next: a status, or ``drop`` after reading, or ``cut`` in the answer."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Turn)
        self.script: list[object] = []
        self.seen: list[dict] = []
        self.connections = 0
        self.wait = "1"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Turn(socketserver.StreamRequestHandler):
    server: Moody

    def handle(self) -> None:
        self.server.connections += 1
        while (line := self.rfile.readline()).strip():
            length = 0
            while (header := self.rfile.readline().strip().lower()) != b"":
                length = int(header[15:]) if header.startswith(b"content-length:") else length
            asked = json.loads(self.rfile.read(length) or b"{}") | {"line": line.decode()}
            self.server.seen.append(asked)
            turn = self.server.script.pop(0) if self.server.script else 200
            if turn == "drop":
                return
            status = 200 if turn == "cut" else turn
            told = REPLY | {"decision_id": asked.get("decision_id", "")}
            if status != 200:
                told = {"error": {"kind": "busy", "message": "later", "hint": "", "field": ""}}
            body = json.dumps(told).encode()
            head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nRetry-After: {self.server.wait}\r\n\r\n"
            self.wfile.write(head.encode() + (body[:5] if turn == "cut" else body))
            if turn == "cut":
                return


@pytest.fixture
def moody() -> Iterator[Moody]:
    with Moody() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()


def test_a_lost_answer_is_asked_for_again_under_the_same_id(moody: Moody) -> None:
    """Dropped before and within the answer: one id, made here, on every attempt."""
    moody.script = ["drop", "cut", 200]
    reply = Client(moody.url).decide(DecideRequest(context={}))
    assert len(moody.seen) == 3 and {one["decision_id"] for one in moody.seen} == {reply.decision_id}


def test_busy_is_waited_out_as_long_as_it_says(moody: Moody) -> None:
    """503, then 429, then yes; half to all of each second that Retry-After asks for."""
    moody.script = [503, 429]
    begun = time.monotonic()
    Client(moody.url).reward(RewardRequest(decision_id="a", value=1.0))
    assert 1.0 <= time.monotonic() - begun < 4.0 and len(moody.seen) == 3


def test_the_timeout_covers_all_attempts(moody: Moody) -> None:
    """It gives up before a wait that would not fit, with what it was told last."""
    moody.script, moody.wait = [503] * 50, "9"
    begun = time.monotonic()
    with pytest.raises(ExecutorError, match="later") as told:
        Client(moody.url, timeout=1.0).reward(RewardRequest(decision_id="a", value=1.0))
    assert time.monotonic() - begun < 1.5 and told.value.kind == "busy" and len(moody.seen) == 1


@pytest.mark.parametrize("status, kind", [(507, StoreError), (500, ExecutorError)])
def test_what_waiting_does_not_mend_is_raised_at_once(moody: Moody, status: int, kind: type) -> None:
    """A full disk, a fault of the service."""
    moody.script = [status]
    with pytest.raises(kind):
        Client(moody.url).reward(RewardRequest(decision_id="a", value=1.0))
    assert len(moody.seen) == 1


def test_one_connection_per_thread_is_kept(moody: Moody) -> None:
    """Four threads, ten requests each: four connections."""
    client = Client(moody.url)

    def ask() -> None:
        for _ in range(10):
            client.decide(DecideRequest(context={}))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert moody.connections == 4 and len({one["decision_id"] for one in moody.seen}) == 40
    client.close()
