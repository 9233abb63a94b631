"""What a shop says of a policy beyond its rewards: figures of whole episodes, and what every coupon would have paid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from understudy.core.problem import Problem
from understudy.core.protocols import Policy
from understudy.core.steps import Steps
from understudy.envs.retail.metrics import NAMES, halves, metrics
from understudy.envs.rollout import episodes
from understudy.ops import explore

if TYPE_CHECKING:
    from understudy.envs.retail.world import Retail

HALVES = ("sensitive", "insensitive")


def figures(steps: Steps, problem: Problem, categories: int) -> dict[str, float]:
    """Means over episodes of every metric; the share of each coupon; the metrics of either half by price sensitivity.

    Halves are cut at the median of the customers' latent price coefficients: ``revenue[sensitive]``.
    """
    told = metrics(steps, problem, categories)
    found = {name: _mean(getattr(told, name)) for name in NAMES}
    found |= {f"share[{name}]": float(share) for name, share in zip(problem.actions.names, told.share.mean(0))}
    half = halves(told.sensitivity)
    for code, label in enumerate(HALVES):
        found |= {f"{name}[{label}]": _mean(getattr(told, name)[half == code]) for name in NAMES}
    return found


def revealed(
    world: Retail, policy: Policy, n_episodes: int, seed: int, width: int | None = None
) -> tuple[Steps, np.ndarray]:
    """The log ``rollout.episodes`` makes with equal arguments, and E[r|state, a] f64[n, k] of each of its steps.

    Nobody may leave for good: rows and expectations are matched by their places.
    """
    witness = _Witness(world, policy)
    log = episodes(world, witness, n_episodes, seed=seed, width=width)
    w, k, t = len(witness.seen[0]), world.problem.actions.k, world.settings.steps
    pays = np.array(witness.seen).reshape(-1, t, w, k).swapaxes(1, 2)  # [rounds, w, t, k]
    return log, pays.reshape(-1, k)[: log.n]


class _Witness:
    """A policy that notes, whenever it is asked, what each coupon would pay in the world as it stands."""

    def __init__(self, world: Retail, policy: Policy) -> None:
        self.world, self.policy = world, policy
        self.seen: list[np.ndarray] = []
        self.luck = np.random.default_rng(0)

    def probs(self, context: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        p = self.policy.probs(context, allowed)  # type: ignore[attr-defined]
        others = explore.draw(p, self.luck.random(len(p)))  # what others are offered moves the cut of utilities
        self.seen.append(self.world.expected(others=others))
        return p

    def prob(self, context: np.ndarray, action: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        return self.policy.prob(context, action, allowed)

    def act(
        self, context: np.ndarray, rng: np.random.Generator, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        p = self.probs(context, allowed)
        action = explore.draw(p, rng.random(len(p)))
        return action, p[np.arange(len(p)), action]

    def state(self):  # a Policy has one; nobody keeps a witness
        return self.policy.state()


def _mean(values: np.ndarray) -> float:
    """NaN left out; NaN where there is nothing else."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
