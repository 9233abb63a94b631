"""Gymnasium's worlds behind our seam: spaces, seeds, endings, the true last context, names, and pictures."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from understudy.core.errors import ConfigError
from understudy.core.protocols import EpisodicEnvironment, Policy
from understudy.envs.cartpole import cartpole
from understudy.envs.film import film, write_gif
from understudy.envs.gym import Gym, gym
from understudy.envs.pendulum import pendulum
from understudy.envs.rollout import episodes
from understudy.models.box import UniformBox
from understudy.models.policies import Uniform

gymnasium = pytest.importorskip("gymnasium")


def _uniform(env: Gym) -> Policy:
    space = env.problem.actions
    return Uniform(space.k) if space.discrete else UniformBox(space.low, space.high)


@pytest.mark.parametrize(
    ("id", "d", "actions", "horizon"),
    [
        ("CartPole-v1", 4, ("left", "right"), 500),
        ("Acrobot-v1", 6, ("back", "none", "forth"), 500),
        ("MountainCarContinuous-v0", 2, (), 999),
        ("FrozenLake-v1", 1, ("0", "1", "2", "3"), 100),
        ("Blackjack-v1", 45, ("0", "1"), None),
    ],
)
def test_spaces_become_a_problem(id: str, d: int, actions: tuple[str, ...], horizon: int | None) -> None:
    """Boxes are numbers, a Discrete is one category, what can be flattened is; the limit is the horizon."""
    env = gym(id)
    assert isinstance(env, EpisodicEnvironment)
    assert len(env.problem.features) == d and env.problem.actions.names == actions and env.problem.horizon == horizon
    log = episodes(env, _uniform(env), 6, seed=2, max_steps=40)
    assert log.context.shape == (log.n, d) and log.context.dtype == np.float32 and np.isfinite(log.context).all()
    low, high = env.problem.reward_range
    assert ((log.reward >= low) & (log.reward <= high)).all()
    if id == "FrozenLake-v1":
        feature = env.problem.features[0]
        assert feature.kind == "category" and len(feature.values) == 16 and (log.context[log.starts[:-1]] == 0).all()


@pytest.mark.parametrize(("id", "ours"), [("CartPole-v1", cartpole()), ("Pendulum-v1", pendulum())])
def test_a_problem_is_that_of_our_copy(id: str, ours: EpisodicEnvironment) -> None:
    """So that a policy learned in one acts in the other."""
    assert gym(id, steps=200).problem == ours.problem


def test_a_log_is_what_gymnasium_shows() -> None:
    """Replaying the logged actions from the same seeds gives the same contexts, rewards, ends, and final contexts."""
    env = gym("CartPole-v1", steps=25)
    log = episodes(env, Uniform(2), 40, seed=3, width=40)
    world = np.random.default_rng(np.random.SeedSequence(3).spawn(2)[0])
    seeds = world.integers(2**31, size=40).tolist()
    assert log.final_context is not None
    for i, (seed, start, end) in enumerate(zip(seeds, log.starts[:-1], log.starts[1:])):
        twin = gymnasium.make("CartPole-v1", max_episode_steps=25)
        seen, _ = twin.reset(seed=seed)
        for row in range(start, end):
            assert (log.context[row] == seen).all()
            seen, reward, terminated, truncated, _ = twin.step(int(log.action[row]))
            assert reward == log.reward[row] and terminated == log.terminated[row]
            assert (truncated and not terminated) == log.truncated[row]
        if log.truncated[end - 1]:
            assert (log.final_context[i] == seen).all()
    assert log.truncated.any() and log.terminated.any()


def test_equal_seeds_give_equal_logs_and_each_copy_its_own() -> None:
    """Also from copies that have been played with, more of them or fewer."""
    env = gym("Pendulum-v1", steps=5)
    first = episodes(env, _uniform(env), 9, seed=1, width=4)
    episodes(env, _uniform(env), 9, seed=2, width=9)
    again = episodes(env, _uniform(env), 9, seed=1, width=4)
    assert first.context.tobytes() == again.context.tobytes() and first.reward.tobytes() == again.reward.tobytes()
    assert len(np.unique(first.context[first.starts[:-1]], axis=0)) == 9


def test_options_reach_the_environment() -> None:
    """Gravity 0: a pendulum at rest stays where it is; the problem carries what it was told."""
    env = gym("Pendulum-v1", g=0.0, steps=3, discount=0.9, reward_low=-20.0)
    view = env.reset(np.random.default_rng(0), 2)
    after, _ = env.step(np.zeros((2, 1), np.float32))
    assert (view.context[:, 2] == after.context[:, 2]).all()
    assert (env.problem.discount, env.problem.horizon, env.problem.reward_range[0]) == (0.9, 3, -20.0)


@pytest.mark.parametrize("id", ["CartPol-v1", "CartPole-v9", "elsewhere/CartPole-v1", "nomodule:CartPole-v1"])
def test_an_unknown_id_names_the_nearest(id: str) -> None:
    """Among Gymnasium's and our own."""
    with pytest.raises(ConfigError, match="unknown environment") as caught:
        gym(id)
    assert "CartPole-v1" in caught.value.hint


def test_faults_of_making_one_are_told_in_our_words() -> None:
    """A setting it does not take; a space no log can hold; a package that is missing; a limit of nothing."""
    with pytest.raises(ConfigError, match="gg"):
        gym("Pendulum-v1", gg=3)
    with pytest.raises(ConfigError, match="positive"):
        gym("Pendulum-v1", steps=0)
    if find_spec("Box2D") is None:
        with pytest.raises(ConfigError, match=r"pip install .*box2d"):
            gym("LunarLander-v3")
    with pytest.raises(ConfigError, match="discount"):
        gym("CartPole-v1", discount=2.0)


def test_unbounded_actions_are_refused() -> None:
    """There is no uniform density over them."""
    from understudy.envs.spaces import actions_of

    wide = gymnasium.spaces.Box(-np.inf, np.inf, (1,))
    for space in (wide, gymnasium.spaces.MultiDiscrete([2, 2])):
        with pytest.raises(ConfigError, match=r"X-v0.* takes"):
            actions_of("X-v0", space)


def test_actions_start_where_the_space_starts() -> None:
    """Names are Gymnasium's numbers; vectors keep their shape and type."""
    from understudy.envs.spaces import actions_of

    space, decode = actions_of("X-v0", gymnasium.spaces.Discrete(3, start=5))
    assert space.names == ("5", "6", "7") and list(decode(np.array([0, 2], np.int32))) == [5, 7]
    box = gymnasium.spaces.Box(-1.0, 1.0, (2, 2), np.float64)
    space, decode = actions_of("X-v0", box)
    assert space.dims == 4
    assert all(box.contains(action) for action in decode(np.zeros((3, 4), np.float32)))


def test_without_gymnasium_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """And our own worlds need none of it."""
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(ConfigError) as caught:
        gym("Acrobot-v1")
    assert caught.value.hint == 'pip install "understudy[gym]"'
    assert episodes(cartpole(), Uniform(2), 2, seed=0).m == 2


def test_a_film_is_a_moving_picture(tmp_path: Path) -> None:
    """One frame per step, shrunk, at the world's own pace, endless."""
    pil = pytest.importorskip("PIL.Image")
    env = gym("CartPole-v1", render="rgb_array", steps=12)
    frames = [frame for frame in film(env, Uniform(2), seed=3) if frame is not None]
    length = episodes(gym("CartPole-v1", steps=12), Uniform(2), 1, seed=3, width=1).n
    assert len(frames) == length > 8 and frames[0].shape == (400, 600, 3) and frames[0].dtype == np.uint8
    with pil.open(write_gif(frames, tmp_path / "sub" / "a.gif", 50)) as made:
        assert made.size == (300, 200) and made.info["loop"] == 0 and made.n_frames > 5
        lasts = [made.seek(i) or made.info["duration"] for i in range(made.n_frames)]
        assert sum(lasts) == 20 * len(frames), "frames that look alike become one that lasts longer"
    env.close()
    with pytest.raises(ConfigError, match="no frame"):
        write_gif([], tmp_path / "b.gif")


def test_two_frames_differ() -> None:
    """What is filmed moves."""
    env = gym("Pendulum-v1", render="rgb_array", steps=4)
    frames = [frame for frame in film(env, _uniform(env), 2, seed=3) if frame is not None]
    env.close()
    assert len(frames) == 8 and len({frame.tobytes() for frame in frames}) == 8
