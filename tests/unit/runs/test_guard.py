"""The guardrail: a live policy that is worse is noticed soon and undone, one that is not is left alone."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from benchmarks.guard import LONG, WITHIN, case, noticed
from tests.looping import killed, serving, small

from understudy.core.manifest import Manifest
from understudy.core.service import DecideRequest
from understudy.data.home import Home, now
from understudy.data.traffic import Direction, Traffic
from understudy.models.policies import Fixed
from understudy.models.policy_file import encode_policy
from understudy.runs import experiment as steps
from understudy.runs import hosting
from understudy.runs.course import open_course
from understudy.runs.guard import active
from understudy.runs.loop import run_loop, simulation
from understudy.runs.loop_settings import settings


@pytest.mark.parametrize("seed", range(5))
def test_a_gap_of_a_tenth_is_noticed_within_2000_decisions(seed: int) -> None:
    """The previous policy keeps a tenth of the traffic. All 20 runs of benchmarks/guard.py took less."""
    assert noticed(case("labels", -0.1, seed), 0.1, seed, WITHIN) is not None


@pytest.mark.parametrize("world", ["labels", "clicks"])
def test_an_equal_policy_is_left_alone_for_20000_decisions(world: str) -> None:
    """It differs just as often and is as good. By Ville's inequality at most one run in fifty is rolled back."""
    assert noticed(case(world, 0.0, 3), 0.1, 3, LONG) is None


def test_a_breach_rolls_back_directs_and_says_why(tmp_path: Path) -> None:
    """Somebody overrides a good policy by the uniform one: the loop undoes it, in the ledger and in the service."""
    told = small(loops=4, size=300, guardrail={"every": 100})
    with serving(tmp_path, told) as service:
        ledger, client = Home(tmp_path).ledger, simulation(told)
        assert client is not None
        steps.start(told, home=tmp_path, service=service)
        course = open_course(tmp_path, told.id)
        while course.next is not None and course.next.turn < 3:
            _step(course, client, service)
        good, bad = ledger.current("production"), ledger.history("production")[0].policy
        assert good is not None and good.policy != bad and active(course)
        ledger.override("production", bad, time=now(), reason="a mistake")
        result = run_loop(told, home=tmp_path, service=service)
        history = ledger.history("production")
        undone = next(change for change in history if change.kind == "rollback")
        assert undone.policy == good.policy and undone.reason.startswith("guardrail: after ")
        job = next(job for job in course.jobs if job.body["role"] == "rollback")
        assert job.state == "DEPLOYED" and job.body["why"] == undone.reason
        assert result.rows[3].mean_reward > 0.5 and Traffic(ledger).current("production").mode == "live"


@pytest.mark.parametrize("unit", ["decision", "unit"])
def test_where_units_return_it_is_read_once_a_turn(tmp_path: Path, unit: str) -> None:
    """Several readings within a turn would each be a test with the whole allowance of the turn."""
    problem = tmp_path / "problem.yaml"
    problem.write_text(f"features: [{{name: x}}]\nactions: {{names: [a, b]}}\nunit: {unit}\n")
    told = settings({"experiment": "users", "problem": str(problem), "size": 100, "window": "1s"})
    with serving(tmp_path, told) as service:
        course = steps.start(told, home=tmp_path, service=service)
        made = Manifest(kind="policy", problem_hash=course.problem.hash)
        bad = course.home.put(made, encode_policy(Fixed(2, 1), problem=course.problem)).id
        course.home.ledger.override("production", bad, time=now(), reason="a mistake")
        asked = [DecideRequest(context={"x": 0.0}, unit_id=f"u{i % 9}", time=float(i)) for i in range(50)]
        service.decide_batch(asked)
        found = steps.watch(course, 1, "1970-01-01T00:01:00Z", service)
    assert (found is None) == (unit == "unit")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("commit", [3, 4], ids=["begun", "rolled back"])
def test_a_rollback_cut_short_is_finished(tmp_path: Path, commit: int) -> None:
    """Killed behind a commit of it; the first two open the ledger and announce it.

    The breach is gone from then on, so nobody would come upon the job again, and no later one may begin beside it.
    """
    told = small(loops=2)
    with serving(tmp_path, told) as service:
        client = simulation(told)
        assert client is not None
        course = steps.start(told, home=tmp_path, service=service)
        bad = course.home.put(
            Manifest(kind="policy", problem_hash=course.problem.hash, code_version="0"),
            encode_policy(Fixed(course.problem.actions.k, 1), problem=course.problem),
        ).id
        ledger = course.home.ledger
        ledger.override("production", bad, time=now(), reason="a mistake")
        first = ledger.history("production")[0].policy
        Traffic(ledger).direct(Direction(alias="production", mode="canary", candidate=first, share=0.1))

    def roll_back() -> None:
        hosting.roll_back(open_course(tmp_path, told.id), 1, "worse", None)

    assert killed(roll_back, commit, after=True) == -signal.SIGKILL
    with serving(tmp_path, told) as service:
        run_loop(told, home=tmp_path, service=service)
    assert [job.state for job in course.jobs if job.body["role"] == "rollback"] == ["DEPLOYED"]
    history = ledger.history("production")
    assert [change.kind for change in history][:3] == ["install", "override", "rollback"]
    assert Traffic(ledger).current("production").mode == "live" and course.state == "FINISHED"


def _step(course, client, service) -> None:
    step = course.next
    if step.verb == "join":
        size = course.settings.size
        as_of = client.play(service, first=(step.turn - 1) * size, n=size)
        steps.join(course.home, course.id, as_of=as_of, service=service)
    elif step.verb == "evaluate":
        steps.evaluate(course.home, course.id)
    else:
        getattr(steps, step.verb)(course.home, course.id, service=service)
