"""A policy in a world makes a log: contexts, actions, the probabilities they were drawn with, rewards, times, units."""

from __future__ import annotations

from typing import Any

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.hashing import mix, text_hash
from understudy.core.protocols import DiscretePolicy, Environment, EpisodicEnvironment, Policy
from understudy.core.steps import Origin, Steps, bandit_steps, concat
from understudy.envs.walk import walk

BATCH = 8_192
DAY = 86_400_000_000


def rollout(
    env: Environment,
    policy: DiscretePolicy,
    n: int,
    *,
    seed: int,
    start_time: int = 0,
    interval: int = 60_000_000,
    units: int = 0,
    policy_id: str = "",
) -> Steps:
    """n logged decisions of ``policy`` in ``env``, a bandit. Equal arguments give equal logs.

    Args:
        start_time, interval: microseconds since 1970 UTC of the first decision, and between decisions.
        units: how many users take turns at random; 0 makes every decision its own unit.
        policy_id: stamped on every row.

    World and policy draw from separate streams of the seed, so two policies meet the same contexts in a bandit.
    """
    if not env.problem.bandit:
        raise ConfigError("rollout makes logs of bandits; this problem's horizon is not 1", field="horizon")
    world, choices, people = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
    w = min(BATCH, n)
    view, parts, done = env.reset(world, w), [], 0
    while done < n:
        probs = policy.probs(view.context, view.allowed)  # [w, k]
        action, propensity = policy.act(view.context, choices, view.allowed)
        row = np.arange(done, done + w)
        decision = mix(row.astype(np.uint64), seed)
        following, feedback = env.step(action)
        parts.append(
            bandit_steps(
                view.context,
                action,
                feedback.reward,
                propensity,
                time=start_time + interval * row,
                unit=mix(people.integers(0, units, w).astype(np.uint64), 1) if units else decision,
                propensities=probs,
                allowed=view.allowed,
                outcomes=feedback.outcomes,
                origin=Origin(
                    decision=decision,
                    policy=np.full(w, text_hash(policy_id) if policy_id else 0, np.uint64),
                    delay=np.zeros(w),
                    arrived=np.ones(w, np.int32),
                ),
            )
        )
        view, done = following, done + w
    steps = concat(parts).with_(starts=np.arange(done + 1, dtype=np.int64))
    return steps if done == n else steps.episodes(np.arange(done) < n)  # a world steps all its w episodes at once


def episodes(
    env: EpisodicEnvironment,
    policy: Policy,
    n_episodes: int,
    *,
    seed: int,
    max_steps: int | None = None,
    width: int | None = None,
    start_time: int = 0,
    interval: int = 60_000_000,
    policy_id: str = "",
) -> Steps:
    """n complete episodes of ``policy`` in ``env``: exactly the first n that were begun. Equal arguments, equal logs.

    Args:
        max_steps: truncates an episode before the world's own limit does.
        width: episodes side by side, 100 if None; another width draws other episodes.
        start_time, interval: microseconds since 1970 UTC of the first decision, and between steps; side by side
            episodes decide at the same moments.
        policy_id: stamped on every row.
    """
    ticks = list(walk(env, policy, n_episodes, seed=seed, max_steps=max_steps, width=width))
    flat = {name: _flat([getattr(tick, name) for tick in ticks]) for name in ticks[0].__dataclass_fields__}
    episode = flat["episode"]
    order = np.argsort(episode, kind="stable")  # ticks are in order of time, so each episode's rows are too
    rows = order[: np.searchsorted(episode[order], n_episodes)]
    took: dict[str, Any] = {name: None if column is None else column[rows] for name, column in flat.items()}
    lengths = np.bincount(took["episode"], minlength=n_episodes)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    last, cut = starts[1:] - 1, took["truncated"][starts[1:] - 1]
    final = np.where(cut[:, None], took["following"][last], np.float32(np.nan))
    masks = took["next_allowed"]
    n = len(rows)
    return Steps(
        starts=starts,
        unit=mix(np.arange(n_episodes, dtype=np.uint64), seed),
        time=start_time + interval * (rows // len(ticks[0].reward)),
        context=took["context"],
        action=took["action"],
        reward=took["reward"],
        terminated=took["terminated"],
        truncated=took["truncated"],
        allowed=took["allowed"],
        propensity=took["propensity"],
        propensities=took["propensities"],
        outcomes=took["outcomes"],
        final_context=final,
        final_allowed=None if masks is None else masks[last] | ~cut[:, None],
        origin=Origin(
            decision=mix(np.arange(n, dtype=np.uint64), seed + 1),
            policy=np.full(n, text_hash(policy_id) if policy_id else 0, np.uint64),
            delay=np.zeros(n),
            arrived=np.ones(n, np.int32),
        ),
    )


def mean_return(
    env: EpisodicEnvironment,
    policy: Policy,
    n_episodes: int,
    seed: int,
    *,
    max_steps: int | None = None,
    width: int | None = None,
) -> np.ndarray:
    """Σ_t r_t, undiscounted, of n complete episodes: f64[n] to take the mean and its standard error of."""
    return played(env, policy, n_episodes, seed, max_steps=max_steps, width=width)[0]


def played(
    env: EpisodicEnvironment,
    policy: Policy,
    n_episodes: int,
    seed: int,
    *,
    max_steps: int | None = None,
    width: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(Σ_t r_t, undiscounted, f64[n]; steps i64[n]) of n complete episodes."""
    total = np.zeros(n_episodes + 1)  # the last place gathers what nobody asked for
    length = np.zeros(n_episodes + 1, np.int64)
    for tick in walk(env, policy, n_episodes, seed=seed, max_steps=max_steps, width=width):
        episode = np.minimum(tick.episode, n_episodes)
        np.add.at(total, episode, tick.reward)
        np.add.at(length, episode, 1)
    return total[:-1], length[:-1]


def _flat(parts: list[Any]) -> Any:
    return None if parts[0] is None else np.concatenate(parts)
