"""What every world must keep: ``check_environment("name")`` or ``check_environment(env)``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.core.protocols import Environment, EpisodicEnvironment, Feedback, State, View
from understudy.core.registry import find
from understudy.ops.explore import draw, uniform

STEPS, WIDTH = 40, 500
PLACES = 12  # episodes side by side in the check of endings
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
    others = [view.context for view, _ in _walk(made, 4, steps=5)]  # some worlds always begin in the same place
    alike = [np.array_equal(view.context, other, equal_nan=True) for (view, _), other in zip(first, others)]
    assert not all(alike), "another seed must show others"
    rewards = np.concatenate([feedback.reward for _, feedback in first])
    if hasattr(made, "true_value") and getattr(made, "drift", None) is None and made.problem.bandit:
        truth = made.true_value(_Even(made.problem.actions.k))  # type: ignore[attr-defined]
        error = rewards.std() / np.sqrt(len(rewards))
        assert abs(rewards.mean() - truth) <= SIGMAS * error + 1e-12, (
            f"true_value says {truth}, a walk of {len(rewards)} earned {rewards.mean()} ± {error}"
        )
    if not made.problem.bandit:
        _check_endings(made)


def act(env: Environment, view: View, rng: np.random.Generator) -> np.ndarray:
    """Any allowed action, or any in the box: i32[w] or f32[w, q]."""
    space, w = env.problem.actions, len(view.context)
    if space.discrete:
        return draw(uniform((w, space.k), view.allowed), rng.random(w))
    return rng.uniform(space.low, space.high, (w, space.dims)).astype(np.float32)


def _walk(env: Environment, seed: int, steps: int = STEPS) -> list[tuple[View, Feedback]]:
    rng, choices, seen = np.random.default_rng(seed), np.random.default_rng(seed + 1), []
    view = env.reset(rng, WIDTH)
    for _ in range(steps):
        _check_view(env, view)
        following, feedback = env.step(act(env, view, choices))
        _check_feedback(env, feedback)
        seen.append((view, feedback))
        view = following
        if not env.problem.bandit:
            view = _renew(env, following, feedback.terminated | feedback.truncated)
    return seen


def _renew(env: Environment, view: View, ended: np.ndarray) -> View:
    """Begin the ended episodes anew, and look whether only they did."""
    assert isinstance(env, EpisodicEnvironment), "a world whose episodes are longer than a decision needs renew"
    before = view.context.copy()
    after = env.renew(ended)
    assert np.array_equal(after.context[~ended], before[~ended], equal_nan=True), "renew must leave the others alone"
    assert np.array_equal(view.context, before, equal_nan=True), "renew must not write into the view shown before"
    return after


def _check_endings(env: Environment) -> None:
    """No episode outlives the horizon, none is cut before it; after an end a new one has all of its steps again."""
    horizon = env.problem.horizon or STEPS
    rng = np.random.default_rng(5)
    view, age, begun = env.reset(np.random.default_rng(6), PLACES), np.zeros(PLACES, int), 0
    for _ in range(2 * horizon + 1):
        view, feedback = env.step(act(env, view, rng))
        age += 1
        ended = feedback.terminated | feedback.truncated
        if env.problem.horizon is not None:
            assert (ended | (age < horizon)).all(), (
                f"an episode went on after {age.max()} steps; the horizon is {horizon}"
            )
            early = feedback.truncated & (age < horizon)
            assert not early.any(), f"an episode was truncated after {age[early]} steps; the horizon is {horizon}"
        view = _renew(env, view, ended)
        begun += int(ended.sum())
        age[ended] = 0
    assert env.problem.horizon is None or begun >= 2 * PLACES, "two horizons end at least two episodes a place"


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
