"""The verb on real studies: chosen in one, reported in another; tables gathered where runs were finished since."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from understudy.cli import main
from understudy.runs.sweep.experiment import Experiment
from understudy.runs.sweep.study import Study, begin, work
from understudy.runs.sweep.table import gather

BASE = {"env": "bandit", "evaluate": {"episodes": 20}}


def study(folder: Path, seeds: str, episodes: list[int], learners: tuple[str, ...] = ("direct", "ipw")) -> Study:
    made = begin(Experiment(name="s", learner="direct", log={"episodes": 60}, seeds=seeds, **BASE,
                            sweep={"learner": list(learners), "log.episodes": episodes}), folder)  # fmt: skip
    work(made, range(made.plan.total))
    gather(made)
    return made


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two learners with two settings on seeds 0 to 2; the same on fresh seeds, 3 to 5."""
    root = tmp_path_factory.mktemp("studies")
    return study(root / "tried", "0:3", [60, 90]).folder, study(root / "fresh", "3:6", [60, 90]).folder


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> dict:
    assert main(["compare", *argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_chosen_in_one_study_and_reported_in_another(studies, tmp_path: Path, capsys) -> None:
    """The page lies where it was asked for, and holds what was said."""
    found = said(capsys, *map(str, studies), "--select", "0:3", "--to", str(tmp_path / "report"))
    told = found["comparison"]
    assert found["path"] == str(tmp_path / "report" / "report.html") and Path(found["path"]).exists()
    assert (told["mode"], told["select"], told["fresh"]) == ("fresh", [0, 1, 2], [3, 4, 5])
    assert told["arms"] == ["direct", "ipw"] and told["tasks"] == ["bandit"] and len(told["pairs"]) == 1
    assert all(row["seeds"] == [3, 4, 5] and row["settings"] == 2 for row in told["results"])
    kept = json.loads((tmp_path / "report" / "report.json").read_text())
    assert kept["results"] == told["results"]


def test_one_set_of_seeds_is_not_enough(studies, capsys) -> None:
    """Refused with the way out; with --same-seeds answered, labelled."""
    assert main(["compare", str(studies[0])]) == 1
    assert "--select 0;" in capsys.readouterr().err
    assert said(capsys, str(studies[0]), "--same-seeds")["comparison"]["mode"] == "same"


def test_any_field_makes_a_learner(studies, capsys) -> None:
    """Then nothing is left to choose, and all seeds report."""
    told = said(capsys, *map(str, studies), "--by", "learner,log.episodes", "--against", "ipw · episodes=90")
    told = told["comparison"]
    assert told["mode"] == "single" and len(told["arms"]) == 4
    assert {pair["b"] for pair in told["pairs"]} == {"ipw · episodes=90"} and len(told["pairs"]) == 3


def test_tables_that_are_behind_are_gathered(tmp_path: Path, capsys) -> None:
    """Runs that were finished after the last gathering count."""
    made = begin(Experiment(name="s", learner="direct", log={"episodes": 60}, seeds=4, **BASE), tmp_path / "s")
    work(made, [0, 1])
    gather(made)
    first = said(capsys, str(made.folder))["comparison"]["results"][0]
    assert (first["seeds"], first["missing"]) == ([0, 1], [2, 3])
    work(made, [2, 3])
    assert said(capsys, str(made.folder))["comparison"]["results"][0]["seeds"] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("argv", "code", "word"),
    [
        (["--select", "a:b"], 2, "--select 'a:b' names no seeds"),
        (["--failed", "worst"], 2, "--failed 'worst' is no score"),
        (["--metric", "retrun"], 2, "Did you mean: return"),
        (["--by", ","], 2, "names no field"),
        (["--select", "0:9"], 2, "no run has seed 3"),
    ],
)
def test_bad_words_are_named(studies, argv: list[str], code: int, word: str, capsys) -> None:
    assert main(["compare", str(studies[0]), *argv]) == code
    assert word in capsys.readouterr().err


def test_no_study_is_no_study(tmp_path: Path, capsys) -> None:
    assert main(["compare", str(tmp_path)]) == 1
    assert "holds no study" in capsys.readouterr().err
