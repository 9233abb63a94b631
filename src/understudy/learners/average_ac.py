"""Average-reward actor-critic, linear in tiles: learns from every step once, in order, with eligibility traces."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import Problem
from understudy.core.protocols import LoggedDataset, Policy, Progress, quiet
from understudy.core.steps import Steps, concat
from understudy.learners import continuous as c
from understudy.learners.discrete import within
from understudy.learners.gradient import feature_map
from understudy.learners.loop import jax
from understudy.models.families.linear import LinearActor, bounded
from understudy.models.feature_map import FeatureMap
from understudy.models.tiles import Tiles

BLOCKS = (64, 1024)  # steps of a compiled call: short ones are filled up to the first, long ones cut by the second


class Training(NamedTuple):
    """Weights of value and policy, and the average reward."""

    value: Any  # f32[size]
    theta: Any  # f32[size, outputs]
    average: Any  # f32[]


class Rows(NamedTuple):
    """Steps in order; where they stand and go to as places in the weights and what multiplies them."""

    at: Any  # i32[n, active]
    by: Any  # f32[n, active]
    next_at: Any
    next_by: Any
    y: Any  # f32[n, q] in [−1, 1]
    reward: Any  # f32[n]
    first: Any  # f32[n] 1 where an episode begins
    real: Any  # f32[n] 0 where a block is filled up


@dataclass(frozen=True)
class AverageAC:
    """δ = R − R̄ + v(x′) − v(x); R̄ ← R̄ + η·α_v·δ; z ← λz + ∇; v by α_v/m·δ·z_v, θ by α_π/m·δ·z_π, ∇ = ∇log π(a|x).

    The value of a world without end, R̄ being what a step earns on average; m weights are touched by a step. An episode
    that is truncated goes on from its final context; one that terminated goes on where the next one begins. Fields:

        decay: λ; traces begin anew with every episode, and with every batch of steps. critic_lr, actor_lr: α_v, α_π.
        avg_reward_lr: η. scaled: the policy's steps times σ², where the family has a σ: small ones do not blow up.
        clip_stddev: the largest σ, in half widths of the box; above 1.65 it changes nothing.
        tilings, tiles: grids, and cells of each per feature, over ±3 standard deviations; 0 tilings: linear in the
            features. family: of the policy, see docs/families.md. features: ``standard`` or ``identify``.

    It learns by its own actions: the log must come from this policy, or one close to it; nothing is weighed.
    Source: Degris, Pilarski & Sutton 2012, algorithm 1; Sutton & Barto 2018, section 13.6.
    """

    decay: float = 0.5
    critic_lr: float = 0.1
    actor_lr: float = 0.3
    avg_reward_lr: float = 0.1
    scaled: bool = True
    clip_stddev: float = 1000.0
    tilings: int = 8
    tiles: int = 8
    family: str = "gaussian"
    features: str = "standard"

    def __post_init__(self) -> None:
        c.family_of(self)
        within(self, 0, 1, "decay")
        within(self, 0, 100, "critic_lr", "actor_lr", "avg_reward_lr")
        within(self, 1e-6, 1e9, "clip_stddev")
        within(self, 0, 1024, "tilings")
        within(self, 1, 1024, "tiles")
        if self.features not in ("standard", "identify"):
            raise ConfigError(f"features is standard or identify; got {self.features!r}", field="features")

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> Policy:
        """The policy after every step of a log once, in its order; the seed changes nothing."""
        features = feature_map(self, data)  # type: ignore[arg-type]
        state, steps = self.init(data.problem, features, seed=seed), concat(list(data.scan()))
        state, figures = self.take(state, steps, data.problem, features)
        progress("fit", {"step": float(steps.n)} | figures)
        return self.policy(state, data.problem, features)

    def init(self, problem: Problem, features: FeatureMap, *, seed: int) -> Training:
        """Nothing learned: all weights 0."""
        c.box(problem, self)
        size, xp = self._tiles(features).size, jax().numpy
        outputs = c.family_of(self).outputs(problem.actions.dims)
        return Training(xp.zeros(size), xp.zeros((size, outputs)), xp.zeros(()))

    def take(
        self, state: Training, steps: Steps, problem: Problem, features: FeatureMap
    ) -> tuple[Training, dict[str, float]]:
        """More steps, in order. Raises: DataError where a number stops being one."""
        rows, errors = table(self, steps, problem, features), []
        block = BLOCKS[0] if steps.n <= BLOCKS[0] else BLOCKS[1]
        for start in range(0, steps.n, block):
            part = [column[start : start + block] for column in rows]
            pad = block - len(part[0])
            filled = [np.concatenate([column, np.repeat(column[:1] * 0, pad, 0)]) for column in part]
            if start:
                filled[Rows._fields.index("first")][0] = 1.0
            state, delta = _walk(self)(state, Rows(*filled))
            errors.append(np.asarray(delta)[: block - pad])
        figures = {"average_reward": float(state.average), "td_error": float(np.abs(np.concatenate(errors)).mean())}
        if not np.isfinite(list(figures.values())).all() or not bool(np.isfinite(state.theta).all()):
            raise DataError(
                f"average_ac: a weight is no number after {steps.n} steps", "Nothing can be learned from here.",
                "Lower critic_lr and actor_lr, or scale the rewards.", field="critic_lr",
            )  # fmt: skip
        return state, figures

    def policy(self, state: Training, problem: Problem, features: FeatureMap) -> Policy:
        """The policy as it acts."""
        low, high = np.array(problem.actions.low), np.array(problem.actions.high)
        theta = np.array(state.theta, np.float32)
        return LinearActor(features, self.tilings, self.tiles, theta, low, high, self.family, self.clip_stddev)

    def _tiles(self, features: FeatureMap) -> Tiles:
        return Tiles(features.width, self.tilings, self.tiles)


def table(learner: AverageAC, steps: Steps, problem: Problem, features: FeatureMap) -> Rows:
    """The steps as rows. What follows a step: the next one; a truncated episode's final context; or a new start."""
    tiles = learner._tiles(features)
    last, first = steps.starts[1:] - 1, np.zeros(steps.n, np.float32)
    first[steps.starts[:-1]] = 1.0
    x = features(steps.context)
    following = np.roll(x, -1, axis=0)
    cut = steps.truncated[last]
    if cut.any() and steps.final_context is not None:
        following[last[cut]] = features(steps.final_context[cut])
    low, high = np.asarray(problem.actions.low), np.asarray(problem.actions.high)
    y = np.clip((steps.action - (low + high) / 2) / ((high - low) / 2), -1, 1).astype(np.float32)
    reward = steps.reward.astype(np.float32)
    return Rows(*tiles(x), *tiles(following), y, reward, first, np.ones(steps.n, np.float32))


def td_error(reward: Any, average: Any, ahead: Any, value: Any) -> Any:
    """δ = R − R̄ + v(x′) − v(x)."""
    return reward - average + ahead - value


@lru_cache(maxsize=32)
def _walk(learner: AverageAC) -> Any:
    """(training, rows) → (training, δ f32[n]): one compiled pass."""
    package, family = jax(), c.family_of(learner)
    xp = package.numpy

    def log_prob(scores: Any, y: Any) -> Any:
        params = bounded(xp, family, family.read(xp, scores[None], y.shape[-1]), learner.clip_stddev)
        return family.likelihood(xp, params, y[None])[0]

    def score(scores: Any, y: Any) -> Any:
        slope = package.grad(log_prob)(scores, y)
        if not (learner.scaled and family.located):
            return slope
        params = bounded(xp, family, family.read(xp, scores[None], y.shape[-1]), learner.clip_stddev)
        return slope * xp.tile(xp.exp(2.0 * params[1][0]), len(scores) // y.shape[-1])

    def step(carry: Any, row: Rows) -> tuple[Any, Any]:
        (value, theta, average), (z_value, z_theta) = carry
        delta = td_error(row.reward, average, (value[row.next_at] * row.next_by).sum(), (value[row.at] * row.by).sum())
        delta, keep = delta * row.real, learner.decay * (1.0 - row.first)
        slope = score((theta[row.at] * row.by[:, None]).sum(0), row.y)
        z_value = (keep * z_value).at[row.at].add(row.by)
        z_theta = (keep * z_theta).at[row.at].add(row.by[:, None] * slope)
        each = delta / len(row.at)
        value = value + learner.critic_lr * each * z_value
        theta = theta + learner.actor_lr * each * z_theta
        average = average + learner.avg_reward_lr * learner.critic_lr * delta
        return (Training(value, theta, average), (z_value, z_theta)), delta

    def walk(state: Training, rows: Rows) -> tuple[Training, Any]:
        none = xp.zeros_like(state.value), xp.zeros_like(state.theta)
        (state, _), delta = package.lax.scan(step, (state, none), rows)
        return state, delta

    return package.jit(walk)
