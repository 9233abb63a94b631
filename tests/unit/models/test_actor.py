"""A squashed Gaussian in a box: its density by hand and by quadrature, its draws, its file."""

from dataclasses import replace

import numpy as np
import pytest

from understudy.core.errors import StoreError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.steps import bandit_steps
from understudy.models.actor import FARTHEST, LOUDEST, Actor, gaussian, log_density
from understudy.models.feature_map import fit_feature_map
from understudy.models.state import revive
from understudy.ops.network import start
from understudy.testing import check_policy

STRIP = Problem(features=tuple(Feature(name=f"x{i}") for i in range(3)), actions=ActionSpace(low=(-2.0,), high=(1.0,)))
WIDE = Problem(features=STRIP.features, actions=ActionSpace(low=(-2.0, 0.0), high=(1.0, 5.0)))


def an_actor(problem: Problem, *, std: float = 0.0, spread: float = 1.0, gain: float = 1.0) -> Actor:
    """Random layers; ``gain`` multiplies the last one."""
    rng = np.random.default_rng(4)
    context, q = rng.standard_normal((50, 3)), problem.actions.dims
    features = fit_feature_map(problem, [bandit_steps(context, np.zeros((50, q)), np.zeros(50))])
    layers = start(rng, (features.width, 16, q if std else 2 * q), 1)
    layers[-1] = (layers[-1][0] * np.float32(10 * gain), layers[-1][1])
    return Actor(features, tuple(layers), np.array(problem.actions.low), np.array(problem.actions.high), std, spread)


@pytest.mark.parametrize("settings", [{}, {"std": 0.1}, {"spread": 0.1}, {"std": 1.0}, {"gain": 100.0}], ids=str)
def test_it_conforms(settings) -> None:
    """In one dimension also by quadrature: the density integrates to 1, and draws are distributed as it says."""
    check_policy(an_actor(STRIP, **settings), STRIP)
    check_policy(an_actor(WIDE, **settings), WIDE)


def test_two_dimensions_integrate_to_one() -> None:
    """The product of the box: a grid even in u, 401 × 401 points."""
    actor, u = an_actor(WIDE, std=0.5), np.linspace(-7.25, 7.25, 401)
    y = np.tanh(u)
    first, second = np.meshgrid(-0.5 + 1.5 * y, 2.5 + 2.5 * y, indexing="ij")
    height = actor.prob(np.zeros((401**2, 3), np.float32), np.stack([first.ravel(), second.ravel()], 1)).reshape(
        401, 401
    )
    step = (u[1] - u[0]) ** 2 * 1.5 * 2.5
    assert abs((height * np.outer(1 - y**2, 1 - y**2)).sum() * step - 1) < 1e-4


def test_the_density_by_hand() -> None:
    """μ = 0, σ = ½, y = tanh ½: N(½; 0, ¼)/(1 − tanh² ½), and half of it per unit of a box twice as wide."""
    by_hand = np.exp(-0.5) / (0.5 * np.sqrt(2 * np.pi)) / (1 - np.tanh(0.5) ** 2)
    found = log_density(np, np.array([[0.5]]), np.zeros((1, 1)), np.full((1, 1), np.log(0.5)))
    assert found[0] == pytest.approx(np.log(by_hand), abs=1e-12)
    flat = an_actor(Problem(features=STRIP.features, actions=ActionSpace(low=(1.0,), high=(5.0,))), std=0.5)
    flat = replace(flat, layers=tuple((0 * w, 0 * b) for w, b in flat.layers))
    action = np.array([[3 + 2 * np.tanh(0.5)]], np.float32)
    assert flat.prob(np.zeros((1, 3), np.float32), action)[0] == pytest.approx(by_hand / 2, rel=1e-6)


def test_bounds_of_the_gaussian() -> None:
    """However large the scores: |μ| ≤ 3, σ ≤ 1, and next to nothing lies where actions are cut to the box."""
    from scipy.stats import norm

    mean, log_std = gaussian(np, np.array([[1e9, 1e9]]), 1)
    assert mean[0, 0] == FARTHEST and log_std[0, 0] == LOUDEST
    assert 1 - norm.cdf((7.25 - FARTHEST) / np.exp(LOUDEST)) < 2e-5


def test_mean_is_the_action_without_noise() -> None:
    """A thousandth of σ: draws lie at the mean."""
    actor, context = an_actor(WIDE, spread=1e-4), np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
    assert np.abs(actor.act(context, np.random.default_rng(1))[0] - actor.mean(context)).max() < 2e-3


@pytest.mark.parametrize("change", [{"spread": 0.0}, {"spread": 1.5}, {"std": 2.0}, {"std": 0.3}])
def test_a_state_that_is_none_is_refused(change) -> None:
    """Bounds of σ, and a network whose outputs fit."""
    state = an_actor(STRIP).state()
    with pytest.raises(StoreError):
        revive(replace(state, config=state.config | change))


def test_a_box_without_inside_is_refused() -> None:
    """low < high in every dimension."""
    state = an_actor(STRIP).state()
    with pytest.raises(StoreError):
        revive(replace(state, arrays=state.arrays | {"high": state.arrays["low"]}))
