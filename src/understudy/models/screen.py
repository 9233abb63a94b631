"""The best action of a network in single precision, where that is proven to be the best in double; else in double."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.models.network import Network
from understudy.models.policies import Explore, Mixture
from understudy.models.q_network import QNetwork
from understudy.ops import explore

Probs = Callable[[np.ndarray, np.ndarray | None], np.ndarray]
_UNIT = 2.0**-24  # half the distance from 1 to the next f32
_SLACK = 1.01  # for the rounding of the bound itself, and of the double pass


@dataclass(frozen=True)
class Screen:
    """A multilayer perceptron in f32, and how far its outputs may be from those of the same weights in f64.

    ‖e_{i+1}‖ ≤ ‖W‖·‖e_i‖ + γ_{n+1}(‖|W|‖·‖h_i‖ + ‖b‖), γ_n = n·u/(1 − n·u): whatever the order of the sums, and a ReLU
    moves no two values apart. Source: Higham 2002, "Accuracy and stability of numerical algorithms", equation 3.12.
    """

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]  # (f32[in, out], f32[out])
    norms: tuple[tuple[float, float, float], ...]  # ‖W‖₂, γ‖|W|‖₂, γ‖b‖₂

    @staticmethod
    def of(layers: tuple[tuple[np.ndarray, np.ndarray], ...]) -> Screen:
        """The screen of one network's layers."""
        norms = []
        for w, b in layers:
            gamma = (len(w) + 1) * _UNIT / (1 - (len(w) + 1) * _UNIT)
            wide = w.astype(np.float64)
            size = [float(np.linalg.norm(each, 2)) if w.size else 0.0 for each in (wide, np.abs(wide))]
            norms.append((size[0], gamma * size[1], gamma * float(np.linalg.norm(b.astype(np.float64)))))
        return Screen(layers, tuple(norms))

    def scores(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """f32[n, d′] → (scores f32[n, k], f64[n] the most they are off; a bound that is not finite proves nothing)."""
        error = np.zeros(len(x))
        for i, ((w, b), (spread, rounding, offset)) in enumerate(zip(self.layers, self.norms)):
            size = np.sqrt(np.einsum("ij,ij->i", x, x).astype(np.float64))
            error = spread * error + rounding * size + offset
            x = x @ w
            x += b
            if i < len(self.layers) - 1:
                np.maximum(x, 0, out=x)
        return x, _SLACK * error + 1e-30


def probabilities(policy: Any) -> Probs:
    """A function that gives ``policy.probs``, to the last bit, in half the time where the best action is all it needs.

    So far: greedy and ε-greedy over one network without a link, and mixtures of such; any other policy is asked itself.
    """
    if isinstance(policy, Mixture):
        parts = [probabilities(each) for each in policy.policies]
        return lambda context, allowed: explore.mix([part(context, allowed) for part in parts], policy.weights)
    if isinstance(policy, Explore) and policy.rule in ("greedy", "epsilon_greedy") and _plain(policy.model):
        return _screened(policy)
    return policy.probs


def _plain(model: Any) -> bool:
    """Whether the order of a model's values is that of its last layer's outputs."""
    one = isinstance(model, (Network, QNetwork)) and len(model.layers[0][0]) == 1 and model.layers[-1][0].shape[2] > 1
    if isinstance(model, QNetwork):
        return one and model.head == "plain" and model.scale > 0
    return one and model.link == "identity" and model.high > model.low


def _screened(policy: Explore) -> Probs:
    model: Any = policy.model
    screen = Screen.of(tuple((w[0], b[0]) for w, b in model.layers))

    def probs(context: np.ndarray, allowed: np.ndarray | None) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            scores, error = screen.scores(model.features(context))
            scores = scores.astype(np.float64)
            ok = explore.mask(scores.shape, allowed)
            inside = np.where(ok, scores, -np.inf)
            top = np.partition(inside, -2, axis=1)[:, -2:]
            unsure = ~(top[:, 1] - top[:, 0] > 2 * error)
        p = explore.greedy(np.where(np.isnan(scores), -np.inf, scores), allowed)
        if policy.rule == "epsilon_greedy":
            p = explore.mix([explore.uniform(p.shape, allowed), p], [policy.amount, 1 - policy.amount])
        if unsure.any():
            p[unsure] = policy.probs(context[unsure], None if allowed is None else allowed[unsure])
        return p

    return probs
