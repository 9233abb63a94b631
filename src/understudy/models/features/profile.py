"""The fold behind ``identify``: what has been seen of every raw column, mergeable by ``+`` in any order.

Exact, over all values: counts, smallest and largest, moments up to the fourth, whether all are whole, and the distinct
values while there are at most ``DISTINCT`` of them. Sampled: the values that quantiles and Box–Cox are computed from,
uniformly without replacement, at most ``size`` per column. A value is in the sample if the hash of its row is among
the lowest, so the sample depends on which rows there are and not on how they were cut into batches or merged; up to
``size`` values it holds them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from understudy.core.hashing import mix
from understudy.ops.shape import Shape, merged, shape_of

DISTINCT = 1_024  # distinct values that are kept; of more it is only known that they are more
SAMPLE = 100_000  # values per column that quantiles and Box–Cox see
_PROBE = 2_048  # values that mostly suffice to see that there are more than DISTINCT


@dataclass(frozen=True)
class Sample:
    """The values of the ``size`` rows with the lowest priorities, in chunks that may hold some more."""

    size: int
    chunks: tuple[tuple[np.ndarray, np.ndarray], ...]  # (priority u64[c], value f32[c])
    bound: np.uint64  # no value with a priority above this can be among the lowest

    def __len__(self) -> int:
        return sum(len(values) for _, values in self.chunks)

    def __add__(self, other: Sample) -> Sample:
        bound = min(self.bound, other.bound)
        big, small = (self, other) if len(self) >= len(other) else (other, self)
        both = Sample(self.size, big.chunks + small.below(bound).chunks, bound)
        return both.cut() if len(both) > 2 * self.size else both

    def below(self, bound: np.uint64) -> Sample:
        """Without what cannot be among the lowest."""
        if bound >= self.bound:
            return self
        kept = [(priority, values, np.flatnonzero(priority <= bound)) for priority, values in self.chunks]
        return Sample(self.size, tuple((p.take(low), values.take(low)) for p, values, low in kept), bound)

    def cut(self) -> Sample:
        """Exactly the lowest, as one chunk."""
        if not self.chunks:
            return self
        priority, values = (np.concatenate(parts) for parts in zip(*self.chunks))
        if len(values) <= self.size:
            return Sample(self.size, ((priority, values),), self.bound)
        low = np.argpartition(priority, self.size - 1)[: self.size]
        priority = priority.take(low)
        return Sample(self.size, ((priority, values.take(low)),), priority.max())

    def ordered(self) -> np.ndarray:
        """The sampled values, ascending, f64[≤ size]."""
        whole = self.cut()
        return np.sort(whole.chunks[0][1]).astype(np.float64) if whole.chunks else np.zeros(0)


@dataclass(frozen=True)
class Profile:
    """What has been seen of d raw columns."""

    rows: int
    count: np.ndarray  # f64[d] values present and finite
    infinite: np.ndarray  # f64[d]
    low: np.ndarray  # f64[d] inf where nothing was seen
    high: np.ndarray  # f64[d]
    shape: Shape  # of the finite values, f64[d] each
    whole: np.ndarray  # bool[d] all are whole numbers
    distinct: tuple[np.ndarray | None, ...]  # sorted f32; None = more than DISTINCT
    samples: tuple[Sample, ...]

    @staticmethod
    def of(context: np.ndarray, rows: np.ndarray, *, size: int = SAMPLE, seed: int = 0) -> Profile:
        """The profile of one batch.

        Args:
            context: f32[n, d]; NaN is missing.
            rows: u64[n], the number of each row in the dataset, or any other name that no two rows share.
            size: values per column that are sampled at most.
            seed: another seed samples other rows.
        """
        priority = mix(rows, seed)
        seen = [_column(column, priority, size) for column in np.ascontiguousarray(context.T)]
        infinite, low, high = (np.array([one[i] for one in seen], np.float64) for i in range(3))
        shape = Shape(*(np.array(part, np.float64) for part in zip(*(one.shape for one in seen))))
        whole = np.array([one.whole for one in seen], bool)
        distinct, samples = tuple(one.distinct for one in seen), tuple(one.sample for one in seen)
        return Profile(len(context), np.asarray(shape.n), infinite, low, high, shape, whole, distinct, samples)

    def __add__(self, other: Profile) -> Profile:
        return Profile(
            self.rows + other.rows,
            self.count + other.count,
            self.infinite + other.infinite,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            merged(self.shape, other.shape),
            self.whole & other.whole,
            tuple(_union(a, b) for a, b in zip(self.distinct, other.distinct)),
            tuple(a + b for a, b in zip(self.samples, other.samples)),
        )


class _Column(NamedTuple):
    infinite: int
    low: float
    high: float
    shape: Shape
    whole: bool
    distinct: np.ndarray | None
    sample: Sample


_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


def _column(column: np.ndarray, priority: np.ndarray, size: int) -> _Column:
    """One column of a batch, f32[n]."""
    present = np.flatnonzero(~np.isnan(column))  # places are taken four times as fast as a mask is applied
    x, priority = column.take(present), priority.take(present)
    if not len(x):
        return _Column(0, np.inf, -np.inf, shape_of(x), True, x, Sample(size, (), _ALL))
    low, high, infinite = float(x.min()), float(x.max()), 0
    if not np.isfinite([low, high]).all():
        finite = np.isfinite(x)
        infinite = int((~finite).sum())
        x, priority = x[finite], priority[finite]
        low, high = (float(x.min()), float(x.max())) if len(x) else (np.inf, -np.inf)
    whole = bool((np.floor(x[:64]) == x[:64]).all() and (np.floor(x) == x).all())
    sample = Sample(size, ((priority, x),) if len(x) else (), _ALL)
    return _Column(infinite, low, high, shape_of(x.astype(np.float64)), whole, _distinct(x), sample)


def _distinct(x: np.ndarray) -> np.ndarray | None:
    """The distinct values, None if there are more than DISTINCT."""
    if len(x) > _PROBE and len(np.unique(x[:_PROBE])) > DISTINCT:
        return None
    found = np.unique(x)
    return found if len(found) <= DISTINCT else None


def _union(a: np.ndarray | None, b: np.ndarray | None) -> np.ndarray | None:
    return None if a is None or b is None else _distinct(np.concatenate([a, b]))


def profile(batches: Sequence[Profile]) -> Profile:
    """The sum of several; at least one."""
    total = batches[0]
    for batch in batches[1:]:
        total = total + batch
    return total
