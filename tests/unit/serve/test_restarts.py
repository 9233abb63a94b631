"""A worker that dies is started again; one that dies and dies costs no processor, and is given up in the end."""

import subprocess
import sys
import time
from pathlib import Path

from tests.serving import PROBLEM

from understudy.serve.restarts import LONGEST, MOST, QUICK, Restarts


def test_quick_deaths_wait_twice_as_long_each_time_and_end() -> None:
    """At once, then 0.2, 0.4, 0.8 … seconds, at most ten; after the tenth in a row never."""
    now, pauses = 100.0, []
    restarts = Restarts(now)
    while not restarts.given_up:
        restarts.died(now)
        if restarts.due is not None:
            pauses.append(round(restarts.due - now, 6))
            assert restarts.start(restarts.due - 1e-6) is False or pauses[-1] == 0
            now = restarts.due
            assert pauses[-1] == 0 or restarts.start(now)
    assert pauses[:4] == [0.0, 0.2, 0.4, 0.8] and max(pauses) == LONGEST
    assert len(pauses) == MOST - 1 and not restarts.start(now + 1e6)


def test_a_worker_that_lived_for_a_while_is_started_again_at_once() -> None:
    """However often it died quickly before."""
    restarts, now = Restarts(0.0), 0.0
    for _ in range(MOST - 1):
        restarts.died(now)
        assert restarts.due is not None
        now = restarts.due
        assert restarts.start(now)
    now += QUICK
    restarts.died(now)
    assert restarts.due == now and restarts.start(now) and restarts.quick == 0


_SOON = """
import sys
from understudy.cli import main
from understudy.serve import restarts
restarts.FIRST = restarts.LONGEST = 0.01
restarts.MOST = 3
sys.exit(main(["serve", *sys.argv[1:]]))
"""


def test_workers_that_cannot_start_any_more_end_the_service_with_a_reason(tmp_path: Path) -> None:
    """Their problem becomes unreadable and they are killed: a few tries each, then exit code 1."""
    problem, errors = tmp_path / "problem.yaml", tmp_path / "errors"
    problem.write_text(PROBLEM)
    line = [sys.executable, "-c", _SOON, "production", "--workers", "2", "--port", "0", "--home", str(tmp_path)]
    with (
        errors.open("wb") as told,
        subprocess.Popen([*line, "--problem", str(problem)], stdout=subprocess.PIPE, stderr=told, text=True) as process,
    ):
        assert process.stdout is not None and process.stdout.readline().startswith("ready")
        problem.write_text("[]")
        workers = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
        assert len(workers) == 2
        subprocess.run(["kill", "-9", *workers], check=True)
        begun = time.monotonic()
        assert process.wait(90) == 1, time.monotonic() - begun
    said = errors.read_text()
    assert "every worker died 3 times in a row" in said and said.count('"not started"') == 4
