"""Sums over blocks of units: they merge by addition, and leaving out one block at a time gives a standard error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from understudy.core.errors import EvidenceError
from understudy.core.evidence import Totals
from understudy.core.hashing import buckets
from understudy.ops.intervals import Bounds, jackknife_interval

BLOCKS = 256


@dataclass(frozen=True)
class Jackknife:
    """A smooth value, and what it would have been without each block."""

    value: float
    replicates: np.ndarray  # f64[G] the value without each non-empty block
    counts: np.ndarray  # f64[G] episodes in each non-empty block

    def bounds(self, level: float) -> Bounds:
        """Standard error and interval; see ``intervals.jackknife_interval``."""
        return jackknife_interval(np.array(self.value), self.replicates, self.counts, level)


def totals(terms: np.ndarray, unit: np.ndarray, k: int = BLOCKS) -> Totals:
    """Terms [m, p] summed into k blocks by a stable hash of the unit u64[m]; ``a + b`` is the whole.

    A unit's episodes always share a block, on every machine, so partition and order do not matter.
    """
    return block_sums(terms, buckets(unit, k), k)


def block_sums(terms: np.ndarray, block: np.ndarray, k: int) -> Totals:
    """Terms [m, p] summed by block index i64[m] in [0, k)."""
    columns = [np.bincount(block, weights=column, minlength=k) for column in terms.T]  # p × f64[k]
    sums = np.stack(columns, axis=1) if columns else np.zeros((k, 0))  # f64[k, p]
    return Totals(sums, np.bincount(block, minlength=k).astype(np.float64))


def jackknife(value: Callable[[np.ndarray], np.ndarray | float], whole: Totals) -> Jackknife:
    """Delete-one-block jackknife: the value of all, and the value without each block of units.

    θ̂ = value(Σ_j s_j / N),   θ̂₍ⱼ₎ = value((Σ_i s_i − s_j) / (N − m_j)).

    Args:
        value: means [..., p] → [...], smooth.
        whole: sums [K, p] and counts [K] of K blocks; empty blocks are left out.
    Raises:
        EvidenceError: fewer than two blocks hold a unit.
    Source: Miller 1974; Tukey 1958.
    """
    sums, counts = nonempty(whole)
    with np.errstate(divide="ignore", invalid="ignore"):  # a block may hold all overlap; that replicate is NaN
        point = float(value(sums.sum(0) / counts.sum()))
        replicates = np.asarray(value(leave_one_out(sums, counts)), np.float64)  # f64[G]
    return Jackknife(point, replicates, counts)


def leave_one_out(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Means [..., K, p] without each block; sums [..., K, p], counts [..., K]. Without an empty block: that of all."""
    rest = counts.sum(-1, keepdims=True) - counts  # [..., K]
    return (sums.sum(-2, keepdims=True) - sums) / rest[..., None]


def nonempty(whole: Totals) -> tuple[np.ndarray, np.ndarray]:
    """(sums [G, p], counts [G]) of the blocks that hold a unit; EvidenceError if fewer than two do."""
    full = whole.counts > 0
    if int(full.sum()) < 2:
        raise EvidenceError(
            f"the estimate rests on {int(full.sum())} block of independent units, and at least two are needed",
            "One unit says nothing about how units differ, so no standard error exists.",
            "Collect more units, or check that `unit` names who is independent of whom.",
            field="unit",
        )
    return whole.sums[full], whole.counts[full]
