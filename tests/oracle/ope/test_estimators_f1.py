"""Oracle F1: an eight-row log whose estimates are known by hand, and F2: the running sums of Vowpal Wabbit's --eval."""

from dataclasses import dataclass

import numpy as np
import pytest

from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.protocols import State
from understudy.core.steps import bandit_steps
from understudy.data.dataset import MemoryDataset
from understudy.ope.estimators.dm import DM
from understudy.ope.estimators.dr import DR
from understudy.ope.estimators.dros import DRos
from understudy.ope.estimators.ips import IPS
from understudy.ope.estimators.sg_dr import SubGaussianDR
from understudy.ope.estimators.sg_ips import SubGaussianIPS
from understudy.ope.estimators.switch_dr import SwitchDR
from understudy.ope.evaluate import evaluate
from understudy.ope.evidence import from_arrays, point_values

ACTION = np.array([0, 1, 2, 0, 1, 2, 0, 1])
REWARD = np.array([1, 0, 0, 1, 1, 0, 0, 1.0])
BEHAVIOR = np.array(
    [[.6, .3, .1], [.5, .4, .1], [.3, .3, .4], [.8, .1, .1], [.2, .5, .3], [.25, .25, .5], [.7, .2, .1], [.4, .2, .4]]
)  # fmt: skip
TARGET = np.array(
    [[.1, .1, .8], [.2, .7, .1], [.1, .1, .8], [.5, .25, .25], [0, 1, 0], [.2, .2, .6], [.05, .9, .05], [.1, .8, .1]]
)  # fmt: skip
MODEL = np.array(
    [[.7, .4, .2], [.5, .3, .2], [.6, .5, .1], [.9, .2, .3], [.3, .8, .4], [.4, .4, .3], [.5, .6, .2], [.2, .9, .1]]
)  # fmt: skip
PROPENSITY = BEHAVIOR[np.arange(8), ACTION]
W = np.array([1 / 6, 1.75, 2, 0.625, 2, 1.2, 1 / 14, 4])
V = np.array([0.27, 0.33, 0.19, 0.575, 0.8, 0.34, 0.575, 0.75])  # Σ_a π q̂, by hand
Q = np.array([0.7, 0.3, 0.1, 0.9, 0.8, 0.3, 0.5, 0.9])  # q̂ of the logged action
RESIDUAL = REWARD - Q

# Estimator → value; the sums are written out from W, V, RESIDUAL, the decimals are those of the reference.
VALUES = {
    "ips": 0.8489583333333334,
    "clipped_ips(clip=2)": 0.5989583333333334,
    "snips": 0.5749269374181196,
    "dm": 0.47875,
    "dr": 0.45272321428571427,
    "dr(clip=2)": 0.42772321428571425,
    "sndr": 0.461124281971,
    "switch_dr(tau=1.5)": 0.44334821428571426,
    "replay": 0.5,
    "dros(lam=1)": float((V + W / (W**2 + 1) * RESIDUAL).mean()),
    "dros(lam=100)": float((V + 100 * W / (W**2 + 100) * RESIDUAL).mean()),
    "sg_ips(lam=0.5)": float((W / (0.5 + 0.5 * W) * REWARD).mean()),
    "sg_dr(lam=0.5)": float((V + W / (0.5 + 0.5 * W) * RESIDUAL).mean()),
}
REFERENCE = {
    "ips": 0.8489583333, "clipped_ips(clip=2)": 0.5989583333, "snips": 0.5749269374, "dm": 0.47875,
    "dr": 0.4527232143, "dr(clip=2)": 0.4277232143, "sndr": 0.4611242820, "switch_dr(tau=1.5)": 0.4433482143,
    "replay": 0.5, "dros(lam=1)": 0.4593521416, "dros(lam=100)": 0.4474220642, "sg_ips(lam=0.5)": 0.4985347985,
    "sg_dr(lam=0.5)": 0.4387766400,
}  # fmt: skip
LIMITS = {
    "dros(lam=0)": "dm", "dros(lam=inf)": "dr", "switch_dr(tau=inf)": "dr", "switch_dr(tau=0)": "dm",
    "clipped_ips(clip=inf)": "ips", "sg_ips(lam=0)": "ips", "sg_dr(lam=0)": "dr",
}  # fmt: skip


@dataclass(frozen=True)
class ByRow:
    """A policy, and a model, that looks its row up: the context is the row's number."""

    table: np.ndarray

    def probs(self, context: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        return self.table[context[:, 0].astype(int)]

    def prob(self, context, action, allowed=None):
        return np.take_along_axis(self.probs(context), action[:, None].astype(int), 1)[:, 0]

    def act(self, context, rng, allowed=None):
        raise NotImplementedError

    def state(self) -> State:
        return State("by_row")


@dataclass(frozen=True)
class ModelByRow:
    """A fitted reward model given as a table."""

    table: np.ndarray

    def values(self, context: np.ndarray) -> np.ndarray:
        return self.table[context[:, 0].astype(int)]

    def state(self) -> State:
        return State("model_by_row")


@pytest.fixture(scope="module")
def data() -> MemoryDataset:
    problem = Problem(features=(Feature(name="row"),), actions=ActionSpace(names=("a", "b", "c")))
    context = np.arange(8)[:, None]
    return MemoryDataset(problem, bandit_steps(context, ACTION, REWARD, PROPENSITY, propensities=BEHAVIOR))


@pytest.fixture(scope="module")
def answered(data: MemoryDataset) -> dict:
    names = [*VALUES, *LIMITS]
    found = evaluate(data, {"new": ByRow(TARGET)}, names, q=ModelByRow(MODEL))
    assert len(found) == len(names)
    return dict(zip(names, found))


def test_the_weights_of_the_table() -> None:
    """w = 1/6, 1.75, 2, .625, 2, 1.2, 1/14, 4; ESS (Σw)²/Σw² = 4.824352."""
    e = from_arrays(ACTION, REWARD, PROPENSITY, TARGET, MODEL)
    np.testing.assert_allclose(e.ratio, W, rtol=1e-12)
    np.testing.assert_allclose(e.v, V, rtol=1e-12)
    np.testing.assert_allclose(e.q, Q, rtol=1e-12)
    assert W.sum() ** 2 / (W**2).sum() == pytest.approx(4.824352, abs=5e-7)


@pytest.mark.parametrize("name", VALUES)
def test_an_estimate_is_the_sum_written_out(answered: dict, name: str) -> None:
    """evaluate returns each value of the table, and the sum written out, to 1e-9."""
    assert answered[name].value == pytest.approx(VALUES[name], abs=1e-9)
    assert answered[name].value == pytest.approx(REFERENCE[name], abs=1e-9)


@pytest.mark.parametrize("name", LIMITS)
def test_the_limit_of_a_hyper_parameter_is_the_namesake(answered: dict, name: str) -> None:
    """DRos goes from DM to DR, SWITCH-DR likewise, and bounded weights become plain ones."""
    assert answered[name].value == pytest.approx(answered[LIMITS[name]].value, abs=1e-12)


def test_large_and_small_shrinkage_approach_the_limits() -> None:
    """DRos at λ = 1e-9 is DM, at 1e9 DR, to 1e-6: the limits are approached, not only special-cased."""
    e = from_arrays(ACTION, REWARD, PROPENSITY, TARGET, MODEL)
    many = {"small": DRos(1e-9), "large": DRos(1e9), "dm": DM(), "dr": DR(), "tau": SwitchDR(4.0)}
    got = point_values(e, {**many, "sg": SubGaussianDR(1e-12), "sg_ips": SubGaussianIPS(1e-12), "ips": IPS()})
    assert got["small"] == pytest.approx(got["dm"], abs=1e-6)
    assert got["large"] == pytest.approx(got["dr"], abs=1e-6)
    assert got["sg"] == pytest.approx(got["dr"], abs=1e-9)
    assert got["tau"] == got["dr"]  # τ at the largest weight keeps them all
    assert got["sg_ips"] == pytest.approx(got["ips"], abs=1e-9)


def test_doubly_robust_row_by_row() -> None:
    """The eight terms of DR: .32 −.195 −.01 .6375 1.2 −.02 .539286 1.15."""
    terms = DR().terms(from_arrays(ACTION, REWARD, PROPENSITY, TARGET, MODEL))[:, 0]
    np.testing.assert_allclose(terms, [0.32, -0.195, -0.01, 0.6375, 1.2, -0.02, 0.539286, 1.15], atol=5e-7)


def test_eight_rows_carry_no_interval(answered: dict) -> None:
    """At ESS 4.8 every asymptotic interval is refused, and the note says the figure and the heaviest row."""
    estimate = answered["ips"]
    assert estimate.refused and estimate.ess == pytest.approx(4.824352, abs=5e-7)
    assert estimate.max_weight_share == pytest.approx(4 / W.sum()) and estimate.matched == 6
    assert any("4.8 of 8" in note and "34 %" in note for note in estimate.notes)


def test_f2_running_ips_of_five_lines() -> None:
    """(1 1:1:.5) (1 2:0:.25) (2 2:.5:.25) (2 1:0:.75) (1 1:.25:.2): 2, 2, 4, 4, 5.25 → 1.05; DR with q̂ = 0 is IPS."""
    wanted, taken = np.array([0, 0, 1, 1, 0]), np.array([0, 1, 1, 0, 0])
    cost, propensity = np.array([1, 0, 0.5, 0, 0.25]), np.array([0.5, 0.25, 0.25, 0.75, 0.2])
    e = from_arrays(taken, cost, propensity, np.eye(2)[wanted], np.zeros((5, 2)))
    np.testing.assert_allclose(IPS().terms(e)[:, 0].cumsum(), [2, 2, 4, 4, 5.25], rtol=1e-12)
    values = point_values(e, {"ips": IPS(), "dr": DR()})
    assert values["ips"] == pytest.approx(1.05, abs=1e-12) and values["dr"] == values["ips"]
