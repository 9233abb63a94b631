"""The defects of an existing experiment manager (reference A10), each of the loop's room by its number."""

from __future__ import annotations

import inspect
import time
from pathlib import Path
from typing import Any

import pytest
from tests.looping import said, serving, small

from understudy.core.errors import ConfigError, ExecutorError, StoreError
from understudy.data.home import Home
from understudy.data.journal import Change, Experiment, Journal, job_id
from understudy.data.ledger import Ledger
from understudy.runs import experiment as steps
from understudy.runs import hosting
from understudy.runs.course import open_course
from understudy.runs.loop import run_loop, simulation
from understudy.runs.loop_settings import LoopSettings, settings
from understudy.runs.standing import rows
from understudy.runs.train import open_policy


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four turns in which some candidates ship and some do not."""
    place = tmp_path_factory.mktemp("a10") / "home"
    told = small(loops=4)
    with serving(place, told) as service:
        run_loop(told, home=place, service=service)
    return place


def journal(tmp_path: Path) -> Journal:
    return Journal(Ledger(f"sqlite:///{tmp_path}/ledger.db"))


def entered(to: Journal, id: str) -> Experiment:
    return to.open(Experiment(id=id, alias=id, problem_hash="p", settings={}, code_version="0", time=1))


def test_01_a_second_experiment_does_not_start_with_the_first_ones_state(tmp_path: Path) -> None:
    """No default is shared: what is put into one record, or into one's settings, is not in the next."""
    one = journal(tmp_path)
    entered(one, "a")
    entered(one, "b")
    one.move("a", "training", "x", "PENDING", time=1, body={"turn": 1})
    assert one.jobs("b", "training") == ()
    fresh = [Change(experiment="e", workflow="training", job="j", number=1, state="PENDING", time=1) for _ in "ab"]
    fresh[0].body["seen"] = True
    assert fresh[1].body == {}
    first, second = (settings({"client": {"env": "digits"}}) for _ in "ab")
    first.rules["margin"], first.learner.settings["model"] = 1.0, "trees"
    assert "margin" not in second.rules and second.learner.settings == {}
    assert "margin" not in LoopSettings().rules


def test_02_two_jobs_of_one_second_do_not_collide(tmp_path: Path) -> None:
    """Ids are of what a job is: made in the same moment they differ, made a second later they are the same."""
    made = [job_id("e", "training", turn, "next", attempt) for turn in range(200) for attempt in range(5)]
    assert len(set(made)) == 1_000
    time.sleep(0.01)
    assert made[0] == job_id("e", "training", 0, "next", 0)
    one = journal(tmp_path)
    entered(one, "e")
    one.move("e", "training", made[0], "PENDING", time=1)
    with pytest.raises(StoreError, match="may not begin beside"):  # a collision would have reused the row in silence
        one.move("e", "training", made[1], "PENDING", time=1)


def test_03_what_goes_wrong_in_a_step_is_what_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The learner's own error reaches the caller and the record, word for word; then the step can be taken again."""
    told = small(size=60, loops=1)
    with serving(tmp_path, told) as service:
        client = simulation(told)
        assert client is not None
        course = steps.start(told, home=tmp_path, service=service)
        steps.join(tmp_path, told.id, as_of=client.play(service, first=0, n=60), service=service)
        with monkeypatch.context() as patch:
            patch.setattr("understudy.learners.direct.Direct.fit", _broken)
            with pytest.raises(ZeroDivisionError, match="out of luck"):
                steps.train(tmp_path, told.id, service=service)
        (failed,) = steps.status(tmp_path, told.id).given_up
        assert failed["state"] == "FAILED" and failed["reason"] == "ZeroDivisionError: out of luck"
        assert steps.train(tmp_path, told.id, service=service).state == "TRAINED"
        assert [job.body["attempt"] for job in course.jobs if job.workflow == "training"] == [0, 1]


def _broken(self: Any, data: Any, **options: Any) -> Any:
    raise ZeroDivisionError("out of luck")


def test_04_waiting_for_what_never_comes_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that never says the ordered version is given up with its last words, and the job is marked."""

    class Deaf:
        asked = 0

        def status(self) -> dict[str, Any]:
            self.asked += 1
            return {"version": (0, 0)}

    monkeypatch.setattr(hosting, "PATIENCE", 0.2)
    deaf, begun = Deaf(), time.monotonic()
    with pytest.raises(ExecutorError, match=r"still acts by version \[0, 0\]"):
        steps.start(small(), home=tmp_path, service=deaf)  # type: ignore[arg-type]
    assert time.monotonic() - begun < 20 and deaf.asked > 1
    (failed,) = steps.status(tmp_path, "small").given_up
    assert failed["workflow"] == "hosting" and "still acts by version" in failed["reason"]


def test_05_the_estimate_of_the_hosted_policy_is_not_the_candidates(home: Path) -> None:
    """Each row names both, each with its own estimate, as the estimates artifact has them."""
    course = open_course(home, "small")
    for row in rows(course):
        judged = course.done("evaluation", row.loop)
        assert judged is not None and row.new is not None and row.old is not None
        assert (row.new.target, row.old.target) == (row.candidate, "production")
        by_hand = {e["target"]: e["value"] for e in judged.body["estimates"] if e["estimator"] == "dr"}
        assert (row.new.value, row.old.value) == (by_hand[row.candidate], by_hand["production"])
        assert row.new.value != row.old.value


def test_06_a_join_that_has_succeeded_is_not_done_again(home: Path) -> None:
    """One job per turn, one change per state; taking the step again is refused, and nothing new is in the record."""
    course = open_course(home, "small")
    changes = [c for c in course.journal.history("small") if c.workflow == "joining"]
    assert [c.state for c in changes] == ["PENDING", "RUNNING", "SUCCEEDED"] * 4
    before = said(home, small(loops=4))
    with pytest.raises(StoreError, match="cannot join now"):
        steps.join(home, "small")
    assert said(home, small(loops=4)) == before


def test_07_the_join_reads_what_the_service_writes(home: Path) -> None:
    """One place for both, by default and if another is named; every decision served is in a dataset."""
    course = open_course(home, "small")
    assert Path(course.log) == Home(home).log("production")
    assert sum(row.decisions for row in rows(course)) == 4 * 150


def test_11_a_rejected_candidate_is_nobodys_parent(home: Path) -> None:
    """A learner that goes on from an older policy goes on from the promoted one, whatever was trained since."""
    course = open_course(home, "small")
    rejected = {row.candidate for row in rows(course) if not row.promoted}
    assert rejected, "every candidate was promoted: the test shows nothing"
    trained = [job.body["policy"] for job in course.jobs if job.workflow == "training"]
    for id in trained:
        assert not rejected & {parent.id for parent in open_policy(course.home.kept(id)).manifest.parents}


def test_11_a_learner_that_goes_on_goes_on_from_the_promoted_policy(tmp_path: Path) -> None:
    """Neural takes a start: its candidates have the live policy as a parent, and with train_from: trained the last."""
    neural = {"name": "neural", "settings": {"steps": 5, "hidden": [8]}}
    for train_from in ("promoted", "trained"):
        told = small(learner=neural, loops=3, size=40, train_from=train_from, alias=train_from, gate="off",
                     experiment=train_from)  # fmt: skip
        with serving(tmp_path, told) as service:
            run_loop(told, home=tmp_path, service=service)
        course = open_course(tmp_path, told.id)
        starts = [job.body["start"] for job in course.jobs if job.workflow == "training"]
        made = [job.body["policy"] for job in course.jobs if job.workflow == "training"]
        assert starts == [None, *made[:-1]]  # with the gate off whoever was trained last is live


def test_12_reward_is_the_problems_and_every_propensity_is_logged(home: Path) -> None:
    """Not 1 − r: the mean reward of a turn is what the client was paid; and the whole pmf stands in the log."""
    from understudy.runs.trace import decisions

    logged = list(decisions(home=home, alias="production"))
    assert all(one.propensities is not None and len(one.propensities) == 10 for one in logged)
    assert all(set(one.context) == {f"pixel_{i}_{j}" for i in range(8) for j in range(8)} for one in logged)  # by name
    course = open_course(home, "small")
    assert rows(course)[-1].mean_reward > 0.4 > 0.2 > rows(course)[0].mean_reward


def test_no_stage_swallows_an_unknown_executor() -> None:
    """--at is an argument of both stages, and only local exists."""
    for stage in (steps.train, steps.evaluate):
        assert "at" in inspect.signature(stage).parameters
    with pytest.raises(ConfigError, match="unknown learner"):
        settings({"client": {"env": "digits"}, "learner": {"name": "nobody"}})
