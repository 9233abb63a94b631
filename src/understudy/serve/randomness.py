"""The only randomness of a decision: a hash of its name, so that the same question gets the same answer."""

from __future__ import annotations

import os
from hashlib import blake2b

_GOLDEN, _MIX1, _MIX2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_WORD = 0xFFFFFFFFFFFFFFFF


def uniform(application: str, decision_id: str) -> float:
    """u in [0, 1) of one decision: ``hashing.fractions`` of ``text_hash("<application>\\0<decision_id>")``.

    The same in every process, and independent between applications. In whole numbers, because a row of one
    costs NumPy ten times as much.
    """
    name = blake2b(f"{application}\0{decision_id}".encode(), digest_size=8).digest()  # as core.hashing.text_hash
    z = (int.from_bytes(name, "little") + _GOLDEN) & _WORD
    z = ((z ^ (z >> 30)) * _MIX1) & _WORD
    z = ((z ^ (z >> 27)) * _MIX2) & _WORD
    return ((z ^ (z >> 31)) >> 11) * 2.0**-53


def new_id(now: float) -> str:
    """A decision's id where the caller gave none: 12 hex digits of time, so that a log grows at its end, and 20 of
    the system's randomness: nothing is shared between workers, so a fork can repeat neither ids nor draws."""
    return f"{int(now * 1000) & 0xFFFFFFFFFFFF:012x}{os.urandom(10).hex()}"
