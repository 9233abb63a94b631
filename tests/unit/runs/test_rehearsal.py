"""``train LEARNER --in WORLD``: the artifact, its epochs and curve, what is refused, and what is left when it fails."""

import json
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from understudy.cli import main
from understudy.core.errors import ConfigError
from understudy.core.hashing import derived
from understudy.data.artifact import read_manifest, verify_artifact
from understudy.envs import ENVS
from understudy.envs.cartpole import cartpole
from understudy.envs.rollout import mean_return
from understudy.models.policy_file import load_policy
from understudy.runs.epochs import EPOCHS, epoch_folder, point_line, read_curves
from understudy.runs.online import Growth
from understudy.runs.online_example import earned, read_online_example, rehearsed
from understudy.runs.rehearsal import asked
from understudy.runs.train import open_policy

EXAMPLES = Path(__file__).parents[3] / "examples" / "online"
BRIEF = ["steps=600", "warmup_steps=100", "envs=4", "collect=128", "eval_every=200", "eval_episodes=3", "batch=16"]


def run(*words: str, code: int = 0, at: Path) -> None:
    assert main(["train", *words, "--home", str(at / "home")]) == code


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One training by the verb, with its scalars and its pictures after 300 decisions."""
    at = tmp_path_factory.mktemp("rehearsal")
    more = ["--tensorboard", f"{at}/board", "--gif", f"{at}/film.gif", "--render-after", "300", "env.steps=40"]
    run("ppo", "--in", "cartpole", *BRIEF, *more, "--to", f"{at}/a", at=at)
    return at


def test_the_artifact_is_a_policy_with_its_epochs_and_its_curve(made: Path) -> None:
    """Verified; the policy is the chosen epoch's to the byte; no logged decision was seen, so any log may judge it."""
    manifest = verify_artifact(made / "a")
    curves = read_curves(made / "a")
    assert manifest.kind == "policy" and manifest.counts == {"decisions": 612, "epochs": 3}  # whole ticks of 4 worlds
    assert [p.epoch for p in curves.points] == [1, 2, 3]
    best = max(curves.points, key=lambda p: (p.truth, p.epoch))
    assert curves.chosen == best.epoch and f"{best.truth:.2f}" in curves.why
    for name in ("policy.json", "weights.safetensors"):
        assert (made / "a" / name).read_bytes() == (epoch_folder(made / "a", best.epoch) / name).read_bytes()
    rows = open_policy(made / "a").trained_on
    assert rows is not None and len(rows) == 0
    assert {"curves.png", "curves.html"} <= set(manifest.files)
    assert not (made / ".a.training").exists(), "what was needed on the way is gone"


def test_a_point_says_what_the_policy_earns(made: Path) -> None:
    """The truth of an epoch is the mean return of the policy as it lies there, in the episodes of that evaluation."""
    for point in read_curves(made / "a").points:
        policy = load_policy(epoch_folder(made / "a", point.epoch))
        seed = derived(0, "evaluation", int(point.figures["decisions"]))
        again = mean_return(cartpole(steps=40), policy, 3, seed)
        assert point.truth == pytest.approx(again.mean(), abs=1e-12)
        assert point.truth_error == pytest.approx(np.std(again, ddof=1) / np.sqrt(3), abs=1e-12)


def test_the_best_evaluation_is_told_with_its_error_and_its_luck(made: Path) -> None:
    """Mean ± standard error, of how many episodes, the best of how many; the epochs' lines and the page too."""
    curves = read_curves(made / "a")
    best = curves.points[curves.chosen - 1]
    said = f"{best.truth:.2f} ± {best.truth_error:.2f}"
    assert curves.why == (
        f"it earned {said} (mean ± standard error of 3 episodes), the most of 3 evaluations: "
        "the best of 3 is flattered by luck"
    )
    assert f"return {said}" in point_line(best)
    assert " ± " in (made / "a" / "curves.html").read_text().split("<tbody>")[1]


def test_an_epoch_plays_by_its_number(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--with runs/a@2``."""
    assert main(["simulate", "cartpole", "--with", f"{made}/a@2", "--episodes", "1", "--envs", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 5
    assert main(["simulate", "cartpole", "--with", f"{made}/a@7", "--episodes", "1"]) == 1


def test_the_same_again_is_done_already(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same words in the same folder: nothing is trained. Another seed there: refused."""
    before = read_manifest(made / "a").id
    run("ppo", "--in", "cartpole", *BRIEF, "env.steps=40", "--to", f"{made}/a", at=made)
    assert "already done" in capsys.readouterr().out and read_manifest(made / "a").id == before
    run("ppo", "--in", "cartpole", *BRIEF, "env.steps=40", "--to", f"{made}/a", "--seed", "1", at=made, code=1)


def test_pictures_begin_after_so_many_decisions(made: Path) -> None:
    """Evaluations at 200-odd, 400-odd and 612 decisions; the first is not drawn. No screen is needed."""
    decisions = [int(point.figures["decisions"]) for point in read_curves(made / "a").points]
    assert decisions[0] < 300 <= decisions[1]
    assert sorted(f.name for f in made.glob("*.gif")) == sorted(f"film-{n}.gif" for n in decisions[1:])
    assert all(f.read_bytes()[:6] == b"GIF89a" for f in made.glob("*.gif"))


def test_scalars_are_the_points(made: Path) -> None:
    """The return and every figure, by updates."""
    body = next((made / "board").glob("events*")).read_bytes()
    for name in ("return", "figures/loss", "figures/training_return", "figures/decisions", "figures/entropy"):
        assert name.encode() in body


def test_the_last_is_taken_where_that_is_asked_for(tmp_path: Path) -> None:
    """``--choose last``; and equal seeds give equal policies, whichever is chosen."""
    run("dqn", "--in", "cartpole", *BRIEF, "--choose", "last", "--to", f"{tmp_path}/a", at=tmp_path)
    curves = read_curves(tmp_path / "a")
    assert curves.chosen == 3 and curves.why.startswith("the last of 3 evaluations, as asked: it earned ")


def test_a_dry_run_says_what_would_be_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Settings sorted by whose they are; nothing is made."""
    words = ["dqn", "--in", "cartpole", "steps=2000", "env.steps=50", "n=2", "--to", f"{tmp_path}/a", "--dry-run"]
    run(*words, "--json", at=tmp_path)
    told = json.loads(capsys.readouterr().out)
    assert (told["growth"]["steps"], told["env_settings"], told["settings"]) == (2000, {"steps": 50}, {"n": 2})
    run(*words, at=tmp_path)
    assert "learner: dqn" in capsys.readouterr().out and not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dqn", "--in", "cartpole", "stepps=600"], "stepps"),
        (["dqn", "--in", "cartpole", "env.stepps=600"], "stepps"),
        (["dqn", "--in", "cartpole", "warmup_steps=90000"], "leave none of 50000"),
        (["dqn", "--in", "cartpole", "eval_every=often"], "how the log grows"),
        (["dqn", "--in", "cartpol"], "cartpole"),
        (["dqn", "--in", "bandit"], "bandit is a bandit"),
        (["direct", "--in", "cartpole"], "direct learns from a log"),
        (["sac", "--in", "cartpole", *BRIEF], "continuous"),
        (["dqn", "--in", "pendulum", *BRIEF], "actions"),
        (["dqn", "--in", "cartpole", "--choose", "worst"], "choose is best or last"),
        (["dqn", "--in", "cartpole", "--on", "data"], "--on cannot be given with --in"),
        (["dqn", "--in", "cartpole", "--with", "wis", "--slice", "all"], "--with, --slice cannot be given with --in"),
        (["dqn", "--on", "data", "--gif", "a.gif"], "--gif needs --in WORLD"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_cannot_be_is_refused_and_named(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, the word at fault, and nothing left behind."""
    run(*words, "--to", f"{tmp_path}/a", at=tmp_path, code=2)
    assert said in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_a_training_that_fails_keeps_the_epochs_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A world that turns absurd after 100 ticks of 4: it stops, says where, and the last good policy can still act."""
    monkeypatch.setitem(ENVS, "souring", "tests.stages:souring")
    run("dqn", "--in", "souring", *BRIEF, "decay=0.0", "loss=squared", "--to", f"{tmp_path}/a", at=tmp_path, code=1)
    said = capsys.readouterr().err
    last = tmp_path / ".a.training" / EPOCHS / "0002"  # of 400 decisions
    assert f"The last good checkpoint is {last}" in said and "between updates 301 and 400" in said
    assert not (tmp_path / "a").exists()
    np.testing.assert_allclose(load_policy(last).probs(np.zeros((1, 3), np.float32)).sum(), 1)  # type: ignore


def test_nothing_is_told_of_a_world_that_cannot_be() -> None:
    """Asked in Python: the same words."""
    with pytest.raises(ConfigError, match="bandit") as error:
        asked("ppo", "bandit", {}, choose="best", seed=0)
    assert error.value.field == "in"


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.yaml")))
def test_every_example_is_one(name: str) -> None:
    """Its learner, world and growth exist; bars and lengths are for benchmarks/learners.py."""
    example = read_online_example(EXAMPLES / f"{name}.yaml")
    given = {f"env.{key}": value for key, value in example.env_settings.items()} | example.settings
    what = asked(example.learner, example.env, given, choose="best", seed=0)
    assert what.env == example.env and example.growth.steps > example.growth.eval_every


def test_ppo_learns_to_balance_in_a_world() -> None:
    """The example of PPO at a fifth of its length earns thrice what guessing does (22)."""
    example = read_online_example(EXAMPLES / "ppo.yaml")
    short = replace(example, growth=Growth(steps=12_000, eval_every=3_000))
    policy, _ = rehearsed(short, 0)
    assert earned(short, policy, 0) > 66
