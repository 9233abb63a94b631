"""Comparisons do not depend on the order of runs, and move with the scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.ops.bootstrap import SUMMARIES, interval, summary
from understudy.ops.improvement import improvement, improvement_interval
from understudy.runs.compare.asked import Asked
from understudy.runs.compare.compare import compared
from understudy.runs.compare.records import Record

score = st.integers(-50, 50).map(float)
strata = st.lists(st.lists(score, min_size=2, max_size=6).map(np.array), min_size=1, max_size=3)


def records(values: list[float]) -> list[Record]:
    """Two learners, two settings each, six seeds; every seventh run failed."""
    found = []
    for i, value in enumerate(values):
        seed, cell = divmod(i, 4)
        arm, rate = divmod(cell, 2)
        fields = {"learner": f"l{arm}", "settings.rate": float(rate)}
        state = "failed" if i % 7 == 6 else "done"
        found.append(
            Record(f"l{arm}", "t", f"{arm}{rate}", seed, state, "", fields, value if state == "done" else np.nan)
        )
    return found


runs = st.lists(score, min_size=24, max_size=24)
ASKED = Asked(select=(0, 1), times=60)


@settings(max_examples=25, deadline=None)
@given(runs, st.randoms(use_true_random=False))
def test_the_order_of_runs_is_irrelevant(values, random) -> None:
    """Every number of the comparison, not only the winner."""
    rows = records(values)
    before = compared(rows, ASKED, "t", 0)
    random.shuffle(rows)
    assert compared(rows, ASKED, "t", 0) == before


@settings(max_examples=25, deadline=None)
@given(runs, st.integers(-100, 100), st.sampled_from([0.25, 2.0, 8.0]))
def test_shift_and_scale_carry_over(values, shift, scale) -> None:
    """With b + a x for x: values and limits move alike, p-values, chances and choices stay. Powers of 2: exactly."""
    moved = [replace(row, score=shift + scale * row.score) for row in records(values)]
    one, two = (compared(rows, ASKED, "t", 0) for rows in (records(values), moved))
    by_arm = {row.arm: row for row in two.results}
    for row in one.results:
        other = by_arm[row.arm]
        assert row.setting == other.setting
        for name in SUMMARIES:
            for end in ("value", "low", "high"):
                found, known = getattr(getattr(other, name), end), getattr(getattr(row, name), end)
                np.testing.assert_allclose(found, shift + scale * known, atol=1e-9)
    for a, b in zip(one.pairs, two.pairs):
        assert {a.a, a.b} == {b.a, b.b} and (a.adjusted is None) == (b.adjusted is None)
        if a.adjusted is not None and b.adjusted is not None:
            np.testing.assert_allclose(a.adjusted, b.adjusted, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(strata)
def test_summaries_lie_between_the_lowest_and_the_highest(scores) -> None:
    """And so do the ends of their intervals."""
    low, high = min(s.min() for s in scores), max(s.max() for s in scores)
    ends = interval(scores, tuple(SUMMARIES), times=50)
    for name in SUMMARIES:
        assert low - 1e-9 <= summary(name, scores) <= high + 1e-9
        assert low - 1e-9 <= ends[name][0] <= ends[name][1] <= high + 1e-9


@settings(max_examples=100, deadline=None)
@given(strata, st.data())
def test_a_chance_and_its_opposite_add_to_one(a, data) -> None:
    """P(A > B) + P(B > A) = 1, limits mirrored; the chance lies inside them, and no increasing map changes it."""
    b = [np.array(data.draw(st.lists(score, min_size=2, max_size=6))) for _ in a]
    low, high = improvement_interval(a, b)
    assert 0 <= low <= improvement(a, b) + 1e-12 and improvement(a, b) - 1e-12 <= high <= 1
    np.testing.assert_allclose((1 - high, 1 - low), improvement_interval(b, a), atol=1e-9)
    cubed = ([s**3 for s in a], [s**3 for s in b])
    np.testing.assert_allclose((improvement(*cubed), *improvement_interval(*cubed)), (improvement(a, b), low, high))
