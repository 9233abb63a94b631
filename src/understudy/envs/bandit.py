"""A synthetic contextual bandit: overlap, noise, heavy tails, drift, gaps and forbidden actions, each by one knob."""

from __future__ import annotations

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.envs.population import Population
from understudy.envs.rewards import heavy_share
from understudy.models.feature_map import FeatureMap, FittedFeature
from understudy.models.policies import Explore, Mixture, Uniform
from understudy.models.ridge import LinearModel

GROUPS = ("new", "regular", "gone")


def bandit(
    *,
    k: int = 5,
    d: int = 5,
    population: int = 5_000,
    rewards: str = "binary",
    noise: float = 0.0,
    drift: float = 0.0,
    horizon: int = 10_000,
    missing: float = 0.0,
    blocked: float = 0.0,
    seed: int = 0,
) -> Population:
    """A population of contexts with d numbers and one category, drawn once by ``seed``, whose means are known.

    m(x, a) = ½ + (1 − noise)·(σ(x·w_a + sin(2 x₀ + a) + u_{a,group}) − ½), for heavy rewards scaled into the lowest
    part of the range. The population is the truth, so every policy's value is exact.

    Args:
        rewards: binary, continuous, heavy or exact; see ``envs.rewards``.
        noise: 0 is the strongest signal, 1 none: all actions alike.
        drift: 0 is none; 1 moves the means, within ``horizon`` decisions, all the way to those of another world.
        missing: share of the numbers that nobody recorded. blocked: share of actions that are not allowed.
    """
    for name, value in (("noise", noise), ("drift", drift), ("missing", missing), ("blocked", blocked)):
        if not 0 <= value <= 1:
            raise ConfigError(f"bandit: {name} must lie in [0, 1]; got {value}", field=name)
    if k < 2 or d < 1 or population < 1:
        raise ConfigError(f"bandit: needs k ≥ 2, d ≥ 1, population ≥ 1; got {k}, {d}, {population}")
    rng = np.random.default_rng(seed)
    x, group = rng.standard_normal((population, d)), rng.integers(0, len(GROUPS), population)
    share = heavy_share() if rewards == "heavy" else 1.0
    means = share * _means(x, group, k, noise, rng)
    change = drift * (share * _means(x, group, k, noise, rng) - means) if drift else None
    recorded = np.where(rng.random(x.shape) < missing, np.nan, x)
    allowed = None
    if blocked:
        allowed = rng.random((population, k)) >= blocked
        allowed[np.arange(population), rng.integers(0, k, population)] = True
    numbers = tuple(Feature(name=f"x{i}", optional=missing > 0) for i in range(d))
    problem = Problem(
        features=(*numbers, Feature(name="group", kind="category", values=GROUPS)),
        actions=ActionSpace(names=tuple(f"a{a}" for a in range(k))),
    )
    context = np.column_stack([recorded, group])
    return Population(problem, context, means, rewards=rewards, allowed=allowed, drift=change, horizon=horizon)


def _means(x: np.ndarray, group: np.ndarray, k: int, noise: float, rng: np.random.Generator) -> np.ndarray:
    """f64[N, k] in (0, 1)."""
    weights, offsets = rng.standard_normal((x.shape[1], k)), rng.standard_normal((k, len(GROUPS)))
    score = x @ weights / np.sqrt(x.shape[1]) + np.sin(2 * x[:, :1] + np.arange(k)) + offsets[:, group].T
    return 0.5 + (1 - noise) * (1 / (1 + np.exp(-score)) - 0.5)


def behavior(env: Population, *, overlap: float, seed: int = 0, strength: float = 5.0) -> Mixture:
    """A logging policy with a chosen overlap: π = overlap·uniform + (1 − overlap)·softmax of random linear scores.

    The least propensity is at least overlap / k; overlap 1 is uniform logging, near 0 is almost deterministic.
    Missing numbers count as 0; categories are not read.
    """
    if not 0 < overlap <= 1:
        raise ConfigError(f"overlap must lie in (0, 1]; got {overlap}", field="overlap")
    rng = np.random.default_rng(seed)
    columns = tuple(
        FittedFeature(
            kind="number",
            source=i,
            name=feature.name,
            location=float(np.nanmean(env.context[:, i])),
            scale=float(np.nanstd(env.context[:, i])) or 1.0,
        )
        for i, feature in enumerate(env.problem.features)
        if feature.kind == "number"
    )
    coef = rng.standard_normal((env.k, len(columns))) / np.sqrt(max(len(columns), 1))
    model = LinearModel(FeatureMap(columns), coef, np.zeros(env.k))
    return Mixture((Uniform(env.k), Explore(model, "softmax", strength)), (overlap, 1 - overlap))
