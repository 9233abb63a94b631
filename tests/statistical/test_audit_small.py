"""Clean logs in which next to nothing was explored: their silence is no evidence."""

import numpy as np
import pytest

from understudy.data.dataset import MemoryDataset
from understudy.ope.audit import audit
from understudy.testing.cast import TINY, Table, tiny_bandit

pytestmark = pytest.mark.statistical


@pytest.mark.parametrize("epsilon", [0.01, 0.1])
def test_fifty_decisions_of_a_clean_log_are_left_alone(epsilon: float) -> None:
    """At ε = .01 two of three such logs explore nothing, which is no sign of wrong propensities.

    40 logs; the audit's own level is 1 %, so 4 or more with a finding have a chance below 0.001.
    """
    behavior = Table(tuple(tuple((1 - epsilon) * row + epsilon / 3) for row in np.eye(3)[:2]))
    logs = [tiny_bandit(behavior, 50, 9000 + seed).with_(propensities=None) for seed in range(40)]
    said = [{f.name for f in found} for log in logs if (found := audit(MemoryDataset(TINY, log)))]
    assert len(said) <= 3, said


def test_exploration_of_one_percent_is_left_alone() -> None:
    """Hundreds of certain actions, each a little more likely to be taken than expected, are no excess; 40 logs of 500.

    Before sums that are too high were judged by the variance they could have had, a third of such logs was refused.
    """
    behavior = Table(((0.99, 0.005, 0.005), (0.005, 0.99, 0.005)))
    logs = [tiny_bandit(behavior, 500, 9500 + seed).with_(propensities=None) for seed in range(40)]
    refused = [[f.name for f in audit(MemoryDataset(TINY, log)) if f.severity == "refuse"] for log in logs]
    said = [names for names in refused if names]  # that an action was never taken may be said: it is true
    assert len(said) <= 3, said


def test_a_handful_of_rare_rewards_is_not_called_misjoined() -> None:
    """2,000 decisions, about four rewards: their correlation with the row before is chance. 40 logs."""
    rng, said = np.random.default_rng(1), []
    for seed in range(40):
        steps = tiny_bandit(Table(((0.5, 0.3, 0.2), (0.2, 0.3, 0.5))), 2000, 9900 + seed)
        rare = steps.with_(reward=(rng.random(2000) < 0.002).astype(float))
        said += [f.name for f in audit(MemoryDataset(TINY, rare))]
    assert said.count("misjoined_rewards") <= 3, said
