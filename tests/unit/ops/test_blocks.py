"""Sums over blocks of units, and what leaving one out shows."""

import numpy as np
import pytest

from understudy.core.errors import EvidenceError
from understudy.core.evidence import Totals
from understudy.core.hashing import buckets
from understudy.ops.blocks import block_sums, jackknife, leave_one_out, totals


def test_rows_are_summed_where_their_index_says() -> None:
    """Blocks 0, 2, 0 of three: 1 + 4, nothing, 2; counts 2, 0, 1."""
    got = block_sums(np.array([[1.0, 10], [2, 20], [4, 40]]), np.array([0, 2, 0]), 3)
    np.testing.assert_array_equal(got.sums, [[5, 50], [0, 0], [2, 20]])
    np.testing.assert_array_equal(got.counts, [2, 0, 1])


def test_a_unit_is_never_cut() -> None:
    """All rows of a unit fall into the block that the stable hash names."""
    unit = np.repeat(np.arange(40, dtype=np.uint64), 3)
    got = totals(np.ones((120, 1)), unit, 16)
    np.testing.assert_array_equal(got.counts, np.bincount(buckets(unit, 16), minlength=16))
    assert (got.counts % 3 == 0).all()


def test_the_jackknife_of_a_mean_is_its_textbook_standard_error() -> None:
    """With one row per block the delete-one jackknife of a mean is s/√n exactly."""
    x = np.array([1.0, 4, 9, 16, 25])
    found = jackknife(lambda mean: mean[..., 0], Totals(x[:, None], np.ones(5)))
    assert found.value == 11.0
    np.testing.assert_allclose(found.replicates, (55 - x) / 4)
    assert float(found.bounds(0.95).std_error) == pytest.approx(x.std(ddof=1) / np.sqrt(5), rel=1e-12)


def test_empty_blocks_change_nothing() -> None:
    """Blocks that no unit fell into are left out of value, spread and degrees of freedom."""
    x = np.array([1.0, 4, 9])
    full = jackknife(lambda mean: mean[..., 0], Totals(x[:, None], np.ones(3))).bounds(0.9)
    gaps = Totals(np.array([[1.0], [0], [4], [9], [0]]), np.array([1.0, 0, 1, 1, 0]))
    sparse = jackknife(lambda mean: mean[..., 0], gaps).bounds(0.9)
    assert (full.low, full.high, full.df) == (sparse.low, sparse.high, sparse.df)


def test_one_unit_has_no_standard_error() -> None:
    """A log of a single unit is refused with the hint that names `unit`."""
    with pytest.raises(EvidenceError, match="at least two"):
        jackknife(lambda mean: mean[..., 0], totals(np.ones((9, 1)), np.full(9, 7, np.uint64)))


def test_leaving_out_broadcasts() -> None:
    """Two logs at once give what each gives alone."""
    sums, counts = np.arange(12.0).reshape(2, 3, 2), np.array([[1.0, 2, 3], [4, 5, 6]])
    both = leave_one_out(sums, counts)
    for i in range(2):
        np.testing.assert_array_equal(both[i], leave_one_out(sums[i], counts[i]))
