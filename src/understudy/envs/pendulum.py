"""Swing a pendulum up and hold it there with as little torque as possible: one continuous action."""

from __future__ import annotations

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.protocols import Feedback, View

FASTEST, STRONGEST, DT = 8.0, 2.0, 0.05
MASS, LENGTH = 1.0, 1.0
_CORNER = np.array([[np.pi], [1.0]])  # of what a new episode starts from: angle, speed
WORST = -(np.pi**2 + 0.1 * FASTEST**2 + 0.001 * STRONGEST**2)  # hanging, at full speed, at full torque


class Pendulum:
    """w pendulums side by side: Gymnasium's constants and integrator (semi-implicit Euler), in float64.

    reward = −(θ² + 0.1·θ̇² + 0.001·u²), θ in [−π, π) with 0 upright, before the step. It never terminates; an episode
    is truncated after ``problem.horizon`` steps.
    """

    def __init__(self, problem: Problem, steps: int, gravity: float) -> None:
        self.problem, self.steps, self.gravity = problem, steps, gravity
        self._rng, self._state, self._age = np.random.default_rng(0), np.zeros((2, 0)), np.zeros(0, np.int64)

    def reset(self, rng: np.random.Generator, w: int) -> View:
        """w new episodes; those that ``renew`` begins draw from ``rng`` too."""
        self._rng, self._age = rng, np.zeros(w, np.int64)
        self._state = self._start(w)
        return self._view()

    def renew(self, ended: np.ndarray) -> View:
        """Begin the episodes marked in bool[w] anew; the others stand as they are."""
        self._state[:, ended] = self._start(int(ended.sum()))
        self._age[ended] = 0
        return self._view()

    def step(self, action: np.ndarray) -> tuple[View, Feedback]:
        """Apply a torque to each: action f32[w, 1], cut to ±2."""
        angle, spin = self._state
        torque = np.clip(action.astype(np.float32), -STRONGEST, STRONGEST)[:, 0]  # f32, as Gymnasium's own
        off = (angle + np.pi) % (2 * np.pi) - np.pi
        reward = -(off**2 + 0.1 * spin**2 + 0.001 * (torque**2))
        pull = 3 * self.gravity / (2 * LENGTH) * np.sin(angle) + 3.0 / (MASS * LENGTH**2) * torque
        spin = np.clip(spin + pull * DT, -FASTEST, FASTEST)
        self._state = np.stack([angle + spin * DT, spin])
        self._age += 1
        never = np.zeros(len(reward), bool)
        return self._view(), Feedback(reward[:, None], reward, never, self._age >= self.steps)

    def _start(self, w: int) -> np.ndarray:
        """Any angle, and a speed in ±1: f64[2, w]."""
        return self._rng.uniform(-_CORNER, _CORNER, (2, w))

    def _view(self) -> View:
        angle, spin = self._state
        return View(np.stack([np.cos(angle), np.sin(angle), spin], axis=1).astype(np.float32))


def pendulum(*, steps: int = 200, gravity: float = 10.0, discount: float = 0.99) -> Pendulum:
    """Gymnasium's Pendulum-v1, many at a time. ``steps`` is the time limit, ``gravity`` in m/s².

    Source: constants and order of operations as in Gymnasium's ``PendulumEnv``.
    """
    if steps < 1:
        raise ConfigError(f"pendulum: steps must be at least 1; got {steps}", field="steps")
    if not 0 <= discount <= 1:
        raise ConfigError(f"pendulum: discount must lie in [0, 1]; got {discount}", field="discount")
    problem = Problem(
        features=tuple(Feature(name=name) for name in ("cosine", "sine", "velocity")),
        actions=ActionSpace(low=(-STRONGEST,), high=(STRONGEST,)),
        reward_range=(WORST, 0.0),
        discount=discount,
        horizon=steps,
        unit="episode",
    )
    return Pendulum(problem, steps, gravity)
