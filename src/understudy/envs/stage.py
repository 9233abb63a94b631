"""A world that policies act in one after the other: each is asked for some ticks, and leaves the steps they made."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from understudy.core.protocols import EpisodicEnvironment, Policy, View
from understudy.core.steps import Steps
from understudy.envs.walk import decide

Row = tuple[np.ndarray, ...]  # one tick of w worlds, column by column


@dataclass
class Stage:
    """w episodes side by side that outlive the policies that act in them. World and choices have their own streams."""

    env: EpisodicEnvironment
    w: int
    seed: int
    finished: list[float] = field(default_factory=list)  # undiscounted returns of whole episodes, in order of their end
    lengths: list[int] = field(default_factory=list)  # and their steps
    _view: View = field(init=False)
    _earned: np.ndarray = field(init=False)  # f64[w] by the episodes that go on
    _taken: np.ndarray = field(init=False)  # i64[w] steps of those
    _choices: np.random.Generator = field(init=False)
    _last: list[tuple[Row, np.ndarray]] = field(default_factory=list, init=False)  # ticks of the last collection

    def __post_init__(self) -> None:
        world, self._choices = (np.random.default_rng(s) for s in np.random.SeedSequence(self.seed).spawn(2))
        self._view, self._earned = self.env.reset(world, self.w), np.zeros(self.w)
        self._taken = np.zeros(self.w, np.int64)

    def collect(self, policy: Policy, ticks: int, *, again: int = 0) -> Steps:
        """``ticks`` steps of each of the w episodes, as episodes of their own: one world after the other, in order.

        An episode that goes on after the last tick is truncated there, and ``final_context`` says where it stood, so
        nothing is lost to what bootstraps. What is left of it opens the next collection. ``again``: that many of the
        last ticks of the collection before come first once more; what followed them is now known.
        """
        kept = self._last[max(0, len(self._last) - again) :] if again else []
        rows = [row for row, _ in kept]
        following = [context for _, context in kept]
        for _ in range(ticks):
            view = self._view
            action, propensity, _ = decide(policy, view.context, self._choices, view.allowed)
            after, feedback = self.env.step(action)
            ended = feedback.terminated | feedback.truncated
            masks = (np.zeros((self.w, 0), bool) if each is None else each for each in (view.allowed, after.allowed))
            rows.append((view.context, action, propensity, feedback.reward, feedback.terminated, ended, *masks))
            following.append(after.context)
            self._earned += feedback.reward
            self.finished += self._earned[ended].tolist()
            self._taken += 1
            self.lengths += self._taken[ended].tolist()
            self._earned[ended], self._taken[ended] = 0.0, 0
            self._view = self.env.renew(ended) if ended.any() else after
        self._last = list(zip(rows, following))
        return _steps(rows, np.stack(following, 1))


def _steps(rows: list[Row], following: np.ndarray) -> Steps:
    """Ticks [T] of w worlds → steps, world by world; following f32[w, T, d] is what truly came after each."""
    context, action, propensity, reward, terminated, ended, *masks = (np.stack(column, 1) for column in zip(*rows))
    allowed, beyond = (mask.reshape(-1, mask.shape[-1]) if mask.shape[-1] else None for mask in masks)
    w, ticks = reward.shape
    last = ended.copy()
    last[:, -1] = True
    flat = last.ravel()
    at = np.flatnonzero(flat)
    return Steps(
        starts=np.append(0, at + 1).astype(np.int64),
        unit=np.arange(len(at), dtype=np.uint64),
        time=np.arange(w * ticks, dtype=np.int64),
        context=context.reshape(w * ticks, -1),
        action=action.reshape(w * ticks, *action.shape[2:]),
        reward=reward.ravel(),
        terminated=terminated.ravel(),
        truncated=flat & ~terminated.ravel(),
        allowed=allowed,
        propensity=propensity.ravel(),
        final_context=following.reshape(w * ticks, -1)[at].astype(np.float32),
        final_allowed=None if beyond is None else beyond[at],
    )
