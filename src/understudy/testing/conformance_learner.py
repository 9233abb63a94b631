"""What every learner of bandit logs must keep: ``check_learner("name")`` or ``check_learner(learner)``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from understudy.core.hashing import content_id
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.protocols import DiscretePolicy, JoinRules, Learner
from understudy.core.registry import find
from understudy.core.steps import Steps, Transitions, bandit_steps
from understudy.ops.explore import draw, uniform
from understudy.ops.transitions import transitions
from understudy.testing.conformance_policy import check_policy, contexts, masks

PLAIN = Problem(
    features=tuple(Feature(name=f"x{i}") for i in range(3)),
    actions=ActionSpace(names=("a", "b", "c")),
)
MIXED = Problem(
    features=(
        Feature(name="age", optional=True),
        Feature(name="paid", kind="boolean"),
        Feature(name="tier", kind="category", values=("free", "plus", "pro"), optional=True),
        Feature(name="always_one"),
    ),
    actions=ActionSpace(names=("mail", "call", "wait", "gift")),
    reward_range=(-2.0, 3.0),
)


@dataclass(frozen=True)
class LoggedSteps:
    """Steps in memory behind the LoggedDataset protocol, with batches as small as asked."""

    problem: Problem
    steps: Steps
    batch: int = 65_536
    rules: JoinRules | None = None

    @property
    def n_steps(self) -> int:
        return self.steps.n

    @property
    def n_episodes(self) -> int:
        return self.steps.m

    @property
    def fingerprint(self) -> str:
        """Hash of every column's bytes."""
        columns = (getattr(self.steps, f.name) for f in fields(Steps))
        return content_id(*(column.tobytes() for column in columns if isinstance(column, np.ndarray)))

    def scan(self, max_steps: int = 65_536) -> Iterator[Steps]:
        """The steps of a bandit in batches of ``batch``."""
        index = np.arange(self.steps.m)
        for start in range(0, self.steps.m, self.batch):
            yield self.steps.episodes((index >= start) & (index < start + self.batch))

    def sample(self, size: int, rng: np.random.Generator, n: int = 1) -> Transitions:
        """``size`` transitions with replacement."""
        return transitions(self.steps, rng.integers(0, self.steps.n, size), self.problem.discount, n)


def example_log(problem: Problem, n: int, seed: int, *, skip: int | None = None, masked: bool = False) -> LoggedSteps:
    """n uniformly logged decisions with two kinds of reward; action ``skip`` is never taken."""
    rng = np.random.default_rng(seed)
    context = contexts(problem, n, rng)
    allowed = masks(n, problem.actions.k, rng)[1] if masked else None
    possible = np.ones((n, problem.actions.k), bool) if allowed is None else allowed.copy()
    if skip is not None:
        possible[:, skip] = False
        possible[~possible.any(1), (skip + 1) % problem.actions.k] = True
        allowed = None if allowed is None else allowed | possible
    p = uniform(possible.shape, possible)
    action = draw(p, rng.random(n))
    low, high = problem.reward_range
    good = np.nan_to_num(context[:, 0]) > 0.0
    chance = np.where(good == (action % 2 == 0), 0.8, 0.2)
    reward = np.where(rng.random(n) < chance, high, low)
    steps = bandit_steps(context, action, reward, p[np.arange(n), action], propensities=p, allowed=allowed)
    return LoggedSteps(problem, steps)


def check_learner(learner: str | Learner, *, n: int = 400) -> None:
    """Fits every kind of log, leaves it unchanged, repeats by seed, reads batches alike, gives a sound policy."""
    made: Any = find("learners", learner)() if isinstance(learner, str) else learner
    frozen = getattr(getattr(type(made), "__dataclass_params__", None), "frozen", False)
    assert frozen, "a learner is a frozen dataclass"
    logs = [example_log(PLAIN, n, 1), example_log(MIXED, n, 2, masked=True), example_log(PLAIN, n, 3, skip=1)]
    for log in logs:
        before = log.fingerprint
        policy, again = made.fit(log, seed=7), made.fit(log, seed=7)
        assert log.fingerprint == before, "fit must not change the data"
        assert isinstance(policy, DiscretePolicy), f"fit must give a DiscretePolicy; got {type(policy).__name__}"
        context = contexts(log.problem, 50, np.random.default_rng(5))
        assert (policy.probs(context) == again.probs(context)).all(), "equal data and seed must give equal policies"
        small = made.fit(LoggedSteps(log.problem, log.steps, batch=37), seed=7)
        np.testing.assert_allclose(
            small.probs(context),
            policy.probs(context),
            atol=1e-6,
            err_msg="how the data are cut into batches must not matter",
        )
        check_policy(policy, log.problem)
    flat = logs[0].steps.with_(reward=np.full(n, 1.0))
    check_policy(made.fit(LoggedSteps(PLAIN, flat), seed=7), PLAIN)
