"""Who cannot take long is asked where the request is read; whoever might is watched by another thread."""

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest

from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.service import DecideRequest
from understudy.data.home import Home
from understudy.models.feature_map import FeatureMap, FittedFeature
from understudy.models.policies import Discrete, Explore, Fixed, Mixture, Uniform
from understudy.models.policy_file import save_policy
from understudy.models.ridge import LinearModel
from understudy.models.rows import prompt
from understudy.serve.desk import Desk

PROBLEM = Problem(features=(Feature(name="x"),), actions=ActionSpace(names=("a", "b")))


def linear(width: int, rule: str = "epsilon_greedy") -> Explore:
    columns = tuple(FittedFeature(kind="number", source=0, name="x") for _ in range(width))
    return Explore(LinearModel(FeatureMap(columns), np.zeros((2, width)), np.zeros(2)), rule, 0.1)


class Thread(Discrete):
    """Notes who asks it."""

    def __init__(self) -> None:
        self.asked_by: list[str] = []

    def probs(self, context: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        self.asked_by.append(threading.current_thread().name)
        return np.array([[0.5, 0.5]])


@pytest.mark.parametrize("policy, few", [
    (linear(20), True),
    (linear(40_000), False),
    (Uniform(2), True),
    (Fixed(2, 1), True),
    (Mixture((Uniform(2), linear(3)), (0.5, 0.5)), True),
    (Thread(), False),
    (Mixture((Uniform(2), Thread()), (0.5, 0.5)), False),
])  # fmt: skip
def test_only_a_fixed_and_small_number_of_operations_is_prompt(policy, few):
    assert prompt(policy) is few


@pytest.mark.parametrize("policy", [Fixed(2, 1), Thread()])
@pytest.mark.parametrize("n", [1, 40])
def test_the_answer_and_the_log_are_the_same_either_way(tmp_path: Path, policy, n):
    home = Home(tmp_path)
    save_policy(Fixed(2, 1), home.kept("one"), problem=PROBLEM)
    home.ledger.install("production", "one", time=1, reason="first")
    desk = Desk(home.folder, "production", poll=0, deadline=5.0)
    if isinstance(policy, Thread):
        object.__setattr__(desk.deployment.incumbent, "policy", policy)
        object.__setattr__(desk.deployment.incumbent, "probs", lambda c, a: policy.probs(c, a)[0].tolist())
    asked = [DecideRequest(context={"x": 1.0}, decision_id=f"d-{i}") for i in range(n)]

    async def twice() -> list:
        return [await desk.decide_soon(asked), await desk.decide_soon(asked)]

    first, again = asyncio.run(twice())
    assert first == again and [reply.decision_id for reply in first] == [f"d-{i}" for i in range(n)]
    assert desk.log.counts()["events"] == n
    assert {"decisions": n, "repeated": n}.items() <= desk.status()["counts"].items()
    if isinstance(policy, Thread):
        assert set(policy.asked_by) == {"decider"}
    desk.close()
