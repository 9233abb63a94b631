"""Training in a world: the log that grows, what is counted, masks, exploration, and a loss that is no number."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.stages import Clock, code

from understudy.core.errors import ConfigError, DataError
from understudy.core.protocols import View
from understudy.core.registry import find
from understudy.envs.cartpole import cartpole
from understudy.envs.pendulum import pendulum
from understudy.envs.rollout import episodes
from understudy.envs.stage import Stage
from understudy.learners.bcq import BCQ
from understudy.learners.dqn import DQN
from understudy.learners.ppo import PPO
from understudy.learners.reinforce import Reinforce
from understudy.learners.sac import SAC
from understudy.models.feature_map import FeatureMap, FittedFeature
from understudy.models.policies import Uniform
from understudy.runs.online import Growth, Online, Ring, learn_in, settled

SMALL: dict[str, Any] = {"batch": 16, "hidden": (8,), "decay": 0.0}
BRIEF = Growth(steps=600, warmup_steps=100, envs=4, collect=128, eval_every=200, eval_episodes=3)
PLAIN = FeatureMap(tuple(FittedFeature(kind="number", source=i, name=n) for i, n in enumerate(("place", "e", "age"))))


def ring_of(collections: tuple[int, ...], n: int, capacity: int = 1000, **world: Any) -> Ring:
    """What these collections, of 2 places and so many ticks, leave in a ring."""
    stage, ring = Stage(Clock(**world), 2, seed=0), Ring(capacity, PLAIN)
    for ticks in collections:
        steps = stage.collect(Uniform(3), ticks, again=n)
        ring.add(steps, settled(steps, 2, n), 0.9, n)
    return ring


def held(ring: Ring) -> dict[str, np.ndarray]:
    """The columns of a ring that is not full, in order of the steps' codes."""
    names = ("x", "action", "reward", "discount", "next_x", "next_action", "weight", "allowed", "next_allowed", "p")
    columns = {name: column[: ring.n] for name, column in zip(names, ring.held) if column is not None}
    order = np.argsort(code(columns["x"]), kind="stable")
    return {name: column[order] for name, column in columns.items()}


@pytest.mark.parametrize("n", [1, 3])
def test_where_the_log_is_cut_changes_no_transition(n: int) -> None:
    """In 20 ticks at once, or in six collections: each step once, over n steps across the cuts."""
    whole, parts = held(ring_of((20,), n)), held(ring_of((4, 1, 7, 2, 1, 5), n))
    assert len(whole["x"]) == 2 * (20 - n)
    assert len(np.unique(code(whole["x"]))) == len(whole["x"]), "a step came twice"
    for name in ("x", "reward", "discount", "next_x", "weight"):
        np.testing.assert_array_equal(whole[name], parts[name], err_msg=name)


def test_transitions_over_three_steps_by_hand() -> None:
    """Place 0. From age 1 of the first episode, which ends after 3: 1 + .9·2, then nothing. From age 3 of the second,

    which is truncated after 5: 13 + .9·14, then γ² of what its final context, 15, is worth.
    """
    log = held(ring_of((6, 6, 6), 3))
    row = {int(c): i for i, c in enumerate(code(log["x"]))}
    np.testing.assert_allclose(log["reward"][[row[1], row[13]]], [1 + 0.9 * 2, 13 + 0.9 * 14], atol=1e-5)
    np.testing.assert_allclose(log["discount"][[row[1], row[13]]], [0.0, 0.81], atol=1e-6)
    assert code(log["next_x"])[row[13]] == 15
    np.testing.assert_allclose(log["reward"][row[10]], 10 + 0.9 * 11 + 0.81 * 12, atol=1e-4)
    assert code(log["next_x"])[row[10]] == 13


def test_what_follows_a_cut_is_what_truly_followed_its_mask_and_action_too() -> None:
    """After one tick at a time, every step but an episode's last is followed by the step one older, and by its mask."""
    log = held(ring_of((1,) * 12, 1, masked=True))
    later = {int(c): i for i, c in enumerate(code(log["x"]))}
    inside = [(i, later[int(c)]) for i, c in enumerate(code(log["next_x"])) if log["discount"][i] and int(c) in later]
    assert len(inside) >= 12
    for i, following in inside:
        assert (log["next_allowed"][i] == log["allowed"][following]).all()
        assert log["next_action"][i] == log["action"][following]


def test_a_ring_forgets_the_oldest() -> None:
    """Of 2 · 19 transitions the newest 10 are left, wherever it wrapped; draws are of those, alike in all columns."""
    ring = ring_of((6, 7, 7), 1, capacity=10)
    whole = ring_of((6, 7, 7), 1)
    assert (ring.n, whole.n) == (10, 38)
    assert whole.held[0] is not None and ring.held[0] is not None
    assert sorted(code(ring.held[0])) == sorted(code(whole.held[0])[28:38])
    drawn = ring.draw(np.random.default_rng(0), 4, 50)
    assert drawn.x.shape == (4, 50, 3) and drawn.allowed is None
    np.testing.assert_array_equal(code(drawn.x), drawn.reward)
    assert set(np.unique(drawn.reward)) == set(code(ring.held[0])), "each is drawn sooner or later"


def test_a_ring_holds_more_than_its_capacity_at_once() -> None:
    """38 transitions into 10 places in one go: the last 10."""
    one, parts = ring_of((20,), 1, capacity=10), ring_of((20,), 1)
    assert one.n == 10 and one.held[0] is not None and parts.held[0] is not None
    assert sorted(code(one.held[0])) == sorted(code(parts.held[0])[28:38])


def test_a_learners_own_mask_reaches_the_ring() -> None:
    """The limit of a BCQ with a classifier: barred is what it finds unlikely, whatever the world allows."""
    ring = Ring(100, PLAIN, lambda context, allowed: np.broadcast_to([True, False, True], (len(context), 3)))
    steps = Stage(Clock(), 2, seed=0).collect(Uniform(3), 10)
    ring.add(steps, settled(steps, 2, 1), 0.9, 1)
    assert (held(ring)["next_allowed"] == [True, False, True]).all()


def points(learner: Any, env: Any, growth: Growth = BRIEF, seed: int = 0) -> list[Online]:
    return list(learn_in(learner, env(), growth, seed=seed, judge=env))


@pytest.mark.parametrize("envs", [1, 4, 64])
def test_decisions_are_counted_as_they_were_made(envs: int) -> None:
    """Whatever the width: as many as asked, up to whole ticks; a point per ``eval_every``; updates per decision."""
    env = cartpole()

    class Counting:
        problem = env.problem
        steps = 0

        def reset(self, rng: np.random.Generator, w: int) -> View:
            return env.reset(rng, w)

        def renew(self, ended: np.ndarray) -> View:
            return env.renew(ended)

        def step(self, action: np.ndarray) -> Any:
            self.steps += len(action)
            return env.step(action)

    world = Counting()
    growth = replace(BRIEF, envs=envs, updates_per_step=2.0)
    found = list(learn_in(DQN(**SMALL), world, growth, seed=0, judge=cartpole))
    assert found[-1].last and not any(each.last for each in found[:-1])
    decisions = [each.point.figures["decisions"] for each in found]
    assert decisions[-1] == world.steps and 600 <= world.steps < 600 + envs
    assert sorted(decisions) == decisions and len(found) == 3
    assert found[-1].point.updates == 1000 or envs == 64, "two per decision after 100"
    assert abs(found[-1].point.updates - 2 * (600 - math.ceil(100 / envs) * envs)) <= 50


@pytest.mark.parametrize("learner", [PPO(**SMALL), Reinforce(**SMALL)], ids=["ppo", "reinforce"])
def test_learners_of_their_own_actions_use_every_collection_so_often(learner: Any) -> None:
    """500 decisions after the warm-up, in 4 collections of 125, up to whole ticks: passes · 128 // 16 updates each."""
    found = points(learner, cartpole)
    assert found[-1].point.updates == 4 * (learner.passes * 128 // 16)
    assert found[-1].point.figures["decisions"] == 100 + 4 * 128
    assert [each.last for each in found] == [False] * (len(found) - 1) + [True]


@pytest.mark.parametrize("learner", [DQN(**SMALL), PPO(**SMALL)], ids=["dqn", "ppo"])
def test_equal_seeds_equal_trainings(learner: Any) -> None:
    """Figures and probabilities bit for bit; another seed, others."""
    one, two, other = (points(learner, cartpole, seed=seed) for seed in (1, 1, 2))
    assert [each.point for each in one] == [each.point for each in two]
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    assert (one[-1].policy.probs(x) == two[-1].policy.probs(x)).all()  # type: ignore[attr-defined]
    assert [each.point for each in one] != [each.point for each in other]


@pytest.mark.parametrize("name", ["dqn", "ppo", "reinforce", "cql"])
def test_masks_hold_in_training_and_in_what_comes_of_it(name: str) -> None:
    """The world objects to a barred action, so none was taken; and the policy gives it no chance."""

    def env() -> Clock:
        return Clock(masked=True, pay=2.0)

    learner: Any = find("learners", name)(**SMALL | {"scale": 1e-3})
    policy: Any = points(learner, env)[-1].policy
    context, allowed = np.array([[0, 0, 1], [0, 0, 2]], np.float32), np.array([[False, True, True], [True] * 3])
    p = policy.probs(context, allowed)
    assert p[0, 0] == 0
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-12)


def test_a_learner_that_imitates_by_a_model_of_the_log_learns_too() -> None:
    """BCQ with a classifier of the warm-up: its mask limits what may follow."""
    found = points(BCQ(**SMALL, imitation="classifier"), cartpole)
    assert math.isfinite(found[-1].point.figures["loss"])


def test_continuous_actions_and_endless_truncation() -> None:
    """Pendulum never terminates: every transition bootstraps, and the figures are finite."""
    found = points(SAC(**SMALL, scale=0.1), pendulum)
    assert -2000 < found[-1].point.truth < 0  # type: ignore[operator]
    assert all(math.isfinite(value) for each in found for value in each.point.figures.values())


def test_exploration_falls_from_first_to_last() -> None:
    """The training return of a learner that explores is that of chance while ε is 1, whatever it has learned."""
    from understudy.models.policies import Fixed
    from understudy.runs.online import _exploring

    problem, growth = cartpole().problem, Growth(steps=1000, warmup_steps=10, epsilon=(0.8, 0.2), epsilon_share=0.5)
    x = np.zeros((1, 4), np.float32)
    greedy = [_exploring(Fixed(2, 1), problem, growth, done).probs(x)[0, 1] for done in (0, 250, 500, 900)]  # type: ignore
    np.testing.assert_allclose(greedy, [1 - 0.4, 1 - 0.25, 1 - 0.1, 1 - 0.1], atol=1e-12)


@pytest.mark.parametrize("learner", [DQN(**SMALL), PPO(**SMALL)], ids=["dqn", "ppo"])
def test_a_loss_that_is_no_number_stops_and_says_where(learner: Any) -> None:
    """Rewards beyond any number: refused at the updates that met them."""
    with pytest.raises(DataError, match=r"between updates \d+ and \d+"):
        points(learner, lambda: Clock(pay=1e38))


@pytest.mark.parametrize(
    ("settings", "field"),
    [({"steps": 0}, "steps"), ({"envs": 0}, "envs"), ({"warmup_steps": 600}, "warmup_steps"),
     ({"warmup_steps": 500, "envs": 400}, "warmup_steps"), ({"updates_per_step": 0.0}, "updates_per_step"),
     ({"epsilon": (2.0, 0.0)}, "epsilon"), ({"eval_episodes": 0}, "eval_episodes")],
)  # fmt: skip
def test_growth_refuses_what_it_cannot_do(settings: dict[str, Any], field: str) -> None:
    """Named, with the number given."""
    with pytest.raises(ConfigError) as error:
        replace(BRIEF, **settings)
    assert error.value.field == field


def test_a_warm_up_too_short_for_the_transitions_asked_for_is_refused() -> None:
    """One tick holds no transition over three steps."""
    with pytest.raises(ConfigError, match="hold no transition over 3 steps"):
        points(DQN(**SMALL, n=3), cartpole, replace(BRIEF, warmup_steps=4))


class Noting:
    """A cartpole that remembers the contexts its episodes begin with."""

    def __init__(self) -> None:
        self.env = cartpole(steps=30)
        self.problem, self.begun = self.env.problem, []

    def reset(self, rng: np.random.Generator, w: int) -> View:
        self.begun.append((view := self.env.reset(rng, w)).context)
        return view

    def renew(self, ended: np.ndarray) -> View:
        return self.env.renew(ended)

    def step(self, action: np.ndarray) -> Any:
        return self.env.step(action)


def test_training_evaluation_and_simulation_of_one_seed_are_independent() -> None:
    """Each begins its episodes from contexts of its own: a policy is not judged where it has learned."""
    training, judges = Noting(), []

    def judge() -> Noting:
        judges.append(Noting())
        return judges[-1]

    list(learn_in(DQN(**SMALL), training, replace(BRIEF, envs=4, eval_episodes=4), seed=7, judge=judge))
    simulated = Noting()
    episodes(simulated, Uniform(2), 4, seed=7, width=4)
    first = [tuple(np.concatenate(each.begun)[:, 0][:4]) for each in (training, simulated, *judges)]
    assert len(judges) == 3 and len(set(np.ravel(first))) == 4 * 5
