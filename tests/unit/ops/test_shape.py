"""Moments that merge, K², and quantiles: by hand, and against a direct computation."""

import numpy as np
import pytest
from scipy import stats

from understudy.ops.boxcox import boxcox, boxcox_power, inverse_boxcox
from understudy.ops.shape import k_squared, merged, quantiles, shape_of


def test_moments_by_hand() -> None:
    """(1, 2, 6): mean 3, gaps −2, −1, 3; their squares sum to 14, cubes to 18, fourth powers to 98."""
    shape = shape_of(np.array([1.0, 2.0, 6.0]))
    assert shape == (3, 3, 14, 18, 98)
    np.testing.assert_allclose(shape.skewness, stats.skew([1, 2, 6]))
    np.testing.assert_allclose(shape.kurtosis, stats.kurtosis([1, 2, 6], fisher=False))


@pytest.mark.parametrize("cut", [0, 1, 2, 50, 99, 100])
def test_two_parts_have_the_moments_of_the_whole(cut: int) -> None:
    """Also where one part is empty, or a single value."""
    x = np.random.default_rng(0).gamma(2, size=100) + 1e3
    found = merged(shape_of(x[:cut]), shape_of(x[cut:]))
    np.testing.assert_allclose(np.array(found, float), np.array(shape_of(x), float), rtol=1e-9)


def test_k_squared_keeps_its_level() -> None:
    """Of normal samples 5 % exceed the 95th percentile of χ²₂; 2,000 samples: outside [70, 130] by chance 1 in 500."""
    rng = np.random.default_rng(5)
    shapes = [shape_of(rng.normal(size=400)) for _ in range(2000)]
    above = sum(k_squared(s.n, float(s.skewness), float(s.kurtosis)) > 5.991 for s in shapes)
    assert 70 <= above <= 130


def test_quantiles_of_one_and_of_two() -> None:
    """F(x_(k)) = k/n: half of (1, 2) is reached at 1."""
    assert quantiles(np.array([7.0]), 4).tolist() == [7] * 5
    assert quantiles(np.array([1.0, 2.0]), 4).tolist() == [1, 1, 1, 1.5, 2]


@pytest.mark.parametrize("power", [-2.0, -1e-9, 0.0, 1e-9, 0.3, 1.0, 5.0])
def test_boxcox_and_back(power: float) -> None:
    """Near λ = 0 too, where (x^λ − 1)/λ computed as written loses every digit."""
    x = np.array([0.1, 0.5, 1.0, 2.0, 10.0])
    y = boxcox(x, power)
    np.testing.assert_allclose(y, stats.boxcox(x, power), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(inverse_boxcox(y, power), x, rtol=1e-9)
    if abs(power) < 1e-8:
        np.testing.assert_allclose(y, np.log(x), rtol=1e-7, atol=1e-15)


def test_boxcox_of_extremes_is_defined() -> None:
    """An overflow is infinite; a y that no x gives goes to the nearest end."""
    assert boxcox(np.array([1e300]), 3.0) == np.inf and boxcox(np.array([np.inf]), -2.0) == 0.5
    assert inverse_boxcox(np.array([-1.0]), 2.0) == 0.0


@pytest.mark.parametrize("n", [100, 4_096, 9_000, 100_000])
def test_the_power_of_greatest_likelihood(n: int) -> None:
    """No neighbor is more likely, on both sides of the size from which a thinned sample goes first."""
    x = np.random.default_rng(n).gamma(1.5, size=n)
    power = boxcox_power(x)
    best = stats.boxcox_llf(power, x)
    assert all(stats.boxcox_llf(power + step, x) < best for step in (-1e-3, 1e-3))
    np.testing.assert_allclose(boxcox_power(x * 1e20), power, atol=1e-6)
