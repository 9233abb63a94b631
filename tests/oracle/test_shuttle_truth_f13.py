"""Oracle F13: what is exactly true of Statlog Shuttle as a bandit. Skips visibly where the data are not at hand."""

from pathlib import Path

import numpy as np
import pytest

from understudy.envs.population import Population
from understudy.envs.shuttle import shuttle
from understudy.models.policies import Fixed, Uniform

FILE = Path(__file__).parents[2].parent / "shared" / "data" / "statlog-shuttle" / "shuttle.trn"


@pytest.fixture(scope="module")
def env() -> Population:
    if not FILE.exists():
        pytest.skip(f"no file {FILE}")
    return shuttle(path=FILE)


def test_the_rows_that_remain(env: Population) -> None:
    """43,500 rows less the 6 + 11 of the two rarest classes; seven actions stay; sensors are z-scored."""
    assert (env.n, env.k) == (43_483, 7)
    np.testing.assert_allclose(env.context.mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(env.context.std(0), 1.0, atol=1e-4)


def test_the_value_of_each_constant_action(env: Population) -> None:
    """Always naming a class is worth its share: 34,108 / 43,483 for the first, nothing for the two dropped."""
    counts = [34_108, 37, 132, 6_748, 2_458, 0, 0]
    values = [env.true_value(Fixed(7, a)) for a in range(7)]
    np.testing.assert_allclose(values, np.array(counts) / 43_483, rtol=0, atol=1e-12)
    assert values[0] == pytest.approx(0.7843985006, abs=5e-11)
    assert env.best_value() == 1.0
    assert env.true_value(Uniform(7)) == pytest.approx(1 / 7, abs=1e-12)


def test_the_variance_of_ips_under_uniform_logging(env: Population) -> None:
    """(7 v − v²)/n for a deterministic target of cost v: enumerated over every context and action, and the formula."""
    target = Fixed(7, 3)
    pi, cost = target.probs(env.context), 1 - env.means
    v = float((pi * cost).sum(1).mean())
    second = float(((pi * 7 * cost) ** 2 / 7).sum(1).mean())  # E (w c)², w = 7·1[a = π(x)]
    assert second - v**2 == pytest.approx(7 * v - v**2, rel=1e-12)
    assert np.sqrt((7 * 0.1805 - 0.1805**2) / 7_500) == pytest.approx(0.01281, abs=5e-6)
