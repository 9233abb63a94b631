"""Training in a world: offline training on a log that grows. The same init, update and policy as on a file."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from understudy.core.curves import Point
from understudy.core.errors import ConfigError
from understudy.core.hashing import derived
from understudy.core.problem import Problem
from understudy.core.protocols import EpisodicEnvironment, GradientLearner, Policy
from understudy.core.steps import Steps
from understudy.data.dataset import MemoryDataset
from understudy.envs.rollout import played
from understudy.envs.stage import Stage
from understudy.learners.gradient import feature_map, prepared
from understudy.learners.loop import CHUNK, run
from understudy.learners.on_policy import drawn
from understudy.learners.replay import Batch, Limit
from understudy.models.box import UniformBox
from understudy.models.feature_map import FeatureMap
from understudy.models.policies import Uniform, floored
from understudy.ops.transitions import transitions
from understudy.runs.play import ENDLESS

FRESH = 64  # most decisions between two passes of a learner that learns in order: it cannot tell old ones from its own


@dataclass(frozen=True)
class Growth:
    """How a log grows while a learner learns from it.

    steps: decisions in all, up to whole ticks of all worlds.
    warmup_steps: the first of them, uniform; the feature map is fitted to those.
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
    collect: int = 1_024
    epsilon: tuple[float, float] = (1.0, 0.05)
    epsilon_share: float = 0.3
    eval_every: int = 5_000
    eval_episodes: int = 20

    def __post_init__(self) -> None:
        for name in ("steps", "warmup_steps", "envs", "capacity", "collect", "eval_every", "eval_episodes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1; got {getattr(self, name)}", field=name)
        if -(-self.warmup_steps // self.envs) * self.envs >= self.steps:
            raise ConfigError(f"{self.warmup_steps} warm-up steps leave none of {self.steps}", field="warmup_steps")
        if not 0 < self.updates_per_step <= 1_000:
            raise ConfigError(
                f"updates_per_step must lie in (0, 1000]; got {self.updates_per_step}", field="updates_per_step"
            )
        if not all(0 <= share <= 1 for share in (*self.epsilon, self.epsilon_share)):
            raise ConfigError("epsilon and epsilon_share are shares in [0, 1]", field="epsilon")


@dataclass(frozen=True)
class Online:
    """One evaluation of a training in a world, its episodes, and those of the training since the last.

    Episodes are (undiscounted returns f64[n], steps i64[n]).
    """

    point: Point
    policy: Policy
    last: bool
    judged: tuple[np.ndarray, np.ndarray]
    trained: tuple[np.ndarray, np.ndarray]


class Ring:
    """The newest ``capacity`` transitions, in the space of model inputs; ``limit`` is a learner's own mask."""

    def __init__(self, capacity: int, features: FeatureMap, limit: Limit | None = None) -> None:
        self.capacity, self.features, self.limit = capacity, features, limit
        self.held: list[np.ndarray | None] = []
        self.n = self.at = 0

    def add(self, steps: Steps, rows: np.ndarray, discount: float, n: int = 1) -> None:
        """The transitions that begin at these rows i64[b], over n steps or up to where an episode ends."""
        t = transitions(steps, rows, discount, n)
        x, following = self.features(t.context), self.features(t.next_context)
        after = t.next_allowed if self.limit is None else self.limit(t.next_context, t.next_allowed)
        p = None if t.propensity is None else t.propensity.astype(np.float32)
        new = Batch(x, t.action, t.reward, t.discount, following, t.next_action, t.weight, t.allowed, after, p)
        if not self.held:
            self.held = [None if c is None else np.empty((self.capacity, *c.shape[1:]), c.dtype) for c in new]
        where = (self.at + np.arange(len(rows))) % self.capacity
        for own, column in zip(self.held, new):
            if own is not None and column is not None:
                own[where] = column
        self.at, self.n = int((self.at + len(rows)) % self.capacity), min(self.n + len(rows), self.capacity)

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

    A point's ``truth`` is the mean undiscounted return of the policy as it would be served, with its standard
    error; its figures hold the mean return of the training episodes that ended since the last point (exploration
    included).
    """
    stage, problem = Stage(env, growth.envs, derived(seed, "training")), env.problem
    first = stage.collect(_uniform(problem), -(-growth.warmup_steps // growth.envs))
    limit = None if problem.horizon else ENDLESS
    features = feature_map(learner, MemoryDataset(problem, first))
    rounds = _on_policy if hasattr(learner, "told") else _in_order if hasattr(learner, "take") else _off_policy
    due, seen = growth.eval_every, 0
    for done, policy, updates, figures, last in rounds(learner, stage, growth, first, features, seed):
        if done < due and not last:
            continue
        while due <= done:
            due += growth.eval_every
        trained = np.array(stage.finished[seen:]), np.array(stage.lengths[seen:], np.int64)
        seen = len(stage.finished)
        told = figures | ({"training_return": float(trained[0].mean())} if len(trained[0]) else {})
        judged = played(judge(), policy, growth.eval_episodes, derived(seed, "evaluation", done), max_steps=limit)
        earned = judged[0]
        told |= {"decisions": float(done)}
        error = float(earned.std(ddof=1) / math.sqrt(len(earned))) if len(earned) > 1 else None
        point = Point(epoch=0, updates=updates, figures=told, truth=float(earned.mean()), truth_error=error)
        yield Online(point, policy, last, judged, trained)


def best_of(points: Sequence[Point]) -> int:
    """Where the best evaluation is; the later of equals."""
    return max(range(len(points)), key=lambda i: (points[i].truth or 0.0, i))


class Round(NamedTuple):
    """What a training has come to."""

    done: int  # decisions
    policy: Policy
    updates: int
    figures: dict[str, float]
    last: bool


def _off_policy(
    learner: Any, stage: Stage, growth: Growth, first: Steps, features: FeatureMap, seed: int
) -> Iterator[Round]:
    """Some decisions, a chunk of updates from the newest of the log, and again."""
    problem, n, explores = stage.env.problem, getattr(learner, "n", 1), hasattr(learner, "explore")
    discount = problem.discount * getattr(learner, "guidance", 1.0)
    total = CHUNK * max(1, round((growth.steps - first.n) * growth.updates_per_step / CHUNK))
    learner = prepared(dataclasses.replace(learner, updates=total), MemoryDataset(problem, first), seed)
    ring = Ring(growth.capacity, features, getattr(learner, "limit", None))
    ring.add(first, settled(first, stage.w, n), discount, n)
    if not ring.n:
        raise ConfigError(
            f"{first.n} warm-up steps in {stage.w} worlds hold no transition over {n} steps", field="warmup_steps"
        )
    state = learner.init(problem, features, seed=seed)
    policy, done, figures = learner.policy(state, problem, features), first.n, {}
    for updates in range(CHUNK, total + CHUNK, CHUNK):
        due = first.n + (growth.steps - first.n) * updates / total
        ticks = math.ceil((due - done) / stage.w)
        if ticks > 0:
            acting = _exploring(policy, problem, growth, done) if explores else policy
            steps = stage.collect(acting, ticks, again=n)
            ring.add(steps, settled(steps, stage.w, n), discount, n)
            done += ticks * stage.w
        state = run(
            state, learner.update, lambda rng, c: ring.draw(rng, c, learner.batch), steps=updates, done=updates - CHUNK,
            seed=seed, progress=_noted(figures),
        )  # fmt: skip
        policy = learner.policy(state, problem, features)
        yield Round(done, policy, updates, dict(figures), updates == total)


def settled(steps: Steps, w: int, n: int) -> np.ndarray:
    """Rows of a collection of w worlds, less the last n of each: what follows those is in the collection to come."""
    row, ticks = np.arange(steps.n), steps.n // w
    return row[row % ticks < ticks - n]


def _on_policy(
    learner: Any, stage: Stage, growth: Growth, first: Steps, features: FeatureMap, seed: int
) -> Iterator[Round]:
    """A collection by the policy itself, some passes over it, and again; the warm-up only fitted the feature map."""
    problem, left = stage.env.problem, growth.steps - first.n
    rounds = max(1, round(left / growth.collect))
    ticks = math.ceil(left / (rounds * stage.w))
    size = ticks * stage.w
    each = max(1, learner.passes * size // learner.batch)
    learner = dataclasses.replace(learner, updates=each * rounds)
    state, figures = learner.init(problem, features, seed=seed), {}
    policy = learner.policy(state, problem, features)
    for number in range(1, rounds + 1):
        steps = stage.collect(policy, ticks)
        table = learner.told(state, steps, problem, features)
        state = run(
            state, learner.update, lambda rng, c, table=table: drawn(table, rng, c, learner.batch),
            steps=number * each, done=(number - 1) * each, seed=seed, progress=_noted(figures),
        )  # fmt: skip
        policy, done = learner.policy(state, problem, features), first.n + number * size
        yield Round(done, policy, number * each, dict(figures), number == rounds)


def _in_order(
    learner: Any, stage: Stage, growth: Growth, first: Steps, features: FeatureMap, seed: int
) -> Iterator[Round]:
    """A few decisions by the policy itself, each learned from once in its order, and again."""
    problem, done, number = stage.env.problem, first.n, 0
    state = learner.init(problem, features, seed=seed)
    policy, ticks = learner.policy(state, problem, features), max(1, min(growth.collect, FRESH) // stage.w)
    while done < growth.steps:
        steps = stage.collect(policy, ticks)
        state, figures = learner.take(state, steps, problem, features)
        policy, done, number = learner.policy(state, problem, features), done + steps.n, number + 1
        yield Round(done, policy, number, figures, done >= growth.steps)


def _exploring(policy: Any, problem: Problem, growth: Growth, done: int) -> Policy:
    """The policy with uniform actions mixed in, where actions have names."""
    if not problem.actions.discrete:
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
