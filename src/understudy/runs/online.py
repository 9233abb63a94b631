"""Training in a world: offline training on a log that grows. The same init, update and policy as on a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.core.curves import Point
from understudy.core.errors import ConfigError
from understudy.core.problem import Problem
from understudy.core.protocols import EpisodicEnvironment, GradientLearner, Policy
from understudy.core.steps import Steps
from understudy.data.dataset import MemoryDataset
from understudy.envs.rollout import mean_return
from understudy.envs.stage import Stage
from understudy.learners.gradient import prepared
from understudy.learners.loop import CHUNK, run
from understudy.learners.on_policy import drawn
from understudy.learners.replay import Batch
from understudy.models.box import UniformBox
from understudy.models.feature_map import FeatureMap, fit_feature_map
from understudy.models.policies import Uniform, floored
from understudy.ops.transitions import transitions


@dataclass(frozen=True)
class Growth:
    """How a log grows while a learner learns from it.

    steps: decisions in all. warmup_steps: the first of them, uniform; the feature map is fitted to those.
    envs: worlds side by side. updates_per_step: minibatch updates per decision after that (off-policy learners).
    capacity: newest transitions kept. collect: decisions before each round of updates of an on-policy learner.
    epsilon: share of uniform actions at first and at last, of learners whose policy would not explore by itself;
        epsilon_share: of the steps, until it has fallen to the last.
    eval_every: decisions between evaluations. eval_episodes: episodes of each.
    """

    steps: int = 50_000
    warmup_steps: int = 1_000
    envs: int = 8
    updates_per_step: float = 1.0
    capacity: int = 100_000
    collect: int = 2_048
    epsilon: tuple[float, float] = (1.0, 0.05)
    epsilon_share: float = 0.3
    eval_every: int = 5_000
    eval_episodes: int = 20

    def __post_init__(self) -> None:
        for name in ("steps", "warmup_steps", "envs", "capacity", "collect", "eval_every", "eval_episodes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1; got {getattr(self, name)}", field=name)
        if self.warmup_steps >= self.steps:
            raise ConfigError(f"{self.warmup_steps} warm-up steps leave none of {self.steps}", field="warmup_steps")
        if not 0 < self.updates_per_step <= 1_000:
            raise ConfigError(f"updates_per_step must lie in (0, 1000]; got {self.updates_per_step}")
        if not all(0 <= share <= 1 for share in (*self.epsilon, self.epsilon_share)):
            raise ConfigError("epsilon and epsilon_share are shares in [0, 1]", field="epsilon")


@dataclass(frozen=True)
class Online:
    """One evaluation of a training in a world; ``state`` is used up when the next is asked for."""

    point: Point
    policy: Policy
    last: bool


class Ring:
    """The newest ``capacity`` transitions, in the space of model inputs."""

    def __init__(self, capacity: int, features: FeatureMap) -> None:
        self.capacity, self.features = capacity, features
        self.held: list[np.ndarray | None] = []
        self.n = self.at = 0

    def add(self, steps: Steps, discount: float, n: int) -> None:
        """Every transition of these steps, over n steps or up to where they end."""
        t = transitions(steps, np.arange(steps.n), discount, n)
        x, following = self.features(t.context), self.features(t.next_context)
        p = None if t.propensity is None else t.propensity.astype(np.float32)
        new = Batch(x, t.action, t.reward, t.discount, following, t.next_action, t.weight, t.allowed, t.next_allowed, p)
        if not self.held:
            self.held = [None if c is None else np.empty((self.capacity, *c.shape[1:]), c.dtype) for c in new]
        where = (self.at + np.arange(steps.n)) % self.capacity
        for own, column in zip(self.held, new):
            if own is not None and column is not None:
                own[where] = column
        self.at, self.n = int((self.at + steps.n) % self.capacity), min(self.n + steps.n, self.capacity)

    def draw(self, rng: np.random.Generator, updates: int, batch: int) -> Batch:
        """``updates`` minibatches, uniformly with replacement."""
        rows = rng.integers(0, self.n, (updates, batch))
        return Batch(*(None if column is None else column[rows] for column in self.held))


def learn_in(
    learner: GradientLearner,
    env: EpisodicEnvironment,
    growth: Growth,
    *,
    seed: int,
    judge: Callable[[], EpisodicEnvironment],
) -> Iterator[Online]:
    """Train in ``env``; an evaluation each ``eval_every`` decisions, in worlds that ``judge`` makes.

    A point's ``truth`` is the mean undiscounted return of the policy as it would be served; its figures hold the mean
    return of the training episodes that ended since the last point (exploration included).
    """
    stage, problem = Stage(env, growth.envs, seed), env.problem
    first = stage.collect(_uniform(problem), -(-growth.warmup_steps // growth.envs))
    features = fit_feature_map(problem, [first])
    rounds = _on_policy if hasattr(learner, "told") else _off_policy
    due, seen = growth.eval_every, 0
    for done, policy, updates, figures in rounds(learner, stage, growth, first, features, seed):
        last = done >= growth.steps
        if done < due and not last:
            continue
        while due <= done:
            due += growth.eval_every
        returns = stage.finished[seen:]
        seen = len(stage.finished)
        told = figures | ({"training_return": float(np.mean(returns))} if returns else {})
        truth = float(np.mean(mean_return(judge(), policy, growth.eval_episodes, seed + done)))
        yield Online(
            Point(epoch=0, updates=updates, figures=told | {"decisions": float(done)}, truth=truth), policy, last
        )


Round = tuple[int, Policy, int, dict[str, float]]  # decisions and the policy so far, updates, figures


def _off_policy(
    learner: Any, stage: Stage, growth: Growth, first: Steps, features: FeatureMap, seed: int
) -> Iterator[Round]:
    """Some decisions, a chunk of updates from the newest of the log, and again."""
    problem, n = stage.env.problem, getattr(learner, "n", 1)
    ring = Ring(growth.capacity, features)
    ring.add(first, problem.discount, n)
    total = max(CHUNK, round((growth.steps - first.n) * growth.updates_per_step / CHUNK) * CHUNK)
    learner = prepared(dataclasses.replace(learner, updates=total), MemoryDataset(problem, first), seed)
    state = learner.init(problem, features, seed=seed)
    ticks = max(1, round(CHUNK / growth.updates_per_step / growth.envs))
    done, figures = first.n, {}
    for updates in range(CHUNK, total + CHUNK, CHUNK):
        actor = _exploring(learner, learner.policy(state, problem, features), problem, growth, done)
        ring.add(stage.collect(actor, ticks), problem.discount, n)
        done += ticks * growth.envs
        state = run(
            state, learner.update, lambda rng, c: ring.draw(rng, c, learner.batch), steps=updates, done=updates - CHUNK,
            seed=seed, progress=_noted(figures),
        )  # fmt: skip
        yield (
            (growth.steps if updates == total else min(done, growth.steps - 1)),
            learner.policy(state, problem, features),
            updates,
            dict(figures),
        )


def _on_policy(
    learner: Any, stage: Stage, growth: Growth, first: Steps, features: FeatureMap, seed: int
) -> Iterator[Round]:
    """A collection by the policy itself, some passes over it, and again; the warm-up only fitted the feature map."""
    problem = stage.env.problem
    ticks = max(1, growth.collect // growth.envs)
    size = ticks * growth.envs
    each = max(1, learner.passes * size // learner.batch)
    rounds = max(1, round((growth.steps - first.n) / size))
    learner = dataclasses.replace(learner, updates=each * rounds)
    state, figures = learner.init(problem, features, seed=seed), {}
    for number in range(1, rounds + 1):
        steps = stage.collect(learner.policy(state, problem, features), ticks)
        table = learner.told(state, steps, problem, features)
        state = run(
            state, learner.update, lambda rng, c, table=table: drawn(table, rng, c, learner.batch), steps=each,
            seed=seed + number, progress=_noted(figures),
        )  # fmt: skip
        done = growth.steps if number == rounds else min(first.n + number * size, growth.steps - 1)
        yield done, learner.policy(state, problem, features), number * each, dict(figures)


def _exploring(learner: Any, policy: Any, problem: Problem, growth: Growth, done: int) -> Policy:
    """The policy with uniform actions mixed in, where it is greedy by itself (its learner has a field ``explore``)."""
    if not problem.actions.discrete or not hasattr(learner, "explore"):
        return policy
    first, last = growth.epsilon
    share = min(1.0, done / max(1.0, growth.epsilon_share * growth.steps))
    return floored(policy, problem.actions.k, first + (last - first) * share)


def _uniform(problem: Problem) -> Policy:
    actions = problem.actions
    return Uniform(actions.k) if actions.discrete else UniformBox(actions.low, actions.high)


def _noted(figures: dict[str, float]) -> Callable[[str, Any], None]:
    def note(stage: str, told: Any) -> None:
        figures.update({name: value for name, value in told.items() if name != "step"})

    return note
