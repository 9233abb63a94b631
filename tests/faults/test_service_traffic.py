"""Policies are swapped, fail, and are asked for too much; every answer is right, or a refusal with a time to return."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

from fault_traffic import failing, overload, swaps


def test_hot_swaps_under_load_fail_nobody_and_every_propensity_is_replayed(tmp_path):
    found = swaps(tmp_path / "home", 20, 8.0)
    assert found["failed"] == 0 and found["wrong_propensities"] == 0 and found["lost"] == 0 and found["drained"]
    assert found["replayed"] == found["decisions"] > 500
    assert found["policies_seen"] >= 6 and found["kinds"]["rollback"] >= 2 and found["kinds"]["canary"] >= 4


@pytest.mark.parametrize(("way", "share"), [("raises", 1.0), ("nan", 0.3), ("short", 1.0), ("sleeps", 1.0)])
def test_a_policy_that_fails_is_answered_for_by_the_baseline(tmp_path, way, share):
    """A third party's policy, found by its entry point. 50 ms are the service's; this machine may add as much again."""
    found = failing(tmp_path / "home", way, 80, share=share)
    assert found["failed"] == 0 and found["wrong_propensities"] == 0 and found["drained"]
    assert found["answered"] >= 80 and found["by_baseline"] >= 1
    assert share < 1 or found["by_baseline"] == found["answered"]
    assert found["ms"]["p50"] <= 50 and found["ms"]["max"] <= 400


def test_a_flood_is_refused_with_a_time_to_return_and_leaves_nothing_behind(tmp_path):
    """Goodput is measured by benchmarks/faults.py, on a machine that has nothing else to do; here half is enough."""
    found = overload(tmp_path / "home", 4.0)
    assert found["lost"] == 0 and found["acknowledged"] > 500
    assert set(found["flood"]["statuses"]) <= {"200", "429", "503"} and found["flood"]["without_retry_after"] == 0
    assert found["goodput_of_capacity"] >= 0.5 and found["recovery_seconds"] <= 5
