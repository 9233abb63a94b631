"""The service is killed, torn, stopped under load: what was acknowledged stays, once.

Full counts are benchmarks/faults.py's.
Real servers on loopback, load from this process, every experiment bounded; only servers started here are ended.
"""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))

from fault_crash import kills, stops, torn  # noqa: E402


def nothing_is_lost(found: dict) -> None:
    """Every acknowledged event stands in the log once, as it was answered, and the join agrees."""
    faults = ("lost", "different", "changed", "logged_twice", "joined_twice", "joined_short", "joined_wrong")
    assert {name: found[name] for name in faults} == dict.fromkeys(faults, 0)
    assert found["drained"] and found["acknowledged_decisions"] > 50 and found["acknowledged_rewards"] > 30


def test_kill_9_under_load_loses_nothing_that_was_acknowledged(tmp_path):
    found = kills(tmp_path / "home", 10)
    nothing_is_lost(found)
    assert found["damaged"] == 0
    assert found["kills_with_requests_inside"] >= 5  # else nothing was tested
    assert found["ready_seconds"]["median"] <= 4  # the bar is 2 s, on a machine with nothing else to do


def test_a_torn_tail_is_cut_off_and_counted(tmp_path):
    found = torn(tmp_path / "home", 6)
    nothing_is_lost(found)
    assert (found["counted"], found["torn"], found["damaged"]) == (5, 5, 0)


def test_sigterm_under_load_answers_what_it_accepted(tmp_path):
    found = stops(tmp_path / "home", 4)
    nothing_is_lost(found)
    assert found["accepted_and_cut"] == 0 and found["exit_codes"] == [0]
    assert not [how for how in found["how"] if "Reset" in how]
    assert found["exit_seconds"]["max"] <= 10


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_service_that_cannot_start_says_why(tmp_path, workers):
    code = "import sys; from understudy.cli import main; sys.exit(main(sys.argv[1:]))"
    told = ["serve", "nobody", "--home", str(tmp_path), "--port", "0", "--workers", workers]
    done = subprocess.run([sys.executable, "-c", code, *told], capture_output=True, text=True, timeout=60)
    assert (
        done.returncode in (1, 2) and "nobody is live under 'nobody'" in done.stderr and "Traceback" not in done.stderr
    )
