"""The fold behind the standard map: count, mean and spread of every raw column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.models.features.kinds import signed_log


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations of each raw column, mergeable by ``+``. Arrays are f64[2, d].

    Row 0 is the raw value, row 1 its signed logarithm. Source: Chan, Golub & LeVeque 1983, equations 1.5.
    """

    count: np.ndarray  # f64[d] values present
    missing: np.ndarray  # f64[d]
    mean: np.ndarray  # f64[2, d]
    spread: np.ndarray  # f64[2, d] Σ (x − mean)²

    @staticmethod
    def of(context: np.ndarray) -> Moments:
        """The moments of one batch, f32[n, d]; NaN is missing."""
        absent = np.isnan(context)
        count = (~absent).sum(0).astype(np.float64)
        raw = np.where(absent, 0.0, context.astype(np.float64))
        both = np.stack([raw, signed_log(raw)])  # [2, n, d]
        mean = both.sum(1) / np.maximum(count, 1)
        spread = (np.where(absent, 0.0, both - mean[:, None]) ** 2).sum(1)
        return Moments(count, absent.sum(0).astype(np.float64), mean, spread)

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        share = other.count / np.maximum(count, 1)
        delta = other.mean - self.mean
        spread = self.spread + other.spread + delta**2 * self.count * share
        return Moments(count, self.missing + other.missing, self.mean + delta * share, spread)
