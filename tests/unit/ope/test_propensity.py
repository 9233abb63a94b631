"""Estimated propensities: what they recover, what they refuse, and that they never hide."""

import numpy as np
import pytest

from understudy.core.errors import ConfigError, EvidenceError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.steps import bandit_steps
from understudy.ope.propensity import calibrate, fit_propensities
from understudy.testing.cast import TINY, Table, tiny_bandit

BEHAVIOR = Table(((0.7, 0.2, 0.1), (0.1, 0.3, 0.6)))


def test_recovers_the_behavior_policy():
    """Estimates come close to the true propensities, out-of-fold, and every row sums to one."""
    log = tiny_bandit(BEHAVIOR, 6000, 1)
    made = fit_propensities(log.with_(propensity=None, propensities=None), TINY).apply(log)
    assert np.abs(made.propensities - log.propensities).max() < 0.03
    assert np.allclose(made.propensities.sum(1), 1)
    assert np.allclose(made.propensity, np.take_along_axis(made.propensities, log.action[:, None].astype(int), 1)[:, 0])


def test_propensities_of_the_log_are_not_read():
    """A log that carries propensities gives the same estimates as one without."""
    log = tiny_bandit(BEHAVIOR, 500, 2)
    a = fit_propensities(log, TINY).apply(log)
    b = fit_propensities(log.with_(propensity=None, propensities=None), TINY).apply(log)
    assert np.array_equal(a.propensity, b.propensity)


def test_a_unit_is_judged_by_a_model_that_never_saw_it():
    """Changing one unit's actions leaves the probabilities of its own fold's rows as they were."""
    log = tiny_bandit(BEHAVIOR, 400, 3)
    fitted = fit_propensities(log, TINY)
    changed = log.action.copy()
    changed[7] = (changed[7] + 1) % 3
    again = fit_propensities(log.with_(action=changed), TINY)
    assert np.array_equal(fitted.apply(log).propensities[7], again.apply(log).propensities[7])
    assert not np.array_equal(fitted.apply(log).propensities, again.apply(log).propensities)


def test_floor_holds_and_is_reported():
    """No probability of an action the log holds falls below floor / (1 + k·floor), and the raised share is told."""
    log = tiny_bandit(Table(((0.98, 0.01, 0.01), (0.01, 0.01, 0.98))), 4000, 4)
    made = fit_propensities(log, TINY, floor=0.05)
    assert made.apply(log).propensities.min() >= 0.05 / 1.15
    assert made.clipped > 0.3
    assert "estimated propensities" in made.note and "floor 0.05" in made.note


def test_never_logged_action_has_probability_zero():
    """An action the log does not hold gets 0, so that a target wanting it is seen as unsupported."""
    log = tiny_bandit(Table(((0.5, 0.5, 0.0), (0.5, 0.5, 0.0))), 300, 5)
    assert (fit_propensities(log, TINY).apply(log).propensities[:, 2] == 0).all()


def test_forbidden_actions_have_probability_zero():
    """The mask of allowed actions is respected row by row."""
    log = tiny_bandit(BEHAVIOR, 600, 6)
    allowed = np.ones((600, 3), bool)
    allowed[:200, 2] = log.action[:200] == 2
    made = fit_propensities(log.with_(allowed=allowed), TINY).apply(log.with_(allowed=allowed))
    assert (made.propensities[~allowed] == 0).all()
    assert np.allclose(made.propensities.sum(1), 1)


def test_calibration_by_hand():
    """Four pairs in two bins: predicted .25/.75 against observed .5/.5."""
    found = calibrate(np.array([[0.25, 0.75], [0.25, 0.75]]), np.array([0, 1]))
    assert [(b.pairs, b.predicted, b.observed) for b in found.bins] == [(2, 0.25, 0.5), (2, 0.75, 0.5)]
    assert found.gap == pytest.approx(0.25)
    assert found.slope == pytest.approx(0.0)


def test_poor_calibration_is_said():
    """A behavior the classifier cannot express is called poorly calibrated in the note that estimates carry."""
    rng = np.random.default_rng(7)
    x = rng.uniform(-1, 1, 4000)
    action = (np.abs(x) > 0.5).astype(int)  # no linear score separates the middle from both ends
    action = np.where(rng.random(4000) < 0.1, 1 - action, action)

    class Overconfident:
        def fit(self, steps, problem, *, seed=0):
            return Table(((0.9, 0.1), (0.1, 0.9)))

    problem = Problem(features=(Feature(name="x"),), actions=ActionSpace(names=("a", "b")))
    log = bandit_steps((x > 0).astype(np.float32)[:, None], action, np.zeros(4000))
    made = fit_propensities(log, problem, classifier=Overconfident())
    assert made.calibration.gap > 0.3
    assert "POORLY CALIBRATED" in made.note


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"folds": 1}, ConfigError, "folds must be at least 2"),
        ({"floor": 0.5}, ConfigError, "floor must lie in"),
        ({"floor": 0.0}, ConfigError, "floor must lie in"),
    ],
)
def test_bad_settings_are_refused(change, error, says):
    """Settings that cannot mean anything are named."""
    with pytest.raises(error, match=says):
        fit_propensities(tiny_bandit(BEHAVIOR, 50, 1), TINY, **change)


def test_a_log_without_variation_is_refused():
    """One action only: no other policy could be evaluated, and the error says so."""
    log = tiny_bandit(Table(((1.0, 0.0, 0.0), (1.0, 0.0, 0.0))), 50, 1)
    with pytest.raises(EvidenceError, match="single action"):
        fit_propensities(log, TINY)


def test_one_unit_is_refused():
    """All rows of one user: nothing is out-of-fold."""
    log = tiny_bandit(BEHAVIOR, 50, 1).with_(unit=np.zeros(50, np.uint64))
    with pytest.raises(EvidenceError, match="one fold"):
        fit_propensities(log, TINY)


def test_continuous_actions_are_refused():
    """Densities are not estimated here."""
    problem = Problem(features=(Feature(name="x"),), actions=ActionSpace(low=(0.0,), high=(1.0,)))
    with pytest.raises(ConfigError, match="continuous"):
        fit_propensities(tiny_bandit(BEHAVIOR, 50, 1), problem)
