"""Weights, overlap and support of a target policy, against sums written out."""

import msgspec
import numpy as np
import pytest

from understudy.core.errors import ConfigError, EvidenceError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.steps import bandit_steps
from understudy.data.dataset import MemoryDataset
from understudy.ope.diagnostics import diagnose
from understudy.testing.cast import TINY, Table, tiny_bandit

BEHAVIOR = Table(((0.5, 0.25, 0.25), (0.25, 0.25, 0.5)))
TARGET = Table(((1.0, 0.0, 0.0), (0.0, 0.5, 0.5)))


def four_rows() -> MemoryDataset:
    """x = 0, 0, 1, 1; actions a, b, c, a; propensities .5, .25, .5, .25: weights 2, 0, 1, 0."""
    x = np.array([[0.0], [0.0], [1.0], [1.0]])
    return MemoryDataset(TINY, bandit_steps(x, np.array([0, 1, 2, 0]), np.ones(4), np.array([0.5, 0.25, 0.5, 0.25])))


def test_by_hand() -> None:
    """Weights 2, 0, 1, 0: ESS 9/5, share 2/3, mean 3/4, and row 0 is the heaviest."""
    d = diagnose(four_rows(), TARGET, name="t")
    assert d.ess == pytest.approx(9 / 5)
    assert d.max_weight_share == pytest.approx(2 / 3)
    assert (d.heaviest, d.n, d.mean_weight) == (0, 4, 0.75)
    assert d.mean_weight_se == pytest.approx(np.std([2, 0, 1, 0], ddof=1) / 2)
    assert d.matched == 2  # row 0 takes a, row 2 takes c; both are among the target's most probable
    assert sum(d.weights.counts) == 4
    assert d.weights.counts[0] == 2  # zero weights


def test_unsupported_is_the_mass_on_actions_never_logged() -> None:
    """A log that never took c: the target puts .5 on it in half of the rows, a quarter of all its mass."""
    x = np.array([[0.0], [0.0], [1.0], [1.0]])
    steps = bandit_steps(x, np.array([0, 1, 1, 0]), np.ones(4), np.full(4, 0.5))
    d = diagnose(MemoryDataset(TINY, steps), TARGET, name="t")
    assert d.unsupported == pytest.approx(0.25)
    by_action = {row.segment: row.unsupported for row in d.overlap}
    assert by_action == {"a": 0.0, "b": 0.0, "c": 1.0}


def test_a_logged_probability_of_zero_is_no_support_either() -> None:
    """Where the row's own pmf gives 0 the target's mass is unsupported, although the action is logged elsewhere."""
    x = np.array([[0.0], [1.0]])
    pmf = np.array([[0.0, 0.5, 0.5], [0.5, 0.5, 0.0]])
    steps = bandit_steps(x, np.array([2, 0]), np.ones(2), np.array([0.5, 0.5]), propensities=pmf)
    d = diagnose(MemoryDataset(TINY, steps), Table(((1, 0, 0), (1, 0, 0))), name="t")
    assert d.unsupported == pytest.approx(0.5)


def test_the_behavior_policy_itself_has_weight_one_everywhere() -> None:
    """π = b: every weight is 1, ESS is n, the mean weight is exactly 1."""
    data = MemoryDataset(TINY, tiny_bandit(BEHAVIOR, 500, 0))
    d = diagnose(data, BEHAVIOR, name="b")
    assert d.ess == pytest.approx(500)
    assert d.mean_weight == pytest.approx(1, abs=1e-12)
    assert d.pareto_k is None


def test_batches_add_up_to_the_whole() -> None:
    """Read in batches of 64 or at once: the same diagnostics."""
    data = MemoryDataset(TINY, tiny_bandit(BEHAVIOR, 1000, 1))

    class InBatches(MemoryDataset):
        def scan(self, max_steps: int = 64):
            return super().scan(64)

    whole = msgspec.to_builtins(diagnose(data, TARGET, name="t", by="x"))
    parts = msgspec.to_builtins(diagnose(InBatches(TINY, data.steps), TARGET, name="t", by="x"))
    overlap = zip(whole.pop("overlap"), parts.pop("overlap"), strict=True)
    assert whole.pop("weights") == parts.pop("weights")
    assert parts == pytest.approx(whole)
    assert all({**a} == pytest.approx({**b}) for a, b in overlap)


def test_segments_partition_the_rows() -> None:
    """Rows per segment and rows per action each sum to n; names are feature=value."""
    features = (Feature(name="who", kind="category", values=("new", "old"), optional=True), Feature(name="x"))
    problem = Problem(features=features, actions=ActionSpace(names=("a", "b", "c")))
    steps = tiny_bandit(BEHAVIOR, 300, 2)
    who = np.where(np.arange(300) % 3 == 2, np.nan, np.arange(300) % 3)
    steps = steps.with_(context=np.column_stack([who, steps.context[:, 0]]).astype(np.float32))

    class Second(Table):
        def probs(self, context, allowed=None):
            return super().probs(context[:, 1:], allowed)

    rows = diagnose(MemoryDataset(problem, steps), Second(TARGET.rows), name="t", by="who").overlap
    assert [row.segment for row in rows] == ["a", "b", "c", "who=missing", "who=new", "who=old"]
    assert sum(row.n for row in rows[:3]) == sum(row.n for row in rows[3:]) == 300


def test_repeated_units_widen_the_error_of_the_mean_weight() -> None:
    """Every row logged four times for one user: the standard error is that of the users, twice as large."""
    steps = tiny_bandit(BEHAVIOR, 1000, 3)
    rows = np.repeat(np.arange(1000), 4)
    clustered = bandit_steps(
        steps.context[rows],
        steps.action[rows],
        steps.reward[rows],
        steps.propensity[rows],
        unit=rows,  # type: ignore[index]
    )
    by_unit = diagnose(MemoryDataset(msgspec.structs.replace(TINY, unit="unit"), clustered), TARGET, name="t")
    by_row = diagnose(MemoryDataset(TINY, clustered), TARGET, name="t")
    # the jackknife over 256 blocks has a relative error of about 4.4 %
    assert by_unit.mean_weight_se == pytest.approx(2 * by_row.mean_weight_se, rel=0.2)


def test_refusals() -> None:
    """No propensities: no weights. An unknown feature: the nearest is named."""
    steps = tiny_bandit(BEHAVIOR, 10, 4)
    with pytest.raises(EvidenceError, match="no propensities"):
        diagnose(MemoryDataset(TINY, steps.with_(propensity=None)), TARGET, name="t")
    with pytest.raises(ConfigError, match="unknown feature 'y'"):
        diagnose(MemoryDataset(TINY, steps), TARGET, name="t", by="y")
