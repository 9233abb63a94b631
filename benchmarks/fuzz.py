"""Bodies that a service must not stumble over: sound requests, and the same bent in every way JSON can be.

    python benchmarks/fuzz.py [--bodies 100000] [--seed 0]      starts a service of its own and counts the answers

A body is (path, content type, bytes, sound). Of everything sent, no answer may be ≥ 500 but 503 and 507, every refusal
has the one error shape, what is sound gets 200, and what no JSON reader should take gets 4xx.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

PROBLEM = {
    "features": [{"name": "age"}, {"name": "visits", "optional": True}, {"name": "city", "kind": "category",
                 "values": ["Bern", "Oslo"], "open": True}, {"name": "member", "kind": "boolean"}],
    "actions": {"names": ["left", "right", "stay"]},
    "outcomes": [{"name": "reward"}, {"name": "cost", "aggregate": "sum"}],
}  # fmt: skip
JSON = "application/json"


class Body(NamedTuple):
    """One POST; ``sound``: True must be taken, False must be refused, None may be either."""

    path: str
    content_type: str
    body: bytes
    sound: bool | None


def bodies(n: int, seed: int = 0) -> Iterator[Body]:
    """n bodies: one in four sound, the others bent; the same for the same seed."""
    rng = random.Random(seed)
    for i in range(n):
        path, value = _sound(rng, f"{seed}-{i}")
        if rng.random() < 0.25:
            yield Body(path, rng.choice([JSON, JSON + "; charset=utf-8"]), _text(value, rng), True)
        else:
            kind, raw, sound = rng.choice(_BENT)(path, value, rng)
            yield Body(path, kind, raw, sound)


def _sound(rng: random.Random, name: str) -> tuple[str, Any]:
    path = rng.choice(["/decide", "/decide", "/decide/batch", "/reward", "/reward", "/reward/batch", "/activate"])
    made = {"/decide": _decide, "/reward": _reward, "/activate": lambda rng, name: {"decision_id": name}}
    one = made[path.removesuffix("/batch")]
    many = [one(rng, f"{name}-{j}") for j in range(rng.randint(1, 4))]
    return path, many if path.endswith("/batch") else many[0]


def _decide(rng: random.Random, name: str) -> dict[str, Any]:
    context: dict[str, Any] = {"age": rng.choice([rng.uniform(-1e3, 1e3), rng.randint(-9, 99), 0, -0.0, 1e-300, 3e38])}
    context |= {"city": rng.choice(["Bern", "Oslo", "Åbo", "時", "a:b", 'q"\\', ""]), "member": rng.random() < 0.5}
    if rng.random() < 0.5:
        context["visits"] = rng.choice([None, 3])
    made: dict[str, Any] = {"context": context, "decision_id": name}
    if rng.random() < 0.3:
        made["allowed"] = rng.sample(["left", "right", "stay"], rng.randint(1, 3))
    if rng.random() < 0.3:
        made |= {"baseline": "stay", "deferred": rng.random() < 0.5, "unit_id": "u:1"}
    if rng.random() < 0.1:
        made |= {"t": 0, "episode_id": None, "propensity": None, "time": None}
    return made


def _reward(rng: random.Random, name: str) -> dict[str, Any]:
    made: dict[str, Any] = {"decision_id": name, "value": rng.choice([0, 1, 0.5, rng.random()])}
    if rng.random() < 0.5:
        made |= {"name": rng.choice(["reward", "cost"]), "outcome_id": f"o-{name}"}
    return made


def _text(value: Any, rng: random.Random) -> bytes:
    return json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, None, 1])).encode()


Bent = tuple[str, bytes, bool | None]


def _spots(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) inside."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [spot for key, inner in items for spot in [(value, key), *_spots(inner)]]


def _replaced(path: str, value: Any, rng: random.Random) -> Bent:
    """Another value anywhere: of a wrong type, too large, too deep, of odd letters."""
    box, key = rng.choice(_spots(value))
    deep: Any = 1
    for _ in range(rng.choice([2, 17, 300])):
        deep = [deep] if rng.random() < 0.5 else {"a": deep}
    box[key] = rng.choice([
        None, True, "", "x" * 200, "a\nb", "a\n", "\0", "../../x", "💥", 10**30, -(10**30), 2**63, 2**64, 1.7e308,
        -1, 1e39, [], {}, deep, {"a": {"b": 1}}, "<script>", "NaN", "1", "%00", "' OR 1=1 --", [1] * 50, "1970-01-01",
    ])  # fmt: skip
    return JSON, _text(value, rng), None


def _numbers(path: str, value: Any, rng: random.Random) -> Bent:
    """What some readers take for numbers."""
    box, key = rng.choice(_spots(value))
    box[key] = "@@"
    odd = rng.choice(["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "01", "1.", ".5", "0x10", "+1", "1_000", "--1",
                      "9" * 5_000, "1e", "nan", "True", "undefined", "'a'"])  # fmt: skip
    return JSON, _text(value, rng).replace(b'"@@"', odd.encode()), False


def _twice(path: str, value: Any, rng: random.Random) -> Bent:
    """A key that stands twice, plain or escaped, in any object."""
    boxes = [value, *(box[key] for box, key in _spots(value))]
    box = rng.choice([b for b in boxes if isinstance(b, dict) and b])
    key = rng.choice(list(box))
    box["@@"] = box[key] if rng.random() < 0.5 else rng.choice([None, 1, "x"])
    again = json.dumps(key) if rng.random() < 0.7 else '"' + "".join(f"\\u{ord(c):04x}" for c in key) + '"'
    return JSON, _text(value, rng).replace(b'"@@"', again.encode()), False


def _unknown(path: str, value: Any, rng: random.Random) -> Bent:
    """A field nobody knows."""
    box = value if isinstance(value, dict) else value[0]
    box[rng.choice(["__proto__", "Context", "decision-id", "x" * 500, "é", ""])] = rng.choice([1, None, {"a": [1]}])
    return JSON, _text(value, rng), False


def _cut(path: str, value: Any, rng: random.Random) -> Bent:
    """Cut off, or with something behind it."""
    raw = _text(value, rng)
    if rng.random() < 0.5:
        return JSON, raw[: rng.randrange(len(raw))].rstrip(), False
    return JSON, raw + rng.choice([b"}", b"{}", b"\0", b"x", b",", b"[]"]), False


def _bytes(path: str, value: Any, rng: random.Random) -> Bent:
    """A byte changed, or bytes that are no UTF-8, or half a surrogate pair."""
    raw = bytearray(_text(value, rng))
    if rng.random() < 0.4:
        raw[rng.randrange(len(raw))] = rng.randrange(256)
        return JSON, bytes(raw), None
    box, key = rng.choice([s for s in _spots(value) if not isinstance(s[0][s[1]], dict | list)])
    box[key] = "@@"
    odd = rng.choice([b'"\xff\xfe"', b'"\xc3\x28"', b'"\xed\xa0\x80"', b'"\\ud800"', b'"\\udc00x"', b'"\\u0000"',
                      b'"\\u12"', b'"\t"', b'"\\x"', b"\xef\xbb\xbf1", b'"\xf4\x90\x80\x80"'])  # fmt: skip
    return JSON, _text(value, rng).replace(b'"@@"', odd), False


def _deep(path: str, value: Any, rng: random.Random) -> Bent:
    """Nested far, closed or not."""
    n = rng.choice([17, 1_000, 100_000])
    opened, closed = rng.choice([(b"[", b"]"), (b'{"a":', b"}"), (b'{"context":', b"}")])
    return JSON, opened * n + (b"1" + closed * n if rng.random() < 0.5 else b""), False


def _wide(path: str, value: Any, rng: random.Random) -> Bent:
    """Too many keys, too many requests, too many bytes."""
    kind = rng.randrange(3)
    if kind == 0:
        return JSON, json.dumps({"context": {f"k{i}": 0 for i in range(rng.choice([1_001, 9_000]))}}).encode(), False
    if kind == 1:
        return JSON, json.dumps([value if isinstance(value, dict) else value[0]] * 1_001).encode(), False
    return JSON, b'{"context":{"age":1},"baseline":"' + b"a" * rng.choice([262_144, 300_000]) + b'"}', False


def _other(path: str, value: Any, rng: random.Random) -> Bent:
    """Sound bytes under another type, or bytes that are something else."""
    raw = rng.choice([b"", b" ", b"null", b"1", b'"a"', b"[]", b"{}", b"true", rng.randbytes(rng.randint(1, 64)),
                      b"a=1&b=2", b"<a/>", b"\x1f\x8b\x08"])  # fmt: skip
    if rng.random() < 0.5:
        kind = rng.choice(["text/plain", "", "application/x-www-form-urlencoded", "application/jsonp", "text/json"])
        return kind, _text(value, rng), False
    return JSON, raw, False


_BENT: tuple[Callable[[str, Any, random.Random], Bent], ...] = (
    _replaced, _replaced, _numbers, _twice, _unknown, _cut, _bytes, _other, _replaced, _twice, _cut, _bytes, _numbers,
    _deep, _wide,
)  # fmt: skip


class Seen(NamedTuple):
    """What came back, and what should not have."""

    statuses: Counter[int]
    wrong: list[tuple[int, Body, bytes]]


async def send(port: int, sent: Iterator[Body], *, connections: int = 8, key: str | None = None) -> Seen:
    """POST every body over keep-alive connections; connections closed after a 413 are opened again."""
    seen = Seen(Counter(), [])
    authorization = f"Authorization: Bearer {key}\r\n" if key else ""
    await asyncio.gather(*(_sender(port, sent, authorization, seen) for _ in range(connections)))
    return seen


async def _sender(port: int, sent: Iterator[Body], authorization: str, seen: Seen) -> None:
    reader = writer = None
    for one in sent:
        if writer is None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST {one.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{authorization}Content-Length: {len(one.body)}\r\n"
        head += f"Content-Type: {one.content_type}\r\n" if one.content_type else ""
        writer.write(head.encode() + b"\r\n" + one.body)
        assert reader is not None
        status, said, closing = await asyncio.wait_for(_answer(reader), 30)
        seen.statuses[status] += 1
        if not _as_due(one, status, said):
            seen.wrong.append((status, one, said))
        if closing:
            writer.close()
            writer = None
    if writer is not None:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    at = head.index(b"content-length:")
    length = int(head[at + 15 : head.index(b"\r\n", at)])
    return int(head[9:12]), await reader.readexactly(length), b"connection: close" in head


def _as_due(one: Body, status: int, said: bytes) -> bool:
    if status != 200:
        error = json.loads(said)["error"]
        if set(error) != {"kind", "message", "hint", "field"} or "Traceback" in error["message"]:
            return False
    if one.sound is None:
        return status < 500
    return status == 200 if one.sound else 400 <= status < 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bodies", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="1,000 bodies, nothing written")
    options = parser.parse_args()
    n = 1_000 if options.quick else options.bodies
    from service import Server

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        problem = Path(folder) / "problem.json"
        problem.write_text(json.dumps(PROBLEM))
        with Server(Path(folder) / "home", options=["--problem", str(problem)]) as server:
            seen = asyncio.run(send(server.port, bodies(n, options.seed)))
    for status, one, said in seen.wrong[:10]:
        print("WRONG", status, one.path, one.content_type, one.body[:300], said[:200], file=sys.stderr)
    found = {
        "bodies": sum(seen.statuses.values()), "wrong": len(seen.wrong), "seconds": time.perf_counter() - started,
        "statuses": {str(code): count for code, count in sorted(seen.statuses.items())},
        "unexpected_5xx": sum(n for code, n in seen.statuses.items() if code >= 500 and code not in (503, 507)),
    }  # fmt: skip
    print(json.dumps(found))
    if not options.quick:
        (Path(__file__).parent / "results" / "fuzz.json").write_text(json.dumps(found, indent=1) + "\n")
    raise SystemExit(1 if found["wrong"] or found["unexpected_5xx"] else 0)


if __name__ == "__main__":
    main()
