"""Episodes side by side: whichever ends makes room for the next, until the first n that were begun have all ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.protocols import EpisodicEnvironment, Policy
from understudy.ops import explore

WIDTH = 100


@dataclass(frozen=True)
class Tick:
    """One step of w episodes at once. Rows whose ``episode`` is n or more belong to episodes nobody asked for."""

    episode: np.ndarray  # i64[w] in order of beginning
    context: np.ndarray  # f32[w, d]
    allowed: np.ndarray | None  # bool[w, k]
    action: np.ndarray  # i32[w] or f32[w, q]
    propensity: np.ndarray  # f64[w]
    propensities: np.ndarray | None  # f64[w, k] if discrete
    reward: np.ndarray  # f64[w]
    outcomes: np.ndarray  # f64[w, o]
    terminated: np.ndarray  # bool[w]
    truncated: np.ndarray  # bool[w]
    following: np.ndarray  # f32[w, d] the context that truly followed, also after an end
    next_allowed: np.ndarray | None  # bool[w, k] what could be done in it


def walk(
    env: EpisodicEnvironment,
    policy: Policy,
    n: int,
    *,
    seed: int,
    max_steps: int | None = None,
    width: int | None = None,
) -> Iterator[Tick]:
    """Ticks until episodes 0 … n − 1 are complete. Which are recorded depends on no length, so short ones gain nothing.

    World and policy draw from separate streams of the seed. ``max_steps`` truncates an episode before the world does.
    """
    if not isinstance(env, EpisodicEnvironment):
        raise ConfigError("this world has no episodes: it cannot begin one anew", hint="Use rollout for a bandit.")
    for name, value in (("episodes", n), ("max_steps", max_steps), ("width", width)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} must be at least 1; got {value}", field=name)
    world, choices = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    w = min(width or WIDTH, n)
    view, episode, age = env.reset(world, w), np.arange(w), np.zeros(w, np.int64)
    begun, open_ = w, n
    while True:
        action, propensity, pmf = decide(policy, view.context, choices, view.allowed)
        following, feedback = env.step(action)
        age += 1
        truncated = feedback.truncated
        if max_steps is not None:
            truncated = truncated | ((age >= max_steps) & ~feedback.terminated)
        yield Tick(
            episode, view.context, view.allowed, action, propensity, pmf,
            feedback.reward, feedback.outcomes, feedback.terminated, truncated, following.context, following.allowed,
        )  # fmt: skip
        view, ended = following, feedback.terminated | truncated
        count = int(np.count_nonzero(ended))
        if not count:
            continue
        open_ -= int(np.count_nonzero(episode[ended] < n))
        if open_ == 0:
            return
        episode = episode.copy()  # the tick that was yielded keeps its own
        episode[ended], age[ended] = np.arange(begun, begun + count), 0
        begun, view = begun + count, env.renew(ended)


def decide(
    policy: Policy, context: np.ndarray, rng: np.random.Generator, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """An action per row, its probability (or density), and the whole pmf if discrete; the policy is asked once."""
    probs = getattr(policy, "probs", None)
    if probs is None:
        return *policy.act(context, rng, allowed), None
    pmf = probs(context, allowed)
    action = explore.draw(pmf, rng.random(len(pmf)))
    return action, pmf[np.arange(len(pmf)), action], pmf
