"""Episodes that outlive the policies which act in them: nothing lost, nothing doubled, and where each was cut."""

import numpy as np
from tests.stages import LENGTHS, Clock, code

from understudy.core.steps import Steps
from understudy.envs.cartpole import cartpole
from understudy.envs.rollout import episodes
from understudy.envs.stage import Stage
from understudy.models.policies import Fixed, Uniform


def _walked(w: int, ticks: int) -> list[list[float]]:
    """The codes of the steps of each place, in order, by counting."""
    rows: list[list[float]] = []
    for place in range(w):
        each, episode, age = [], 0, 0
        for _ in range(ticks):
            each.append(100.0 * place + 10 * episode + age)
            age += 1
            if age == LENGTHS[episode % 3]:
                episode, age = episode + 1, 0
        rows.append(each)
    return rows


def _by_place(parts: list[Steps], w: int) -> list[list[float]]:
    return [np.concatenate([part.reward.reshape(w, -1)[place] for part in parts]).tolist() for place in range(w)]


def test_collections_of_any_length_hold_every_step_once_and_in_order() -> None:
    """Cut after 4, 1, 7 and 3 ticks, or not at all: the same steps, each with the context it was taken in."""
    stage = Stage(Clock(), 3, seed=0)
    parts = [stage.collect(Uniform(3), ticks) for ticks in (4, 1, 7, 3)]
    assert _by_place(parts, 3) == _walked(3, 15)
    for part in parts:
        np.testing.assert_array_equal(code(part.context), part.reward)
        np.testing.assert_allclose(part.propensity, 1 / 3)


def test_ends_are_those_of_the_world_and_of_the_collection() -> None:
    """Place 0 by hand, 12 ticks: 3 terminated, 5 truncated by the world, 2 terminated, then 2 of 3 and the cut."""
    stage = Stage(Clock(), 2, seed=0)
    first, second = stage.collect(Uniform(3), 12), stage.collect(Uniform(3), 1)
    assert first.starts.tolist() == [0, 3, 8, 10, 12, 15, 20, 22, 24]
    assert np.flatnonzero(first.terminated).tolist() == [2, 9, 14, 21]
    assert np.flatnonzero(first.truncated).tolist() == [7, 11, 19, 23]
    assert (second.starts.tolist(), second.terminated.tolist()) == ([0, 1, 2], [True, True])
    assert second.reward.tolist() == [32.0, 132.0]


def test_final_contexts_are_what_truly_followed_also_after_an_end() -> None:
    """The world's own last context, not the first of the next episode: ages 3, 5, 2 and, where it was cut, 2."""
    final = Stage(Clock(), 2, seed=0).collect(Uniform(3), 12).final_context
    assert final is not None
    assert code(final).tolist() == [3, 15, 22, 32, 103, 115, 122, 132]


def test_final_masks_are_of_what_truly_followed() -> None:
    """Back is barred at odd ages: those of the final contexts, in a collection and in a log; None without masks."""
    staged = Stage(Clock(masked=True), 2, seed=0).collect(Uniform(3), 12)
    logged = episodes(Clock(masked=True), Uniform(3), 9, seed=0)
    for log in (staged, logged):
        assert log.final_context is not None and log.final_allowed is not None
        cut = log.truncated[log.starts[1:] - 1]
        even = log.final_context[cut, 2] % 2 == 0
        assert (log.final_allowed[cut] == np.stack([even, cut[cut], cut[cut]], 1)).all()
        assert log.final_allowed.dtype == bool and log.final_allowed.shape == (log.m, 3)
    assert not logged.final_allowed[logged.truncated[logged.starts[1:] - 1], 0].any()  # cut at 5, after a step at 4
    assert Stage(Clock(), 2, seed=0).collect(Uniform(3), 12).final_allowed is None
    assert episodes(Clock(), Uniform(3), 9, seed=0).final_allowed is None


def test_returns_are_of_whole_episodes_across_collections() -> None:
    """0 + 1 + 2 of each place, when its first episode ends; then 10 + … + 14, although three collections cut it."""
    stage = Stage(Clock(), 2, seed=0)
    for ticks, known in ((2, []), (1, [3.0, 303.0]), (4, [3.0, 303.0]), (1, [3.0, 303.0, 60.0, 560.0])):
        stage.collect(Uniform(3), ticks)
        assert stage.finished == known


def test_the_last_ticks_come_again_where_that_is_asked_for() -> None:
    """Each collection begins with the two ticks before it, also where it is shorter than they are."""
    stage, whole = Stage(Clock(), 2, seed=0), _walked(2, 9)
    spans = [(stage.collect(Uniform(3), ticks, again=2), first) for ticks, first in ((4, 0), (1, 2), (1, 3), (3, 4))]
    ends = [4, 5, 6, 9]
    for (steps, first), end in zip(spans, ends):
        assert _by_place([steps], 2) == [place[first:end] for place in whole]
    assert stage.finished == [3.0, 303.0, 60.0, 560.0], "what comes again is not earned again"


def test_equal_seeds_equal_steps_and_the_world_does_not_hang_on_the_policy() -> None:
    """Bit for bit; another policy draws nothing from the world's stream, so its first contexts are the same."""

    def made(seed: int, policy) -> Steps:
        stage = Stage(cartpole(), 4, seed)
        stage.collect(policy, 30)
        return stage.collect(policy, 30)

    one, two, other = made(1, Uniform(2)), made(1, Uniform(2)), made(2, Uniform(2))
    for name in ("context", "action", "reward", "propensity", "final_context", "starts"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
    assert one.context.tobytes() != other.context.tobytes()
    begun = [Stage(cartpole(), 4, 1).collect(policy, 1).context for policy in (Uniform(2), Fixed(2, 0))]
    assert (begun[0] == begun[1]).all()


def test_masks_go_to_the_policy_and_into_the_steps() -> None:
    """Back is barred at odd ages: never taken (the world would object), and said so in every row."""
    steps = Stage(Clock(masked=True), 3, seed=0).collect(Uniform(3), 20)
    assert steps.allowed is not None
    np.testing.assert_array_equal(steps.allowed[:, 0], steps.context[:, 2] % 2 == 0)
    assert steps.allowed[np.arange(steps.n), steps.action].all()
    np.testing.assert_allclose(steps.propensity, 1 / steps.allowed.sum(1))
