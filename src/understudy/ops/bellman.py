"""Bellman targets over an array namespace ``xp`` (NumPy or jax.numpy): losses and tests share these lines.

Throughout: q f[..., b, k] values of every action; allowed bool[b, k] or None (all).
"""

from __future__ import annotations

from typing import Any

NEVER = -1e9  # the value of an action that is not allowed: finite, so that 0 times it is 0


def masked(xp: Any, q: Any, allowed: Any) -> Any:
    """q, and ``NEVER`` where an action is not allowed."""
    return q if allowed is None else xp.where(allowed, q, NEVER)


def taken(xp: Any, q: Any, action: Any) -> Any:
    """q(x, a) of given actions: f[..., b, k], i[b] → f[..., b]."""
    index = xp.broadcast_to(action[:, None], (*q.shape[:-1], 1))
    return xp.take_along_axis(q, index, -1)[..., 0]


def average(xp: Any, q: Any, allowed: Any) -> Any:
    """Mean of q over the allowed actions; 0 where none is."""
    if allowed is None:
        return q.mean(-1)
    return xp.where(allowed, q, 0.0).sum(-1) / xp.maximum(allowed.sum(-1), 1)


def best(xp: Any, chooser: Any, q: Any, allowed: Any = None, soften: float = 0.0) -> Any:
    """(1 − ε)·q(x, argmax_a chooser(x, a)) + ε·mean_a q(x, a) over the allowed actions, ε = ``soften``.

    ``chooser`` = q is the maximum; the online network's values over a lagged q are double Q-learning
    (van Hasselt, Guez & Silver 2016, equation 3). ε > 0 is the expected SARSA target of an ε-greedy policy
    (van Seijen et al. 2009, equation 5): it keeps the maximum from chasing actions the log knows little of.
    """
    top = taken(xp, q, masked(xp, chooser, allowed).argmax(-1))
    return top if soften == 0 else (1 - soften) * top + soften * average(xp, q, allowed)


def expected(xp: Any, probs: Any, q: Any) -> Any:
    """Σ_a π(a|x) q(x, a)."""
    return (probs * q).sum(-1)


def softmax(xp: Any, scores: Any, allowed: Any = None, temperature: float = 1.0) -> Any:
    """π(a|x) ∝ exp(s_a / T) over the allowed actions; all 0 where none is allowed."""
    inside = masked(xp, scores / temperature, allowed)
    weights = xp.exp(inside - inside.max(-1)[..., None])
    if allowed is not None:
        weights = xp.where(allowed, weights, 0.0)
    return weights / xp.maximum(weights.sum(-1), 1e-30)[..., None]


def log_softmax(xp: Any, scores: Any, allowed: Any = None) -> Any:
    """log π(a|x) of the softmax; ``NEVER`` or less where an action is not allowed."""
    inside = masked(xp, scores, allowed)
    shifted = inside - inside.max(-1)[..., None]
    return shifted - xp.log(xp.exp(shifted).sum(-1))[..., None]


def huber(xp: Any, error: Any, edge: float = 1.0) -> Any:
    """½e² up to |e| = edge, then edge·(|e| − ½ edge). Source: Huber 1964."""
    size = xp.abs(error)
    inner = xp.minimum(size, edge)
    return inner * (size - 0.5 * inner)


def squared(xp: Any, error: Any) -> Any:
    """e², beside Huber's ½e² near 0."""
    return error**2


LOSSES = {"huber": huber, "squared": squared}


def expectile(xp: Any, error: Any, level: float) -> Any:
    """|level − 1(e < 0)|·e²: its minimiser is an expectile. Source: Kostrikov, Nair & Levine 2022, equation 3."""
    return xp.where(error < 0, 1 - level, level) * error**2


def likely(xp: Any, probs: Any, threshold: float, allowed: Any = None) -> Any:
    """bool[..., b, k]: π_b(a|x) / max_a' π_b(a'|x) ≥ threshold, among the allowed actions.

    The actions that batch-constrained Q-learning may take. Source: Fujimoto et al. 2019 (discrete BCQ), equation 5.
    """
    inside = probs if allowed is None else xp.where(allowed, probs, 0.0)
    keep = inside >= threshold * inside.max(-1)[..., None]
    return keep if allowed is None else keep & allowed


def lag(xp: Any, slow: Any, fast: Any, rate: float) -> Any:
    """(1 − τ)·slow + τ·fast of one array: an exponential moving average. Source: Lillicrap et al. 2016, algorithm 1."""
    return slow + rate * (fast - slow)
