"""The drifting bandit: exact values at any moment, and a best action that does not stay the best."""

import numpy as np
import pytest

from understudy.core.errors import ConfigError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.envs.drift import Drift, drift
from understudy.envs.population import Population
from understudy.models.policies import Fixed, Uniform
from understudy.testing import check_environment

PROBLEM = Problem(features=(Feature(name="x"),), actions=ActionSpace(names=("a", "b")))
CONTEXT = np.array([[0.0], [1.0]], np.float32)
WORLDS = np.array([[[0.2, 0.8], [0.4, 0.6]], [[1.0, 0.0], [0.6, 0.2]]])  # [W, N, k]


def small(change: str, rewards: str = "exact") -> Drift:
    return Drift(PROBLEM, CONTEXT, WORLDS, period=10, change=change, rewards=rewards)


def test_an_abrupt_change_comes_at_once_and_goes_round() -> None:
    """Always a: (.2 + .4)/2 in the first world, (1 + .6)/2 in the second, the first again after both."""
    env = small("abrupt")
    assert [env.true_value(Fixed(2, 0), t) for t in (0, 9, 10, 19, 20)] == pytest.approx([0.3, 0.3, 0.8, 0.8, 0.3])
    assert [env.best_value(t) for t in (0, 10)] == pytest.approx([0.7, 0.8])
    assert env.true_value(Fixed(2, 0)) == pytest.approx(0.55)
    assert env.best_value() == pytest.approx(0.75)


def test_a_gradual_change_is_a_straight_line() -> None:
    """Half-way between the worlds every mean is half-way: a pays (.6 + .5)/2, b (.4 + .4)/2."""
    env = small("gradual")
    assert [env.true_value(Fixed(2, 0), t) for t in (0, 5, 10, 15)] == pytest.approx([0.3, 0.55, 0.8, 0.55])
    assert env.true_value(Fixed(2, 1), 5) == pytest.approx(0.4)
    whole = np.mean([env.true_value(Fixed(2, 0), t) for t in range(env.cycle)])
    assert env.true_value(Fixed(2, 0)) == pytest.approx(whole)


@pytest.mark.parametrize("change", ["abrupt", "gradual"])
def test_what_is_paid_is_the_truth_of_that_moment(change: str) -> None:
    """Exact rewards, decision by decision and in batches of any size, are the means of each moment."""
    for w in (1, 7):
        env = small(change)
        view, t = env.reset(np.random.default_rng(0), w), 0
        while t < 45:
            rows = view.context[:, 0].astype(int)
            expected = env.expected()
            view, feedback = env.step(np.zeros(w, np.int32))
            truth = [env.means_at(t + i)[row, 0] for i, row in enumerate(rows)]
            assert feedback.reward == pytest.approx(truth)
            assert expected[:, 0] == pytest.approx(truth)
            t += w


def test_time_that_passed_elsewhere_counts() -> None:
    """A run that goes on after 13 decisions meets the world of the fourteenth."""
    env = small("abrupt")
    env.reset(np.random.default_rng(0), 1)
    env.skip(13)
    row = int(env.reset(np.random.default_rng(1), 1).context[0, 0])
    assert env.expected()[0].tolist() == WORLDS[0, row].tolist()  # reset starts anew
    env.skip(13)
    assert env.expected()[0].tolist() == WORLDS[1, row].tolist()


def test_no_action_stays_the_best() -> None:
    """In the next world nobody's best action is what it was, and yesterday's best policy is worse than chance."""
    env = drift()
    best = env.means_at(0).argmax(1)
    later = env.means_at(env.period)
    assert not (later.argmax(1) == best).any()
    assert np.take_along_axis(later, best[:, None], 1).mean() < env.true_value(Uniform(4), env.period) - 0.03
    assert max(env.true_value(Fixed(4, a)) for a in range(4)) < env.best_value() - 0.3


@pytest.mark.parametrize("knobs", [{"change": "gradual"}, {"rewards": "exact"}, {"k": 2, "d": 1, "population": 10}])
def test_every_knob_conforms(knobs: dict) -> None:
    """The truth is what a long walk of whole cycles earns."""
    check_environment(drift(**knobs))


@pytest.mark.parametrize("wrong", [{"k": 1}, {"period": 0}, {"change": "sudden"}, {"rewards": "heavy"}])
def test_knobs_out_of_range_are_refused(wrong: dict) -> None:
    """Each names what it should have been."""
    with pytest.raises(ConfigError):
        drift(**wrong)


def test_a_population_tells_what_actions_would_pay() -> None:
    """Expected rewards of the contexts on show, at their moments of the drift."""
    change = np.array([[0.4, 0.0], [-0.2, 0.0]])
    env = Population(PROBLEM, CONTEXT, WORLDS[0], drift=change, horizon=10)
    rows = env.reset(np.random.default_rng(0), 3).context[:, 0].astype(int)
    env.skip(5)
    truth = WORLDS[0][rows] + np.array([0.5, 0.6, 0.7])[:, None] * change[rows]
    np.testing.assert_allclose(env.expected(), truth)
