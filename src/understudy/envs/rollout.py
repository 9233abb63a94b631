"""A policy in a world makes a log: contexts, actions, the probabilities they were drawn with, rewards, times, units."""

from __future__ import annotations

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.hashing import mix, text_hash
from understudy.core.protocols import DiscretePolicy, Environment
from understudy.core.steps import Origin, Steps, bandit_steps, concat

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
