"""What every online learner must keep: ``check_online_learner("name")`` or ``check_online_learner(learner)``."""

from __future__ import annotations

from typing import Any

import numpy as np

from understudy.core.errors import StoreError
from understudy.core.problem import Problem
from understudy.core.protocols import DiscretePolicy, OnlineLearner, State
from understudy.core.registry import find
from understudy.core.steps import Steps
from understudy.testing.conformance_learner import MIXED, PLAIN, example_log
from understudy.testing.conformance_policy import check_policy, contexts


def check_online_learner(learner: str | OnlineLearner, *, n: int = 150) -> None:
    """Uniform at first; however decisions are cut, and wherever it was saved and resumed: the same, bit for bit."""
    made: Any = find("learners", learner)() if isinstance(learner, str) else learner
    assert isinstance(made, OnlineLearner), f"{type(made).__name__} lacks init, update, policy or resume"
    for problem in (PLAIN, MIXED):
        steps, k = example_log(problem, n, 4).steps, problem.actions.k
        context = contexts(problem, 30, np.random.default_rng(6))
        first = made.policy(made.init(problem, seed=3))
        assert isinstance(first, DiscretePolicy)
        assert (first.probs(context) == 1 / k).all(), "who has seen nothing must be uniform"
        whole = made.update(made.init(problem, seed=3), steps)
        assert whole.seen == n, f"{n} decisions were seen; it says {whole.seen}"
        policy = made.policy(whole)
        assert isinstance(policy, DiscretePolicy)
        check_policy(policy, problem)
        before = policy.probs(context).tobytes()
        for cuts in ([1] * n, [20, 1, n - 21]):
            assert _walk(made, problem, steps, cuts, context) == before, "how decisions are cut must not matter"
        made.update(whole, steps)
        assert policy.probs(context).tobytes() == before, "a policy must not change when its learner goes on"


def _walk(learner: OnlineLearner, problem: Problem, steps: Steps, cuts: list[int], context: np.ndarray) -> bytes:
    """The pmfs after these cuts, the learner saved and resumed after the first, the middle and the last."""
    learning, index, at = learner.init(problem, seed=3), np.arange(steps.m), 0
    for turn, width in enumerate(cuts):
        learning = learner.update(learning, steps.episodes((index >= at) & (index < at + width)))
        at += width
        if turn in (0, len(cuts) // 2, len(cuts) - 1):
            state = learning.state()
            learning = learner.resume(problem, state)
            _again(state, learning.state())
            _refused(learner, problem, state)
    policy: Any = learner.policy(learning)
    return policy.probs(context).tobytes()


def _again(a: State, b: State) -> None:
    assert a.kind == b.kind and a.config == b.config and set(a.arrays) == set(b.arrays), "a resumed state must be equal"
    for name, values in a.arrays.items():
        assert values.tobytes() == b.arrays[name].tobytes(), f"array {name!r} changed by saving and resuming"


def _refused(learner: OnlineLearner, problem: Problem, state: State) -> None:
    """Another kind, and a missing array, must not be taken for a state."""
    name = min(state.arrays)
    rest = {key: values for key, values in state.arrays.items() if key != name}
    for wrong in (State("else", state.config, state.arrays), State(state.kind, state.config, rest)):
        try:
            learner.resume(problem, wrong)
        except StoreError:
            continue
        raise AssertionError("a state that is not one of its own must be refused with a StoreError")
