"""Rows gathered from a file are those gathered from memory."""

import subprocess
import sys

import numpy as np
import pytest

from understudy.core.steps import Steps, Transitions
from understudy.data.dataset import cut
from understudy.data.rows import RowFile
from understudy.ops.transitions import transitions


def walk(m: int, seed: int, *, q: int = 0, k: int = 3, truncated: bool = True, span: bool = True) -> Steps:
    """m episodes of 1 to 6 steps with every column there is."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 7, m)
    starts = np.append(0, np.cumsum(lengths))
    n = starts[-1]
    ends = np.zeros(n, bool)
    ends[starts[1:] - 1] = True
    cutoff = ends & (rng.random(n) < 0.5) if truncated else np.zeros(n, bool)
    final = np.where(cutoff[starts[1:] - 1, None], rng.normal(size=(m, 4)), np.nan).astype(np.float32)
    return Steps(
        starts=starts, unit=np.arange(m, dtype=np.uint64), time=np.arange(n),
        context=rng.normal(size=(n, 4)).astype(np.float32),
        action=rng.normal(size=(n, q)).astype(np.float32) if q else rng.integers(0, k, n).astype(np.int32),
        reward=rng.normal(size=n), terminated=ends & ~cutoff, truncated=cutoff,
        allowed=None if q else rng.random((n, k)) < 0.9, propensity=rng.uniform(0.1, 1, n),
        final_context=final if truncated else None, span=rng.uniform(0.5, 2, n) if span else None,
    )  # fmt: skip


def same(a: Transitions, b: Transitions) -> None:
    for name in vars(a):
        one, other = getattr(a, name), getattr(b, name)
        assert (one is None) == (other is None), name
        if one is not None:
            assert one.dtype == other.dtype and np.array_equal(one, other, equal_nan=True), name


@pytest.mark.parametrize("n", [1, 2, 3, 10])
@pytest.mark.parametrize("kind", [{}, {"q": 2}, {"truncated": False}, {"span": False}])
def test_the_same_rows_give_the_same_transitions(n: int, kind: dict) -> None:
    """One step or many, whatever ends the episode, whatever columns the log has, the last row of all included."""
    steps = walk(200, 1, **kind)
    file = RowFile.spill(cut(steps, 37))
    rows = np.append(np.random.default_rng(2).integers(0, steps.n, 500), [steps.n - 1, 0, steps.n - 1])
    same(transitions(steps, rows, 0.9, n), file.transitions(rows, 0.9, n))


def test_memory_does_not_grow_with_the_file() -> None:
    """400 MB of rows, drawn from all over, a hundred times: the process holds far less than they take."""
    code = """
import numpy as np, resource
from understudy.core.steps import Steps
from understudy.data.rows import RowFile
def batches():
    for i in range(50):
        n = 20_000
        x = np.full((n, 100), i, np.float32)
        flags = np.ones(n, bool)
        yield Steps(starts=np.arange(n + 1), unit=np.zeros(n, np.uint64), time=np.zeros(n, np.int64), context=x,
                    action=np.zeros(n, np.int32), reward=np.full(n, float(i)), terminated=flags, truncated=~flags)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
file = RowFile.spill(batches())
rng = np.random.default_rng(0)
for _ in range(100):
    drawn = file.transitions(rng.integers(0, len(file.rows), 2_000), 0.9)
    assert (drawn.context[:, 0] == drawn.reward).all()
print(file.rows.nbytes // 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    size, grown = map(int, subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert size > 400_000 and grown < 150_000, f"{grown} KiB more for {size} KiB of rows"
