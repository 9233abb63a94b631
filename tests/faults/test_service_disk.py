"""The event log's disk is full, or fails: refused in words, never answered without a record, and soon well again."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

from fault_disk import Unavailable, full, injected


def nothing_is_lost(found: dict) -> None:
    """Every 200 has its record, exactly one, and the join agrees."""
    faults = ("lost", "different", "changed", "logged_twice", "joined_twice", "joined_short", "joined_wrong")
    assert {name: found[name] for name in faults} == dict.fromkeys(faults, 0)
    assert found["drained"] and found["acknowledged_decisions"] >= 5, "too few were acknowledged to show anything"


def test_a_full_disk_is_507_and_passes_when_space_returns(tmp_path):
    try:
        found = full(tmp_path / "home", 1)
    except Unavailable as why:
        pytest.skip(str(why))
    nothing_is_lost(found)
    assert found["times_full"] == 1 and set(found["refused"]) <= {"503", "507"} and "507" in found["refused"]
    assert found["without_retry_after"] == 0
    assert found["recovery_seconds"]["max"] <= 5 and found["ready_afterwards"]


@pytest.mark.parametrize(("what", "status"), [("eio", "503"), ("enospc", "507")])
def test_a_failing_call_is_refused_and_the_next_one_works(tmp_path, what, status):
    try:
        found = injected(tmp_path / "home", 4, what)
    except Unavailable as why:
        pytest.skip(str(why))
    if not found["injected"]:
        pytest.skip("strace may not look into another process here")
    nothing_is_lost(found)
    assert set(found["refused"]) == {status} and found["restarts"] == 0
    assert found["recovery_seconds"]["max"] <= 5
