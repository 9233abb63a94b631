"""Balance a pole on a cart by pushing left or right: one point for every step it stays up."""

from __future__ import annotations

import math

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.protocols import Feedback, View

GRAVITY, CART, POLE, HALF_LENGTH, FORCE, TAU = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
TOTAL, POLE_MOMENT = POLE + CART, POLE * HALF_LENGTH
FARTHEST, STEEPEST = 2.4, 12 * 2 * math.pi / 360  # beyond either the episode is over
_PUSH = np.array([-FORCE, FORCE])
_BOUNDS = np.array([[FARTHEST], [STEEPEST]])
START = 0.05  # every number of a new state is uniform in ±START


class CartPole:
    """w carts side by side: Gymnasium's constants and integrator (Euler), in float64; contexts are float32.

    An episode terminates when the cart leaves ±2.4 or the pole ±12°, and is truncated after ``problem.horizon`` steps.
    """

    def __init__(self, problem: Problem, steps: int) -> None:
        self.problem, self.steps = problem, steps
        self._rng, self._state, self._age = np.random.default_rng(0), np.zeros((4, 0)), np.zeros(0, np.int64)

    def reset(self, rng: np.random.Generator, w: int) -> View:
        """w new episodes; those that ``renew`` begins draw from ``rng`` too."""
        self._rng, self._age = rng, np.zeros(w, np.int64)
        self._state = rng.uniform(-START, START, (4, w))
        return self._view()

    def renew(self, ended: np.ndarray) -> View:
        """Begin the episodes marked in bool[w] anew; the others stand as they are."""
        places = np.flatnonzero(ended)
        self._state[:, places] = self._rng.uniform(-START, START, (4, len(places)))
        self._age[places] = 0
        return self._view()

    def step(self, action: np.ndarray) -> tuple[View, Feedback]:
        """Push each cart: action i32[w], 0 left, 1 right."""
        _, _, angle, spin = state = self._state
        cosine, sine = np.cos(angle), np.sin(angle)
        pull = (_PUSH.take(action) + POLE_MOMENT * np.square(spin) * sine) / TOTAL
        turn = (GRAVITY * sine - cosine * pull) / (HALF_LENGTH * (4.0 / 3.0 - POLE * np.square(cosine) / TOTAL))
        change = np.empty_like(state)  # per second; all four at once, since every call into NumPy costs as much
        change[::2] = state[1::2]
        change[1], change[3] = pull - POLE_MOMENT * turn * cosine / TOTAL, turn
        change *= TAU
        self._state = change = np.add(state, change, out=change)
        self._age += 1
        far, steep = np.abs(change[::2]) > _BOUNDS
        terminated = far | steep
        reward = np.ones(len(terminated))
        return self._view(), Feedback(reward[:, None], reward, terminated, (self._age >= self.steps) > terminated)

    def _view(self) -> View:
        return View(self._state.T.astype(np.float32))


def cartpole(*, steps: int = 200, discount: float = 0.99) -> CartPole:
    """Gymnasium's CartPole, many at a time. ``steps`` is the time limit: 200 is CartPole-v0, 500 CartPole-v1.

    Source: Barto, Sutton & Anderson 1983, "Neuronlike adaptive elements that can solve difficult learning control
    problems"; constants and order of operations as in Gymnasium's ``CartPoleEnv``.
    """
    if steps < 1:
        raise ConfigError(f"cartpole: steps must be at least 1; got {steps}", field="steps")
    if not 0 <= discount <= 1:
        raise ConfigError(f"cartpole: discount must lie in [0, 1]; got {discount}", field="discount")
    names = ("cart_position", "cart_velocity", "pole_angle", "pole_velocity")
    problem = Problem(
        features=tuple(Feature(name=name) for name in names),
        actions=ActionSpace(names=("left", "right")),
        reward_range=(0.0, 1.0),
        discount=discount,
        horizon=steps,
        unit="episode",
    )
    return CartPole(problem, steps)
