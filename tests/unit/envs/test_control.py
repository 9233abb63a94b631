"""CartPole and Pendulum are Gymnasium's own, step by step, up to and including the time limit."""

from typing import Any

import numpy as np
import pytest

from understudy.core.errors import ConfigError
from understudy.envs.cartpole import cartpole
from understudy.envs.pendulum import pendulum
from understudy.envs.rollout import mean_return
from understudy.models.box import UniformBox

gymnasium = pytest.importorskip("gymnasium")
W = 40


def _copies(name: str, state: np.ndarray, **options: Any) -> list[Any]:
    """One environment of Gymnasium's per column of ``state`` f64[s, w], begun there."""
    made = []
    for column in state.T:
        env = gymnasium.make(name, **options)
        env.reset(seed=0)
        env.unwrapped.state = column.copy()
        made.append(env)
    return made


@pytest.mark.parametrize("steps", [30, 200, 500])
def test_cartpole_is_gymnasiums(steps: int) -> None:
    """Contexts equal to the last bit, and the same endings, for pushes that fall soon and for some that balance."""
    env, rng = cartpole(steps=steps), np.random.default_rng(steps)
    view = env.reset(rng, W)
    theirs = _copies("CartPole-v1", env._state, max_episode_steps=steps)
    alive, seen = np.ones(W, bool), {"terminated": 0, "truncated": 0}
    for _ in range(steps):
        balance = (view.context[:, 2] + 0.5 * view.context[:, 3] > 0).astype(np.int32)
        action = np.where(np.arange(W) < W // 2, rng.integers(0, 2, W), balance).astype(np.int32)
        view, feedback = env.step(action)
        for i in np.flatnonzero(alive):
            context, reward, terminated, truncated, _ = theirs[i].step(int(action[i]))
            assert (view.context[i] == context).all() and feedback.reward[i] == reward
            assert feedback.terminated[i] == terminated
            assert feedback.truncated[i] == (truncated and not terminated)
            seen["terminated"] += terminated
            seen["truncated"] += bool(feedback.truncated[i])
        alive &= ~(feedback.terminated | feedback.truncated)
        if not alive.any():
            break
    assert not alive.any() and min(seen.values()) > 0, "the test met no ending of one kind"


def test_pendulum_is_gymnasiums() -> None:
    """Contexts to the last bit over whole episodes, also for torques beyond the limit."""
    env, rng = pendulum(), np.random.default_rng(3)
    env.reset(rng, W)
    theirs = _copies("Pendulum-v1", env._state)
    for t in range(200):
        action = rng.uniform(-2.5, 2.5, (W, 1)).astype(np.float32)
        view, feedback = env.step(action)
        for i in range(W):
            context, reward, terminated, truncated, _ = theirs[i].step(action[i])
            assert (view.context[i] == context).all()
            assert abs(feedback.reward[i] - reward) < 1e-9  # they square a float32 scalar by powf: one ulp of float32
            assert not terminated and truncated == feedback.truncated[i] == (t == 199)


def test_new_episodes_begin_where_gymnasiums_do() -> None:
    """Uniform in ±.05; any angle and a speed in ±1; only the marked begin anew, and from the world's own stream."""
    pole, swing = cartpole(), pendulum()
    start = pole.reset(np.random.default_rng(0), 20_000).context
    assert np.abs(start).max() <= 0.05 and np.abs(start.std(0) - 0.05 / 3**0.5).max() < 5e-4
    context = swing.reset(np.random.default_rng(0), 20_000).context
    angle = np.arctan2(context[:, 1], context[:, 0])
    assert np.abs(context[:, 2]).max() <= 1 and abs(angle.std() - np.pi / 3**0.5) < 0.02
    for env, action in ((pole, np.zeros(4, np.int32)), (swing, np.ones((4, 1), np.float32))):
        env.reset(np.random.default_rng(1), 4)
        before, _ = env.step(action)
        marked = np.array([True, False, False, True])
        after = env.renew(marked)
        assert (after.context[~marked] == before.context[~marked]).all()
        assert (after.context[marked] != before.context[marked]).all()
        assert (env._age == [0, 1, 1, 0]).all()


def test_time_limits_begin_anew_with_the_episode() -> None:
    """Every pendulum episode has exactly its 30 steps, however many follow one another in a place."""
    returns = mean_return(pendulum(steps=30), UniformBox((-2.0,), (2.0,)), 50, 1, width=7)
    assert len(returns) == 50 and (returns < 0).all()


@pytest.mark.parametrize("build", [cartpole, pendulum])
@pytest.mark.parametrize("wrong", [{"steps": 0}, {"discount": 1.5}])
def test_impossible_settings_are_refused(build: Any, wrong: dict[str, Any]) -> None:
    """With the name of the setting."""
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        build(**wrong)
