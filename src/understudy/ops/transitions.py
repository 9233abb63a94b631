"""Steps → (step, later step) pairs: what temporal-difference learning reads."""

from __future__ import annotations

import numpy as np

from understudy.core.errors import DataError
from understudy.core.steps import Steps, Transitions


def transitions(steps: Steps, rows: np.ndarray, discount: float, n: int = 1) -> Transitions:
    """(step, step n later) pairs of the given rows i64[b]; fewer steps where the episode ends before.

    R = Σ_{i<j} γ^{H_i} r_{t+i} and discount = γ^{H_j}·(1 − terminated), j = min(n, steps to the end), H_i = Σ_{l<i} h_l
    with h the span of a step (1 where the log says nothing). A truncated episode goes on from ``final_context``, where
    ``final_allowed`` says what could be done; where nobody logged that, every action could, as in a log without masks:
    what was allowed one step earlier says nothing about it.
    """
    reward, factor = np.zeros(len(rows)), np.ones(len(rows))  # Σ γ^H r, γ^H
    last, alive = rows.copy(), np.ones(len(rows), bool)
    for i in range(n):
        at = rows[alive] + i
        reward[alive] += factor[alive] * steps.reward[at]
        factor[alive] *= discount if steps.span is None else discount ** steps.span[at]
        last[alive] = at
        alive[alive] = ~(steps.terminated[at] | steps.truncated[at])
        if not alive.any():
            break
    following = np.minimum(last + 1, steps.n - 1)
    next_context = np.where(alive[:, None], steps.context[following], steps.context[last])
    cut = steps.truncated[last]
    beyond = np.where(alive, following, last)
    next_allowed = None if steps.allowed is None else steps.allowed[beyond]
    if cut.any():
        if steps.final_context is None:
            raise DataError(
                f"{int(cut.sum())} of {len(rows)} sampled steps are truncated and the log has no final context",
                "What would have followed is unknown, so their Bellman target is undefined.",
            )
        episode = np.searchsorted(steps.starts, last[cut], side="right") - 1
        next_context[cut] = steps.final_context[episode]
        if next_allowed is not None:
            next_allowed[cut] = True if steps.final_allowed is None else steps.final_allowed[episode]
    return Transitions(
        context=steps.context[rows],
        action=steps.action[rows],
        reward=reward.astype(np.float32),
        discount=(factor * ~steps.terminated[last]).astype(np.float32),
        next_context=next_context,
        next_allowed=next_allowed,
        propensity=None if steps.propensity is None else steps.propensity[rows],
        weight=np.ones(len(rows), np.float32),
        next_action=steps.action[beyond],
        allowed=None if steps.allowed is None else steps.allowed[rows],
    )
