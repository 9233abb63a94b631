"""Segments of the customers who are judged: by what only the simulator knows, and by a history of their own.

The history is a log of uniform coupons in the same shops with other luck: what a shop has before it targets anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from understudy.core.steps import Steps
from understudy.envs.retail.metrics import depths, outcomes
from understudy.envs.retail.world import Retail
from understudy.envs.rollout import episodes
from understudy.models.policies import Uniform
from understudy.ops.segmenting import RFM_LABELS, codes, elasticity, quantile_edges, relevance, rfm, rfm_groups

HISTORY = 3_000_000  # added to a seed: no judged episode shares the luck of the history
Key = tuple[int, int]  # environment, place


@dataclass(frozen=True)
class Groups:
    """A rule that gave every customer a segment."""

    name: str
    note: str
    known: bool
    labels: tuple[str, ...]
    of: Mapping[Key, int]

    def index(self, environment: np.ndarray, customer: np.ndarray) -> np.ndarray:
        """i64[m] place in ``labels``; −1 for a customer without a history."""
        return np.array([self.of.get((int(e), int(c)), -1) for e, c in zip(environment, customer)], np.int64)


@dataclass(frozen=True)
class History:
    """Uniform coupons in the shops that judge, one episode a customer."""

    steps: Steps
    keys: tuple[Key, ...]
    sensitivity: np.ndarray  # f64[m] latent
    elasticity: np.ndarray  # f64[m] estimated
    revenue: np.ndarray  # f64[m]
    relevance: tuple[tuple[str, float], ...]
    groups: tuple[Groups, ...]


def history(world: Retail, customers: int, seed: int) -> History:
    """A history of the first ``customers`` of these shops, and the segments it gives them."""
    log = episodes(world, Uniform(world.problem.actions.k), customers, seed=HISTORY + seed)
    told, begins = outcomes(log, world.problem), log.starts[:-1]
    keys = tuple(zip(told["environment"][begins].astype(int).tolist(), told["customer"][begins].astype(int).tolist()))
    sensitivity = told["sensitivity"][begins]
    off = depths(world.problem)[log.action]
    answer = elasticity(log.starts, np.log(1 - off), told["units"])
    found = rfm(log.starts, told["units"] > 0, told["revenue"])
    shown = [(name, relevance(log.context[:, j].astype(np.float64), log.reward))
             for j, name in enumerate(world.problem.feature_names)]  # fmt: skip
    return History(
        log, keys, sensitivity, answer, np.add.reduceat(told["revenue"], begins),
        tuple(sorted(shown, key=lambda each: -each[1])),
        (_halves("price sensitivity", "The customers' true price coefficients, cut at their median; only the simulator "
                 "knows them.", False, ("sensitive", "insensitive"), sensitivity, keys),
         _halves("estimated elasticity", "How each customer's demand answered to random coupons in a history of "
                 "uniform coupons, cut at its median.", True, ("elastic", "inelastic"), answer, keys),
         Groups("RFM", "Recency, frequency and money of the same history: the sum of three ranks.", True, RFM_LABELS,
                dict(zip(keys, rfm_groups(found).tolist())))),
    )  # fmt: skip


def _halves(
    name: str, note: str, known: bool, labels: tuple[str, ...], values: np.ndarray, keys: tuple[Key, ...]
) -> Groups:
    code = codes(values, quantile_edges(values, len(labels)))
    return Groups(name, note, known, labels, dict(zip(keys, code.tolist())))
