"""Figures with intervals: environments are what is independent, so they are what is counted."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from understudy.envs.retail.metrics import Metrics, Paired, by_environment, paired_difference, paired_ratio
from understudy.report.compare_model import Number


def where(told: Metrics, keep: np.ndarray) -> Metrics:
    """The episodes marked in ``keep`` bool[m]."""
    return replace(told, **{field.name: getattr(told, field.name)[keep] for field in fields(told)})


def mean(values: np.ndarray, environment: np.ndarray, level: float = 0.95) -> Number:
    """The mean over environments of their means, with Student's interval; one environment has none."""
    from scipy.special import stdtrit

    parts = by_environment(values, environment)[1]
    value, n = float(parts.mean()) if len(parts) else float("nan"), len(parts)
    if n < 2:
        return Number(value)
    half = float(stdtrit(n - 1, (1 + level) / 2) * parts.std(ddof=1) / np.sqrt(n))
    return Number(value, value - half, value + half)


def ratio(a: Metrics, b: Metrics | None, name: str = "revenue") -> Number | None:
    """Σ a / Σ b over the environments both were seen in; None where that is fewer than two."""
    return None if b is None else _paired(paired_ratio, a, b, name)


def difference(a: Metrics, b: Metrics, name: str = "revenue") -> Number | None:
    """Mean over the same environments of a − b."""
    return _paired(paired_difference, a, b, name)


def _paired(how, a: Metrics, b: Metrics, name: str) -> Number | None:
    both = np.intersect1d(a.environment, b.environment)
    if len(both) < 2:
        return None
    left, right = (where(each, np.isin(each.environment, both)) for each in (a, b))
    found: Paired = how(left, right, name)
    return Number(found.value, found.low, found.high)
