"""The tail of a SQLite write-ahead log: how many bytes behind the last whole commit a crash left."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

_HEADER, _FRAME = 32, 24
_MAGIC = 0x377F0682  # the lowest bit says whether checksums are big-endian
_WORD = 1 << 32
_GENERATIONS = 1 << 14  # a frame whose first salt is older by less than this is left over from an earlier pass


def torn_bytes(path: Path) -> int:
    """Bytes behind the last valid commit that SQLite's recovery will drop; 0 where there is no file.

    Frames of an earlier pass over the file, which SQLite writes over and never cuts off, are not counted.

    Source: "Database File Format", section 4, sqlite.org/fileformat2.html#walformat.
    """
    body = path.read_bytes() if path.exists() else b""
    if not body:
        return 0
    words = np.frombuffer(body[:_HEADER], ">u4") if len(body) >= _HEADER else np.zeros(8, ">u4")
    order = ">u4" if int(words[0]) & 1 else "<u4"
    page = int(words[2]) if words[2] > 1 else 65_536
    state = _chain((0, 0), np.frombuffer(body[:24], order)[None, :].astype(np.uint32)) if len(body) >= _HEADER else []
    if int(words[0]) & ~1 != _MAGIC or state[0] != (int(words[6]), int(words[7])):
        return len(body)
    size = _FRAME + page
    whole = (len(body) - _HEADER) // size
    frames = np.frombuffer(body, np.uint8, whole * size, _HEADER).reshape(whole, size)
    heads = frames[:, :_FRAME].copy().view(">u4").astype(np.uint32)  # page, size after commit, 2 salts, 2 checksums
    content = np.concatenate([frames[:, :8], frames[:, _FRAME:]], axis=1).copy().view(order).astype(np.uint32)
    mine = (heads[:, 2] == words[4]) & (heads[:, 3] == words[5])
    sums = _chain(state[0], content[: int(np.argmin(mine)) if not mine.all() else whole])
    good = 0
    while good < len(sums) and sums[good] == (int(heads[good, 4]), int(heads[good, 5])):
        good += 1
    commits = np.flatnonzero(heads[:good, 1])
    last = int(commits[-1]) + 1 if len(commits) else 0
    older = (int(words[4]) - heads[last:, 2].astype(np.int64)) % _WORD
    left_over = (older > 0) & (older < _GENERATIONS)
    torn = int(np.sum(~left_over)) * size
    rest = len(body) - _HEADER - whole * size
    return torn + rest


def _chain(start: tuple[int, int], rows: np.ndarray) -> list[tuple[int, int]]:
    """SQLite's running checksum after each row of words: u32[n, w] → n pairs.

    s₀ ← s₀ + a + s₁, s₁ ← s₁ + b + s₀ over pairs (a, b): linear modulo 2³², so a row is one product of matrices.
    """
    if not len(rows):
        return []
    weights, carry = _weights(rows.shape[1])
    with np.errstate(over="ignore"):
        added = rows @ weights  # u32[n, 2], wrapping
    found, (first, second) = [], start
    for one, two in added.tolist():
        first, second = (
            (carry[0][0] * first + carry[0][1] * second + one) % _WORD,
            (carry[1][0] * first + carry[1][1] * second + two) % _WORD,
        )
        found.append((first, second))
    return found


@lru_cache(maxsize=8)
def _weights(words: int) -> tuple[np.ndarray, tuple[tuple[int, int], tuple[int, int]]]:
    """What each word adds to the two sums, u32[w, 2], and the matrix by which the sums before the row enter."""
    weights = np.zeros((words, 2), np.uint32)
    power = ((1, 0), (0, 1))
    for i in range(words - 2, -1, -2):
        (p, q), (r, s) = power
        weights[i] = (p + q) % _WORD, (r + s) % _WORD  # a enters both sums
        weights[i + 1] = q, s  # b enters the second
        power = (((p + q) % _WORD, (p + 2 * q) % _WORD), ((r + s) % _WORD, (r + 2 * s) % _WORD))
    return weights, power
