"""Stable hashes: the same on every machine, in every process, in every release.

Python's own ``hash`` is salted per process; blocks of units, splits and artifact ids must not be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def text_hash(text: str) -> int:
    """64-bit BLAKE2b of a UTF-8 text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def text_hashes(texts: Iterable[str], start: str = "") -> np.ndarray:
    """``text_hash`` of ``start`` and each text. Returns u64[n]."""
    begun, digests = hashlib.blake2b(start.encode(), digest_size=8), []
    for text in texts:
        one = begun.copy()  # half as dear as beginning anew
        one.update(text.encode())
        digests.append(one.digest())
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def mix(values: np.ndarray, salt: int = 0) -> np.ndarray:
    """SplitMix64 finaliser: u64[n] → u64[n], a bijection whose low bits are as good as its high bits.

    Source: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", figure 15.
    """
    with np.errstate(over="ignore"):
        z = values.astype(np.uint64) + _GOLDEN * np.uint64((salt + 1) & 0xFFFFFFFFFFFFFFFF)
        z = (z ^ (z >> np.uint64(30))) * _MIX1
        z = (z ^ (z >> np.uint64(27))) * _MIX2
        return z ^ (z >> np.uint64(31))


def buckets(units: np.ndarray, n: int, salt: int = 0) -> np.ndarray:
    """Which of n buckets each unit falls into, the same for all of its rows. u64[n] → i64[n] in [0, n)."""
    return (mix(units, salt) % np.uint64(n)).astype(np.int64)


def fractions(units: np.ndarray, salt: int = 0) -> np.ndarray:
    """A uniform number in [0, 1) per unit: the key of every split. u64[n] → f64[n]."""
    return (mix(units, salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def derived(seed: int, purpose: str, *place: int) -> int:
    """The seed of one purpose, u64: streams of other purposes, places and seeds are independent of it.

    >>> derived(0, "minibatches", 100) != derived(0, "layers", 100)
    True
    """
    key = (text_hash(purpose) & 0xFFFFFFFF, *place)
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)[0])


def canonical(value: Any) -> bytes:
    """JSON with sorted keys: equal values give equal bytes."""
    return msgspec.json.encode(msgspec.to_builtins(value), order="sorted")


def content_id(*parts: bytes) -> str:
    """20 hex digits of SHA-256 over length-prefixed parts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:20]
