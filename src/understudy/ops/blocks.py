"""Sums over blocks of units: they merge by plain addition, and leaving out one block at a time gives a standard error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from understudy.core.errors import EvidenceError
from understudy.core.evidence import Totals
from understudy.core.hashing import buckets

BLOCKS = 256


@dataclass(frozen=True)
class Jackknife:
    """A smooth value with the spread that leaving out one block at a time shows."""

    value: float
    std_error: float
    replicates: np.ndarray  # f64[G] the value without each non-empty block
    counts: np.ndarray  # f64[G] episodes in each non-empty block
    df: float  # effective number of blocks (Σm)²/Σm² minus 1


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
    """Delete-one-block jackknife for blocks of unequal size.

    With h_j = N/m_j, θ̂ the value of all and θ̂₍ⱼ₎ without block j:
    θ̃_j = h_j θ̂ − (h_j − 1) θ̂₍ⱼ₎,   θ_J = G θ̂ − Σ_j (1 − 1/h_j) θ̂₍ⱼ₎,
    SE² = (1/G) Σ_j (θ̃_j − θ_J)² / (h_j − 1).  Equal blocks: the ordinary jackknife.

    Args:
        value: means [..., p] → [...], smooth.
        whole: sums [K, p] and counts [K] of K blocks; empty blocks are left out.
    Raises:
        EvidenceError: fewer than two blocks hold a unit.
    Source: Busing, Meijer & van der Leeden 1999, "Delete-m jackknife for unequal m", equations (5)–(8).
    """
    sums, counts = nonempty(whole)
    n, g = counts.sum(), len(counts)
    with np.errstate(divide="ignore", invalid="ignore"):  # a block may hold all overlap; the replicate is then NaN
        point = float(value(sums.sum(0) / n))
        replicates = np.asarray(value(leave_one_out(sums, counts)), np.float64)  # f64[G]
    h = n / counts
    pseudo = h * point - (h - 1) * replicates
    center = g * point - ((1 - 1 / h) * replicates).sum()
    variance = ((pseudo - center) ** 2 / (h - 1)).mean()
    return Jackknife(point, float(np.sqrt(variance)), replicates, counts, float(n * n / (counts * counts).sum() - 1))


def leave_one_out(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Means [G, p] of all but one block; sums [G, p] and counts [G] of non-empty blocks."""
    return (sums.sum(0) - sums) / (counts.sum() - counts)[:, None]


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
