"""What a log could have held, also where only taken actions have a propensity."""

import numpy as np
import pytest

from understudy.core.steps import bandit_steps
from understudy.data.dataset import MemoryDataset
from understudy.ope.evaluate import evaluate
from understudy.ope.support import support
from understudy.ope.tally import Plan
from understudy.testing.cast import TINY, Table, tiny_bandit

OLD = Table(((0.998, 0.001, 0.001), (0.001, 0.998, 0.001)))
NEW = Table(((0.998, 0.001, 0.001), (0.001, 0.001, 0.998)))


def two_actions(propensities: bool):
    """400 rows with two actions, and what a target that differs could have weighed."""
    rng = np.random.default_rng(3)
    b, pi = (np.column_stack([p, 1 - p]) for p in (rng.uniform(0.05, 0.95, 400), rng.uniform(0, 1, 400)))
    action = (rng.random(400) > b[:, 0]).astype(int)
    chosen = b[np.arange(400), action]
    steps = bandit_steps(np.zeros((400, 1)), action, rng.random(400), chosen, propensities=b if propensities else None)
    plan = Plan(targets=("new", "logged"), estimators=(), pairs=(("new", "logged"),))
    return support(steps, [pi, None], plan, 2, None)


def test_of_two_actions_the_taken_one_tells_all() -> None:
    """With k = 2 the other action is all others: Σ π²/b and Σ π⁴/b³ of targets and differences are exact."""
    whole, part = two_actions(True), two_actions(False)
    np.testing.assert_allclose(part.second, whole.second, rtol=1e-9)
    np.testing.assert_allclose(part.fourth, whole.fourth, rtol=1e-9)
    assert part.second[0, 1] == pytest.approx(400)  # the log itself: every weight is 1


def test_a_log_that_missed_its_heaviest_weights_answers_no_interval() -> None:
    """Actions of probability .998 look like agreement; of intervals answered on their strength none held the truth."""
    for seed in range(30):
        steps = tiny_bandit(OLD, 2000, seed)
        for kept in (steps, steps.with_(propensities=None)):
            (found,) = evaluate(MemoryDataset(TINY, kept), {"new": NEW}, ["ips"])
            assert found.refused and any("missed its heaviest weights" in note for note in found.notes)


def test_a_propensity_of_one_rules_everything_else_out() -> None:
    """Where the log says it could not have done otherwise, what the target would do otherwise has no support."""
    steps = tiny_bandit(OLD, 400, 1)
    sure = steps.with_(propensities=None, propensity=np.ones(400))
    plan = Plan(targets=("new",), estimators=())
    found = support(sure, [NEW.probs(steps.context)], plan, 3, None)
    other = 1 - NEW.prob(steps.context, steps.action)
    assert found.unsupported[0] >= other.mean() - 1e-12 > 0.3
