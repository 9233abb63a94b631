"""Paired differences of two policies on one logged decision, bounded below so that they can be bet on.

Rewards r are scaled to [0, 1]. w_n, w_o are the weights of the new and the old policy, π(a|x)/b(a|x).
"""

from __future__ import annotations

import numpy as np

_CHUNK = 4096  # rows


def ips_difference(w_new: np.ndarray, w_old: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """D = w_n r + w_o (1 − r) − 1: never below −1 and of mean V_n − V_o, whatever policy made the log.

    Proof. w ≥ 0 and r in [0, 1], so D ≥ −1. Where the log supports both policies E w_o = 1, hence
    E D = E w_n r + E w_o − E w_o r − 1 = V_n − V_o. If it lacks support, E w_n r ≤ V_n and
    E w_o (1 − r) ≤ 1 − V_o, so E D ≤ V_n − V_o and a bet on D errs to the safe side. If the old policy made the
    log, w_o = 1 and D = (w_n − 1) r.

    The plain difference (w_n − w_o) r has the same mean but is bounded below only if w_o is.

    Args: three f64[n]. Returns f64[n], in units of the reward's range.

    >>> ips_difference(np.array([4.0, 0.0]), np.array([1.0, 3.0]), np.array([1.0, 1.0])).tolist()
    [3.0, -1.0]
    """
    return w_new * reward + w_old * (1.0 - reward) - 1.0


def ratios(policy: np.ndarray, behavior: np.ndarray) -> np.ndarray:
    """π(a|x)/b(a|x) of every action, 0 where the behavior policy cannot act. f64[n, k] each."""
    return np.divide(policy, behavior, out=np.zeros_like(behavior), where=behavior > 0)


def controlled_difference(
    new: np.ndarray,
    old: np.ndarray,
    behavior: np.ndarray,
    action: np.ndarray,
    reward: np.ndarray,
    q: np.ndarray,
    bounds: np.ndarray,
) -> np.ndarray:
    """Doubly robust paired difference, using as much of the reward model as each floor −B_j allows.

    D_j = (w_n − w_o)(a) r + (1 − s_j) (w_o(a) − 1) + s_j [Σ_a b (w_n − w_o) q − (w_n − w_o)(a) q(a)]

    At s = 0 this is ``ips_difference``, at s = 1 the doubly robust difference. Both control terms have mean 0 given
    x, so the mean is V_n − V_o for every s(x) and every q, right or wrong. D is affine in s and in r, so
    s_j(x) = the largest s in [0, 1] with min over all supported a and r in {0, 1} of D ≥ −B_j has a closed form.
    It looks at x only, never at the action taken or its reward: that keeps the mean, and makes the floor hold for
    every action that might have been taken. Actions without support are assumed to pay the candidate nothing and the
    incumbent everything, so there the mean is too low: the safe side.

    Args:
        new, old, behavior: f64[n, k] probabilities of all actions; rows sum to 1.
        action: i32[n];  reward: f64[n] in [0, 1].
        q: f64[n, k] any model of the scaled reward that has not seen these rows.
        bounds: f64[J] ≥ 1, fixed beforehand.
    Returns:
        f64[n, J] with entries ≥ −B_j.
    """
    out = np.empty((len(action), len(bounds)))
    for first in range(0, len(action), _CHUNK):
        part = slice(first, first + _CHUNK)
        tables = new[part], old[part], behavior[part]
        out[part] = _controlled(*tables, action[part], reward[part], q[part], bounds)
    return out


def _controlled(new, old, behavior, action, reward, q, bounds) -> np.ndarray:
    """``controlled_difference`` of rows whose columns fit in a core's cache together."""
    rows = np.arange(len(action))
    w_old = ratios(old, behavior)
    gap = ratios(new, behavior) - w_old  # [n, k]
    # What the incumbent would do without support counts as paying 1, as it does at s = 0 through E w_o < 1.
    expected = (behavior * gap * q - old * (behavior <= 0)).sum(1)  # [n]
    control = w_old - 1.0 - (expected[:, None] - gap * q)  # [n, k] how much one unit of s takes away
    room = np.minimum(gap, 0.0) + w_old - 1.0  # [n, k] the worst D at s = 0, given the action; ≥ −1
    binding = (behavior > 0) & (control > 1e-12)
    per_unit = np.where(binding, 1.0 / np.where(binding, control, 1.0), 0.0)
    base = np.where(binding, room * per_unit, 1.0)  # where the control only adds, all of it may be used
    share = np.ones((len(action), len(bounds)))  # [n, J] s_j(x) = min_a (room_a + B_j) / control_a
    for a in range(behavior.shape[1]):
        np.minimum(share, base[:, a, None] + per_unit[:, a, None] * bounds, out=share)
    fixed = gap[rows, action] * reward + w_old[rows, action] - 1.0  # [n] D at s = 0
    return np.maximum(fixed[:, None] - share * control[rows, action][:, None], -bounds)  # the maximum: rounding only
