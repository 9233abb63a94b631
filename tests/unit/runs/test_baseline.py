"""What ``describe`` says of a log of episodes: figures that can be recomputed by hand, and no false alarms."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from understudy.cli import main
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.steps import Steps
from understudy.data.dataset import MemoryDataset
from understudy.data.identify import load_problem
from understudy.data.timeline.run import timeline
from understudy.envs.cartpole import cartpole
from understudy.envs.pendulum import pendulum
from understudy.envs.rollout import episodes
from understudy.models.box import UniformBox
from understudy.models.shares import Shares
from understudy.ope.audit import audit
from understudy.runs.baseline import clustered, episode_lines, summarize_episodes


def _two() -> MemoryDataset:
    """Episodes of 2 and 3 steps; γ = .5; the second is truncated."""
    problem = Problem(
        features=(Feature(name="x"),), actions=ActionSpace(names=("a", "b")), discount=0.5, horizon=3, unit="episode",
        reward_range=(0.0, 8.0),
    )  # fmt: skip
    steps = Steps(
        starts=np.array([0, 2, 5]),
        unit=np.array([7, 9], np.uint64),
        time=np.arange(5),
        context=np.zeros((5, 1), np.float32),
        action=np.array([0, 1, 0, 1, 1], np.int32),
        reward=np.array([1.0, 2.0, 0.0, 4.0, 8.0]),
        terminated=np.array([False, True, False, False, False]),
        truncated=np.array([False, False, False, False, True]),
        propensity=np.array([0.5, 0.25, 0.5, 1.0, 0.005]),
        final_context=np.array([[np.nan], [0.0]], np.float32),
    )
    return MemoryDataset(problem, steps)


def test_figures_by_hand() -> None:
    """Returns 3 and 12; discounted 1 + 2/2 = 2 and 0 + 4/2 + 8/4 = 4; SE of two: half their distance."""
    found = summarize_episodes(_two())
    assert (found.n_episodes, found.terminated, found.truncated) == (2, 1, 1)
    assert found.lengths == (2.0, 2.5, 2.5, 3.0)
    assert (found.returns.value, found.returns.std_error) == (7.5, 4.5)
    assert (found.discounted.value, found.discounted.std_error) == (3.0, 1.0)
    health = found.health
    assert health is not None and (health.least, health.most, health.rare) == (0.005, 1.0, 0.2)
    assert health.mean_inverse is not None
    assert health.mean_inverse.value == (1 + 2 + 1 + 0.5 + 100) / 5
    text = "\n".join(episode_lines(found, 0.5))
    assert "mean return 7.5000 ± 4.5000" in text and "1 terminated, 1 truncated" in text


def test_batches_do_not_matter() -> None:
    """A log scanned in pieces says the same."""
    data = MemoryDataset(cartpole().problem, episodes(cartpole(), Shares((0.4, 0.6)), 80, seed=1))
    pieces: Any = type("Pieces", (), {"problem": data.problem, "scan": lambda self: data.scan(50)})()
    assert episode_lines(summarize_episodes(pieces), 0.99) == episode_lines(summarize_episodes(data), 0.99)


def test_standard_errors_are_clustered_by_unit() -> None:
    """Every episode told twice by the same unit: the error stays that of the units, not half of it."""
    values = np.random.default_rng(0).standard_normal(50)
    once = clustered(values, np.arange(50, dtype=np.uint64))
    twice = clustered(np.repeat(values, 2), np.repeat(np.arange(50, dtype=np.uint64), 2))
    assert once.std_error is not None and twice.std_error is not None
    np.testing.assert_allclose(once.std_error, values.std(ddof=1) / np.sqrt(50), rtol=1e-12)
    np.testing.assert_allclose(twice.std_error, once.std_error, rtol=1e-12)
    assert clustered(values, np.zeros(50, np.uint64)).std_error is None


def test_uniform_weights_average_to_one_only_if_propensities_are_right() -> None:
    """E[1/(k p)] = 1 under the policy that logged p; a log with wrong ones is 40 standard errors off."""
    log = episodes(cartpole(), Shares((0.3, 0.7)), 300, seed=2)
    right = summarize_episodes(MemoryDataset(cartpole().problem, log)).health
    wrong = summarize_episodes(MemoryDataset(cartpole().problem, log.with_(propensity=1 - log.propensity))).health
    assert right and wrong and right.mean_inverse and wrong.mean_inverse
    assert right.mean_inverse.std_error is not None and wrong.mean_inverse.std_error is not None
    assert abs(right.mean_inverse.value - 1) < 6 * right.mean_inverse.std_error
    assert wrong.mean_inverse.value - 1 > 20 * wrong.mean_inverse.std_error


@pytest.mark.parametrize("seed", range(4))
def test_a_sound_log_of_episodes_raises_no_alarm(seed: int) -> None:
    """Its states drift within episodes and its reward is a function of them: neither is a fault of the log."""
    for env, policy in ((cartpole(), Shares((0.4, 0.6))), (pendulum(), UniformBox((-2.0,), (2.0,)))):
        log = episodes(env, policy, 120, seed=seed, width=30)
        assert audit(MemoryDataset(env.problem, log)) == ()


def test_contexts_that_drift_between_episodes_are_told() -> None:
    """The starts of later episodes lie elsewhere."""
    log = episodes(cartpole(), Shares((0.4, 0.6)), 200, seed=1, width=10)
    moved = log.context + np.where(log.time > np.median(log.time), 0.2, 0.0)[:, None].astype(np.float32)
    found = audit(MemoryDataset(cartpole().problem, log.with_(context=moved)))
    assert [finding.name for finding in found] == ["context_drift"]


def test_describe_tells_the_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the verb: the mean return that ``simulate`` printed, rows that add up, and the same as data."""
    log, data = tmp_path / "x.csv", tmp_path / "data"
    assert main(["simulate", "cartpole", "steps=20", "--episodes", "2", "--to", str(log), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    timeline(log, problem=load_problem(tmp_path / "x.problem.yaml"), to=data)
    assert main(["describe", str(data)]) == 0
    text = capsys.readouterr().out
    assert f"mean return {told['mean_return']:.4f} ± {told['std_error']:.4f}" in text
    assert "audit: nothing found" in text and "closing" in text
    assert main(["describe", str(data), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["episodes"]
    assert found["n_episodes"] == 200 and found["returns"]["value"] == told["mean_return"]
    np.testing.assert_allclose(found["discounted"]["value"], told["discounted_return"], rtol=1e-12)
