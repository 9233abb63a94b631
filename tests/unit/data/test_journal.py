"""The journal: legal transitions only, one winner, experiments apart."""

from __future__ import annotations

import multiprocessing as mp
import sqlite3
from itertools import product
from pathlib import Path

import pytest

from understudy.core.errors import StoreError
from understudy.data.journal import DONE, LEGAL, WORKING, Experiment, Journal, job_id
from understudy.data.ledger import Ledger


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


def entered(url: str, id: str = "e", alias: str = "live", **settings) -> Journal:
    journal = Journal(Ledger(url))
    journal.open(Experiment(id=id, alias=alias, problem_hash="p", settings=settings, code_version="0", time=1))
    return journal


def driven_to(journal: Journal, workflow: str, state: str, job: str = "j", experiment: str = "e") -> None:
    """Bring a job into a state by a legal way."""
    if state:
        before = next(s for s, following in LEGAL[workflow].items() if state in following)
        driven_to(journal, workflow, before, job, experiment)
        journal.move(experiment, workflow, job, state, time=2, reason="because")


WORKFLOWS = [name for name in LEGAL if name != "experiment"]
STATES = {w: sorted({"", *LEGAL[w], *(s for following in LEGAL[w].values() for s in following)}) for w in WORKFLOWS}
PAIRS = [(w, a, b) for w in WORKFLOWS for a, b in product(STATES[w], STATES[w]) if b and a != b]


@pytest.mark.parametrize(("workflow", "before", "after"), PAIRS)
def test_every_pair_of_states_is_legal_or_refused_by_name(url: str, workflow: str, before: str, after: str) -> None:
    """What the table allows happens; everything else is a StoreError that names both states and writes nothing."""
    journal = entered(url)
    driven_to(journal, workflow, before)
    count = len(journal.history("e"))
    if after in LEGAL[workflow].get(before, ()):
        assert journal.move("e", workflow, "j", after, time=3, reason="because").state == after
    else:
        with pytest.raises(StoreError) as error:
            journal.move("e", workflow, "j", after, time=3, reason="because")
        assert after in str(error.value) and (before or "unknown") in str(error.value)
        assert len(journal.history("e")) == count


def test_the_states_are_those_of_the_four_workflows() -> None:
    """The names that users of such loops know, and no other."""
    assert set(STATES["training"]) == {"", "PENDING", "TRAINING", "TRAINED", "STOPPED", "FAILED"}
    assert set(STATES["evaluation"]) == {"", "PENDING", "EVALUATING", "EVALUATED", "STOPPED", "FAILED"}
    assert set(STATES["joining"]) == {"", "PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"}
    assert set(STATES["hosting"]) == {"", "PENDING", "DEPLOYING", "DEPLOYED", "FAILED"}


def test_the_same_change_again_is_what_stands(url: str) -> None:
    """Whoever resumes repeats himself without harm, and the first body stays."""
    journal = entered(url)
    first = journal.move("e", "training", "j", "PENDING", time=1, body={"turn": 1})
    assert journal.move("e", "training", "j", "PENDING", time=9, body={"turn": 2}) == first


def test_one_job_of_a_workflow_at_a_time(url: str) -> None:
    """A second training may not begin beside the first; another workflow, or another experiment, may."""
    journal = entered(url)
    journal.move("e", "training", "a", "PENDING", time=1)
    with pytest.raises(StoreError, match=r"job a is PENDING.*b may not"):
        journal.move("e", "training", "b", "PENDING", time=1)
    journal.move("e", "joining", "b", "PENDING", time=1)
    entered(url, "f", "other").move("f", "training", "b", "PENDING", time=1)


def test_a_job_is_not_given_up_without_a_reason(url: str) -> None:
    """FAILED says why."""
    journal = entered(url)
    journal.move("e", "training", "a", "PENDING", time=1)
    with pytest.raises(StoreError, match="without a reason"):
        journal.move("e", "training", "a", "FAILED", time=1)


def test_a_body_grows_with_the_job(url: str) -> None:
    """Inputs are written when a job is pending, results when it is done; the last state shows both."""
    journal = entered(url)
    journal.move("e", "training", "a", "PENDING", time=1, body={"turn": 1})
    journal.move("e", "training", "a", "TRAINING", time=2)
    journal.move("e", "training", "a", "TRAINED", time=3, body={"policy": "x"})
    (job,) = journal.jobs("e", "training")
    assert job.body == {"turn": 1, "policy": "x"} and job.done and not job.in_flight
    assert [change.number for change in journal.history("e") if change.job == "a"] == [1, 2, 3]


def test_an_experiment_keeps_its_settings(url: str) -> None:
    """The same again is the same; other settings under the same id are refused."""
    entered(url, size=5)
    assert entered(url, size=5).experiment("e").settings == {"size": 5}
    with pytest.raises(StoreError, match=r"other settings: size\n"):
        entered(url, size=6)
    with pytest.raises(StoreError, match=r"other settings: client\.batch, seed, size\n"):
        entered(url, client={"batch": 5}, seed=0)


def test_an_alias_belongs_to_one_running_experiment(url: str) -> None:
    """Two loops would undo each other's promotions; once the first has ended the second may start."""
    journal = entered(url)
    with pytest.raises(StoreError, match="is running on the alias"):
        entered(url, "f")
    journal.move("e", "experiment", "e", "FINISHED", time=5)
    entered(url, "f")


def test_nobody_started_it(url: str) -> None:
    """An unknown id is named, with those that are known."""
    with pytest.raises(StoreError, match="no experiment 'x'"):
        entered(url).experiment("x")


def test_the_journal_is_append_only(url: str) -> None:
    """Not even by hand: the database itself refuses."""
    entered(url)
    with sqlite3.connect(url.removeprefix("sqlite:///")) as db:
        for table in ("journal", "experiments"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                db.execute(f"DELETE FROM {table}")


def _race(url: str, job: str, barrier, results) -> None:
    journal = Journal(Ledger(url))
    barrier.wait()
    try:
        journal.move("e", "training", job, "PENDING", time=1)
        results.put("won")
    except StoreError:
        results.put("lost")


def test_of_several_processes_exactly_one_begins(url: str) -> None:
    """Four processes want the one training slot with jobs of their own: one gets it, three are told."""
    journal = entered(url)
    context = mp.get_context("spawn")
    barrier, results = context.Barrier(4), context.Queue()
    workers = [context.Process(target=_race, args=(url, f"j{i}", barrier, results)) for i in range(4)]
    for worker in workers:
        worker.start()
    outcomes = sorted(results.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join(30)
    assert outcomes == ["lost"] * 3 + ["won"]
    assert len(journal.jobs("e", "training")) == 1


def test_ids_are_of_content_never_of_time() -> None:
    """10,000 jobs made in one moment have 10,000 ids; the same job has the same id for ever."""
    ids = {job_id(e, w, t, "", a) for e in "ab" for w in ("joining", "training") for t in range(500) for a in range(5)}
    assert len(ids) == 10_000
    assert job_id("a", "training", 1, "next", 0) == job_id("a", "training", 1, "next", 0)


def test_every_workflow_has_a_working_and_a_done_state() -> None:
    """The runner of jobs needs both."""
    for workflow in WORKFLOWS:
        assert DONE[workflow] in LEGAL[workflow][WORKING[workflow]]
        assert DONE[workflow] not in LEGAL[workflow]
