"""Policies that look at nothing: the uniform density over a box, and fixed shares."""

import numpy as np
import pytest

from understudy.core.errors import ConfigError, StoreError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.protocols import Policy, State
from understudy.models import load
from understudy.models.box import UniformBox
from understudy.models.shares import Shares
from understudy.testing import check_policy

BOX = UniformBox((-2.0, 0.1), (2.0, 0.3))


def test_a_box_is_uniform() -> None:
    """Density 1 / (4 · .2) inside, 0 outside; draws lie inside also after rounding to float32; moments are right."""
    context = np.zeros((50_000, 3), np.float32)
    action, density = BOX.act(context, np.random.default_rng(0))
    assert isinstance(BOX, Policy) and action.dtype == np.float32 and action.shape == (50_000, 2)
    np.testing.assert_allclose(density, 1.25, rtol=1e-12)
    assert (BOX.prob(context, action) == density).all()
    outside = np.array([[2.1, 0.2], [-2.0, 0.05], [0.0, 0.2]], np.float32)
    assert BOX.prob(context[:3], outside).tolist() == [0.0, 0.0, density[0]]
    error = np.array([4.0, 0.2]) / np.sqrt(12 * 50_000)
    assert (np.abs(action.mean(0) - [0.0, 0.2]) < 6 * error).all()  # a false alarm in 4e-9
    assert action[:, 0].min() < -1.99 and action[:, 0].max() > 1.99


def test_a_box_comes_back_from_its_state() -> None:
    """And a damaged one does not."""
    assert load(BOX.state()) == BOX
    for low, high in (([0.0], [0.0]), ([0.0, 1.0], [1.0]), ([], [])):
        with pytest.raises(StoreError):
            load(State("uniform_box", {}, {"low": np.array(low), "high": np.array(high)}))


def test_shares_conform() -> None:
    """What every discrete policy must keep, also with a share of 0."""
    names = ActionSpace(names=("a", "b", "c"))
    problem = Problem(features=(Feature(name="x"),), actions=names)
    check_policy(Shares((0.2, 0.8, 0.0)), problem)


def test_shares_scale_to_what_is_allowed() -> None:
    """p ∝ share where allowed; any allowed one alike where all of those have share 0."""
    allowed = np.array([[True, True, True], [False, True, True], [True, False, True], [False, False, True]])
    p = Shares((0.25, 0.75, 0.0)).probs(np.zeros((4, 1), np.float32), allowed)
    assert p.tolist() == [[0.25, 0.75, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]


@pytest.mark.parametrize("wrong", [(), (0.5, 0.6), (1.5, -0.5), (float("nan"), 1.0)])
def test_shares_that_are_none_are_refused(wrong: tuple[float, ...]) -> None:
    """Also when they come from a file."""
    with pytest.raises(ConfigError, match="shares"):
        Shares(wrong)
    with pytest.raises(StoreError):
        load(State("shares", {}, {"shares": np.array(wrong)}))
