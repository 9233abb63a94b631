"""Decisions that stand in the log twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from understudy.core.evidence import Finding
from understudy.ope.audit.log import Log

_EFFECT = "Copies count as independent evidence: intervals are too narrow and the copied rows weigh double."
_CURE = "Make ids idempotent (one id per decision, re-sent unchanged), and keep one row per decision."


def duplicates(log: Log) -> Iterator[Finding]:
    """The same decision id twice, or under different ids the same moment, context and action."""
    steps = log.steps
    if steps.origin is not None:
        again = repeated(steps.origin.decision)
        if again.any():
            yield log.finding(
                "duplicated_decisions", again, "the same decision id stands in several rows", _EFFECT, _CURE
            )
            return
    content = np.column_stack(
        [_codes(steps.context), steps.action if steps.action.ndim == 1 else _codes(steps.action), steps.time]
    )
    again = repeated(_codes(content))
    if again.any() and float(repeated(steps.time).mean()) < 0.5:
        yield log.finding(
            "duplicated_decisions",
            again,
            "rows agree in time, context and action under different ids",
            _EFFECT,
            _CURE,
        )


def repeated(keys: np.ndarray) -> np.ndarray:
    """bool[n]: the key was seen in an earlier row."""
    _, first = np.unique(keys, return_index=True)
    again = np.ones(len(keys), bool)
    again[first] = False
    return again


def _codes(columns: np.ndarray) -> np.ndarray:
    """One integer per distinct row of a table."""
    table = np.ascontiguousarray(columns)
    view = table.view(np.dtype((np.void, table.dtype.itemsize * table.shape[1]))).ravel()
    return np.unique(view, return_inverse=True)[1]
