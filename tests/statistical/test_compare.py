"""Comparisons keep their word: coverage, false claims among identical learners, and no optimism on fresh seeds.

The whole grid is benchmarks/compare.py. Eight exact binomial tests at 1e-4: a correct build fails on fewer than one
seed in 1,000.
"""

from __future__ import annotations

import numpy as np
import pytest

from understudy.ops.bootstrap import interval
from understudy.ops.intervals import binomial_p
from understudy.ops.multiple import best_interval, paired_mean, simultaneous
from understudy.runs.compare.asked import Asked
from understudy.runs.compare.compare import compared
from understudy.runs.compare.records import Record

LEARNERS = 20
ROUNDS = 400

pytestmark = pytest.mark.statistical


def test_intervals_of_the_interquartile_mean_cover() -> None:
    """10 normal runs of one task, and 5 each of five: at least 93 %, tests at 1e-4 each."""
    rng = np.random.default_rng(0)
    for tasks, runs in ((1, 10), (5, 5)):
        hits = 0
        for seed in range(ROUNDS):
            low, high = interval(list(rng.normal(size=(tasks, runs))), ["iqm"], times=400, seed=seed)["iqm"]
            hits += low <= 0 <= high
        assert binomial_p(hits, ROUNDS, 0.93, "less") > 1e-4, (tasks, hits / ROUNDS)


@pytest.mark.parametrize("peaks", [False, True])
def test_among_twenty_identical_learners_nothing_is_claimed(peaks: bool) -> None:
    """190 pairs on 10 shared seeds: a claim in ≤ 5 % of studies, by Holm and by intervals; unadjusted, in most."""
    rng, claims, naive = np.random.default_rng(1), np.zeros(2, int), 0
    for _ in range(ROUNDS):
        scores = rng.normal(size=(LEARNERS, 10)) * (0.1 if peaks else 1.0)
        scores += rng.random((LEARNERS, 10)) < 0.7 if peaks else rng.normal(size=10)  # a hard seed is hard for all
        pairs = [paired_mean([scores[a] - scores[b]]) for a in range(LEARNERS) for b in range(a)]
        adjusted, low, high = simultaneous(pairs)
        claims += [(adjusted <= 0.05).any(), ((low > 0) | (high < 0)).any()]
        naive += any(pair.p <= 0.05 for pair in pairs)
    for found in claims:
        assert binomial_p(int(found), ROUNDS, 0.05, "greater") > 1e-4, claims / ROUNDS
    assert naive > 0.5 * ROUNDS


def test_the_best_of_twenty_twins_covers_the_truth_on_fresh_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    """Chosen on 5 seeds, reported on 10 others: ≥ 93 %, without bias. On the seeds that chose: far from it."""
    rng, rounds = np.random.default_rng(2), 250
    hits, gap = {"fresh": 0, "naive": 0, "corrected": 0}, {"fresh": 0.0, "naive": 0.0}
    for _ in range(rounds):
        scores = rng.normal(size=(LEARNERS, 15))
        records = [
            Record("twins", "t", f"{i:02}", seed, "done", "", {"settings.twin": i}, float(scores[i, seed]))
            for i in range(LEARNERS)
            for seed in range(15)
        ]
        told = compared(records, Asked(select=(0, 1, 2, 3, 4), times=300), "twins", 0).results[0]
        assert told.iqm.low is not None and told.iqm.high is not None
        best = scores[int(scores[:, :5].mean(1).argmax()), :5]
        naive, corrected = interval([best], ["iqm"], times=300)["iqm"], best_interval(scores[:, :5])
        ends = {"fresh": (told.iqm.low, told.iqm.high), "naive": naive, "corrected": corrected}
        hits = {name: hits[name] + (low <= 0 <= high) for name, (low, high) in ends.items()}
        gap = {"fresh": gap["fresh"] + told.mean.value / rounds, "naive": gap["naive"] + best.mean() / rounds}
    with capsys.disabled():
        print(f"\nbest of {LEARNERS} twins covers: " + ", ".join(f"{k} {v / rounds:.1%}" for k, v in hits.items()))
    assert binomial_p(hits["fresh"], rounds, 0.93, "less") > 1e-4, hits
    assert binomial_p(hits["corrected"], rounds, 0.93, "less") > 1e-4, hits
    assert binomial_p(hits["naive"], rounds, 0.85, "less") < 1e-4, hits
    assert abs(gap["fresh"]) < 5 / np.sqrt(10 * rounds) < 0.5 < gap["naive"]
