"""The randomness of a decision: uniform, independent between applications, the same everywhere."""

import subprocess
import sys

import numpy as np
from scipy import stats

from understudy.core.hashing import fractions, text_hashes
from understudy.serve.randomness import new_id, uniform

N = 100_000


def test_it_is_the_hash_that_splits_use():
    """``hashing.fractions`` of ``text_hash``, to the bit, in whole numbers."""
    ids = [f"d-{i}" for i in range(2_000)]
    expected = fractions(text_hashes(f"production\0{id}" for id in ids))
    assert [uniform("production", id) for id in ids] == expected.tolist()


def test_it_is_uniform_and_independent_between_applications():
    """χ² over 100 cells of one application, and over 20 × 20 cells of two; false alarm 2 in 10,000."""
    ids = [f"d-{i}" for i in range(N)]
    a = np.array([uniform("a", id) for id in ids])
    b = np.array([uniform("b", id) for id in ids])
    assert a.min() >= 0 and a.max() < 1
    one = np.bincount((a * 100).astype(int), minlength=100)
    two = np.bincount((a * 20).astype(int) * 20 + (b * 20).astype(int), minlength=400)
    assert stats.chisquare(one).pvalue > 1e-4
    assert stats.chisquare(two).pvalue > 1e-4


def test_every_process_gives_the_same():
    """Python's own hash is salted per process; this one is not."""
    code = "from understudy.serve.randomness import uniform; print(repr(uniform('production', 'd-1')))"
    found = {subprocess.check_output([sys.executable, "-c", code], text=True).strip() for _ in range(2)}
    assert found == {repr(uniform("production", "d-1"))}


def test_ids_made_here_are_new_and_sort_by_time():
    """32 hex digits, the time first."""
    ids = [new_id(1.7e9 + i) for i in range(1_000)]
    assert len(set(ids)) == 1_000 and ids == sorted(ids)
    assert all(len(id) == 32 and int(id, 16) >= 0 for id in ids)
    assert len({new_id(5.0) for _ in range(1_000)}) == 1_000
