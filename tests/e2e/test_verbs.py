"""Every verb in both of its voices: lines for a person, the artifact's path last; one JSON object for a machine."""

import json
from pathlib import Path
from typing import Any

import pytest

from understudy.cli import main


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the chain was run by its verbs."""
    return tmp_path_factory.mktemp("verbs")


def spoken(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    """What a verb says with --json, after it exited with ``code``."""
    capsys.readouterr()
    assert main([*words, "--json"]) == code, capsys.readouterr().err
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line)


def test_every_verb_speaks_json(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The chain by its verbs: one object each, with the path of what was made."""
    monkeypatch.chdir(place)
    raw = ["raw/decisions.jsonl", "raw/outcomes.jsonl"]
    assert spoken(capsys, "simulate", "digits", "--decisions", "12000", "--to", "raw")["decisions"] == 12_000
    assert spoken(capsys, "identify", *raw)["path"] == "problem.yaml"
    counts = spoken(capsys, "ingest", *raw, "--problem", "problem.yaml", "--to", "logs")["counts"]
    assert counts["decisions"] == 12_000 and counts["quarantined"] == 0
    joined = spoken(capsys, "join", "logs", "--window", "2h", "--to", "data")["counts"]
    assert joined["decisions"] == joined["steps"] + joined["pending"] + joined["quarantined"]
    assert spoken(capsys, "describe", "data")["findings"] == []
    assert spoken(capsys, "train", "direct", "--on", "data", "--to", "ridge")["path"] == "ridge"
    estimates = spoken(capsys, "evaluate", "ridge", "--on", "data", "--with", "snips")["estimates"]
    assert [e["target"] for e in estimates] == ["ridge", "logged", "ridge - logged"]
    assert spoken(capsys, "gate", "ridge", "--on", "data")["verdict"]["outcome"] == "ship"
    promoted = spoken(capsys, "promote", "ridge")
    assert spoken(capsys, "show", "production")["id"] == promoted["policy"]
    assert spoken(capsys, "report", "ridge", "--on", "data", "--to", "page")["path"] == "page/report.html"
    assert spoken(capsys, "rollback", "production", "--why", "a test")["policy"] == "logged"
    planned = spoken(capsys, "plan", "--actions", "4", "--exploration", "0.3", "--lift", "0.05")
    assert 100 < planned["decisions"] < 100_000
    refused = spoken(capsys, "gate", "ridge", "--on", "data", "--slice", "train", code=5)
    assert refused["verdict"]["outcome"] == "refused"


def test_an_error_has_one_shape(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --json an error is {"error": {kind, message, hint, field}}, whatever went wrong."""
    monkeypatch.chdir(place)
    for words, code in ((["show", "nowhere"], 1), (["train", "dircet", "--on", "data", "--to", "x"], 2)):
        error = spoken(capsys, *words, code=code)["error"]
        assert set(error) == {"kind", "message", "hint", "field"} and error["message"]


def test_a_dry_run_writes_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """identify, ingest, join and train say what they would do, and leave the folder as it was."""
    monkeypatch.chdir(place)
    raw = ["raw/decisions.jsonl", "raw/outcomes.jsonl"]
    before = sorted(str(path) for path in place.rglob("*") if "ledger.db-" not in path.name)
    for words in (
        ["identify", *raw, "--to", "other.yaml"],
        ["ingest", *raw, "--problem", "problem.yaml", "--to", "dry"],
        ["join", "logs", "--window", "2h", "--to", "dry"],
        ["train", "direct", "--on", "data", "--to", "dry"],
    ):
        assert main([*words, "--dry-run"]) == 0
        assert capsys.readouterr().out.strip()
    assert sorted(str(path) for path in place.rglob("*") if "ledger.db-" not in path.name) == before


def test_a_finished_verb_says_so_and_prints_the_path_last(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same question in the same folder is answered from it; the last line is always the artifact."""
    monkeypatch.chdir(place)
    assert main(["train", "direct", "--on", "data", "--to", "ridge"]) == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith("already done") and last == "ridge"
