"""Strict JSON: what msgspec lets pass and a log must not hold. The second look is taken only where it can matter."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from understudy.core.service import ActivateRequest, DecideRequest, RewardRequest
from understudy.serve.refusal import Refusal, refuse

MAX_KEYS = 1_000  # in one object
MAX_BATCH = 1_000  # requests in one body
MAX_NUMBER = 1e300  # beyond it sums overflow, here or in a database

T = TypeVar("T")
Check = Callable[[Any], int]  # a decoded request → how many keys it takes to say it without a default

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_AT = re.compile(r" - at `\$\.?(.*?)`$")


class Reader(Generic[T]):
    """bytes → a request, or a Refusal. The decoder is made once.

    Refused: what is no UTF-8 or no JSON, NaN and Infinity, numbers beyond a float, unknown fields, wrong types and
    with them any nesting deeper than a request has (all by msgspec); and here: an object that says a key twice,
    more than MAX_KEYS keys, NUL and lone surrogates in text, a number beyond MAX_NUMBER.
    """

    def __init__(self, kind: Any, check: Check) -> None:
        self._decode = msgspec.json.Decoder(kind).decode
        self._check = check

    def __call__(self, body: bytes) -> T:
        try:
            request = self._decode(body)
        except msgspec.ValidationError as error:
            raise _invalid(error) from None
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise refuse(400, f"the body is not JSON: {error}") from None
        keys = self._check(request)
        # Each key has one colon. As many colons as keys that made a difference: none stands twice, none is in a text.
        if body.count(b":") != keys or b"\\u" in body:
            _look_again(body)
        return request


def _look_again(body: bytes) -> None:
    """Colons in texts, fields that spell out their default, escapes: count exactly, at the price of a second pass."""
    plain = msgspec.json.decode(body)
    if _STRING.sub(b"", body).count(b":") != _keys(plain):
        raise refuse(400, f"a key stands twice in one object: {_twice(body)!r}", "Which of the values counts?")
    if b"\\u" in body and any("\0" in text or not _encodable(text) for text in _texts(plain)):
        raise refuse(400, "a text holds a NUL or half a surrogate pair", "Neither can be stored everywhere.")


def _keys(value: Any) -> int:
    """Keys of all objects inside."""
    if isinstance(value, dict):
        return len(value) + sum(_keys(inner) for inner in value.values())
    return sum(_keys(inner) for inner in value) if isinstance(value, list) else 0


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [*value, *(text for inner in value.values() for text in _texts(inner))]
    return [text for inner in value for text in _texts(inner)] if isinstance(value, list) else []


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _twice(body: bytes) -> str:
    """The first key that an object repeats."""
    import json  # the only parser at hand that shows pairs; used for this message only

    found: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in items:
            if key in seen:
                found.append(key)
            seen.add(key)

    json.loads(body, object_pairs_hook=pairs)
    return found[0][:80] if found else ""


def _invalid(error: msgspec.ValidationError) -> Refusal:
    said = str(error)
    at = _AT.search(said)
    where = at[1] if at else ""
    unknown = re.search(r"unknown field `(.*)`", said, re.S)
    return refuse(422, said[:300], _HINT, field=(unknown[1] if unknown else where)[:200])


_HINT = "GET /openapi.json describes every request."


def _decide(r: DecideRequest) -> int:
    context = len(r.context)
    if context > MAX_KEYS:
        raise refuse(422, f"the context has {context:,} features; the most is {MAX_KEYS:,}", field="context")
    # t is not the only number in a request that may be large, but the only one stored in 64 bits.
    return (
        1
        + context
        + (r.decision_id is not None)
        + (r.allowed is not None)
        + (r.unit_id is not None)
        + (r.episode_id is not None)
        + (r.t != 0)
        + (r.baseline is not None)
        + (r.propensity is not None)
        + (r.deferred is not False)
        + (r.time is not None)
    )


def _reward(r: RewardRequest) -> int:
    if not -MAX_NUMBER < r.value < MAX_NUMBER:
        raise refuse(422, f"the value {r.value!r} is too large to be summed", field="value")
    return 2 + (r.name != "reward") + (r.outcome_id is not None) + (r.time is not None)


def _activate(r: ActivateRequest) -> int:
    return 1 + (r.time is not None)


def _each(check: Check) -> Check:
    def total(requests: list[Any]) -> int:
        if not requests:
            raise refuse(422, "the batch is empty", "Send at least one request.")
        if len(requests) > MAX_BATCH:
            raise refuse(
                413,
                f"the batch holds {len(requests):,} requests; the most is {MAX_BATCH:,}",
                "Send it in parts: what was sent before counts once.",
            )
        return sum(map(check, requests))

    return total


read_decide: Reader[DecideRequest] = Reader(DecideRequest, _decide)
read_reward: Reader[RewardRequest] = Reader(RewardRequest, _reward)
read_activate: Reader[ActivateRequest] = Reader(ActivateRequest, _activate)
read_decides: Reader[list[DecideRequest]] = Reader(list[DecideRequest], _each(_decide))
read_rewards: Reader[list[RewardRequest]] = Reader(list[RewardRequest], _each(_reward))
