"""Whatever the service refuses, it refuses in one shape, with the documented status, and no more."""

import socket

import pytest
from tests.serving import CONTEXT, Running

from understudy.serve.refusal import REFUSALS

GOOD = {"context": CONTEXT}
BIG = b'{"context":{"age":' + b" " * 300_000 + b"1}}"

# (status, kind, method, path, body, headers)
REFUSED = {
    "no such path": (404, "not_found", "GET", "/nothing", None, {}),
    "no such path, POST": (404, "not_found", "POST", "/decide/", GOOD, {}),
    "wrong method": (405, "method", "GET", "/decide", None, {}),
    "wrong method on a page": (405, "method", "POST", "/policy", GOOD, {}),
    "no type": (415, "content_type", "POST", "/decide", b"{}", {"content_type": ""}),
    "form": (415, "content_type", "POST", "/decide", b"a=1", {"content_type": "application/x-www-form-urlencoded"}),
    "empty": (400, "json", "POST", "/decide", b"", {}),
    "cut": (400, "json", "POST", "/decide", b'{"context":{"age":1', {}),
    "NaN": (400, "json", "POST", "/reward", b'{"decision_id":"a","value":NaN}', {}),
    "Infinity": (400, "json", "POST", "/reward", b'{"decision_id":"a","value":-Infinity}', {}),
    "not UTF-8": (400, "json", "POST", "/decide", b'{"context":{"city":"\xff"}}', {}),
    "half a surrogate": (400, "json", "POST", "/decide", b'{"context":{"city":"\\ud800"}}', {}),
    "NUL": (400, "json", "POST", "/decide", b'{"context":{"city":"a\\u0000"}}', {}),
    "key twice": (400, "json", "POST", "/decide", b'{"context":{"age":1,"age":2}}', {}),
    "field twice": (400, "json", "POST", "/reward", b'{"decision_id":"a","value":1,"value":1}', {}),
    "key twice, escaped": (400, "json", "POST", "/decide", b'{"context":{"age":1,"\\u0061ge":2}}', {}),
    "beyond a float": (422, "data", "POST", "/reward", b'{"decision_id":"a","value":1e400}', {}),
    "beyond a sum": (422, "data", "POST", "/reward", b'{"decision_id":"a","value":1e305,"name":"cost"}', {}),
    "unknown field": (422, "data", "POST", "/decide", {**GOOD, "contxt": 1}, {}),
    "wrong type": (422, "data", "POST", "/decide", {"context": []}, {}),
    "nested": (422, "data", "POST", "/decide", {"context": {"age": [1]}}, {}),
    "deep": (422, "data", "POST", "/decide", b'{"context":' * 20_000, {}),
    "missing": (422, "data", "POST", "/reward", {"value": 1}, {}),
    "missing feature": (422, "data", "POST", "/decide", {"context": {"age": 1}}, {}),
    "unknown feature": (422, "data", "POST", "/decide", {"context": {**CONTEXT, "agee": 1}}, {}),
    "unknown action": (422, "data", "POST", "/decide", {**GOOD, "allowed": ["up"]}, {}),
    "nothing allowed": (422, "data", "POST", "/decide", {**GOOD, "allowed": []}, {}),
    "an id with odd letters": (422, "data", "POST", "/decide", {**GOOD, "decision_id": "a b"}, {}),
    "an id with a line break": (422, "data", "POST", "/decide", {**GOOD, "decision_id": "a\n"}, {}),
    "its own time": (422, "data", "POST", "/decide", {**GOOD, "time": 1.0}, {}),
    "outside the range": (422, "data", "POST", "/reward", {"decision_id": "a", "value": 2}, {}),
    "unknown outcome": (422, "data", "POST", "/reward", {"decision_id": "a", "value": 1, "name": "x"}, {}),
    "too many keys": (422, "data", "POST", "/decide", {"context": {f"k{i}": 0 for i in range(1_001)}}, {}),
    "no batch": (422, "data", "POST", "/decide/batch", [], {}),
    "one of a batch": (422, "data", "POST", "/decide/batch", [GOOD, {"context": {}}], {}),
    "too many in a batch": (413, "too_large", "POST", "/reward/batch", [{"decision_id": "a", "value": 1}] * 1_001, {}),
    "too large": (413, "too_large", "POST", "/decide", BIG, {}),
    "another site": (403, "forbidden", "POST", "/decide", GOOD, {"origin": "https://evil.example"}),
    "another site, new": (403, "forbidden", "POST", "/decide", GOOD, {"sec_fetch_site": "cross-site"}),
    "a foreign name": (403, "forbidden", "GET", "/policy", None, {"host": "evil.example"}),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_has_one_shape(service: Running, what: str) -> None:
    """Status, kind, message, hint, field; the status is a documented one."""
    status, kind, method, path, body, headers = REFUSED[what]
    reply = service.ask(method, path, body, **headers)
    assert reply.status == status, reply.body
    assert status in REFUSALS
    error = reply.json["error"]
    assert set(reply.json) == {"error"} and set(error) == {"kind", "message", "hint", "field"}
    assert error["kind"] == kind and error["message"]
    assert "Traceback" not in error["message"] and "msgspec" not in error["message"] and "/work" not in error["message"]
    assert reply.headers["content-type"] == "application/json"


def test_answers_carry_the_headers_of_care(service: Running) -> None:
    """Nothing is cached, nothing is sniffed, and no version is told."""
    for reply in (service.ask("GET", "/health"), service.ask("GET", "/nothing"), service.ask("POST", "/decide", GOOD)):
        assert reply.headers["server"] == "understudy"
        assert reply.headers["cache-control"] == "no-store" and reply.headers["x-content-type-options"] == "nosniff"
    assert service.ask("GET", "/decide").headers["allow"] == "POST"


def test_a_chunked_body_is_counted_as_it_comes(service: Running) -> None:
    """Without a Content-Length the limit holds too: 413, and the connection is closed."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as line:
        line.sendall(b"POST /decide HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n")
        line.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        got = b""
        try:
            for _ in range(40):
                line.sendall(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
        except OSError:
            pass  # it has stopped reading, as it should
        line.settimeout(20)
        while b"too_large" not in got and (part := line.recv(65_536)):
            got += part
    assert got.startswith(b"HTTP/1.1 413") and b"connection: close" in got.lower()


def test_nothing_refused_was_written_down(service: Running) -> None:
    """The batch with one bad request left no decision of it."""
    before = service.ask("GET", "/metrics").body
    service.ask("POST", "/decide/batch", [{**GOOD, "decision_id": "half-1"}, {"context": {}}])
    line = b"understudy_decisions_total"
    count = [row for row in service.ask("GET", "/metrics").body.splitlines() if row.startswith(line)]
    assert count == [row for row in before.splitlines() if row.startswith(line)]
