"""What LinUCB and LinTS share: sums that grow by addition, and the Gaussian posterior they imply."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.protocols import LoggedDataset
from understudy.core.steps import Steps
from understudy.models.feature_map import FeatureMap, fit_feature_map
from understudy.models.fitting import discrete
from understudy.models.ridge import Sums, sums


@dataclass(frozen=True)
class Learned:
    """All a linear bandit knows: per action Σ λ^age z zᵀ and Σ λ^age z r, z = (φ(x), 1), age in decisions."""

    features: FeatureMap
    sums: Sums
    forgetting: float = 1.0  # λ; 1 forgets nothing

    def update(self, steps: Steps) -> Learned:
        """More decisions, oldest first. One batch or one decision at a time: the same sums, to rounding."""
        age = np.arange(steps.n - 1, -1, -1, dtype=np.float64)
        weight = self.forgetting**age
        new = sums(self.features, steps, len(self.sums.cross), weight)
        keep = self.forgetting**steps.n
        return Learned(
            self.features,
            Sums(keep * self.sums.gram + new.gram, keep * self.sums.cross + new.cross),
            self.forgetting,
        )


def nothing_learned(features: FeatureMap, k: int, forgetting: float) -> Learned:
    """The state before the first decision."""
    p = features.width + 1
    return Learned(features, Sums(np.zeros((k, p, p)), np.zeros((k, p))), forgetting)


def learn(data: LoggedDataset, forgetting: float, signed_log: bool, quadratic: bool = False) -> Learned:
    """Two passes: features, then sums in the order of the log."""
    k = discrete(data.problem, "a linear bandit")
    features = fit_feature_map(data.problem, data.scan(), signed_log, quadratic)
    learned = nothing_learned(features, k, forgetting)
    for batch in data.scan():
        learned = learned.update(batch)
    return learned


@dataclass(frozen=True)
class Posterior:
    """Gaussian over coefficients for unit noise: mean θ and a root L of the covariance, C = L Lᵀ.

    disjoint: one block per action, θ f64[k, p]. shared: a common vector and one deviation per action, jointly:
    action a's coefficients are β + δ_a, prior precision ``penalty`` on every entry.
    """

    mean: np.ndarray  # f64[k, p] of each action's coefficients
    root: np.ndarray  # f64[k, p, p] (disjoint), or f64[(k+1)p, (k+1)p] (shared)
    shared: bool

    def covariance(self) -> np.ndarray:
        """C_a of each action's coefficients, f64[k, p, p]."""
        if not self.shared:
            return self.root @ self.root.transpose(0, 2, 1)
        whole, (k, p) = self.root @ self.root.T, self.mean.shape
        blocks = whole.reshape(k + 1, p, k + 1, p).transpose(0, 2, 1, 3)  # [k+1, k+1, p, p]
        return np.stack([blocks[0, 0] + blocks[0, a] + blocks[a, 0] + blocks[a, a] for a in range(1, k + 1)])

    def draws(self, count: int, scale: float, rng: np.random.Generator) -> np.ndarray:
        """``count`` coefficients from N(θ, scale² C), f64[count, k, p]."""
        k, p = self.mean.shape
        if not self.shared:
            noise = rng.standard_normal((count, k, p))
            return self.mean + scale * np.einsum("kij,mkj->mki", self.root, noise)
        noise = (rng.standard_normal((count, (k + 1) * p)) @ self.root.T).reshape(count, k + 1, p)
        return self.mean + scale * (noise[:, :1] + noise[:, 1:])


def posterior(learned: Learned, penalty: float, shared: bool) -> Posterior:
    """Precision A = penalty·I + Σ z zᵀ, mean A⁻¹ Σ z r. Source: Bishop 2006, equations 3.50 and 3.51."""
    gram, cross = learned.sums.gram, learned.sums.cross
    k, p = cross.shape
    if not shared:
        precision = gram + penalty * np.eye(p)
        mean = np.linalg.solve(precision, cross[:, :, None])[:, :, 0]
        return Posterior(mean, _root(precision), False)
    size = (k + 1) * p
    precision, top = np.zeros((size, size)), np.zeros(size)
    precision[:p, :p], top[:p] = gram.sum(0), cross.sum(0)
    for a in range(k):
        own = slice((a + 1) * p, (a + 2) * p)
        precision[own, own] = precision[:p, own] = precision[own, :p] = gram[a]
        top[own] = cross[a]
    precision += penalty * np.eye(size)
    solution = np.linalg.solve(precision, top).reshape(k + 1, p)
    return Posterior(solution[:1] + solution[1:], _root(precision), True)


def _root(precision: np.ndarray) -> np.ndarray:
    """L with L Lᵀ = precision⁻¹: the transposed inverse of its Cholesky factor. f64[..., p, p]."""
    lower = np.linalg.cholesky(precision)
    return np.swapaxes(np.linalg.inv(lower), -1, -2)


def check(what: str, penalty: float, forgetting: float, epsilon: float) -> None:
    """The ranges that both learners share. Raises ConfigError."""
    if not penalty > 0:
        raise ConfigError(f"{what}: penalty must be > 0; got {penalty}", field="penalty")
    if not 0 < forgetting <= 1:
        raise ConfigError(f"{what}: forgetting must lie in (0, 1]; got {forgetting}", field="forgetting")
    if not 0 <= epsilon <= 1:
        raise ConfigError(f"{what}: epsilon must lie in [0, 1]; got {epsilon}", field="epsilon")
