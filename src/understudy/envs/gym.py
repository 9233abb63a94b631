"""Any world of Gymnasium, by its id: spaces become a Problem, and w copies are stepped one after another."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.problem import Problem
from understudy.core.protocols import Feedback, View
from understudy.core.registry import table, unknown
from understudy.envs.spaces import actions_of, features_of, known_range

INSTALL = 'pip install "understudy[gym]"'


class Gym:
    """w copies of a Gymnasium environment. ``step`` shows the true last observation; nothing begins anew by itself.

    Each copy gets a seed of its own from the generator given to ``reset``; later episodes go on in its stream.
    """

    def __init__(self, id: str, problem: Problem, first: Any, make: Callable[[], Any]) -> None:
        self.problem, self._make, self._copies = problem, make, [first]
        self._encode = features_of(id, first.observation_space)[1]
        self._decode = actions_of(id, first.action_space)[1]
        self._context = np.zeros((0, len(problem.features)), np.float32)

    @property
    def rate(self) -> int | None:
        """Pictures per second at which it looks natural, where somebody said."""
        return self._copies[0].metadata.get("render_fps")

    def picture(self) -> Any:
        """The first copy as it looks now, u8[height, width, 3]; None if it is shown in a window."""
        return self._copies[0].render()

    def reset(self, rng: np.random.Generator, w: int) -> View:
        """w new episodes."""
        while len(self._copies) < w:
            self._copies.append(self._make())
        for spare in self._copies[w:]:
            spare.close()
        del self._copies[w:]
        seeds = rng.integers(2**31, size=w).tolist()
        shown = [copy.reset(seed=seed)[0] for copy, seed in zip(self._copies, seeds)]
        self._context = self._encode(shown)
        return View(self._context)

    def renew(self, ended: np.ndarray) -> View:
        """Begin the episodes marked in bool[w] anew; the others stand as they are."""
        marked = np.flatnonzero(ended)
        if len(marked):
            self._context = self._context.copy()
            self._context[marked] = self._encode([self._copies[i].reset()[0] for i in marked])
        return View(self._context)

    def step(self, action: np.ndarray) -> tuple[View, Feedback]:
        """Act in each copy: action i32[w], or f32[w, q] if continuous."""
        w = len(self._copies)
        shown, reward = [], np.empty(w)
        terminated, truncated = np.empty(w, bool), np.empty(w, bool)
        for i, (copy, own) in enumerate(zip(self._copies, self._decode(action))):
            seen, reward[i], terminated[i], truncated[i], _ = copy.step(own)
            shown.append(seen)
        self._context = self._encode(shown)
        return View(self._context), Feedback(reward[:, None], reward, terminated, truncated & ~terminated)

    def close(self) -> None:
        """Let go of every copy, and of a window if there is one."""
        for copy in self._copies:
            copy.close()
        self._copies.clear()


def gym(
    id: str,
    *,
    steps: int | None = None,
    discount: float = 0.99,
    reward_low: float | None = None,
    reward_high: float | None = None,
    render: str | None = None,
    **options: Any,
) -> Gym:
    """A Gymnasium environment by its id, such as ``Acrobot-v1``.

    Args:
        steps: the time limit; None is the environment's own.
        discount: γ of the problem; Gymnasium knows none.
        reward_low, reward_high: the range of rewards; without them what is known of that environment, else ±10⁶.
        render: ``rgb_array`` to take pictures, ``human`` for a window, None for neither.
        options: passed to the environment.

    Raises: ConfigError if the id is unknown, a package is missing, or its spaces are none that a log can hold.
    """
    gymnasium = _gymnasium(id)
    if render == "rgb_array":
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pictures need no screen
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    limit = {} if steps is None else {"max_episode_steps": steps}

    def make() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an id with a newer version: which one is meant was said
            return gymnasium.make(id, render_mode=render, disable_env_checker=True, **limit, **options)

    first = _first(id, make, gymnasium)
    known = known_range(id)
    problem = _problem(
        id,
        first,
        discount=discount,
        reward_range=(known[0] if reward_low is None else reward_low, known[1] if reward_high is None else reward_high),
    )
    return Gym(id, problem, first, make)


def ids() -> list[str]:
    """The ids that are installed; none if Gymnasium is not."""
    try:
        import gymnasium
    except ModuleNotFoundError:
        return []
    return sorted(gymnasium.registry)


def _gymnasium(id: str) -> Any:
    try:
        import gymnasium
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"environment {id!r} needs the package 'gymnasium', which is not installed", hint=INSTALL, field=id
        ) from error
    return gymnasium


def _first(id: str, make: Callable[[], Any], gymnasium: Any) -> Any:
    """One copy, every fault of making it in our words."""
    error_of = gymnasium.error
    try:
        return make()
    except (error_of.UnregisteredEnv, error_of.NamespaceNotFound, ModuleNotFoundError) as error:
        if isinstance(error, ModuleNotFoundError) and id in gymnasium.registry:
            raise _lacks(id, error) from error
        raise unknown("environment", id, [*table("envs"), *ids()]) from error
    except error_of.DependencyNotInstalled as error:
        raise _lacks(id, error) from error
    except (error_of.Error, TypeError, ValueError, AssertionError) as error:
        raise ConfigError(f"environment {id!r} cannot be made so: {error}", field=id) from error


def _lacks(id: str, error: Exception) -> ConfigError:
    hint = "" if "pip install" in str(error) else INSTALL
    return ConfigError(f"environment {id!r} needs more than is installed: {error}", hint=hint, field=id)


def _problem(id: str, env: Any, *, discount: float, reward_range: tuple[float, float]) -> Problem:
    try:
        return Problem(
            features=features_of(id, env.observation_space)[0],
            actions=actions_of(id, env.action_space)[0],
            reward_range=(float(reward_range[0]), float(reward_range[1])),
            discount=discount,
            horizon=env.spec.max_episode_steps,
            unit="episode",
        )
    except ValueError as error:
        raise ConfigError(f"environment {id!r} makes no problem: {error}", field=id) from error
