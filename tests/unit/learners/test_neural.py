"""The neural learner: repeats by seed, learns what there is, goes on from a policy, and is served without JAX."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from understudy.core.errors import ConfigError, DataError
from understudy.core.steps import bandit_steps
from understudy.learners.lin_ucb import LinUCB
from understudy.learners.neural import Neural, network_of
from understudy.models.network import Network
from understudy.models.policies import Explore, Mixture
from understudy.models.policy_file import save_policy
from understudy.models.state import revive
from understudy.ops.network import forward, sigmoid
from understudy.testing.conformance_learner import PLAIN, LoggedSteps

SMALL = Neural(hidden=(16,), steps=200, batch=64, explore="greedy", amount=0.0, growth=0.0)


def log(n: int = 600, seed: int = 0) -> LoggedSteps:
    """Action 1 pays inside the ring 1 < x² + y², action 0 outside it, action 2 never: no linear model can tell."""
    rng = np.random.default_rng(seed)
    x, action = rng.uniform(-1.5, 1.5, (n, 3)), rng.integers(0, 3, n)
    best = (x[:, 0] ** 2 + x[:, 1] ** 2 < 1).astype(int)
    return LoggedSteps(PLAIN, bandit_steps(x, action, (action == best).astype(float), np.full(n, 1 / 3)))


def earned(policy, seed: int = 9) -> float:
    steps = log(2_000, seed).steps
    best = (steps.context[:, 0] ** 2 + steps.context[:, 1] ** 2 < 1).astype(int)
    return float(policy.probs(steps.context)[np.arange(steps.n), best].mean())


def test_it_learns_what_a_linear_model_cannot() -> None:
    """Mean of the probability of the right action on fresh contexts."""
    policy = Neural(explore="greedy", amount=0.0, growth=0.0, steps=300).fit(log(2_000), seed=0)
    linear = LinUCB(alpha=0.0, epsilon=0.0).fit(log(2_000), seed=0)
    assert earned(policy) > 0.95 and earned(linear) < 0.8


def test_seed_decides() -> None:
    """Equal seeds give equal arrays; another seed gives others."""
    one, two, other = (network_of(SMALL.fit(log(), seed=seed)) for seed in (1, 1, 2))
    assert all((a == b).all() for x, y in zip(one.layers, two.layers) for a, b in zip(x, y))
    assert not (one.layers[0][0] == other.layers[0][0]).all()


def test_the_policy_predicts_what_was_learned() -> None:
    """Q̂ of the saved policy in NumPy against the same weights in JAX: 1e-6."""
    from understudy.learners.loop import jax

    model = network_of(SMALL.fit(log(), seed=1))
    context = log(300, 3).steps.context
    theirs = sigmoid(jax().numpy, forward(jax().numpy, model.layers, model.features(context)))[0]
    assert np.abs(np.asarray(theirs) - model.values(context)).max() <= 1e-6


def test_members_differ_and_vote() -> None:
    """Bootstrapped members are several models; one alone is the model that M = 1 would have been given."""
    learner = Neural(hidden=(16,), steps=200, batch=64, members=5, explore="votes", amount=0.0, growth=0.0)
    policy = learner.fit(log(), seed=0)
    members = network_of(policy).members(log(50, 4).steps.context)
    assert members.shape == (5, 50, 3) and (members.std(0) > 1e-3).any()
    share = policy.probs(log(200, 4).steps.context) * 5
    np.testing.assert_allclose(share, share.round(), atol=1e-9)
    assert set(np.unique(share.round())) - {0.0, 5.0}, "the members never disagree"


def test_it_goes_on_from_a_policy() -> None:
    """A second fit of few steps from a good policy keeps what it knew; from nothing it knows little."""
    good = Neural(explore="greedy", amount=0.0, growth=0.0, steps=300).fit(log(2_000), seed=0)
    few = Neural(explore="greedy", amount=0.0, growth=0.0, steps=5, rate=1e-4)
    assert earned(few.fit(log(50, 5), seed=1, start=good)) > earned(good) - 0.02
    assert earned(few.fit(log(50, 5), seed=1)) < 0.8
    floored = Neural(explore="greedy", amount=0.0, growth=0.0, steps=5, epsilon=0.3).fit(log(50, 5), seed=1, start=good)
    assert network_of(floored).features == network_of(good).features


def test_it_does_not_go_on_from_another_kind() -> None:
    """Other layers, or a policy that holds no network."""
    with pytest.raises(ConfigError, match="layers"):
        SMALL.fit(log(), seed=0, start=Neural(hidden=(8,), steps=5).fit(log(), seed=0))
    with pytest.raises(ConfigError, match="no neural network"):
        SMALL.fit(log(), seed=0, start=LinUCB().fit(log(), seed=0))


def test_the_amount_grows_with_the_log_and_the_floor_holds() -> None:
    """γ = 100·√600; with ε the policy is a mixture whose least propensity is ε/3."""
    policy = Neural(hidden=(8,), steps=5).fit(log(), seed=0)
    assert isinstance(policy, Explore) and policy.amount == pytest.approx(100 * 600**0.5)
    policy = Neural(hidden=(8,), steps=5, epsilon=0.06).fit(log(), seed=0)
    assert isinstance(policy, Mixture) and policy.probs(log().steps.context).min() >= 0.02 - 1e-12


def test_a_reward_outside_the_declared_range_is_refused() -> None:
    """The sigmoid could not express it."""
    steps = log().steps
    with pytest.raises(DataError, match=r"1 of 600 rewards lie outside \[0.0, 1.0\]; first: row 7"):
        SMALL.fit(LoggedSteps(PLAIN, steps.with_(reward=np.where(np.arange(600) == 7, 1.5, steps.reward))), seed=0)


@pytest.mark.parametrize(
    "settings",
    [{"steps": 0}, {"hidden": (8, 0)}, {"loss": "huber"}, {"explore": "proportional"}, {"epsilon": 1.5}, {"rate": 0.0}],
    ids=str,
)
def test_settings_without_meaning_are_refused(settings: dict) -> None:
    """Before any data are read."""
    with pytest.raises(ConfigError):
        Neural(**settings)


def test_a_saved_policy_acts_without_jax(tmp_path: Path) -> None:
    """Another process, with no JAX to be had: the same probabilities to the last bit."""
    policy = Neural(hidden=(8,), steps=20, members=2, explore="squarecb").fit(log(), seed=0)
    save_policy(policy, tmp_path / "p", problem=PLAIN)
    code = (
        "import sys; sys.modules['jax'] = sys.modules['optax'] = None; import numpy as np;"
        "from understudy.models.policy_file import load_policy;"
        f"p = load_policy({str(tmp_path / 'p')!r}).probs(np.ones((1, 3), np.float32));"
        "loaded = [m for m in sys.modules if m.split('.')[0] in ('jax', 'optax', 'sklearn') and sys.modules[m]];"
        "assert not loaded, loaded; print(p.tobytes().hex())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert found == policy.probs(np.ones((1, 3), np.float32)).tobytes().hex()


def test_jax_is_set_to_one_thread_unless_somebody_chose() -> None:
    """The flag is set before JAX is loaded, and a user's own is left alone."""
    code = "from understudy.learners.loop import jax; jax(); import os; print(os.environ['XLA_FLAGS'])"
    for given, expected in (
        (None, "intra_op_parallelism_threads=1"),
        ("--xla_cpu_enable_fast_math=false", "fast_math"),
    ):
        env = {"PATH": "/usr/bin:/bin"} | ({"XLA_FLAGS": given} if given else {})
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
        assert expected in run.stdout and (given is None or run.stdout.strip() == given)


def test_without_jax_the_cure_is_named() -> None:
    """A ConfigError that says what to install."""
    code = (
        "import sys; sys.modules['jax'] = None; from understudy.core.errors import ConfigError;"
        "from understudy.learners.loop import jax\ntry: jax()\nexcept ConfigError as e: print(e.hint)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == 'pip install "understudy[learn]"'


def test_a_network_comes_back(tmp_path: Path) -> None:
    """Whatever its shape; values of several members are their mean."""
    model = network_of(Neural(hidden=(), steps=5, members=3, loss="squared").fit(log(), seed=0))
    twin = revive(model.state())
    context = log(20, 2).steps.context
    assert isinstance(twin, Network) and twin.values(context).tobytes() == model.values(context).tobytes()
    np.testing.assert_allclose(model.values(context), model.members(context).mean(0))
