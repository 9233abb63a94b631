"""What every world must keep: ``check_environment("name")`` or ``check_environment(env)``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.core.protocols import Environment, Feedback, State, View
from understudy.core.registry import find
from understudy.ops.explore import draw, uniform

STEPS, WIDTH = 40, 500
SIGMAS = 6.0  # chance that a sound world fails the truth check: 2e-9


@dataclass(frozen=True)
class _Even:
    """Uniform over the allowed actions: enough to walk through any world."""

    k: int

    def probs(self, context: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        return uniform((len(context), self.k), allowed)

    def state(self) -> State:
        return State("uniform", {"k": self.k})


def check_environment(env: str | Environment) -> None:
    """Shapes, ranges, endings, repeatability by seed, and that ``true_value`` is what a long walk earns."""
    made: Environment = find("envs", env)() if isinstance(env, str) else env
    first, second = _walk(made, 3), _walk(made, 3)
    for (view, feedback), (view2, feedback2) in zip(first, second):
        assert np.array_equal(view.context, view2.context, equal_nan=True), "equal seeds must show equal contexts"
        assert (feedback.reward == feedback2.reward).all(), "equal seeds must pay equal rewards"
    other = _walk(made, 4, steps=1)[0][0]
    assert not np.array_equal(first[0][0].context, other.context, equal_nan=True), "another seed must show others"
    rewards = np.concatenate([feedback.reward for _, feedback in first])
    if hasattr(made, "true_value") and getattr(made, "drift", None) is None and made.problem.bandit:
        truth = made.true_value(_Even(made.problem.actions.k))  # type: ignore[attr-defined]
        error = rewards.std() / np.sqrt(len(rewards))
        assert abs(rewards.mean() - truth) <= SIGMAS * error + 1e-12, (
            f"true_value says {truth}, a walk of {len(rewards)} earned {rewards.mean()} ± {error}"
        )


def _walk(env: Environment, seed: int, steps: int = STEPS) -> list[tuple[View, Feedback]]:
    rng, choices, seen = np.random.default_rng(seed), np.random.default_rng(seed + 1), []
    view = env.reset(rng, WIDTH)
    for _ in range(steps):
        _check_view(env, view)
        action = draw(uniform((WIDTH, env.problem.actions.k), view.allowed), choices.random(WIDTH))
        following, feedback = env.step(action)
        _check_feedback(env, feedback)
        seen.append((view, feedback))
        view = following
    return seen


def _check_view(env: Environment, view: View) -> None:
    d, k = len(env.problem.features), env.problem.actions.k
    assert view.context.shape == (WIDTH, d) and view.context.dtype == np.float32, f"context must be f32[{WIDTH}, {d}]"
    for i, feature in enumerate(env.problem.features):
        column = view.context[:, i]
        assert feature.optional or not np.isnan(column).any(), f"feature {feature.name!r} is not optional, yet missing"
        assert not np.isinf(column).any(), f"feature {feature.name!r} is infinite"
    if view.allowed is not None:
        assert view.allowed.shape == (WIDTH, k) and view.allowed.any(1).all(), "every row must allow some action"


def _check_feedback(env: Environment, feedback: Feedback) -> None:
    low, high = env.problem.reward_range
    assert feedback.reward.shape == (WIDTH,) and feedback.outcomes.shape == (WIDTH, len(env.problem.outcomes))
    assert ((feedback.reward >= low) & (feedback.reward <= high)).all(), "a reward lies outside its declared range"
    assert not (feedback.terminated & feedback.truncated).any(), "terminated and truncated at once"
    if env.problem.bandit:
        assert feedback.terminated.all(), "every decision of a bandit is an episode of its own"
