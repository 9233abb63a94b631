"""Defects that an existing experiment manager has (numbered as in our notes on it), and that this service has not."""

import json
import multiprocessing
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest

from understudy.core.errors import DataError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.service import DecideReply, DecideRequest, Logged, RewardRequest
from understudy.data.eventlog import LogDown, open_event_log
from understudy.data.home import Home
from understudy.models.policies import Fixed, Uniform
from understudy.models.policy_file import save_policy
from understudy.serve.desk import Desk
from understudy.serve.engine import replay
from understudy.serve.local import LocalService
from understudy.serve.randomness import new_id, uniform

PROBLEM = Problem(
    features=(Feature(name="age"), Feature(name="income", optional=True)),
    actions=ActionSpace(names=("a", "b", "c")),
    reward_range=(-2.0, 5.0),
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    place = Home(tmp_path / "home")
    save_policy(Uniform(3), place.kept("even"), problem=PROBLEM)
    save_policy(Fixed(3, 0), place.kept("ay"), problem=PROBLEM)
    place.ledger.install("production", "even", time=1, reason="first")
    return place


def rows(home: Home, kind: str) -> list[bytes]:
    log = open_event_log(home.log("production"), worker=None)
    found = [entry.body for entry in log.read({})[0] if entry.kind == kind]
    log.close()
    return found


def test_8_ids_are_text_so_that_no_reader_of_json_rounds_them(home):
    """Theirs are 128-bit numbers: a reader with 64-bit floats changes them, and the reward finds no decision."""
    with LocalService(home.folder, "production") as service:
        made = service.decide(DecideRequest(context={"age": 1.0})).decision_id
        given = service.decide(DecideRequest(context={"age": 1.0}, decision_id=str(2**127 + 1))).decision_id
    read = [json.loads(body, parse_int=float, parse_float=float)["decision_id"] for body in rows(home, "decision")]
    assert sorted(read) == sorted([made, given]) and given == "170141183460469231731687303715884105729"
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"context": {"age": 1}, "decision_id": 170141183460469231731687303715884105729}',
                            type=DecideRequest)  # fmt: skip


def test_8_any_number_of_actions_is_compared_by_value():
    """Theirs asks ``num_arms is 0``; here a problem without actions cannot be made, and one of many works."""
    with pytest.raises(ValueError, match="actions need"):
        ActionSpace()
    k = 1_000  # beyond the small integers that Python shares
    assert Uniform(k).probs(np.zeros((1, 1), np.float32)).shape == (1, k)


def test_9_no_event_is_lost_because_nobody_listened(home):
    """Theirs publishes to whoever is subscribed at that moment; here a reader that comes a year later finds all."""
    with LocalService(home.folder, "production") as service:
        replies = service.decide_batch([DecideRequest(context={"age": float(i)}) for i in range(50)])
        service.reward_batch([RewardRequest(decision_id=reply.decision_id, value=1.0) for reply in replies])
    assert [msgspec.json.decode(body)["decision_id"] for body in rows(home, "decision")] == [
        reply.decision_id for reply in replies
    ]
    assert len(rows(home, "outcome")) == 50


def test_9_what_could_not_be_written_is_never_acknowledged(home, monkeypatch):
    """Theirs drops a record after five retries and says it was written; here the caller is told, and asks again."""
    with LocalService(home.folder, "production") as service:
        asked = DecideRequest(context={"age": 1.0}, decision_id="d-1")

        def refuse(records):
            raise LogDown("the disk is gone")

        with monkeypatch.context() as patched:
            patched.setattr(service.desk.log, "append", refuse)
            for work in (lambda: service.decide(asked),
                         lambda: service.reward(RewardRequest(decision_id="d-1", value=1.0))):  # fmt: skip
                with pytest.raises(LogDown):
                    work()
            assert not service.desk.ready() and "disk" in service.status()["log_fault"]
        assert rows(home, "decision") == []
        assert service.decide(asked).decision_id == "d-1"
        service.reward(RewardRequest(decision_id="d-1", value=1.0))
        assert service.desk.ready()
    assert len(rows(home, "decision")) == len(rows(home, "outcome")) == 1


def test_10_a_swap_never_mislabels_who_chose(home):
    """Theirs reads a model's id and its weights one after the other; here both are one value."""
    desk = Desk(home.folder, "production", poll=0, deadline=None)
    for i in range(200):
        home.ledger.override("production", ("ay", "even")[i % 2], time=i, reason="test")
        before = desk.deployment
        assert desk.swap_now()
        for deployment in (before, desk.deployment):  # a request in flight keeps the one it began with
            logged = desk.engine.decide(DecideRequest(context={"age": 1.0}), deployment, 0.0)
            expected = [1.0, 0.0, 0.0] if logged.policy_id == "ay" else [1 / 3] * 3
            assert logged.propensities == expected
    desk.close()


def _draws(worker: int, pipe) -> None:
    pipe.send([new_id(5.0) for _ in range(500)])
    pipe.close()


def test_10_forked_workers_repeat_neither_ids_nor_draws():
    """Theirs inherit one random state from their parent; here ids come from the system and draws from ids."""
    np.random.seed(0)
    context, ids = multiprocessing.get_context("fork"), []
    for worker in range(4):
        receive, send = context.Pipe(False)
        process = context.Process(target=_draws, args=(worker, send))
        process.start()
        ids.append(receive.recv())
        process.join()
    every = [id for own in ids for id in own] + [new_id(5.0) for _ in range(500)]
    assert len(set(every)) == 2_500 and os.getpid()
    draws = np.array([[uniform("production", id) for id in own] for own in ids])
    assert len(np.unique(draws)) == 2_000
    off = np.corrcoef(draws)[np.triu_indices(4, 1)]
    assert np.abs(off).max() < 0.22  # 6 correlations of 500 pairs, each beyond 4.9 σ once in a million


def test_12_rewards_are_what_was_measured_in_the_problems_own_range(home):
    """Theirs learns from 1 − r whatever r is; here the range is the problem's, and what breaks it is refused."""
    with LocalService(home.folder, "production") as service:
        service.reward_batch([RewardRequest(decision_id=f"d{i}", value=v) for i, v in enumerate((-2.0, 0.3, 5.0))])
        for value in (-2.1, 5.1):
            with pytest.raises(DataError):
                service.reward(RewardRequest(decision_id="d9", value=value))
    assert [msgspec.json.decode(body)["value"] for body in rows(home, "outcome")] == [-2.0, 0.3, 5.0]


def test_12_every_propensity_is_written_down_not_only_the_chosen_ones(home):
    """Theirs logs one number; without the others no estimate but the plainest can be made."""
    with LocalService(home.folder, "production") as service:
        reply = service.decide(DecideRequest(context={"age": 1.0}, allowed=("a", "c")))
    assert isinstance(reply, DecideReply) and reply.propensities == (0.5, 0.0, 0.5)
    logged = msgspec.json.decode(rows(home, "decision")[0], type=Logged)
    assert logged.propensities == [0.5, 0.0, 0.5] and logged.propensity == 0.5
    assert replay(logged, {"even": load(home)}.__getitem__, PROBLEM) == logged


def load(home: Home):
    from understudy.serve.deployment import policy_of

    return policy_of(home.folder)("even")


def test_12_features_have_names(home):
    """Theirs are positions; here the order does not matter, and a wrong or missing name is refused."""
    with LocalService(home.folder, "production") as service:
        one = service.desk.deployment.coder.row({"income": 2.0, "age": 1.0})
        two = service.desk.deployment.coder.row({"age": 1.0, "income": 2.0})
        assert one.tobytes() == two.tobytes()
        for context, field in (({"ages": 1.0}, "ages"), ({"income": 1.0}, "age"), ({"age": "1"}, "age")):
            with pytest.raises(DataError) as caught:
                service.decide(DecideRequest(context=context))
            assert caught.value.field == field
