"""The verb features: kinds told, overridden, written, read, compared."""

import json
from pathlib import Path

import pytest

from understudy.cli import main
from understudy.core.errors import ConfigError, UnderstudyError
from understudy.core.hashing import canonical, content_id
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.data.log import read_problem
from understudy.runs.features import identify_options
from understudy.runs.first_layer import read_map
from understudy.runs.train import open_policy, recipe, train


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset of digits."""
    root = tmp_path_factory.mktemp("features")
    raw, logs, made = root / "raw", root / "logs", root / "data"
    events = [str(raw / "decisions.jsonl"), str(raw / "outcomes.jsonl")]
    for line in (
        ["simulate", "digits", "--decisions", "400", "--to", str(raw)],
        ["identify", *events, "--to", str(root / "problem.yaml")],
        ["ingest", *events, "--problem", str(root / "problem.yaml"), "--to", str(logs)],
        ["join", str(logs), "--window", "1h", "--to", str(made)],
    ):
        assert main(line) == 0
    return made


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    capsys.readouterr()
    assert main(["features", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_kinds_are_told_and_overridden(data: Path, capsys) -> None:
    """Every feature once; what was asked for is marked as asked."""
    plain = told(capsys, str(data))
    assert len(plain["features"]) == 64
    changed = told(capsys, str(data), "--kind", "pixel_3_3=quantile", "quantile_size=4")
    (one,) = [feature for feature in changed["features"] if feature["name"] == "pixel_3_3"]
    assert one["kind"] == "quantile" and one["forced"]


def test_a_written_map_is_read_back_without_drift(data: Path, tmp_path: Path, capsys) -> None:
    """The same slice drifts nowhere; the file is never written over by another map."""
    file = tmp_path / "features.json"
    assert told(capsys, str(data), "--to", str(file))["path"] == str(file)
    drift = told(capsys, str(data), "--read", str(file))["drift"]
    assert all(one["before"] == one["after"] and abs(one["shift"] or 0) < 1e-9 for one in drift)
    assert main(["features", str(data), "--to", str(file)]) == 0
    assert main(["features", str(data), "--kind", "pixel_3_3=quantile", "--to", str(file)]) == 1


def test_a_dataset_has_not_moved_from_itself(data: Path, capsys) -> None:
    """No shift, no new values, in any feature."""
    drift = told(capsys, str(data), "--slice", "all", "--against", str(data))["drift"]
    assert drift and all(abs(one["shift"] or 0) < 1e-9 and not one["new_values"] for one in drift)


def edited(data: Path, to: Path, **changes: str) -> Path:
    """The reference JSON of a dataset with the types of some features changed by hand."""
    assert main(["features", str(data), "--to", str(to)]) == 0
    figures = json.loads(to.read_text())
    for name, kind in changes.items():
        figures[name] = json.dumps(json.loads(figures[name]) | {"feature_type": kind})
    to.write_text(json.dumps(figures))
    return to


def test_an_edited_map_is_the_first_layer_of_what_is_trained(data: Path, tmp_path: Path) -> None:
    """What the user wrote is what the policy reads, its hash is in the recipe, and another map is another recipe."""
    file = edited(data, tmp_path / "features.json", pixel_3_3="DO_NOT_PREPROCESS")
    asked = ["train", "dqn", "--on", str(data), "updates=100", "--home", str(tmp_path / "home")]
    assert main([*asked, "--features", str(file), "--to", str(tmp_path / "a")]) == 0
    assert main([*asked, "--features", str(file), "--epochs", "1", "--with", "ips", "--to", str(tmp_path / "b")]) == 0
    wanted = read_map(file, read_problem(data))
    for name in ("a", "b"):
        made = open_policy(tmp_path / name)
        assert made.policy.model.features == wanted, "kind overrides and all"  # type: ignore[attr-defined]
        assert made.manifest.config["feature_map"] == content_id(canonical(wanted.state().config))
    assert {column.kind for column in wanted.columns if column.name == "pixel_3_3"} == {"untouched"}
    plain = recipe("dqn", data, {"updates": 100}, seed=0, slice="train")
    assert plain.recipe != open_policy(tmp_path / "a").manifest.recipe and "feature_map" not in plain.config
    assert main([*asked, "--to", str(tmp_path / "a")]) == 1, "another policy lies there"


def test_a_map_that_does_not_fit_is_refused_before_training(data: Path, tmp_path: Path) -> None:
    """Another problem's, an empty one, none, a learner that fits its own inputs, a policy gone on from, a world."""
    file = edited(data, tmp_path / "features.json")
    (tmp_path / "strange.json").write_text(json.dumps({"age": {"feature_type": "BINARY"}}))
    (tmp_path / "empty.json").write_text("{}")
    (tmp_path / "torn.json").write_text("{")
    for name, said in (("strange", "not in the problem"), ("empty", "no feature"), ("torn", "no normalization JSON"),
                       ("none", "no file")):  # fmt: skip
        with pytest.raises(UnderstudyError, match=said):
            train("dqn", on=data, to=tmp_path / "x", features=tmp_path / f"{name}.json")
    with pytest.raises(ConfigError, match="takes no feature map"):
        train("direct", on=data, to=tmp_path / "x", features=file)
    with pytest.raises(ConfigError, match="keeps its own"):
        train("dqn", on=data, to=tmp_path / "x", features=file, start=tmp_path / "y")
    assert main(["train", "dqn", "--in", "cartpole", "--features", str(file), "--to", str(tmp_path / "x")]) == 2
    assert not (tmp_path / "x").exists()
    weather = Problem(features=(Feature(name="age", kind="category", values=("young", "old")),),
                      actions=ActionSpace(names=("a", "b")))  # fmt: skip
    (tmp_path / "codes.json").write_text(json.dumps({"age": {"feature_type": "CONTINUOUS"}}))
    with pytest.raises(ConfigError, match="cannot be 'continuous'"):
        read_map(tmp_path / "codes.json", weather)


def test_unknown_settings_are_refused() -> None:
    """With the nearest that exists, and with the type that was expected."""
    with pytest.raises(ConfigError, match="quantile_sise"):
        identify_options({}, {"quantile_sise": 4})
    with pytest.raises(ConfigError, match="not valid"):
        identify_options({}, {"presence": "perhaps"})
    assert main(["features", "data", "--kind", "x"]) == 2
