"""What episodes earn, who acts in them, and the log they leave."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from understudy.cli import main
from understudy.core.errors import ConfigError, StoreError
from understudy.core.problem import ActionSpace, Feature
from understudy.data.identify import load_problem
from understudy.envs.cartpole import cartpole
from understudy.envs.rollout import mean_return
from understudy.models.feature_map import FeatureMap, FittedFeature
from understudy.models.policies import Explore, Uniform
from understudy.models.policy_file import save_policy
from understudy.models.ridge import LinearModel
from understudy.models.shares import Shares
from understudy.runs.play import Play, actor, play
from understudy.runs.worlds import make_env

BALANCE = [[0.0, 0.0, 0.0, 0.0], [0.1, 0.3, 3.0, 1.0]]  # push to where the pole falls


def _policy(folder: Path) -> Path:
    """A policy that balances for long, as a training would have left it; and its second epoch, which is uniform."""
    problem = cartpole().problem
    map_ = FeatureMap(
        tuple(FittedFeature(kind="number", source=i, name=n) for i, n in enumerate(problem.feature_names))
    )
    policy = Explore(LinearModel(map_, np.array(BALANCE), np.zeros(2)), "softmax", 50.0)
    save_policy(policy, folder, problem=problem)
    save_policy(Uniform(2), folder / "epochs" / "0002", problem=problem)
    return folder


def _said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*words, "--json"]) == code, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_a_policy_file_is_evaluated_without_what_trained_it(tmp_path: Path) -> None:
    """In a process that loads neither JAX nor anything else not needed to act: a policy, and one of its epochs."""
    run = _policy(tmp_path / "a")
    code = f"""
import sys
from understudy.cli import main
for name in ({str(run)!r}, {str(run)!r} + "@2"):
    assert main(["simulate", "cartpole", "--with", name, "--episodes", "2", "--json"]) == 0
heavy = {{"jax", "optax", "sklearn", "scipy", "duckdb", "pandas", "matplotlib", "gymnasium"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    good, uniform = (json.loads(line) for line in done.stdout.splitlines())
    assert good["episodes"] == uniform["episodes"] == 200
    assert good["mean_return"] > 150 and 18 < uniform["mean_return"] < 27
    expected = mean_return(cartpole(), Uniform(2), 200, 0)
    assert uniform["mean_return"] == expected.mean()
    np.testing.assert_allclose(uniform["std_error"], expected.std(ddof=1) / np.sqrt(200), rtol=1e-12)


def test_the_same_policy_acts_in_our_copy_and_in_the_original(tmp_path: Path) -> None:
    """Gymnasium's CartPole, its limit set to ours, pays it as much: 6 standard errors of the difference."""
    pytest.importorskip("gymnasium")
    run, how = str(_policy(tmp_path / "a")), Play(envs=50, episodes=2, seed=1)
    ours = play(cartpole(), "cartpole", behavior=run, how=how).returns  # pyright: ignore[reportArgumentType]
    theirs = play(make_env("CartPole-v1", {"steps": 200}), "x", behavior=run, how=how).returns  # pyright: ignore
    error = np.sqrt(ours.var() / len(ours) + theirs.var() / len(theirs))
    assert abs(ours.mean() - theirs.mean()) < 6 * error + 1e-9 and theirs.mean() > 150


@pytest.mark.parametrize("to", ["log.csv", "log.parquet", "log.jsonl", "log"])
def test_a_log_is_left_with_its_problem(tmp_path: Path, to: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Again the same: nothing changes. Another: refused, and the first stays."""
    words = ["simulate", "cartpole", "steps=30", "--with", "fixed", "probs=.3,.7", "--envs", "8", "--episodes", "3"]
    place = tmp_path / to
    first = _said(capsys, *words, "--to", str(place))
    assert first["episodes"] == 24 and first["path"] == str(place) and first["steps"] >= 24 * 5
    assert 0 < first["discounted_return"] < first["mean_return"]
    problem = place / "problem.yaml" if place.is_dir() else tmp_path / "log.problem.yaml"
    assert load_problem(problem) == cartpole(steps=30).problem
    table = place / "decisions.parquet" if place.is_dir() else place
    before = table.read_bytes()
    assert _said(capsys, *words, "--to", str(place)) == first and table.read_bytes() == before
    refused = _said(capsys, *words, "--seed", "1", "--to", str(place), code=1)
    assert "another log" in refused["error"]["message"] and table.read_bytes() == before
    assert not list(tmp_path.glob(".*")), "something half-written was left"
    if place.is_dir():
        assert actor(str(place / "behavior"), cartpole().problem) == Shares((0.3, 0.7))


def test_two_logs_never_share_an_episode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that what is collected in rounds can be put together: other seeds, other names."""
    import pyarrow.parquet as parquet

    seen: set[str] = set()
    for turn, extra in enumerate((["--seed", "1"], ["--seed", "2"], ["--seed", "1", "--with", "fixed", "probs=1,0"])):
        file = tmp_path / f"{turn}.parquet"
        _said(capsys, "simulate", "cartpole", "--envs", "5", "--to", str(file), *extra)
        ids = set(parquet.read_table(file)["episode_id"].to_pylist())
        assert len(ids) == 5 and ids.isdisjoint(seen)
        seen |= ids


def test_a_world_without_a_limit_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """And it says so, unless the user set the limit."""
    pytest.importorskip("gymnasium")
    assert main(["simulate", "CliffWalking-v1", "--envs", "2"]) == 0
    assert "cut after 1000 steps" in capsys.readouterr().out
    assert main(["simulate", "CliffWalking-v1", "--envs", "2", "--max-steps", "9"]) == 0
    assert "cut" not in capsys.readouterr().out


def test_a_picture_is_taken_without_a_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of our copy too: Gymnasium's original draws it, with the same settings."""
    pil = pytest.importorskip("PIL.Image")
    pytest.importorskip("pygame")
    gif = tmp_path / "a.gif"
    said = _said(capsys, "simulate", "pendulum", "steps=6", "gravity=3", "--envs", "2", "--gif", str(gif))
    assert said["path"] == str(gif) and said["episodes"] == 2
    with pil.open(gif) as made:
        assert made.n_frames > 3
    refused = _said(capsys, "simulate", "digits", "--gif", str(gif), "--to", str(tmp_path / "x"), code=2)
    assert "bandit" in refused["error"]["message"]


def test_a_window_opens_only_if_asked(tmp_path: Path) -> None:
    """On a screen that is none: the driver is the proof of what was opened."""
    pytest.importorskip("pygame")
    code = """
import sys
from understudy.cli import main
assert main(["simulate", "cartpole", "steps=4", "--envs", "1"]) == 0
assert "pygame" not in sys.modules
assert main(["simulate", "cartpole", "steps=4", "--envs", "1", "--render"]) == 0
assert "pygame" in sys.modules
"""
    env = {"SDL_VIDEODRIVER": "dummy", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cartpole", "--with", "fixed"], "needs the probabilities"),
        (["cartpole", "--with", "fixed", "probs=.5,.4,.1"], "3 probs for 2 actions"),
        (["cartpole", "--with", "fixed", "probs=.5,x"], "numbers with commas"),
        (["cartpole", "--with", "fixed", "probs=.5,.6"], "sum to 1"),
        (["pendulum", "--with", "fixed", "probs=1"], "continuous"),
        (["cartpole", "--with", "warm"], "bandits"),
        (["cartpole", "--envs", "0"], "at least 1"),
        (["cartpole", "--decisions", "10"], "--decisions"),
        (["cartpole", "step=10"], "step"),
        (["digits"], "--to"),
        (["digits", "--envs", "3", "--to", "x"], "--envs"),
        (["Pendulum", "--envs", "3"], "unknown environment"),
    ],
)
def test_a_request_without_sense_says_why(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A usage error, before anything is played."""
    assert said in _said(capsys, "simulate", *words, code=2)["error"]["message"]


def test_a_policy_for_another_world_is_refused(tmp_path: Path) -> None:
    """Other actions, other features, no such epoch, no policy at all."""
    run, problem = str(_policy(tmp_path / "a")), cartpole().problem
    wrong = {"actions": ActionSpace(names=("left", "up")), "features": (Feature(name="x"), *problem.features[1:])}
    for what, other in wrong.items():
        changed = type(problem)(**{**{f: getattr(problem, f) for f in problem.__struct_fields__}, what: other})
        with pytest.raises(ConfigError, match=f"other {what}"):
            actor(run, changed)
    with pytest.raises(StoreError, match="no epoch 7"):
        actor(f"{run}@7", problem)
    with pytest.raises(StoreError):
        actor(str(tmp_path), problem)
