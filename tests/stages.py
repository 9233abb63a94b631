"""What the tests of training in a world share: a world whose every step can be told from every other."""

from __future__ import annotations

import numpy as np

from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.protocols import Feedback, View

LENGTHS = (3, 5, 2)  # of a place's episodes, in turn; those of 5 are truncated, the others terminate

PROBLEM = Problem(
    features=tuple(Feature(name=name) for name in ("place", "episode", "age")),
    actions=ActionSpace(names=("back", "stay", "on")),
    reward_range=(-2.0, 1000.0),
    discount=0.9,
    horizon=5,
    unit="episode",
)


class Clock:
    """w places; a context says which, the how manieth episode there, and how old it is. The reward is all three in one.

    ``masked``: back is not allowed at odd ages. ``pay``: what taking on adds to the reward, from tick ``since`` on.
    """

    def __init__(self, *, masked: bool = False, pay: float = 0.0, since: int = 0) -> None:
        self.problem, self.masked, self.pay, self.since = PROBLEM, masked, pay, since
        self._number, self._age = np.zeros(0, np.int64), np.zeros(0, np.int64)

    def reset(self, rng: np.random.Generator, w: int) -> View:
        self._number, self._age = np.zeros(w, np.int64), np.zeros(w, np.int64)
        return self._view()

    def renew(self, ended: np.ndarray) -> View:
        self._number[ended] += 1
        self._age[ended] = 0
        return self._view()

    def step(self, action: np.ndarray) -> tuple[View, Feedback]:
        assert not (self.masked and ((action == 0) & (self._age % 2 == 1)).any()), "an action was taken that is barred"
        reward = code(np.stack([np.arange(len(action)), self._number, self._age], 1))
        self.since -= 1
        if self.since < 0:
            reward += self.pay * (action == 2)
        length = np.array(LENGTHS)[self._number % 3]
        self._age = self._age + 1
        over = self._age >= length
        cut = over & (length == 5)
        return self._view(), Feedback(reward[:, None], reward, over & ~cut, cut)

    def _view(self) -> View:
        w = len(self._age)
        context = np.stack([np.arange(w), self._number, self._age], 1).astype(np.float32)
        allowed = np.ones((w, 3), bool)
        allowed[:, 0] = self._age % 2 == 0
        return View(context, allowed if self.masked else None)


def souring(since: int = 100) -> Clock:
    """A world that pays beyond any number after so many ticks."""
    return Clock(pay=1e38, since=since)


def code(context: np.ndarray) -> np.ndarray:
    """One number per step, from its context f[n, 3]: 100 · place + 10 · episode + age, all below 10."""
    return np.asarray(context, float) @ np.array([100.0, 10.0, 1.0])
