"""Tests and tails against closed forms, tables and simulation."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from understudy.ops import stats


def test_normal_p_is_two_sided() -> None:
    """P(|Z| ≥ 1.959964) = 0.05."""
    assert stats.normal_p(1.959963984540054) == pytest.approx(0.05, abs=1e-12)


def test_bennett_by_hand() -> None:
    """S = 2, V = 2, b = 1: u = 1, exponent 2 (2 ln 2 − 1), bound 2 exp(−0.7726) = 0.9235."""
    assert stats.bennett_p(2.0, 2.0) == pytest.approx(2 * np.exp(-2 * (2 * np.log(2) - 1)), rel=1e-12)
    assert stats.bennett_p(0.0, 2.0) == 1
    assert stats.bennett_p(1.0, 0.0) == 0


@pytest.mark.statistical
def test_bennett_holds_for_rare_events() -> None:
    """Sums of 300 centred Bernoulli(0.02): P(p ≤ 0.05) ≤ 0.05, as a bound must."""
    rng = np.random.default_rng(1)
    total = rng.binomial(300, 0.02, 20_000) - 6.0
    rejected = int((stats.bennett_p(total, np.full(20_000, 300 * 0.02 * 0.98)) <= 0.05).sum())
    # the bound is conservative, so a false alarm of this line is far rarer than 1e-6
    assert stats.binomial_lower(rejected, 20_000, 1 - 1e-6) <= 0.05


def test_homogeneity_ignores_empty_rows() -> None:
    """Same as scipy without correction; an empty column does not count; one row says nothing."""
    table = np.array([[10, 20, 0], [30, 15, 0]])
    expected = scipy_stats.chi2_contingency(table[:, :2], correction=False).pvalue
    assert stats.homogeneity_p(table) == pytest.approx(expected)
    assert stats.homogeneity_p(table[:1]) == 1


def test_binomial_limits_are_exact() -> None:
    """None in ten, ten in ten: Clopper–Pearson's one-sided limits 1 − .05^(1/10) and .05^(1/10)."""
    assert stats.binomial_upper(0, 10) == pytest.approx(1 - 0.05**0.1)
    assert stats.binomial_lower(10, 10) == pytest.approx(0.05**0.1)
    assert (stats.binomial_upper(10, 10), stats.binomial_lower(0, 10)) == (1.0, 0.0)


def test_kolmogorov_smirnov() -> None:
    """D as scipy has it; the asymptotic p-value near its own."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=500), rng.normal(size=700) + 0.2
    theirs = scipy_stats.ks_2samp(a, b, method="asymp")
    assert stats.ks_distance(a, b) == pytest.approx(theirs.statistic)
    assert stats.ks_p(a, b) == pytest.approx(theirs.pvalue, rel=0.3)
    assert stats.ks_p(a, np.array([])) == 1


def test_a_cross_table_counts_pairs() -> None:
    """Rows by the first code, columns by the second."""
    assert stats.cross_table(np.array([0, 1, 1]), np.array([2, 0, 0]), (2, 3)).tolist() == [[0, 0, 1], [2, 0, 0]]


def test_holm_steps_down() -> None:
    """p = .01, .04, .03: adjusted .03, .06, .06 (Holm 1979); Bonferroni takes the least times three."""
    assert stats.holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.bonferroni(np.array([0.01, 0.04, 0.03])) == pytest.approx(0.03)
    assert stats.bonferroni(np.array([])) == 1


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.9])
def test_pareto_k_finds_the_tail_of_a_pareto(shape: float) -> None:
    """Weights U^(−k) have tail shape k: the mean of k̂ over 20 samples is within 0.1 (k̂'s sd is about 0.07 each)."""
    rng = np.random.default_rng(3)
    found = [stats.pareto_k(rng.random(20_000) ** -shape) for _ in range(20)]
    assert np.mean(found) == pytest.approx(shape, abs=0.1)  # type: ignore[arg-type]


def test_pareto_k_needs_only_the_largest() -> None:
    """The tail_size + 1 largest weights and the number of all give the same k̂ as all of them."""
    w = np.random.default_rng(4).random(5000) ** -0.7
    top = np.sort(w)[-(stats.tail_size(5000) + 1) :]
    assert stats.pareto_k(top, 5000) == stats.pareto_k(w)


@pytest.mark.parametrize("weights", [np.ones(1000), np.zeros(1000), np.ones(12), np.array([])])
def test_pareto_k_of_no_tail_is_none(weights: np.ndarray) -> None:
    """Equal, zero or few weights have no tail to fit."""
    assert stats.pareto_k(weights) is None


def test_generalized_pareto_recovers_an_exponential() -> None:
    """Excesses Exp(2): shape 0 and scale 0.5 (4 sd of the estimates at n = 5,000: 0.06 and 0.04)."""
    x = np.sort(np.random.default_rng(5).exponential(0.5, 5000))
    shape, scale = stats.generalized_pareto(x)
    assert shape == pytest.approx(0, abs=0.06)
    assert scale == pytest.approx(0.5, abs=0.04)
