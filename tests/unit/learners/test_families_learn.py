"""Learners over every family: what they refuse, what they make of a log, and what they learn in a world."""

from typing import Any

import numpy as np
import pytest

from understudy.core.errors import ConfigError, DataError
from understudy.core.registry import find
from understudy.envs.gym import gym
from understudy.envs.pendulum import pendulum
from understudy.envs.rollout import episodes, mean_return
from understudy.learners.average_ac import AverageAC
from understudy.learners.gradient import feature_map
from understudy.models.box import UniformBox
from understudy.runs.online import Growth, learn_in
from understudy.testing import check_policy
from understudy.testing.conformance_learner import PLAIN, WIDE, LoggedSteps, example_episodes, example_log

LOG = example_episodes(WIDE, 60, 1)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("sac", "gaussian"), ("sac", "softmax"), ("greedy_ac", "beta"), ("awac", "student_t"),
        ("iql", "q_gaussian_light"), ("average_ac", "q_gaussian_heavy"),
    ],
)  # fmt: skip
def test_any_family_under_any_learner(name: str, family: str) -> None:
    """A sound policy whose density is that of its actions, and not the one it began with."""
    short: dict[str, Any] = {} if name == "average_ac" else {"updates": 100, "batch": 16, "hidden": (8,)}
    learner = find("learners", name)(family=family, **short)
    policy, features = learner.fit(LOG, seed=3), feature_map(learner, LOG)
    assert policy.family == family
    check_policy(policy, WIDE)
    first = learner.policy(learner.init(WIDE, features, seed=3), WIDE, features)
    context = LOG.steps.context[:50]
    assert np.abs(policy.mean(context) - first.mean(context)).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("greedy_ac", {"n_rho": (0, 0.1)}), ("greedy_ac", {"n_rho": (30, 0.0)}), ("greedy_ac", {"n_rho": (30, 1.5)}),
        ("greedy_ac", {"temperature": -1.0}), ("greedy_ac", {"critics": 0}), ("greedy_ac", {"spread": 0.0}),
        ("tawac", {"index": 0.5}), ("tawac", {"temperature": 0.0}), ("tawac", {"loss": "l1"}),
        ("average_ac", {"decay": 1.5}), ("average_ac", {"critic_lr": -0.1}), ("average_ac", {"tiles": 0}),
        ("average_ac", {"clip_stddev": 0.0}), ("average_ac", {"features": "raw"}),
        *((name, {"family": "gauss"}) for name in ("sac", "awac", "iql", "tawac", "greedy_ac", "average_ac")),
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(name: str, change: dict[str, Any]) -> None:
    """Before anything is read, with the field's name."""
    with pytest.raises(ConfigError) as caught:
        find("learners", name)(**change)
    assert caught.value.field in (*change, "gauss")


@pytest.mark.parametrize("name", ["greedy_ac", "tawac", "average_ac"])
def test_named_actions_are_refused(name: str) -> None:
    """There are learners for those."""
    with pytest.raises(ConfigError, match="named") as caught:
        find("learners", name)().fit(example_log(PLAIN, 40, 1), seed=0)
    assert caught.value.field == "actions"


def test_a_weight_that_is_no_number_stops_the_linear_learner() -> None:
    """With steps a thousand times too long."""
    log = LoggedSteps(WIDE, LOG.steps.with_(reward=1e30 * LOG.steps.reward))
    with pytest.raises(DataError, match="no number"):
        AverageAC(critic_lr=100.0, actor_lr=100.0).fit(log, seed=0)


def test_the_width_of_the_linear_policy_is_cut() -> None:
    """σ at most clip_stddev half widths; a family without a width is as it was."""
    wide, narrow = (AverageAC(actor_lr=0.0, clip_stddev=widest).fit(LOG, seed=0) for widest in (1000.0, 0.05))
    context = LOG.steps.context[:200]
    spread = [np.std(policy.act(context, np.random.default_rng(0))[0][:, 0]) for policy in (wide, narrow)]
    assert spread[1] == pytest.approx(spread[0] * 0.05 / np.exp(-2), rel=0.05)


def test_the_linear_learner_learns_to_swing_up() -> None:
    """20,000 steps, two seconds: uniform actions earn −1,200 in pendulum."""
    growth = Growth(steps=20_000, warmup_steps=1_000, envs=4, eval_every=20_000, eval_episodes=40)
    *_, last = learn_in(AverageAC(), pendulum(), growth, seed=0, judge=pendulum)
    assert last.point.truth is not None and last.point.truth > -900
    assert last.point.figures["decisions"] == pytest.approx(20_000, abs=100)


@pytest.mark.parametrize(
    ("id", "name", "family"),
    [
        ("MountainCarContinuous-v0", "sac", "gaussian"),
        ("MountainCarContinuous-v0", "average_ac", "q_gaussian_heavy"),
        ("Hopper-v5", "greedy_ac", "gaussian"),
    ],
)
def test_worlds_of_gymnasium(id: str, name: str, family: str) -> None:
    """Trained there for a moment, what is left acts there, and its logged propensities are its densities."""
    pytest.importorskip("mujoco" if "v5" in id else "gymnasium")
    short: dict[str, Any] = {} if name == "average_ac" else {"hidden": (16,), "batch": 32}
    growth = Growth(steps=500, warmup_steps=200, envs=2, eval_every=500, eval_episodes=1)
    *_, last = learn_in(find("learners", name)(family=family, **short), gym(id), growth, seed=0, judge=lambda: gym(id))
    assert last.last and np.isfinite(last.point.truth or np.nan)
    log = episodes(gym(id), last.policy, 2, seed=1, max_steps=20)
    assert log.propensity is not None
    np.testing.assert_allclose(last.policy.prob(log.context, log.action), log.propensity, rtol=1e-6)
    space = gym(id).problem.actions
    assert ((log.action >= np.array(space.low)) & (log.action <= np.array(space.high))).all()


def test_a_pole_in_mujoco_is_held_longer_than_by_chance() -> None:
    """InvertedPendulum-v5, 1,500 steps: heavy tails learn there too."""
    pytest.importorskip("mujoco")
    env, growth = gym("InvertedPendulum-v5"), Growth(steps=1_500, warmup_steps=500, envs=4, eval_every=1_500)
    learner = find("learners", "sac")(family="q_gaussian_heavy", rate=3e-3, batch=64, hidden=(32, 32))
    *_, last = learn_in(learner, env, growth, seed=0, judge=lambda: gym("InvertedPendulum-v5"))
    space = env.problem.actions
    chance = mean_return(gym("InvertedPendulum-v5"), UniformBox(space.low, space.high), 20, 3).mean()
    assert (last.point.truth or 0.0) > 2 * chance
