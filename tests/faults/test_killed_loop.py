"""kill -9 of a loop at any commit to its ledger: the same line goes on, and the ledger ends up as if nothing had been.

Each run is a forked child that ends itself with SIGKILL at its n-th commit, before or after it is on the disk. The full
count, every commit on both sides, is in benchmarks/killed_loop.py.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import duckdb  # noqa: F401 - loaded here, so that no forked child has to
import pytest
import sklearn.datasets  # noqa: F401
from tests.looping import killed_at, said, small

from understudy.runs.loop_settings import LoopSettings

TOLD = {"loops": 2, "size": 60, "seed": 1}


def until_done(home: Path, told: LoopSettings, kills: list[int], *, after: bool) -> int:
    """Run and be killed at the given commits, then run to the end; returns how many runs were really killed."""
    killed = 0
    for at in kills:
        code = killed_at(home, told, at, after=after)
        assert code in (0, -signal.SIGKILL), f"ended with {code}"
        killed += code != 0
    assert killed_at(home, told, 0, after=after) == 0
    return killed


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the loop was never interrupted."""
    home = tmp_path_factory.mktemp("whole") / "home"
    assert killed_at(home, small(**TOLD), 0, after=True) == 0
    return home


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after it"])
@pytest.mark.parametrize("at", [5, 17, 31])
def test_killed_once_at_a_commit(at: int, after: bool, whole: Path, tmp_path: Path) -> None:
    """One kill, then the same line again: jobs, promotions, directions, verdicts and artifacts are equal."""
    told = small(**TOLD)
    assert until_done(tmp_path / "home", told, [at], after=after) == 1
    assert said(tmp_path / "home", told) == said(whole, told)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_again_and_again(whole: Path, tmp_path: Path) -> None:
    """Five kills in one loop's life, wherever they strike."""
    told = small(**TOLD)
    assert until_done(tmp_path / "home", told, [7, 12, 9, 14, 11], after=True) >= 4
    assert said(tmp_path / "home", told) == said(whole, told)
