"""Oracle F13 by our estimators: IPS on logs of Statlog Shuttle has the value and the spread that theory gives."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from understudy.ope.estimators.ips import IPS
from understudy.ope.estimators.snips import SNIPS
from understudy.ope.evidence import from_arrays, point_values

FILE = Path(__file__).parents[3].parent / "shared" / "data" / "statlog-shuttle" / "shuttle.trn"


@pytest.fixture(scope="module")
def label() -> np.ndarray:
    if not FILE.exists():
        pytest.skip(f"no file {FILE}")
    label = np.loadtxt(FILE, dtype=np.int64)[:, -1] - 1
    return label[~np.isin(label, [5, 6])]


def test_always_the_first_action(label: np.ndarray) -> None:
    """Logged by the target itself, the estimate is the exact value 34,108 / 43,483 = .7843985006."""
    n = len(label)
    action, ones = np.zeros(n, np.int64), np.ones(n)
    probs = np.tile(np.eye(7)[0], (n, 1))
    value = point_values(from_arrays(action, (label == 0).astype(float), ones, probs), {"ips": IPS(), "snips": SNIPS()})
    assert value["ips"] == value["snips"] == pytest.approx(34_108 / 43_483, abs=1e-12)
    assert value["ips"] == pytest.approx(0.7843985006, abs=5e-11)


def test_the_spread_of_ips_under_uniform_logging(label: np.ndarray) -> None:
    """Var = (7 v − v²)/n for a deterministic target of cost v: 400 logs of 7,500 rows of a target with v near .18.

    (n − 1) s²/σ² is χ² with 399 degrees of freedom; the two-sided test at 1e-4 raises a false alarm once in 10,000
    seeds, and so does that of the mean.
    """
    rng = np.random.default_rng(13)
    right = rng.random(len(label)) < 0.82  # the target answers rightly on a fixed 82 % of the rows
    choice = np.where(right, label, (label + 1) % 7)
    v, n, runs = float((choice != label).mean()), 7_500, 400
    found = np.empty(runs)
    for i in range(runs):
        rows = rng.integers(0, len(label), n)
        action = rng.integers(0, 7, n)
        cost = (action != label[rows]).astype(float)
        e = from_arrays(action, cost, np.full(n, 1 / 7), np.eye(7)[choice[rows]], match=False)
        found[i] = point_values(e, {"ips": IPS()})["ips"]
    sigma = np.sqrt((7 * v - v * v) / n)
    low, high = stats.chi2.ppf([5e-5, 1 - 5e-5], runs - 1)
    assert low < (runs - 1) * found.var(ddof=1) / sigma**2 < high
    assert abs(found.mean() - v) < 3.9 * sigma / np.sqrt(runs)
