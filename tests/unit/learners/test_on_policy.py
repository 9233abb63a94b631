"""PPO and REINFORCE: losses and tables by hand, what a log must carry, and that decisions become likelier that paid."""

import copy
from typing import Any

import numpy as np
import pytest

from understudy.core.errors import ConfigError, DataError
from understudy.core.registry import find
from understudy.core.steps import Steps, bandit_steps
from understudy.learners import on_policy
from understudy.learners.gradient import layers, plain
from understudy.learners.loop import run
from understudy.learners.on_policy import Told, drawn, log_probs, tell
from understudy.learners.ppo import surrogate
from understudy.learners.reinforce import loss
from understudy.models.actor import gaussian, log_density
from understudy.models.feature_map import fit_feature_map
from understudy.ops.network import forward, start
from understudy.ops.returns import advantages
from understudy.testing.conformance_learner import CHAIN, PLAIN, WIDE, LoggedSteps, chain_log, example_episodes

NAMES = ("ppo", "reinforce")
QUICK: dict[str, Any] = {"updates": 400, "batch": 64, "hidden": (16,), "rate": 1e-2}


def told(log_prob, advantage, action=(0, 0), allowed=None) -> Told:
    """Two decisions with these densities of who acted."""
    return Told(np.zeros((2, 1)), np.array(action), np.array(advantage), np.zeros(2), np.array(log_prob), allowed)


def test_the_surrogate_by_hand() -> None:
    """ε = .2. ρ = 2, A = 3 is cut to 1.2·3; ρ = ½, A = −1 is cut to .8·(−1); ρ = 2, A = −1 and ρ = ½, A = 3 are not."""
    log_prob, old = np.log([0.8, 0.2]), np.log([0.4, 0.4])
    assert surrogate(np, log_prob, told(old, [3.0, -1.0]), 0.2) == pytest.approx(-(3.6 - 0.8) / 2, abs=1e-12)
    assert surrogate(np, log_prob, told(old, [-1.0, 3.0]), 0.2) == pytest.approx(-(-2.0 + 1.5) / 2, abs=1e-12)


def test_the_loss_of_reinforce_by_hand() -> None:
    """w = min(ρ, 1.5) = 1.5 and ½; −½(1.5·2·log .8 − ½·log .2); without correction both count once."""
    log_prob, batch = np.log([0.8, 0.2]), told(np.log([0.4, 0.4]), [2.0, -1.0])
    found = loss(np, log_prob, log_prob, batch, 1.5)
    assert found == pytest.approx(-(1.5 * 2 * np.log(0.8) - 0.5 * np.log(0.2)) / 2, abs=1e-12)
    assert loss(np, log_prob, log_prob, batch, 0.0) == pytest.approx(-(2 * np.log(0.8) - np.log(0.2)) / 2, abs=1e-12)


def test_probabilities_and_entropy_of_named_actions_by_hand() -> None:
    """Scores log 1, log 2, log 5: p = ⅛, ¼, ⅝; with the third barred ⅓ and ⅔, which adds nothing to the entropy."""
    scores = np.log([[1.0, 2.0, 5.0]] * 2)
    batch = told([0, 0], [0, 0], (2, 1), np.array([[True, True, True], [True, True, False]]))
    found, entropy = log_probs(np, scores, batch)
    np.testing.assert_allclose(np.exp(found), [5 / 8, 2 / 3], atol=1e-12)
    by_hand = [-sum(p * np.log(p) for p in each) for each in ((1 / 8, 1 / 4, 5 / 8), (1 / 3, 2 / 3))]
    np.testing.assert_allclose(entropy, by_hand, atol=1e-12)


def test_probabilities_of_continuous_actions_are_densities_of_the_actor() -> None:
    """The same Gaussian that will be served; its entropy is the mean of −log of it, whatever action was taken."""
    scores, raw = np.array([[0.4, -0.3], [1.0, 0.2]]), np.array([[0.1], [-2.0]])
    found, entropy = log_probs(np, scores, told([0, 0], [0, 0], raw))
    mean, log_std = gaussian(np, scores, 1)
    np.testing.assert_allclose(found, log_density(np, raw, mean, log_std), atol=1e-12)
    z = np.linspace(-9, 9, 20_001)
    log_p = log_density(np, (mean + np.exp(log_std) * z)[..., None], mean[..., None], log_std[..., None])  # [2, z]
    chance = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    np.testing.assert_allclose(entropy, -(log_p * chance).sum(-1), atol=1e-4)


def test_a_reward_for_staying_undecided_widens_a_box() -> None:
    """Where no action pays, only entropy pulls; −log π of the actions taken has no slope on its own policy's log."""
    context = example_episodes(WIDE, 400, 2).steps.context
    features = fit_feature_map(WIDE, [bandit_steps(context, np.zeros(len(context)), np.zeros(len(context)))])
    widths = []
    for entropy in (0.0, 0.5):
        learner: Any = find("learners", "ppo")(**QUICK, entropy=entropy)
        start = learner.policy(learner.init(WIDE, features, seed=0), WIDE, features)
        action, density = start.act(context, np.random.default_rng(0))
        after = learner.fit(LoggedSteps(WIDE, bandit_steps(context, action, np.zeros(len(action)), density)), seed=0)
        widths.append(np.exp(after.moments(context)[1]).mean())
    assert widths[1] > widths[0] + 0.1


def _net(width: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [(rng.normal(size=(1, i, o)), rng.normal(size=(1, o))) for i, o in ((width, 4), (4, 1))]


def test_a_table_holds_standard_advantages_and_what_the_value_should_have_said() -> None:
    """On the chain, truncated episodes and masks included: A standardised, target A + V, log of the propensity."""
    log = chain_log(30, 2, masked=True)
    features = fit_feature_map(CHAIN, log.scan())
    net = _net(features.width)
    table = tell(log.steps, CHAIN, features, net, 0.5, 0.81, 0.7)
    value = forward(np, net, features(log.steps.context))[0][:, 0].astype(float)
    beyond = forward(np, net, features(log.steps.final_context))[0][:, 0]
    gain = advantages(log.steps, value, np.where(np.isnan(log.steps.final_context[:, 0]), 0, beyond), 0.81, 0.7, 0.5)
    np.testing.assert_allclose(table.advantage, (gain - gain.mean()) / gain.std(), atol=1e-5)
    np.testing.assert_allclose(table.target, gain + value, atol=1e-5)
    np.testing.assert_allclose(np.exp(table.log_prob), log.steps.propensity, atol=1e-6)
    assert table.allowed is log.steps.allowed and abs(table.advantage.mean()) < 1e-6


def test_a_box_is_told_before_squashing_and_densities_go_with_it() -> None:
    """y = (a − middle)/half, u = artanh y; log p(y) = log p(a) + Σ log half. Both dimensions, also at the very end."""
    log = example_episodes(WIDE, 10, 1)
    action = log.steps.action.copy()
    action[0] = WIDE.actions.high
    features = fit_feature_map(WIDE, log.scan())
    table = tell(log.steps.with_(action=action), WIDE, features, _net(features.width), 1.0, 0.9, 0.9)
    np.testing.assert_allclose(np.tanh(table.action) * [1.5, 2.5] + [-0.5, 2.5], action, atol=1e-4)
    np.testing.assert_allclose(table.log_prob, np.log(log.steps.propensity * 1.5 * 2.5), atol=1e-6)
    assert np.isfinite(table.action).all()


def test_minibatches_use_every_row_once_before_any_comes_again() -> None:
    """10 rows, 3 minibatches of 5: one pass and a half, all columns alike."""
    n = np.arange(10.0)
    table = Told(n[:, None], n, n, n, n, None)
    batches = drawn(table, np.random.default_rng(0), 3, 5)
    assert batches.action.shape == (3, 5) and batches.x.shape == (3, 5, 1) and batches.allowed is None
    assert sorted(batches.action[:2].ravel()) == n.tolist() and len(set(batches.action[2])) == 5
    assert (batches.x[..., 0] == batches.action).all() and (batches.target == batches.action).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_log_of_its_own_decisions_teaches_it_to_go_on(name: str) -> None:
    """On at every place is best on the chain, from 300 uniform episodes; what is barred stays barred."""
    policy: Any = find("learners", name)(**QUICK, passes=1).fit(chain_log(300, 1, masked=True), seed=0)
    places = np.array([[0, 0], [1, 0], [2, 0], [3, 0]], np.float32)
    allowed = np.array([[False, True, True]] * 4)
    p = policy.probs(places, allowed)
    assert (p.argmax(1) == 2).all() and (p[:, 2] > 0.5).all() and (p[:, 0] == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_its_own_continuous_actions_teach_it_which_paid(name: str) -> None:
    """The reward is the mean of both dimensions, so the policy that acted goes up in both of them."""
    learner: Any = find("learners", name)(**QUICK)
    context = example_episodes(WIDE, 400, 2).steps.context
    features = fit_feature_map(WIDE, [bandit_steps(context, np.zeros(len(context)), np.zeros(len(context)))])
    before = learner.policy(learner.init(WIDE, features, seed=0), WIDE, features)
    action, density = before.act(context, np.random.default_rng(0))
    log = LoggedSteps(WIDE, bandit_steps(context, action, action.mean(1), density))
    after = learner.fit(log, seed=0)
    assert (after.act(context, np.random.default_rng(1))[0].mean(0) > action.mean(0) + np.array([0.1, 0.2])).all()


def test_a_box_is_explored_from_the_start() -> None:
    """σ begins near .55 of actions before squashing: an actor's own .08 would see nothing but what it does."""
    log = example_episodes(WIDE, 50, 2)
    features = fit_feature_map(WIDE, log.scan())
    learner = find("learners", "ppo")()
    actor = plain(learner.init(WIDE, features, seed=0).actor)
    _, log_std = gaussian(np, forward(np, actor, features(log.steps.context))[0], 2)
    assert 0.3 < np.exp(log_std).mean() < 0.8


@pytest.mark.parametrize("name", NAMES)
def test_a_log_without_propensities_is_refused(name: str) -> None:
    """Nobody can tell how close the policies are."""
    log = LoggedSteps(PLAIN, bandit_steps(np.zeros((9, 3)), np.zeros(9), np.ones(9)))
    with pytest.raises(DataError, match="no propensities") as error:
        find("learners", name)().fit(log, seed=0)
    assert error.value.field == "propensity"


def test_a_constant_reward_teaches_nothing() -> None:
    """No advantage, no gradient of the actor: the standardised advantages are 0, not 0/0."""
    log = LoggedSteps(PLAIN, bandit_steps(np.zeros((9, 3)), np.zeros(9), np.ones(9), np.full(9, 1 / 3)))
    features = fit_feature_map(PLAIN, log.scan())
    table = tell(log.steps, PLAIN, features, _net(features.width), 1.0, 1.0, 1.0)
    assert (np.abs(table.advantage) < 1e-3).all()


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [("ppo", "clip", 0.0), ("ppo", "trace", 1.1), ("ppo", "passes", 0), ("ppo", "value_weight", -1.0),
     ("ppo", "longest", 0.0), ("reinforce", "weight", -1.0), ("reinforce", "entropy", -0.1)],
)  # fmt: skip
def test_settings_out_of_bounds_are_named(name: str, field: str, value: float) -> None:
    """With the bounds and what was given."""
    with pytest.raises(ConfigError, match=rf"{name}: {field} must lie in .*; got {value}") as error:
        find("learners", name)(**{field: value})
    assert error.value.field == field


def test_what_acts_is_what_learned() -> None:
    """Outputs of the last layer: one per named action, a mean and a σ per dimension of a box."""
    assert (on_policy.outputs(CHAIN), on_policy.outputs(WIDE)) == (3, 4)


def test_no_two_purposes_of_a_seed_share_a_stream() -> None:
    """Rounds of 160 updates end within a chunk; their minibatches, and the layers to begin with, are all drawn anew."""
    seen: list[np.random.Generator] = []

    def draw(rng: np.random.Generator, c: int) -> np.ndarray:
        seen.append(copy.deepcopy(rng))
        return np.zeros(c)

    for number in range(3):
        run(0.0, _still, draw, steps=160 * (number + 1), done=160 * number, seed=3)
    assert len(seen) == 6 and len({rng.integers(2**62) for rng in copy.deepcopy(seen)}) == 6
    own = [layers((3, 4, 1), 1, [3, which])[0][0].tobytes() for which in (0, 1, 2, 3)]
    theirs = [start(rng, (3, 4, 1), 1)[0][0].astype(np.float32).tobytes() for rng in seen]
    plain = [start(np.random.default_rng([3, i]), (3, 4, 1), 1)[0][0].astype(np.float32).tobytes() for i in range(4)]
    assert len({*own, *theirs, *plain}) == 4 + 6 + 4


def _still(state: Any, batch: Any) -> tuple[Any, dict[str, Any]]:
    return state, {"loss": batch}


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_episode_must_say_where_it_stood(name: str) -> None:
    """Without a final context, or with an empty one, nothing would follow: refused."""
    log = example_episodes(WIDE, 20, 1)
    learner, final = find("learners", name)(**QUICK), np.array(log.steps.final_context)
    cut = log.steps.truncated[log.steps.starts[1:] - 1]
    with pytest.raises(DataError, match=rf"{cut.sum()} of 20 episodes are truncated.*first: episode 0"):
        learner.fit(LoggedSteps(WIDE, log.steps.with_(final_context=None)), seed=0)
    final[4] = np.nan
    with pytest.raises(DataError, match=r"1 of 20 episodes are truncated.*first: episode 4") as error:
        learner.fit(LoggedSteps(WIDE, log.steps.with_(final_context=final)), seed=0)
    assert error.value.why and error.value.hint and error.value.field == "final_context"
    whole = log.steps.episodes(~cut).with_(final_context=None)
    find("learners", name)(**QUICK | {"updates": 5}).fit(LoggedSteps(WIDE, whole), seed=0)


def test_a_cut_episode_is_worth_the_value_of_where_it_stood() -> None:
    """V = 3 everywhere, γ = λ = 1, rewards 1 and 1: cut, G = 5 and 4; ended, 2 and 1."""
    steps = Steps(
        starts=np.array([0, 2, 4]), unit=np.arange(2, dtype=np.uint64), time=np.arange(4),
        context=np.zeros((4, 2), np.float32), action=np.zeros(4, np.int32), reward=np.ones(4),
        terminated=np.array([False, False, False, True]), truncated=np.array([False, True, False, False]),
        propensity=np.full(4, 0.5), final_context=np.array([[0, 0], [np.nan, np.nan]], np.float32),
    )  # fmt: skip
    features = fit_feature_map(CHAIN, [steps])
    value = ((np.zeros((1, features.width, 1), np.float32), np.full((1, 1), 3.0, np.float32)),)
    np.testing.assert_allclose(tell(steps, CHAIN, features, value, 1.0, 1.0, 1.0).target, [5, 4, 2, 1])
