"""Not only the mean: quantiles, tail means and the variance of the return that a policy would have earned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from understudy.core.errors import ConfigError, EvidenceError
from understudy.core.evidence import Estimate
from understudy.core.hashing import buckets
from understudy.core.protocols import LoggedDataset, Policy
from understudy.ope import sequential as seq
from understudy.ope.conclude import MIN_ESS
from understudy.ope.evidence import as_logged, check_needs, densities, no_overlap, weigh
from understudy.ope.naming import named
from understudy.ops import weights
from understudy.ops.blocks import BLOCKS

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
KNOTS = 4_096  # returns are told apart up to so many; beyond, by their quantiles
DRAWS = 500


@dataclass(frozen=True)
class _Returns:
    """Returns and weights of all episodes: 24 bytes each."""

    gain: np.ndarray  # f64[m]
    weight: np.ndarray  # f64[m]
    unit: np.ndarray  # u64[m]


def distribution(
    data: LoggedDataset,
    targets: Mapping[str, Policy | None],
    *,
    quantiles: Sequence[float] = QUANTILES,
    tails: Sequence[float] = (0.05,),
    level: float = 0.95,
    blocks: int = BLOCKS,
    seed: int = 0,
) -> tuple[Estimate, ...]:
    """The distribution of the return under each target: F̂(x) = Σ_i w_i 1(G_i ≤ x) / Σ_i w_i, w the whole episode's.

    quantile q: inf {x: F̂(x) ≥ q};  cvar a: mean of the worst share a of returns;  variance: Σ w (G − Ĝ)² / Σ w.
    Estimates are called ``quantile=0.5``, ``cvar=0.05``, ``variance``. Intervals are percentiles of a bootstrap over
    blocks of units, since quantiles are not smooth; refused below an effective sample size of 200 units.

    Args:
        targets: name → policy; "logged" with None is the log itself.
        quantiles, tails: in (0, 1).
    Raises:
        EvidenceError: no propensities; no overlap.
        ConfigError: a quantile or tail outside (0, 1).
    Source: Chandak et al. 2021, "Universal off-policy evaluation", equation (5), self-normalised.
    """
    for q in (*quantiles, *tails, level):
        if not 0 < q < 1:
            raise ConfigError(
                f"quantiles, tails and the level lie strictly between 0 and 1; got {q}", field="quantiles"
            )
    labels = [*(f"quantile={q:g}" for q in quantiles), *(f"cvar={a:g}" for a in tails), "variance"]
    answer: list[Estimate] = []
    for name, policy in targets.items():
        found = _read(data, policy)
        if not found.weight.sum() > 0:
            raise no_overlap("distribution", name)
        knots, table = _table(found, blocks)
        point = _statistics(table.sum(0)[None], knots, quantiles, tails)[0]
        low, high, error = _bootstrap(table, knots, quantiles, tails, level, seed)
        mass = np.bincount(np.unique(found.unit, return_inverse=True)[1], weights=found.weight)
        ess, share = float(weights.ess(mass)), float(weights.max_share(mass))
        why = () if ess >= MIN_ESS else (f"no interval: effective sample size {ess:.1f} of {len(mass)}, below 200",)
        answer += [
            Estimate(
                target=name,
                estimator=label,
                value=float(point[j]),
                std_error=None if why else float(error[j]),
                low=None if why else float(min(low[j], point[j])),
                high=None if why else float(max(high[j], point[j])),
                level=level,
                method="bootstrap",
                n_episodes=len(found.gain),
                n_units=len(mass),
                ess=ess,
                max_weight_share=share,
                matched=int((found.weight > 0).sum()),
                notes=why,
            )
            for j, label in enumerate(labels)
        ]
    return tuple(answer)


def _read(data: LoggedDataset, policy: Policy | None) -> _Returns:
    parts = []
    for steps in data.scan():
        if policy is None:
            e = as_logged(steps, data.problem.discount)
        elif hasattr(policy, "probs"):
            pi = np.asarray(policy.probs(steps.context, steps.allowed), np.float64)  # type: ignore[attr-defined]
            e = weigh(steps, pi, None, data.problem.discount)
        else:
            e = densities(steps, policy.prob(steps.context, steps.action, steps.allowed), data.problem.discount)
        check_needs(named(["wis"]), e)
        parts.append((seq.total(e), seq.final(e), steps.unit))
    if not parts:
        raise EvidenceError("the log is empty", "Nothing can be estimated from nothing.")
    return _Returns(*(np.concatenate(column) for column in zip(*parts)))


def _table(found: _Returns, blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """(returns f64[G], weight of each block on each f64[K, G]); empty blocks left out."""
    knots = np.unique(found.gain)
    if len(knots) > KNOTS:
        knots = np.unique(np.quantile(found.gain, np.linspace(0, 1, KNOTS), method="inverted_cdf"))
    place = np.searchsorted(knots, found.gain)  # the first knot not below: never more than one rank too high
    block = np.unique(buckets(found.unit, blocks), return_inverse=True)[1]
    size = int(block.max()) + 1
    flat = np.bincount(block * len(knots) + place, weights=found.weight, minlength=size * len(knots))
    return knots, flat.reshape(size, len(knots))


def _statistics(mass: np.ndarray, knots: np.ndarray, quantiles: Sequence[float], tails: Sequence[float]) -> np.ndarray:
    """[B, G] weights on returns → [B, number of statistics]."""
    share = mass / mass.sum(1, keepdims=True)
    cumulative = share.cumsum(1)
    columns = [knots[(cumulative < q - 1e-12).sum(1).clip(max=len(knots) - 1)] for q in quantiles]
    for a in tails:  # the worst share a: whole returns, and part of the one at the edge
        taken = np.minimum(cumulative, a) - np.minimum(cumulative - share, a)
        columns.append((taken @ knots) / a)
    mean = share @ knots
    return np.stack([*columns, (share * (knots - mean[:, None]) ** 2).sum(1)], axis=1)


def _bootstrap(
    table: np.ndarray, knots: np.ndarray, quantiles: Sequence[float], tails: Sequence[float], level: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(low, high, standard error) of every statistic, from blocks drawn with replacement."""
    rng, k = np.random.default_rng(seed), len(table)
    found = []
    for _ in range(DRAWS // 50):
        mass = rng.multinomial(k, np.full(k, 1 / k), 50) @ table  # [50, G]
        found.append(_statistics(mass[mass.sum(1) > 0], knots, quantiles, tails))
    drawn = np.concatenate(found)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high, drawn.std(0, ddof=1)
