"""Online learners: exact against the closed form, honest posteriors, and one that was killed goes on bit for bit."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from understudy.core.errors import ConfigError, DataError, StoreError
from understudy.core.steps import Steps
from understudy.learners.memory import Memory
from understudy.learners.online_linear import OnlineLinear
from understudy.learners.online_neural import OnlineNeural
from understudy.models.state_file import read_state, write_state
from understudy.testing.conformance_learner import PLAIN, example_log

LOG = example_log(PLAIN, 300, 11)


def rows(steps: Steps, start: int, stop: int) -> Steps:
    index = np.arange(steps.m)
    return steps.episodes((index >= start) & (index < stop))


def after(learner, n: int = 300, seed: int = 0):
    return learner.update(learner.init(PLAIN, seed=seed), rows(LOG.steps, 0, n))


@pytest.mark.parametrize("n", [20, 64, 299, 300])
@pytest.mark.parametrize("quadratic", [False, True])
def test_it_is_ridge_regression_exactly(n: int, quadratic: bool) -> None:
    """After any number of decisions: the closed form over all of them, with the feature map of the last doubling."""
    learning = after(OnlineLinear(quadratic=quadratic, penalty=0.7), n)
    z = np.column_stack([learning.memory.features(LOG.steps.context[:n]), np.ones(n)]).astype(np.float64)
    for a in range(3):
        own = LOG.steps.action[:n] == a
        precision = z[own].T @ z[own] + 0.7 * np.eye(z.shape[1])
        np.testing.assert_allclose(learning.inverse[a], np.linalg.inv(precision), atol=1e-9)
        exact = np.linalg.solve(precision, z[own].T @ LOG.steps.reward[:n][own])
        np.testing.assert_allclose(learning.theta[a, :, 0], exact, atol=1e-8)


def test_the_draws_are_those_of_the_posterior() -> None:
    """4,000 members: their mean is θ and their covariance v² A⁻¹, entry by entry within 5 standard errors.

    15 means and 15 × 3 covariances per action, three actions: false alarms are rarer than 180 · 6e-7 ≈ 1e-4.
    """
    draws, v = 4_000, 0.5
    learning = after(OnlineLinear(explore="votes", amount=0.0, growth=0.0, quadratic=False, signed_log=False,
                                  draws=draws, scale=v), 90)  # fmt: skip
    for a in range(3):
        members, covariance = learning.theta[a, :, 1:], v**2 * learning.inverse[a]
        spread = np.sqrt(np.diag(covariance))
        assert (np.abs(members.mean(1) - learning.theta[a, :, 0]) <= 5 * spread / np.sqrt(draws)).all()
        off = np.abs(np.cov(members) - covariance)
        error = np.sqrt((covariance**2 + np.outer(spread, spread) ** 2) / draws)
        assert (off <= 5 * error).all()


def test_features_know_the_past_only() -> None:
    """The map after 100 decisions is that of the first 64; what comes later does not matter."""
    late = LOG.steps.with_(context=np.where(np.arange(300)[:, None] >= 64, 1e6, LOG.steps.context).astype(np.float32))
    learner = OnlineNeural(hidden=(8,))
    one, two = after(learner, 100), learner.update(learner.init(PLAIN, seed=0), rows(late, 0, 100))
    assert one.memory.features == two.memory.features and one.memory.features != after(learner, 40).memory.features


def test_the_memory_is_bounded() -> None:
    """The newest decisions stay, as many as the capacity; the map no longer changes."""
    memory = Memory(PLAIN, 50, signed_log=False)
    fresh = [memory.add(LOG.steps.context[i], int(LOG.steps.action[i]), float(i)) for i in range(130)]
    assert np.flatnonzero(fresh).tolist() == [15, 31] and memory.kept == 50 and len(memory.reward) == 50
    assert sorted(memory.reward.tolist()) == list(range(80, 130))


LEARNERS = {
    "linear": OnlineLinear(quadratic=False),
    "thompson": OnlineLinear(explore="votes", amount=0.0, growth=0.0, quadratic=False, draws=5),
    "neural": OnlineNeural(hidden=(8,), capacity=100),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_a_killed_process_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    """kill -9 after the 130th decision, the state saved after the 120th: resume, learn the rest; nothing differs."""
    file = tmp_path / "state"
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_online import LEARNERS, LOG, PLAIN, rows
from understudy.models.state_file import write_state
learner = LEARNERS[{name!r}]
learning = learner.init(PLAIN, seed=4)
for i in range(300):
    learning = learner.update(learning, rows(LOG.steps, i, i + 1))
    if i == 119:
        write_state({str(file)!r}, learning.state(), {{"watermark": 120}})
    if i == 129:
        os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == -signal.SIGKILL
    state, extra = read_state(file)
    learner = LEARNERS[name]
    learning = learner.update(learner.resume(PLAIN, state), rows(LOG.steps, extra["watermark"], 300))
    whole = learner.update(learner.init(PLAIN, seed=4), LOG.steps)
    assert (
        learner.policy(learning).probs(LOG.steps.context).tobytes()
        == learner.policy(whole).probs(LOG.steps.context).tobytes()
    )
    for key, values in whole.state().arrays.items():
        assert learning.state().arrays[key].tobytes() == values.tobytes(), key


def test_a_state_file_is_what_was_written_or_refused(tmp_path: Path) -> None:
    """Every tenth byte changed in turn, and the file cut short: always a StoreError."""
    state = after(LEARNERS["neural"], 30).state()
    file = write_state(tmp_path / "deep" / "state", state, {"n": 30})
    found, extra = read_state(file)
    assert found.config == json.loads(json.dumps(state.config)) and extra == {"n": 30}
    raw = file.read_bytes()
    for at in range(0, len(raw), max(len(raw) // 100, 1)):
        file.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        with pytest.raises(StoreError):
            read_state(file)
    file.write_bytes(raw[:-1])
    with pytest.raises(StoreError):
        read_state(file)
    with pytest.raises(StoreError):
        read_state(tmp_path / "nothing")


@pytest.mark.parametrize("name", LEARNERS)
def test_it_goes_on_with_its_own_settings_only(name: str) -> None:
    """Another step size, floor or capacity is another learner."""
    state = after(LEARNERS[name], 30).state()
    with pytest.raises(StoreError, match="other settings"):
        replace(LEARNERS[name], epsilon=0.5).resume(PLAIN, state)


def test_a_damaged_state_is_refused() -> None:
    """An action that is not there, a count that does not fit, weights of another shape or not finite."""
    learner = LEARNERS["neural"]
    state = after(learner, 30).state()
    for name, values in {
        "action": np.full(30, 3, np.int32),
        "reward": np.zeros(29),
        "context": np.zeros((30, 2), np.float32),
        "weights": state.arrays["weights"][:-1],
        "mean": np.full_like(state.arrays["mean"], np.nan),
        "inputs": np.zeros((30, 1), np.float32),
    }.items():
        with pytest.raises(StoreError):
            learner.resume(PLAIN, replace(state, arrays=state.arrays | {name: values}))
    for key, value in {"seen": 31, "turns": -1, "seed": "x"}.items():
        with pytest.raises(StoreError):
            learner.resume(PLAIN, replace(state, config=state.config | {key: value}))


def test_a_reward_outside_the_declared_range_is_refused() -> None:
    """The network's sigmoid could not express it; nothing is learned from the update."""
    learner = LEARNERS["neural"]
    learning = after(learner, 30)
    with pytest.raises(DataError, match="lie outside"):
        learner.update(learning, rows(LOG.steps, 30, 32).with_(reward=np.array([0.0, 2.0])))
    assert learning.seen == 30


@pytest.mark.parametrize(
    ("made", "settings"),
    [
        (OnlineLinear, {"penalty": 0.0}),
        (OnlineLinear, {"draws": 0}),
        (OnlineLinear, {"explore": "proportional"}),
        (OnlineNeural, {"explore": "votes"}),
        (OnlineNeural, {"updates": 0}),
        (OnlineNeural, {"loss": "huber"}),
        (OnlineNeural, {"epsilon": -0.1}),
    ],
    ids=str,
)
def test_settings_without_meaning_are_refused(made: type, settings: dict) -> None:
    """Before anything is learned."""
    with pytest.raises(ConfigError):
        made(**settings)
