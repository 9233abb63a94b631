"""Worlds whose truth is exact: populations, classification, the synthetic bandit's knobs, Shuttle's file."""

from pathlib import Path

import numpy as np
import pytest

from understudy.core.errors import ConfigError, DataError, StoreError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.envs.bandit import bandit, behavior
from understudy.envs.classification import classification, digits
from understudy.envs.population import Population
from understudy.envs.rewards import SCATTER, heavy_share
from understudy.envs.shuttle import shuttle
from understudy.models.policies import Fixed, Uniform
from understudy.testing import check_environment

PROBLEM = Problem(features=(Feature(name="x"),), actions=ActionSpace(names=("a", "b")))
CONTEXT = np.array([[0.0], [1.0]], np.float32)
MEANS = np.array([[0.1, 0.5], [0.9, 0.3]])


def test_the_value_of_a_policy_is_the_mean_over_the_population() -> None:
    """Always a: (.1 + .9)/2; uniform: the mean of all four; the best: (.5 + .9)/2."""
    env = Population(PROBLEM, CONTEXT, MEANS)
    assert env.true_value(Fixed(2, 0)) == pytest.approx(0.5)
    assert env.true_value(Uniform(2)) == pytest.approx(0.45)
    assert env.best_value() == pytest.approx(0.7)


def test_a_mask_changes_the_truth() -> None:
    """Where b is all there is, always-a takes b: (.5 + .9)/2; the best keeps to the mask."""
    allowed = np.array([[False, True], [True, True]])
    env = Population(PROBLEM, CONTEXT, MEANS, allowed=allowed)
    assert env.true_value(Fixed(2, 0)) == pytest.approx(0.7)
    assert Population(PROBLEM, CONTEXT, MEANS, allowed=~allowed | [[True, False]]).best_value() == pytest.approx(0.5)


def test_drift_moves_the_means_in_a_straight_line() -> None:
    """Phase 0, ½, 1; over a whole drift the value is that of the middle, and a walk earns it."""
    env = Population(PROBLEM, CONTEXT, MEANS, rewards="binary", drift=np.array([[0.4, 0], [-0.4, 0.0]]), horizon=40_000)
    assert [env.true_value(Fixed(2, 0), phase=s) for s in (0.0, 0.5, 1.0)] == pytest.approx([0.5] * 3)
    assert env.best_value(phase=1.0) == pytest.approx(0.5)
    assert env.best_value(phase=0.0) == pytest.approx(0.7)
    view = env.reset(np.random.default_rng(0), 2_000)
    paid = []
    for _ in range(20):
        x = view.context[:, 0]
        view, feedback = env.step((x == 0).astype(np.int64))
        paid.append(feedback.reward[x == 1].mean())  # action a in context 1: from .9 to .5
    np.testing.assert_allclose(paid, 0.9 - 0.4 * (np.arange(20) + 0.5) / 20, atol=5 * np.sqrt(0.25 / 900))


@pytest.mark.parametrize("means", [np.array([[0.1, 1.1], [0, 0]]), np.array([[np.nan, 0.1], [0, 0]]), np.zeros((2, 3))])
def test_means_that_cannot_be_are_refused(means: np.ndarray) -> None:
    """Outside the declared range, missing, or of the wrong shape."""
    with pytest.raises(DataError):
        Population(PROBLEM, CONTEXT, means)


@pytest.mark.parametrize("kind", sorted(SCATTER))
def test_rewards_scatter_about_their_mean_inside_the_range(kind: str) -> None:
    """100,000 rewards at each of three means: within the range, the average within 6 standard errors (chance 2e-9)."""
    span = (-2.0, 6.0)
    for share in (0.0, 0.3, 1.0):
        top = heavy_share() if kind == "heavy" else 1.0
        mean = span[0] + 8.0 * share * top
        drawn = SCATTER[kind](np.full(100_000, mean), span, np.random.default_rng(1))
        assert drawn.min() >= span[0] and drawn.max() <= span[1]
        assert abs(drawn.mean() - mean) <= 6 * drawn.std() / np.sqrt(100_000) + 1e-9


def test_heavy_rewards_are_heavy() -> None:
    """The largest of 100,000 rewards exceeds the mean more than a hundredfold."""
    drawn = SCATTER["heavy"](np.full(100_000, heavy_share()), (0.0, 1.0), np.random.default_rng(0))
    assert drawn.max() > 100 * drawn.mean()


def test_classification_is_right_or_wrong() -> None:
    """Always class c is worth its share; with flips η, η + (1 − 2η)·share; an action of no class never pays."""
    x, y = np.zeros((10, 2)), np.array([0] * 6 + [1] * 3 + [2])
    for noise in (0.0, 0.25):
        env = classification(x, y, actions=["a", "b", "c", "d"], noise=noise)
        for a, share in enumerate([0.6, 0.3, 0.1, 0.0]):
            assert env.true_value(Fixed(4, a)) == pytest.approx(noise + (1 - 2 * noise) * share)


@pytest.mark.parametrize("y", [np.array([0, 1, -1]), np.array([0.5, 1, 0]), np.array([0, 1])])
def test_labels_that_are_no_classes_are_refused(y: np.ndarray) -> None:
    """Negative, fractional, or too few."""
    with pytest.raises(DataError, match="labels"):
        classification(np.zeros((3, 1)), y)


def test_digits() -> None:
    """1,797 digits, 64 grey values, ten actions; a constant answer is worth about a tenth."""
    env = digits()
    assert (env.n, env.k, env.context.shape[1]) == (1_797, 10, 64)
    assert env.best_value() == 1.0 and 0.09 < env.true_value(Fixed(10, 3)) < 0.11


def test_the_knobs_of_the_synthetic_bandit() -> None:
    """Noise narrows the means, gaps stay optional, masks leave an action, one seed is one world."""
    plain, noisy = bandit(seed=1), bandit(seed=1, noise=0.8)
    np.testing.assert_allclose(noisy.means - 0.5, 0.2 * (plain.means - 0.5), atol=1e-12)
    assert (bandit(seed=1).means == plain.means).all() and (bandit(seed=2).means != plain.means).any()
    gappy = bandit(missing=0.3, blocked=0.9)
    assert 0.25 < np.isnan(gappy.context[:, :5]).mean() < 0.35
    assert gappy.allowed is not None and gappy.allowed.any(1).all() and gappy.allowed.mean() < 0.4
    with pytest.raises(ConfigError, match="noise"):
        bandit(noise=2.0)


def test_overlap_is_what_was_asked_for() -> None:
    """No propensity below overlap/k; less overlap, more lopsided."""
    env = bandit(k=4)
    least = [behavior(env, overlap=o).probs(env.context) for o in (1.0, 0.4, 0.01)]
    np.testing.assert_allclose(least[0], 0.25)
    assert least[1].min() >= 0.1 and least[2].min() >= 0.0025
    assert least[2].max(1).mean() > least[1].max(1).mean() > 0.5
    with pytest.raises(ConfigError, match="overlap"):
        behavior(env, overlap=0.0)


def write(path: Path, rows: list[list[int]]) -> Path:
    path.write_text("\n".join(" ".join(map(str, row)) for row in rows) + "\n")
    return path


def test_shuttle_drops_rare_classes_and_keeps_their_actions(tmp_path: Path) -> None:
    """A file in its layout: 4,000 rows of class 1, 1,000 of class 4, one of class 6 (a share below .0005)."""
    rng = np.random.default_rng(0)
    rows = [[*rng.integers(-50, 50, 9).tolist(), c] for c in [1] * 4_000 + [4] * 1_000 + [6]]
    env = shuttle(path=write(tmp_path / "s.trn", rows))
    assert (env.n, env.k) == (5_000, 7)
    assert env.true_value(Fixed(7, 0)) == pytest.approx(0.8) and env.true_value(Fixed(7, 5)) == 0.0


@pytest.mark.parametrize(
    "text", ["", "1 2 3\n", "1 2 3 4 5 6 7 8 9 x\n", "1 2 3 4 5 6 7 8 9 8\n", "\x00\x01", "1 2\n1 2 3\n"]
)
def test_a_file_that_is_not_shuttle_is_refused(tmp_path: Path, text: str) -> None:
    """With the file's name and what was expected."""
    (tmp_path / "s.trn").write_text(text)
    with pytest.raises(DataError, match=r"s\.trn is not Statlog Shuttle"):
        shuttle(path=tmp_path / "s.trn")


def test_a_path_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    """And is not replaced by a download."""
    with pytest.raises(StoreError, match="is not a file"):
        shuttle(path=tmp_path / "none.trn")


def test_the_suite_catches_a_world_that_lies_about_its_truth() -> None:
    """A true_value that a walk does not earn fails the conformance suite."""

    class Liar(Population):
        def true_value(self, policy, *, phase=None) -> float:
            return super().true_value(policy) + 0.05

    with pytest.raises(AssertionError, match="true_value says"):
        check_environment(Liar(PROBLEM, CONTEXT, MEANS, rewards="binary"))
