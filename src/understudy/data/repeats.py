"""Which of very many keys stand twice: kept in temporary files by their first bits, looked through one by one."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from typing import Any, BinaryIO

import numpy as np

BITS = 6
_PAIR = np.dtype([("key", np.uint64), ("line", np.int64)])


class Repeats:
    """Keys u64 with the lines they stand in. Memory holds one in 64 of them at a time."""

    def __init__(self) -> None:
        self._open, self._files = ExitStack(), list[BinaryIO]()

    def __enter__(self) -> Repeats:
        return self

    def __exit__(self, *_: Any) -> None:
        self._open.close()

    def add(self, keys: np.ndarray, lines: np.ndarray) -> None:
        """Remember keys u64[n] of lines i64[n]."""
        if not self._files:
            self._files = [
                self._open.enter_context(tempfile.TemporaryFile(prefix="understudy-keys-"))  # noqa: SIM115  held open
                for _ in range(1 << BITS)
            ]
        place = (keys >> np.uint64(64 - BITS)).astype(np.int64)
        order = np.argsort(place, kind="stable")
        pairs = np.empty(len(keys), _PAIR)
        pairs["key"], pairs["line"] = keys[order], lines[order]
        ends = np.cumsum(np.bincount(place, minlength=1 << BITS))
        for file, first, last in zip(self._files, [0, *ends[:-1].tolist()], ends.tolist()):
            if last > first:
                file.write(pairs[first:last].tobytes())

    def first(self) -> tuple[int, int] | None:
        """(a line, the first line after it with the same key) of the earliest repetition; None where all differ."""
        found: list[tuple[int, int]] = []
        for file in self._files:
            file.seek(0)
            pairs = np.frombuffer(file.read(), _PAIR)
            pairs = pairs[np.lexsort((pairs["line"], pairs["key"]))]
            again = np.flatnonzero(pairs["key"][1:] == pairs["key"][:-1])
            if len(again):
                at = again[np.argmin(pairs["line"][again + 1])]
                found.append((int(pairs["line"][at]), int(pairs["line"][at + 1])))
        return min(found, key=lambda pair: pair[1]) if found else None
