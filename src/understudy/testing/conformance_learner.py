"""What every learner must keep: ``check_learner("name")`` or ``check_learner(learner)``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError, DataError
from understudy.core.hashing import content_id
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.protocols import JoinRules, Learner, Policy, by_epochs
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
WIDE = Problem(
    features=MIXED.features, actions=ActionSpace(low=(-2.0, 0.0), high=(1.0, 5.0)), reward_range=(-1.0, 3.0),
    discount=1.0, horizon=8, unit="episode",
)  # fmt: skip

CHAIN = Problem(
    features=(Feature(name="place"), Feature(name="wind", optional=True)),
    actions=ActionSpace(names=("back", "stay", "on")),
    reward_range=(-1.0, 4.0),
    discount=0.9,
    horizon=8,
    unit="episode",
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
        """The steps in batches of ``batch`` episodes."""
        index = np.arange(self.steps.m)
        for start in range(0, self.steps.m, self.batch):
            yield self.steps.episodes((index >= start) & (index < start + self.batch))

    def sample(self, size: int, rng: np.random.Generator, n: int = 1, discount: float | None = None) -> Transitions:
        """``size`` transitions with replacement."""
        gamma = self.problem.discount if discount is None else discount
        return transitions(self.steps, rng.integers(0, self.steps.n, size), gamma, n)


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


def example_episodes(problem: Problem, m: int, seed: int) -> LoggedSteps:
    """m episodes of at most 8 uniformly logged actions in a box; half are truncated, the others terminate."""
    rng = np.random.default_rng(seed)
    length = rng.integers(1, 9, m)
    starts = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    n, last = int(starts[-1]), starts[1:] - 1
    low, high = problem.actions.low, problem.actions.high
    action = rng.uniform(low, high, (n, problem.actions.dims)).astype(np.float32)
    truncated, terminated = np.zeros(n, bool), np.zeros(n, bool)
    truncated[last[::2]], terminated[last[1::2]] = True, True
    final = contexts(problem, m, rng)
    final[1::2] = np.nan
    steps = Steps(
        starts=starts,
        unit=np.arange(m, dtype=np.uint64),
        time=np.arange(n, dtype=np.int64),
        context=contexts(problem, n, rng),
        action=action,
        reward=action.mean(1).astype(np.float64),
        terminated=terminated,
        truncated=truncated,
        propensity=np.full(n, 1 / np.prod(np.subtract(high, low))),
        final_context=final,
    )
    return LoggedSteps(problem, steps)


def check_learner(learner: str | Learner, *, n: int = 400) -> None:
    """Fits every kind of log, leaves it unchanged, repeats by seed, reads batches alike, gives a sound policy.

    A learner takes named actions, boxes of continuous ones, or both; what it does not take, it refuses by ConfigError.
    """
    made: Any = find("learners", learner)() if isinstance(learner, str) else learner
    frozen = getattr(getattr(type(made), "__dataclass_params__", None), "frozen", False)
    assert frozen, "a learner is a frozen dataclass"
    named = [example_log(PLAIN, n, 1), example_log(MIXED, n, 2, masked=True), example_log(PLAIN, n, 3, skip=1)]
    boxed = [example_episodes(WIDE, n // 5, 2)]
    takes = [logs for logs in (named, boxed) if _taken(made, logs[0])]
    assert takes, "a learner must take named actions or a box of continuous ones"
    for logs in takes:
        for log in logs:
            _check_fit(made, log)
        flat = logs[0].steps.with_(reward=np.full(logs[0].n_steps, 1.0))
        check_policy(made.fit(LoggedSteps(logs[0].problem, flat), seed=7), logs[0].problem)
        if by_epochs(made):
            check_gradient(made, chain_log(40, 2, masked=True, skip=0) if logs is named else boxed[0])


def _taken(learner: Learner, log: LoggedSteps) -> bool:
    try:
        learner.fit(log, seed=7)
    except ConfigError as error:
        assert error.field == "actions", f"a learner refuses a kind of action by ConfigError(field='actions'); {error}"
        return False
    return True


def _check_fit(learner: Learner, log: LoggedSteps) -> None:
    before = log.fingerprint
    policy, again = learner.fit(log, seed=7), learner.fit(log, seed=7)
    assert log.fingerprint == before, "fit must not change the data"
    assert isinstance(policy, Policy), f"fit must give a policy; got {type(policy).__name__}"
    context = contexts(log.problem, 50, np.random.default_rng(5))
    assert (_shown(policy, context) == _shown(again, context)).all(), "equal data and seed must give equal policies"
    small = learner.fit(LoggedSteps(log.problem, log.steps, batch=37), seed=7)
    np.testing.assert_allclose(
        _shown(small, context),
        _shown(policy, context),
        atol=1e-6 if log.problem.actions.discrete else 1e-3,
        err_msg="how the data are cut into batches must not matter",
    )
    check_policy(policy, log.problem)


def _shown(policy: Any, context: np.ndarray) -> np.ndarray:
    """What a policy does, to compare: its probabilities, or its draws where actions are continuous."""
    return policy.probs(context) if hasattr(policy, "probs") else policy.act(context, np.random.default_rng(3))[0]


def chain_log(m: int, seed: int, *, masked: bool = False, skip: int | None = None) -> LoggedSteps:
    """m episodes on a chain of five places; reaching the last pays 4 and ends it, 8 steps truncate it.

    Masked: every other time nobody can stay. ``skip``: an action that is allowed and never taken.
    """
    rng, k = np.random.default_rng(seed), CHAIN.actions.k
    rows: list[tuple[np.ndarray, np.ndarray, int, float, float, bool, bool]] = []
    starts, final = [0], np.full((m, 2), np.nan, np.float32)
    for episode in range(m):
        place, age, over, ended = int(rng.integers(0, 4)), 0, False, False
        while not over:
            seen = np.array([place, rng.normal() if rng.random() < 0.9 else np.nan], np.float32)
            allowed = np.array([True, not masked or rng.random() < 0.5, True])
            possible = allowed & (np.arange(k) != skip)
            action = int(rng.choice(np.flatnonzero(possible)))
            place, age = int(np.clip(place + action - 1, 0, 4)), age + 1
            ended = place == 4
            over = ended or age == CHAIN.horizon
            rows.append((seen, allowed, action, 1 / possible.sum(), 4.0 if ended else -0.1, ended, over and not ended))
        final[episode] = (place, 0.0) if not ended else np.nan
        starts.append(len(rows))
    context, allowed, action, p, reward, terminated, truncated = (np.array(column) for column in zip(*rows))
    steps = Steps(
        starts=np.array(starts), unit=np.arange(m, dtype=np.uint64), time=np.arange(len(rows)), context=context,
        action=action.astype(np.int32), reward=reward, terminated=terminated, truncated=truncated, propensity=p,
        allowed=allowed if masked else None, final_context=final,
    )  # fmt: skip
    return LoggedSteps(CHAIN, steps)


def check_gradient(learner: Any, log: LoggedSteps) -> None:
    """Episodes, truncated ones too, and an interrupted training that ends where the uninterrupted one does.

    Rewards beyond any number stop it with a DataError that says where, unless it does not read them.
    """
    from understudy.learners.gradient import epochs, freeze, prepared, thaw  # needs the extra learn

    check_policy(learner.fit(log, seed=7), log.problem)
    *_, whole = (freeze(epoch.state) for epoch in epochs(learner, log, seed=7))
    first = next(epochs(learner, log, seed=7, count=2))
    like = prepared(learner, log, 7).init(log.problem, first.features, seed=7)
    again = thaw(like, freeze(first.state))
    *_, resumed = (freeze(e.state) for e in epochs(learner, log, seed=7, count=2, start=again, done=first.updates))
    assert first.updates < learner.updates, "give the learner updates enough for two chunks"
    same = set(whole) == set(resumed) and all((whole[name] == resumed[name]).all() for name in whole)
    assert same, "an interrupted training must end where the uninterrupted one does"
    most = np.abs(log.steps.reward).max()
    absurd = LoggedSteps(log.problem, log.steps.with_(reward=log.steps.reward * (3e38 / most)))
    try:
        check_policy(learner.fit(absurd, seed=7), log.problem)
    except DataError as error:
        said = "between updates" in error.what or error.field == "reward_range"
        assert said, f"a loss that is no number must say where; got {error.what!r}"
