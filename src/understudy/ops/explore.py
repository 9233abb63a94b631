"""Exploration: scores of actions to probabilities. Pure, vectorised over rows, and every rule respects ``allowed``.

Throughout: scores f64[n, k], higher is better; allowed bool[n, k] or None (all); result f64[n, k] whose rows sum to 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from understudy.core.errors import ConfigError, DataError

TOLERANCE = 1e-9  # how far from 1 the probabilities of a row may sum


def mask(shape: tuple[int, int], allowed: np.ndarray | None) -> np.ndarray:
    """``allowed`` as bool[n, k], all True where None; a row with nothing to do is a DataError."""
    if allowed is None:
        return np.ones(shape, bool)
    if allowed.shape != shape:
        raise DataError(f"allowed has shape {allowed.shape}, but there are {shape[0]} rows of {shape[1]} actions")
    empty = ~allowed.any(1)  # [n]
    if empty.any():
        raise DataError(
            f"{int(empty.sum())} of {shape[0]} rows allow no action; first: row {int(empty.argmax())}",
            "A policy has to do something.",
        )
    return allowed.astype(bool, copy=False)


def uniform(shape: tuple[int, int], allowed: np.ndarray | None = None) -> np.ndarray:
    """1 / (number of allowed actions) on each of them."""
    ok = mask(shape, allowed)
    return ok / ok.sum(1, keepdims=True)


def greedy(scores: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
    """All probability on the best allowed action; ties share it equally."""
    ok = mask(scores.shape, allowed)
    inside = np.where(ok, scores, -np.inf)
    best = ok & (inside >= inside.max(1, keepdims=True))
    return best / best.sum(1, keepdims=True)


def epsilon_greedy(scores: np.ndarray, epsilon: float, allowed: np.ndarray | None = None) -> np.ndarray:
    """p = ε/K + (1 − ε)·greedy, K the number of allowed actions; tied best actions share the greedy part.

    >>> epsilon_greedy(np.array([[0.0, 0.0, 1.0, 0.0]]), 0.4).round(3).tolist()
    [[0.1, 0.1, 0.7, 0.1]]
    """
    return mix([uniform(scores.shape, allowed), greedy(scores, allowed)], [epsilon, 1 - epsilon])


def epsilon_top(k: int, top: int, epsilon: float) -> np.ndarray:
    """ε-greedy around one named action; an index beyond the last action means the last. → f64[k]."""
    if not 0 <= epsilon <= 1:
        raise ConfigError(f"epsilon must be in [0, 1]; got {epsilon}", field="epsilon")
    p = np.full(k, epsilon / k)
    p[min(top, k - 1)] += 1 - epsilon
    return p


def softmax(scores: np.ndarray, strength: float, allowed: np.ndarray | None = None) -> np.ndarray:
    """p ∝ exp(λ·score) over the allowed actions, λ = ``strength``; costs c are scores −c.

    >>> softmax(np.array([[1.0, 2.0, 3.0, 8.0]]), 0.2).round(3).tolist()
    [[0.129, 0.157, 0.192, 0.522]]
    """
    ok = mask(scores.shape, allowed)
    inside = np.where(ok, strength * scores, -np.inf)
    weights = np.exp(inside - inside.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def squarecb(scores: np.ndarray, gamma: float | np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
    """Inverse gap weighting: p_a = 1 / (K + γ·(best − score_a)); the best action takes what is left.

    Tied best actions share what is left, so that the result does not depend on the order of actions.
    γ is a number, or f64[n] one per row. Source: Foster & Rakhlin 2020, "Beyond UCB", algorithm 1 (SquareCB).

    >>> squarecb(-np.array([[0.2, 0.5, 0.3]]), 10.0).round(6).tolist()
    [[0.583333, 0.166667, 0.25]]
    """
    return _gap_weighted(scores, gamma, None, allowed)


def fastcb(costs: np.ndarray, gamma: float | np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
    """The logarithmic-loss form: p_a = c* / (K·c* + γ·(c_a − c*)), c* the least cost; costs in [0, 1].

    Where the best cost is 0 all probability goes to the best actions: with small losses it explores less.
    Source: Foster & Krishnamurthy 2021, "Efficient first-order contextual bandits", equation 6 (FastCB).
    """
    return _gap_weighted(-costs, gamma, costs, allowed)


def _gap_weighted(
    scores: np.ndarray, gamma: float | np.ndarray, costs: np.ndarray | None, allowed: np.ndarray | None
) -> np.ndarray:
    ok = mask(scores.shape, allowed)
    inside = np.where(ok, scores, -np.inf)
    top = inside.max(1, keepdims=True)  # [n, 1]
    best = ok & (inside >= top)
    k = ok.sum(1, keepdims=True)
    gap = np.where(ok & ~best, top - np.where(ok, scores, 0.0), 1.0)
    scale = 1.0 if costs is None else np.clip(-top, 0.0, None)  # c*, the least allowed cost
    with np.errstate(over="ignore"):  # an infinite gap has probability 0, which is right
        p = np.where(ok & ~best, scale / (scale * k + np.reshape(gamma, (-1, 1)) * gap), 0.0)
    return p + best * ((1 - p.sum(1, keepdims=True)) / best.sum(1, keepdims=True))


def gamma_schedule(gamma_scale: float, t: float | np.ndarray, exponent: float = 0.5) -> np.ndarray:
    """γ_t = gamma_scale · t^ρ: how SquareCB settles as decisions accumulate; t counts from 1."""
    return gamma_scale * np.maximum(np.asarray(t, np.float64), 1.0) ** exponent


def by_weight(weights: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
    """p ∝ weight over the allowed actions; where all weigh 0 the first allowed action is taken.

    >>> by_weight(np.array([[0.0, 0.0, 0.0]])).tolist()
    [[1.0, 0.0, 0.0]]
    """
    ok = mask(weights.shape, allowed)
    inside = np.where(ok, weights, 0.0)
    total = inside.sum(1, keepdims=True)
    first = np.arange(weights.shape[1]) == ok.argmax(1)[:, None]
    return np.where(total > 0, inside / np.where(total > 0, total, 1.0), first)


def votes(choices: np.ndarray, k: int) -> np.ndarray:
    """Share of the voters for each action: choices i64[voters, n] → f64[n, k]; no voter, the first action."""
    counts = (choices[:, :, None] == np.arange(k)).sum(0).astype(np.float64)
    return by_weight(counts)


def member_votes(members: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
    """Each member's best allowed action gets one vote (ties share it): f64[members, n, k] → f64[n, k]."""
    ok = mask(members.shape[1:], allowed)
    # Action by action: k passes over [members, n] are four times faster than one along a short last axis.
    scores = [np.where(ok[:, a], members[:, :, a], -np.inf) for a in range(ok.shape[1])]  # k of [members, n]
    top = scores[0]
    for score in scores[1:]:
        top = np.maximum(top, score)
    best = [(score >= top) & ok[:, a] for a, score in enumerate(scores)]
    ties = np.zeros(top.shape)
    for own in best:
        ties += own
    return np.stack([(own / ties).mean(0) for own in best], axis=1)


def by_rank(scores: np.ndarray, decay: float, allowed: np.ndarray | None = None) -> np.ndarray:
    """p ∝ decay^rank, rank 0 the best; tied actions get the mean of the ranks they span. 0 < decay ≤ 1."""
    ok = mask(scores.shape, allowed)
    inside = np.where(ok, scores, -np.inf)
    above = (inside[:, None, :] > inside[:, :, None]).sum(2)  # [n, k] allowed actions that are better
    level = ((inside[:, None, :] == inside[:, :, None]) & ok[:, None, :]).sum(2)  # [n, k] as good, itself included
    return by_weight(np.where(ok, decay ** (above + (level - 1) / 2), 0.0), allowed)


def first_n(scores: np.ndarray, t: int, n: int, allowed: np.ndarray | None = None) -> np.ndarray:
    """Uniform while fewer than n decisions were made (t counts from 0), greedy afterwards."""
    return uniform(scores.shape, allowed) if t < n else greedy(scores, allowed)


def mix(pmfs: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Σ_i w_i p_i: draw a rule, then draw from it. Weights are non-negative and sum to 1."""
    if len(pmfs) != len(weights) or min(weights) < 0 or not abs(sum(weights) - 1) <= TOLERANCE:  # NaN too
        raise ConfigError(f"a mixture needs one weight ≥ 0 per part, summing to 1; got {list(weights)}")
    total = np.zeros_like(pmfs[0], np.float64)
    for p, weight in zip(pmfs, weights):
        total = total + weight * p
    return total


def draw(p: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Inverse CDF: the action at u of each row. p f64[n, k], u f64[n] in [0, 1) → i32[n]; never one with p = 0."""
    cdf = p.cumsum(1)
    chosen = (cdf <= (u * cdf[:, -1])[:, None]).sum(1)
    last = p.shape[1] - 1 - (p[:, ::-1] > 0).argmax(1)  # rounding must not carry u past the last possible action
    return np.minimum(chosen, last).astype(np.int32)


def check_pmf(p: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
    """``p`` itself if it is a pmf per row, else a DataError that names the first offender.

    Rules: finite, ≥ 0, exactly 0 where not allowed, rows summing to 1 within 1e-9.
    """
    forbidden = np.zeros(p.shape, bool) if allowed is None else (p != 0) & ~allowed
    faults = {
        "are not finite": ~np.isfinite(p).all(1),
        "have a negative probability": (p < 0).any(1),
        "give probability to an action that is not allowed": forbidden.any(1),
        "do not sum to 1": ~(np.abs(p.sum(1) - 1) <= TOLERANCE),
    }
    for fault, rows in faults.items():
        if rows.any():
            i = int(rows.argmax())
            raise DataError(
                f"{int(rows.sum())} of {len(p)} rows of probabilities {fault}; first: row {i}, {p[i].tolist()}",
                "A propensity drawn from such a row would be wrong, and every estimate made from it.",
                field="propensities",
            )
    return p
