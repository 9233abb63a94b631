"""Segments by quantiles, by a latent trait, and by groups that were made from another log."""

import numpy as np
import pytest

from understudy.core.errors import ConfigError
from understudy.core.hashing import mix
from understudy.core.problem import ActionSpace, Feature, OutcomeSpec, Problem
from understudy.core.steps import Steps, bandit_steps
from understudy.data.dataset import MemoryDataset
from understudy.models.policies import Uniform
from understudy.ope.evaluate import evaluate
from understudy.ope.segments import By, given, segments

PROBLEM = Problem(features=(Feature(name="x"),), actions=ActionSpace(names=("a", "b")), reward="r", discount=0.9,
                  outcomes=(OutcomeSpec(name="r"), OutcomeSpec(name="trait")), horizon=2, unit="episode")  # fmt: skip


def log(m: int = 600) -> Steps:
    """Two steps a unit; the reward is 1 in units of trait above 0, else 0."""
    rng, trait = np.random.default_rng(0), np.repeat(np.random.default_rng(1).normal(size=m), 2)
    x, action = rng.normal(size=(2 * m, 1)), rng.integers(0, 2, 2 * m)
    reward = (trait > 0).astype(float)
    steps = bandit_steps(x, action, reward, np.full(2 * m, 0.5), outcomes=np.stack([reward, trait], 1))
    last = np.arange(2 * m) % 2 == 1
    return steps.with_(starts=np.arange(0, 2 * m + 1, 2), unit=mix(np.arange(m, dtype=np.uint64), 0),
                       terminated=last, truncated=~last & False)  # fmt: skip


def test_a_latent_trait_cuts_at_its_median() -> None:
    steps = log()
    found = evaluate(MemoryDataset(PROBLEM, steps), {"p": Uniform(2)}, ("pdis",), by="trait:2", seed=0)
    by = {e.segment: e.value for e in found}
    low, high = (by[label] for label in by if label and "missing" not in label)
    assert low < 0.05 and high > 1.8
    assert len(segments("trait:4", PROBLEM, steps).labels) == 5


def test_a_feature_may_be_cut_into_any_number_of_quantiles() -> None:
    rule = segments("x:3", PROBLEM, log())
    assert np.bincount(rule.index(log()), minlength=4).min() == 0 and len(rule.labels) == 4
    assert len(segments(By("x", edges=(0.0,)), PROBLEM, log()).labels) == 3


def test_an_outcome_that_changes_within_a_unit_is_refused() -> None:
    steps = log()
    moved = steps.with_(outcomes=np.random.default_rng(0).normal(size=steps.outcomes.shape))  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="same in all decisions of a unit"):
        segments("trait", PROBLEM, moved)
    for wrong in ("trait:1", "trait:many", "nobody"):
        with pytest.raises(ConfigError):
            segments(wrong, PROBLEM, steps)


def test_groups_of_units_come_from_elsewhere() -> None:
    steps = log()
    known = steps.unit[:-1][::-1]
    good = (steps.reward[steps.starts[:-1]] > 0)[:-1][::-1].astype(int)
    rule = given("rfm", ("low", "high"), known, good)
    found = evaluate(MemoryDataset(PROBLEM, steps), {"p": Uniform(2)}, ("pdis",), by=rule, seed=0)
    by = {e.segment: e.value for e in found}
    assert by["rfm=low"] == pytest.approx(0, abs=1e-12) and by["rfm=high"] > 1.7
    assert segments(rule, PROBLEM, steps).index(steps)[-1] == 2  # nobody grouped the last unit
    with pytest.raises(ConfigError, match="for each unit once"):
        given("rfm", ("low",), np.array([1, 1], np.uint64), np.array([0, 0]))
