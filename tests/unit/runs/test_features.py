"""The verb features: kinds told, overridden, written, read, compared."""

import json
from pathlib import Path

import pytest

from understudy.cli import main
from understudy.core.errors import ConfigError
from understudy.runs.features import identify_options


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


def test_unknown_settings_are_refused() -> None:
    """With the nearest that exists, and with the type that was expected."""
    with pytest.raises(ConfigError, match="quantile_sise"):
        identify_options({}, {"quantile_sise": 4})
    with pytest.raises(ConfigError, match="not valid"):
        identify_options({}, {"presence": "perhaps"})
    assert main(["features", "data", "--kind", "x"]) == 2
