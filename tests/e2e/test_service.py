"""The real service over real sockets: what is answered is durable, what is repeated counts once."""

import asyncio
import json
import os
import signal
import socket
import sqlite3
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from benchmarks.fuzz import bodies, send
from tests.serving import CONTEXT, PROBLEM, Running

from understudy import Client
from understudy.cli import main
from understudy.core.errors import ConfigError, DataError, ExecutorError
from understudy.core.problem import decode_problem
from understudy.core.service import ActivateRequest, DecideRequest, RewardRequest, Service
from understudy.data.eventlog.export import export
from understudy.data.home import Home, now
from understudy.serve.keys import SCOPES, add_key, revoke_key
from understudy.serve.routes import PAGES, ROUTES

ASK = {"context": CONTEXT}
BODIES = {
    "/decide": ASK,
    "/decide/batch": [ASK],
    "/reward": {"decision_id": "k", "value": 1},
    "/reward/batch": [{"decision_id": "k", "value": 1}],
    "/activate": {"decision_id": "k"},
    "/policy/reload": b"",
}


def exported(home: Path, to: Path):
    """The log artifact of everything that lies in a home."""
    problem = decode_problem(PROBLEM.encode(), where="test", yaml=True)
    return export(Home(home).log("production"), problem=problem, to=to)


def test_the_endpoints(service: Running) -> None:
    """Each path answers what it promises."""
    reply = service.ask("POST", "/decide", {**ASK, "decision_id": "e-1", "baseline": "stay"})
    said = reply.json
    assert reply.status == 200 and said["decision_id"] == "e-1" and said["policy_id"] == "uniform"
    assert said["propensity"] == 1 / 3 and said["propensities"] == [1 / 3] * 3 and said["fallback"] is None
    batch = service.ask("POST", "/decide/batch", [{**ASK, "allowed": ["left"]}, ASK]).json
    assert batch[0]["action"] == "left" and batch[0]["propensity"] == 1.0 and len(batch) == 2
    assert service.ask("POST", "/reward", {"decision_id": "e-1", "value": 1}).json == {"ok": True}
    again = [{"decision_id": "e-1", "value": 1}, {"decision_id": "early", "value": 0.5, "outcome_id": "o"}]
    assert service.ask("POST", "/reward/batch", again).json == {"ok": True}
    assert service.ask("POST", "/activate", {"decision_id": "e-1"}).json == {"ok": True}
    assert service.ask("GET", "/health").json == {"live": True}
    assert service.ask("HEAD", "/health").body == b""
    assert service.ask("GET", "/ready").json == {"ready": True}
    acting = service.ask("GET", "/policy").json
    assert acting["policy_id"] == "uniform" and acting["mode"] == "live" and acting["version"] == [0, 0]
    assert service.ask("POST", "/policy/reload", b"").json == acting
    figures = service.ask("GET", "/metrics")
    assert figures.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b'understudy_requests_total{path="/decide",status="200"}' in figures.body


def test_another_question_under_the_same_id_is_a_conflict(service: Running) -> None:
    """409, and what stands in the log stays."""
    first = service.ask("POST", "/decide", {**ASK, "decision_id": "c-1"})
    other = service.ask("POST", "/decide", {"context": CONTEXT | {"age": 32}, "decision_id": "c-1"})
    assert (first.status, other.status, other.json["error"]["kind"]) == (200, 409, "conflict")
    assert service.ask("POST", "/decide", {**ASK, "decision_id": "c-1"}).body == first.body


def test_a_repeated_request_is_answered_the_same_across_workers_and_restarts(tmp_path: Path) -> None:
    """Two workers, then SIGKILL, then SIGTERM: one answer, and one line per decision and outcome after export."""
    ask, rewards = {**ASK, "decision_id": "same"}, {"decision_id": "same", "value": 1}
    seen = set()
    for end in (signal.SIGKILL, signal.SIGTERM):
        with Running(tmp_path / "home", "--workers", "2") as running:
            for _ in range(12):  # each on a connection of its own, so both workers get some
                seen.add(running.ask("POST", "/decide", ask).body)
                assert running.ask("POST", "/reward", rewards).status == 200
            assert b"understudy_decisions_total" in running.ask("GET", "/metrics").body
            family = _children(running.process.pid)
            assert len(family) == 2
            running.stop(end)
            _gone(family)  # killed with their supervisor or without it, the workers end
    assert len(seen) == 1
    log = exported(tmp_path / "home", tmp_path / "log")
    counts = log.manifest.counts
    assert (counts["decisions"], counts["outcomes"]) == (1, 1), counts
    files = sorted(path.name for path in Home(tmp_path / "home").log("production").glob("worker-*.db"))
    assert files == ["worker-0.db", "worker-1.db"]  # the same two after each restart
    lines = [sqlite3.connect(Home(tmp_path / "home").log("production") / name).execute(
        "SELECT count(*) FROM events WHERE kind = 'decision'").fetchone()[0] for name in files]  # fmt: skip
    assert sum(lines) == 1


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _gone(pids: list[int], limit: float = 12.0) -> None:
    end = time.monotonic() + limit
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < end, "a worker outlived its supervisor"
        time.sleep(0.02)


def test_a_dead_worker_is_started_again_with_its_own_file(tmp_path: Path) -> None:
    """SIGKILL to one of two workers: the other goes on, and within seconds there are two again."""
    with Running(tmp_path / "home", "--workers", "2") as running:
        before = _children(running.process.pid)
        os.kill(before[0], signal.SIGKILL)
        end = time.monotonic() + 15
        while len(after := [p for p in _children(running.process.pid) if p != before[0]]) < 2:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert before[1] in after
        client = Client(running.url, timeout=15)
        assert {client.decide(DecideRequest(context=CONTEXT)).policy_id for _ in range(20)} == {"uniform"}
        assert running.stop()[0] == 0
    files = sorted(path.name for path in Home(tmp_path / "home").log("production").glob("worker-*.db"))
    assert files == ["worker-0.db", "worker-1.db"]


KEYS = ("none", "wrong", "expired", "revoked", *SCOPES)
OPEN = [route for route in (*ROUTES, *PAGES) if route.scope is None]


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory):
    """A service with one key per scope, an expired and a revoked one of every scope, and their headers."""
    home = tmp_path_factory.mktemp("locked")
    texts = {scope: add_key(home, [scope], now=now())[0] for scope in SCOPES}
    texts["expired"] = add_key(home, SCOPES, now=now() - 120_000_000, expires="1m")[0]
    texts["revoked"] = add_key(home, SCOPES, now=now())[0]
    revoke_key(home, texts["revoked"], now=now())
    texts["wrong"] = texts["decide"][:-1] + ("A" if texts["decide"][-1] != "A" else "B")
    with Running(home) as running:
        yield running, {"none": ""} | {name: f"Bearer {text}" for name, text in texts.items()}, texts


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("route", [*ROUTES, *PAGES], ids=lambda route: f"{route.method} {route.path}")
def test_every_key_on_every_endpoint(locked, route, key: str) -> None:
    """The whole table: 200 where the scope is the path's own or none is needed, 401 for no valid key, else 403."""
    running, headers, _ = locked
    reply = running.ask(route.method, route.path, BODIES.get(route.path), authorization=headers[key])
    invalid = key in ("none", "wrong", "expired", "revoked")
    due = 200 if route.scope in (None, key) else 401 if invalid else 403
    assert reply.status == due, reply.body
    if due == 401:
        assert reply.headers["www-authenticate"].startswith("Bearer")
    if due != 200:
        assert reply.json["error"]["kind"] == {401: "key", 403: "forbidden"}[due]


def test_only_health_is_open() -> None:
    """Nothing else answers without a key once there are keys, but the dashboard's page, which holds no figures."""
    assert [route.path for route in OPEN] == ["/health", "/"]


def test_keys_change_while_the_service_runs_and_are_never_said(locked) -> None:
    """A new key opens within a second, a revoked one closes; no key and no hash stands in the log of the process."""
    running, _, texts = locked
    fresh, kept = add_key(running.home, ["read"], now=now())
    _until(lambda: running.ask("GET", "/policy", authorization=f"Bearer {fresh}").status == 200)
    revoke_key(running.home, kept.name, now=now())
    _until(lambda: running.ask("GET", "/policy", authorization=f"Bearer {fresh}").status == 401)
    file = running.home / "keys.json"
    assert file.stat().st_mode & 0o777 == 0o600
    for text in (*texts.values(), fresh):
        assert text not in running.said() and text not in file.read_text()


def _until(true, limit: float = 5.0) -> None:
    end = time.monotonic() + limit
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_lost_file_of_keys_lets_nobody_in(tmp_path: Path) -> None:
    """Deleted or damaged, the keys in force stay, and /ready says what is wrong."""
    text, _ = add_key(tmp_path, ["read", "decide"], now=now())
    with Running(tmp_path) as running:
        bearer = f"Bearer {text}"
        for harm in (lambda p: p.write_text("[{"), lambda p: p.unlink()):
            harm(tmp_path / "keys.json")
            _until(lambda: running.ask("GET", "/ready", authorization=bearer).status == 503)
            assert b"keys" in running.ask("GET", "/ready", authorization=bearer).body
            assert running.ask("POST", "/decide", ASK).status == 401
            assert running.ask("POST", "/decide", ASK, authorization=bearer).status == 200


def test_beyond_loopback_only_with_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and the next step, before anything listens."""
    assert main(["serve", "--home", str(tmp_path), "--host", "0.0.0.0"]) == 2
    assert "understudy key add" in capsys.readouterr().err


def test_a_port_in_use_is_said(service: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Workers share a port, so a second service must be told apart from one of them."""
    assert main(["serve", "--home", str(tmp_path), "--port", str(service.port)]) == 2
    assert "cannot be listened on" in capsys.readouterr().err


def test_a_rate_is_kept_per_key(tmp_path: Path) -> None:
    """Two keys, five a second each: what is over gets 429 with Retry-After, and one key's haste is not the other's."""
    fast, slow = (f"Bearer {add_key(tmp_path, ['decide'], now=now())[0]}" for _ in range(2))
    with Running(tmp_path, "--rate", "5") as running:
        replies = [running.ask("POST", "/decide", ASK, authorization=fast) for _ in range(30)]
        refused = [reply for reply in replies if reply.status == 429]
        assert 5 <= 30 - len(refused) < 30 and all(reply.headers["retry-after"] == "1" for reply in refused)
        assert running.ask("POST", "/decide", ASK, authorization=slow).status == 200


def test_a_clean_end_under_load(tmp_path: Path) -> None:
    """SIGTERM while eight clients ask: every request that was taken is answered, exit 0 well within ten seconds."""
    failures: list[Exception] = []
    with Running(tmp_path) as running:
        stop = [False]

        def ask(_: int) -> int:
            done, client = 0, Client(running.url, timeout=0.5)
            while not stop[0]:
                try:
                    client.decide(DecideRequest(context=CONTEXT))
                    done += 1
                except ExecutorError as error:  # nobody listens any more: refused, or cut off before an answer
                    if "refused" not in error.what:
                        failures.append(error)
                    return done
            return done

        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(ask, i) for i in range(8)]
            time.sleep(0.7)
            code, seconds = running.stop()
            stop[0] = True
            done = sum(future.result() for future in asked)
    assert code == 0 and seconds < 10 and done > 8 and not failures
    files = list(Home(tmp_path).log("production").glob("worker-*.db"))
    assert sqlite3.connect(files[0]).execute("SELECT count(*) FROM events").fetchone()[0] >= done


def test_large_bodies_are_refused_before_they_fill_the_memory(tmp_path: Path) -> None:
    """Twenty-four batches of 4 MiB that never end: sixteen are held, the rest told when to return; small ones pass."""
    head = "POST /decide/batch HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {4 << 20}\r\n\r\n"
    with Running(tmp_path) as running:

        def send(_: int) -> tuple[socket.socket, bytes]:
            one = socket.create_connection(("127.0.0.1", running.port), timeout=4)
            with suppress(OSError):  # whoever is refused need not be listened to until the end
                one.sendall(head.encode() + b" " * ((4 << 20) - 1))
            try:
                return one, one.recv(4_096)
            except OSError:
                return one, b""

        with ThreadPoolExecutor(24) as pool:
            sent = [pool.submit(send, i) for i in range(24)]
            _until(lambda: sum(future.done() for future in sent) >= 8)
            assert running.ask("POST", "/decide", ASK).status == 200
            answers = [future.result() for future in sent]
        told = [answer.lower() for _, answer in answers if answer]
        assert told and all(b" 503 " in one and b"retry-after: 1" in one for one in told)
        for one, _ in answers:
            one.close()
        batch = json.dumps([ASK]).encode() + b" " * 1_000_000
        _until(lambda: running.ask("POST", "/decide/batch", batch).status == 200)


def test_the_client_is_a_service(service: Running) -> None:
    """Types in, types out; errors of the package's own classes."""
    with Client(service.url) as client:
        assert isinstance(client, Service)
        reply = client.decide(DecideRequest(context=CONTEXT, decision_id="client-1"))
        assert client.decide(DecideRequest(context=CONTEXT, decision_id="client-1")) == reply
        replies = client.decide_batch([DecideRequest(context=CONTEXT)] * 3)
        assert len({one.decision_id for one in replies}) == 3
        client.reward(RewardRequest(decision_id="client-1", value=0.5))
        client.reward_batch([RewardRequest(decision_id=one.decision_id, value=1) for one in replies])
        client.activate(ActivateRequest(decision_id="client-1"))
        assert client.status()["mode"] == "live"
        with pytest.raises(DataError) as wrong:
            client.decide(DecideRequest(context={"age": 1.0}))
        assert wrong.value.field == "city"
    with pytest.raises(ExecutorError, match="does not answer"):
        Client("http://127.0.0.1:9", timeout=0.2).status()
    with pytest.raises(ConfigError):
        Client("ftp://x")


def test_a_client_without_its_key_is_told(locked) -> None:
    """401 and 403 are a matter of configuration."""
    running, _, texts = locked
    with pytest.raises(ConfigError, match="a key is needed"):
        Client(running.url).decide(DecideRequest(context=CONTEXT))
    with pytest.raises(ConfigError, match="lacks the scope"):
        Client(running.url, texts["reward"]).decide(DecideRequest(context=CONTEXT))
    Client(running.url, texts["decide"]).decide(DecideRequest(context=CONTEXT))


def test_fuzzed_bodies(service: Running) -> None:
    """3,000 bodies, sound and bent: every one is answered as is due; benchmarks/fuzz.py sends 100,000."""
    seen = asyncio.run(send(service.port, bodies(3_000, seed=1)))
    assert not seen.wrong, seen.wrong[:3]
    assert sum(seen.statuses.values()) == 3_000 and seen.statuses[200] > 500


def test_the_process_that_serves_loads_nothing_heavy(service: Running) -> None:
    """No training framework and no data frame is mapped into a serving process."""
    mapped = Path(f"/proc/{service.process.pid}/maps").read_text()
    for package in ("jaxlib", "sklearn", "pandas", "matplotlib", "duckdb"):
        assert f"/{package}/" not in mapped, package


def test_the_document_is_that_of_the_types(service: Running) -> None:
    """Every route is in it, with the statuses it can have; a reply decodes as what it says."""
    document = service.ask("GET", "/openapi.json").json
    assert document["openapi"] == "3.1.0"
    assert {(p, m) for p, methods in document["paths"].items() for m in methods} == {
        (route.path, route.method.lower()) for route in (*ROUTES, *PAGES)
    }
    codes = set(document["paths"]["/decide"]["post"]["responses"])
    assert {"200", "400", "401", "403", "404", "405", "409", "413", "415", "422", "429", "503", "507"} <= codes
    context = document["components"]["schemas"]["DecideRequest"]["properties"]["context"]
    assert context["required"] == ["age", "city", "member"] and context["properties"]["member"] == {"type": "boolean"}
    assert msgspec.json.decode(service.ask("GET", "/openapi.json").body) == document


def test_more_than_can_be_worked_on_is_refused_at_once(tmp_path: Path) -> None:
    """Four thousand at once: 503 with Retry-After in the one shape, the rest answered, and calm afterwards."""
    bodies = iter([json.dumps({**ASK, "decision_id": f"o-{i}"}).encode() for i in range(4_000)])

    async def flood(port: int) -> Counter[int]:
        seen: Counter[int] = Counter()

        async def one() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for body in bodies:
                head = f"POST /decide HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
                writer.write(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
                got = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(got.partition(b"content-length:")[2].split(b"\r\n")[0]))
                seen[int(got[9:12])] += 1
                assert got[9:12] == b"200" or b"retry-after: 1" in got
            writer.close()

        await asyncio.gather(*(one() for _ in range(600)))
        return seen

    with Running(tmp_path) as running:
        seen = asyncio.run(flood(running.port))
        assert set(seen) == {200, 503} and sum(seen.values()) == 4_000
        assert running.ask("POST", "/decide", ASK).status == 200
        figures = running.ask("GET", "/metrics").body
        assert f"understudy_shed_total {seen[503]}\n".encode() in figures
        assert f"understudy_decisions_total {seen[200] + 1}\n".encode() in figures
