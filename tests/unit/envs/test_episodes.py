"""Logs of whole episodes: which are kept, where they end, what was likely, and that nothing depends on length."""

import numpy as np
import pytest

from understudy.core.errors import ConfigError
from understudy.core.steps import Steps
from understudy.envs.bandit import bandit
from understudy.envs.cartpole import cartpole
from understudy.envs.pendulum import pendulum
from understudy.envs.rollout import episodes, mean_return
from understudy.models.box import UniformBox
from understudy.models.policies import Uniform
from understudy.models.shares import Shares

TORQUE = UniformBox((-2.0,), (2.0,))


def _same(a: Steps, b: Steps) -> bool:
    names = ("starts", "unit", "time", "context", "action", "reward", "terminated", "truncated", "propensity",
             "propensities", "final_context", "outcomes")  # fmt: skip
    return all(np.array_equal(getattr(a, n), getattr(b, n), equal_nan=getattr(a, n).dtype.kind == "f") for n in names)


def test_a_log_keeps_the_invariants_of_steps() -> None:
    """One end per episode, in its last row; times rise within it; probabilities are those of the action."""
    log = episodes(cartpole(steps=40), Shares((0.3, 0.7)), 300, seed=1, start_time=5, interval=10, policy_id="p")
    last = np.zeros(log.n, bool)
    last[log.starts[1:] - 1] = True
    assert log.m == 300 and (np.diff(log.starts) > 0).all() and np.diff(log.starts).max() == 40
    assert ((log.terminated ^ log.truncated) == last).all() and not (log.terminated & log.truncated).any()
    assert log.truncated.any() and log.terminated.any(), "the test met no ending of one kind"
    inner = ~last[:-1]
    assert (np.diff(log.time)[inner] == 10).all() and log.time.min() == 5
    assert log.propensity is not None and log.propensities is not None and log.final_context is not None
    assert (log.propensities == [0.3, 0.7]).all() and (log.propensity == np.where(log.action == 0, 0.3, 0.7)).all()
    cut = log.truncated[log.starts[1:] - 1]
    assert np.isnan(log.final_context[~cut]).all() and np.isfinite(log.final_context[cut]).all()
    assert len(np.unique(log.unit)) == 300 and log.origin is not None and len(np.unique(log.origin.decision)) == log.n
    assert log.action.dtype == np.int32 and log.context.dtype == log.final_context.dtype == np.float32


def test_each_context_follows_from_the_one_before() -> None:
    """The world's own step, from every logged context with the logged action, gives the next one: also the final."""
    log = episodes(cartpole(steps=25), Uniform(2), 120, seed=2, width=13)
    twin = cartpole(steps=25)
    twin.reset(np.random.default_rng(0), log.n)
    twin._state = log.context.T.astype(np.float64)
    following = twin.step(log.action)[0].context
    ends = np.zeros(log.n, bool)
    ends[log.starts[1:] - 1] = True
    np.testing.assert_allclose(log.context[1:][~ends[:-1]], following[:-1][~ends[:-1]], atol=2e-6)
    cut = log.truncated[log.starts[1:] - 1]
    assert cut.any() and log.final_context is not None
    np.testing.assert_allclose(log.final_context[cut], following[ends][cut], atol=2e-6)
    assert (np.abs(log.context[log.starts[:-1]]) <= 0.05).all(), "every episode begins where episodes begin"


def test_equal_arguments_give_equal_logs() -> None:
    """Also from a world that was used in between; another seed gives another log."""
    world = pendulum(steps=20)
    first = episodes(world, TORQUE, 12, seed=4)
    mean_return(world, TORQUE, 3, 9)
    assert first.action.shape == (240, 1) and first.action.dtype == np.float32 and first.propensities is None
    assert (first.propensity == 0.25).all()
    plain = cartpole()
    assert _same(episodes(plain, Uniform(2), 30, seed=4), episodes(cartpole(), Uniform(2), 30, seed=4))
    assert not _same(episodes(plain, Uniform(2), 30, seed=4), episodes(plain, Uniform(2), 30, seed=5))


def test_returns_are_those_of_the_log() -> None:
    """``mean_return`` walks the very episodes that ``episodes`` logs."""
    log = episodes(cartpole(), Uniform(2), 230, seed=6, width=50)
    returns = mean_return(cartpole(), Uniform(2), 230, 6, width=50)
    assert (np.add.reduceat(log.reward, log.starts[:-1]) == returns).all()


def test_short_episodes_are_not_preferred() -> None:
    """Many places and few episodes: whoever took the first n to END would see a mean of about 12 in place of 22.

    Both means have a standard error below .25; the bound is 6 of their differences: a false alarm in 2e-9.
    """
    wide = np.concatenate([mean_return(cartpole(), Uniform(2), 40, seed, width=40) for seed in range(100)])
    long = mean_return(cartpole(), Uniform(2), 4_000, 0, width=10)
    error = np.sqrt(wide.var() / len(wide) + long.var() / len(long))
    assert abs(wide.mean() - long.mean()) < 6 * error
    assert abs(long.mean() - 22.3) < 6 * long.std() / np.sqrt(len(long))  # Gymnasium's own: 22.3 over 11,233 rows


def test_max_steps_truncates_before_the_world_does() -> None:
    """An episode that terminates in that very step has terminated."""
    log = episodes(cartpole(), Uniform(2), 400, seed=7, max_steps=15)
    full = mean_return(cartpole(), Uniform(2), 400, 7, max_steps=15)
    assert np.diff(log.starts).max() == 15 and full.max() == 15
    at = np.flatnonzero(np.diff(log.starts) == 15)
    ends = log.starts[at + 1] - 1
    assert log.terminated[ends].any() and log.truncated[ends].any()


def test_requests_without_sense_are_refused() -> None:
    """No episode, no step, or a world that has none."""
    for wrong in ({"n_episodes": 0}, {"n_episodes": 3, "max_steps": 0}, {"n_episodes": 3, "width": 0}):
        with pytest.raises(ConfigError, match="at least 1"):
            episodes(cartpole(), Uniform(2), seed=0, **wrong)
    with pytest.raises(ConfigError, match="no episodes"):
        mean_return(bandit(), Uniform(5), 3, 0)  # pyright: ignore[reportArgumentType]
