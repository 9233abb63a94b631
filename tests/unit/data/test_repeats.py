"""Keys that stand twice, among many, and where."""

from __future__ import annotations

import numpy as np

from understudy.data.repeats import Repeats


def test_the_earliest_repetition_is_told():
    """Against a dictionary; with none there is none, and nothing is opened before the first key."""
    rng = np.random.default_rng(0)
    for trial in range(30):
        keys = rng.integers(0, 2**64, 5000, np.uint64)
        keys[rng.integers(0, 5000, trial)] = keys[rng.integers(0, 5000, trial)]
        seen: dict[int, int] = {}
        first = None
        for line, key in enumerate(keys.tolist(), 7):
            if key in seen:
                first = (seen[key], line)
                break
            seen[key] = line
        with Repeats() as repeats:
            assert repeats.first() is None
            for at in range(0, 5000, 700):
                repeats.add(keys[at : at + 700], np.arange(7 + at, 7 + at + len(keys[at : at + 700])))
            assert repeats.first() == first
