"""Families of paired differences against scipy, and the correction for a best of several."""

import numpy as np
import pytest
from scipy import stats

from understudy.ops.multiple import best_interval, left_out, paired_mean, simultaneous


def test_one_task_is_the_paired_t_test() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 9))
    found, known = paired_mean([a - b]), stats.ttest_rel(a, b)
    assert (found.p, found.df) == pytest.approx((known.pvalue, 8))
    ends = known.confidence_interval(0.95)
    _, low, high = simultaneous([found])
    assert (low[0], high[0]) == pytest.approx((ends.low, ends.high))


def test_two_tasks_are_welchs() -> None:
    """The mean of two tasks' means, one negated and halved, is Welch's test of two samples."""
    x, y = np.random.default_rng(1).normal(size=12) * 3, np.random.default_rng(2).normal(size=7)
    known = stats.ttest_ind(x, y, equal_var=False)
    found = paired_mean([x, -y])
    assert (found.p, found.df) == pytest.approx((known.pvalue, known.df))
    assert found.value == pytest.approx((x.mean() - y.mean()) / 2)


def test_a_family_pays_for_its_size() -> None:
    """Interval i is Student's at 1 − α/m; Holm claims 0.01 and 0.02 of three at 0.05, Bonferroni only the first."""
    pairs = [paired_mean([np.random.default_rng(i).normal(i, 1, 6)]) for i in range(3)]
    adjusted, low, high = simultaneous(pairs, 0.9)
    for i, pair in enumerate(pairs):
        ends = stats.t.interval(1 - 0.1 / 3, 5, pair.value, pair.std_error)
        assert (low[i], high[i]) == pytest.approx(ends)
    order = sorted(range(3), key=lambda i: pairs[i].p)
    assert adjusted[order[0]] == pytest.approx(min(1.0, 3 * pairs[order[0]].p))
    assert (np.diff(adjusted[order]) >= 0).all()


def test_nothing_varies_nothing_is_claimed() -> None:
    """Two learners that always score 500: a difference of 0 without an interval; and 500 against 400 no less."""
    for gap in (0.0, 100.0):
        found = paired_mean([np.full(5, gap)])
        adjusted, low, high = simultaneous([found])
        assert (found.value, found.std_error, adjusted[0]) == (gap, 0.0, 1.0) and np.isnan([low[0], high[0]]).all()


def test_no_pairs_no_family() -> None:
    assert all(len(part) == 0 for part in simultaneous([]))


def test_left_out_by_brute_force() -> None:
    scores = np.random.default_rng(3).normal(size=(4, 5))
    chosen, honest = left_out(scores)
    for i in range(5):
        best = int(np.delete(scores, i, 1).mean(1).argmax())
        assert (chosen[i], honest[i]) == (best, scores[best, i])


def test_the_best_ones_interval() -> None:
    """One setting: Student's. Two, of which the better never varies: the spread of both together."""
    scores = np.array([[1.0, 2.0, 4.0, 9.0]])
    ends = stats.t.interval(0.95, 3, 4.0, scores.std(ddof=1) / 2)
    assert best_interval(scores) == pytest.approx(ends)
    low, high = best_interval(np.vstack([np.full(4, 10.0), scores]))
    reach = stats.t.ppf(1 - 0.05 / 4, 6) * np.sqrt(scores.var(ddof=1) / 2) / 2
    assert (low, high) == pytest.approx((10 - reach, 10 + reach))
    assert np.isnan(best_interval(np.full((3, 4), 1.0))).all() and np.isnan(best_interval(np.ones((3, 1)))).all()
