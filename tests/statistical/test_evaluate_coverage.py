"""The public loop end to end: intervals that evaluate answers cover the truth. The grid is benchmarks/coverage.py."""

import numpy as np
import pytest

from understudy.core.steps import Steps
from understudy.data.dataset import MemoryDataset
from understudy.ope.evaluate import evaluate
from understudy.ops.intervals import binomial_p
from understudy.testing.cast import TINY, Table, tiny_bandit, true_value

BEHAVIOR = Table(((0.5, 0.3, 0.2), (0.2, 0.3, 0.5)))
TARGET = Table(((0.7, 0.2, 0.1), (0.1, 0.1, 0.8)))
LOGS = 400
PER_ROW = ("time", "context", "action", "reward", "terminated", "truncated", "propensity", "propensities")


class CellMeans:
    """A reward model fitted out-of-fold: the mean of each (context, action)."""

    def fit(self, steps: Steps, problem, *, seed, weight=None):
        cell = steps.context[:, 0].astype(int) * 3 + steps.action
        count = np.bincount(cell, minlength=6)
        table = np.divide(np.bincount(cell, steps.reward, 6), count, out=np.full(6, 0.5), where=count > 0)
        return Known(table.reshape(2, 3))


class Known:
    def __init__(self, table: np.ndarray) -> None:
        self.table = table

    def values(self, context: np.ndarray) -> np.ndarray:
        return self.table[context[:, 0].astype(int)]


@pytest.mark.statistical
@pytest.mark.parametrize("clustered", [False, True])
def test_intervals_of_targets_and_differences_cover(clustered: bool) -> None:
    """400 logs of 1,200 rows (or of 400 users who each come 1 to 5 times and repeat themselves): 93.5–96.5 %.

    Twelve one-sided exact tests at 5e-5 each: a correct build fails on fewer than one seed in 1,600.
    """
    truth = {"new": true_value(TARGET), "new - logged": true_value(TARGET) - true_value(BEHAVIOR)}
    hits = {(target, name): 0 for target in truth for name in ("ips", "snips", "dr")}
    for seed in range(LOGS):
        steps = tiny_bandit(BEHAVIOR, 400 if clustered else 1_200, seed)
        if clustered:
            times = np.random.default_rng([seed, 1]).integers(1, 6, steps.n)
            rows = np.repeat(np.arange(steps.n), times)
            per_row = {name: getattr(steps, name)[rows] for name in PER_ROW}
            steps = steps.with_(starts=np.arange(len(rows) + 1), unit=rows.astype(np.uint64), **per_row)
        found = evaluate(MemoryDataset(TINY, steps), {"new": TARGET}, ["ips", "snips", "dr"], q=CellMeans(),
                         against="logged", seed=seed)  # fmt: skip
        for e in found:
            if e.target in truth:
                assert not e.refused, e.notes
                hits[e.target, e.estimator] += e.low <= truth[e.target] <= e.high
    for case, n in hits.items():
        assert binomial_p(n, LOGS, 0.935, "less") > 5e-5, (case, n / LOGS)
        assert binomial_p(n, LOGS, 0.965, "greater") > 5e-5, (case, n / LOGS)
