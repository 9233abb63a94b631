"""What a hurried hand does: writes over a log, misspells a setting, puts a report into an artifact."""

import json
from pathlib import Path

import pytest

from understudy.cli import main
from understudy.core.errors import ConfigError, StoreError
from understudy.data.artifact import MANIFEST
from understudy.runs.assess import Assessment
from understudy.runs.bring import joined_lines
from understudy.runs.gather import write
from understudy.runs.simulate import simulate
from understudy.runs.worlds import make_env


def test_a_raw_log_is_not_written_over(tmp_path: Path) -> None:
    """The same call again changes nothing; another log in the same folder is an error, and the first stays."""
    for _ in range(2):
        simulate("digits", {}, behavior="uniform", n=20, seed=1, to=tmp_path / "raw")
    before = (tmp_path / "raw" / "decisions.jsonl").read_bytes()
    with pytest.raises(StoreError, match="another log"):
        simulate("digits", {}, behavior="uniform", n=30, seed=1, to=tmp_path / "raw")
    assert (tmp_path / "raw" / "decisions.jsonl").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_a_misspelt_setting_of_an_environment_names_the_nearest() -> None:
    """As for learners: the hint is the name that was meant."""
    with pytest.raises(ConfigError, match="nois") as caught:
        make_env("digits", {"nois": 0.1})
    assert "noise" in caught.value.hint


def test_a_report_does_not_mix_with_an_artifact(tmp_path: Path) -> None:
    """A folder with a manifest is somebody's; nothing is computed, nothing is written."""
    (tmp_path / MANIFEST).write_text('{"kind": "dataset", "problem_hash": "x"}')
    with pytest.raises(StoreError):
        write([], on=tmp_path, how=Assessment(), home=tmp_path, to=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]


def test_the_counts_of_a_join_are_sums() -> None:
    """Left of each = stands the sum of what is right of it."""
    counts = {"decisions": 9, "steps": 6, "pending": 3, "outcomes": 7, "joined": 5, "late": 1, "waiting": 1}
    for line in joined_lines(counts)[:2]:
        left, right = line.split(" = ")
        assert int(left.split()[0]) == sum(int(part.split()[0]) for part in right.split(" + "))


def test_a_usage_error_is_json_where_json_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """A machine that reads stdout gets the error there too."""
    assert main(["gate", "--json"]) == 2
    assert "understudy gate --help" in json.loads(capsys.readouterr().out)["error"]["hint"]
