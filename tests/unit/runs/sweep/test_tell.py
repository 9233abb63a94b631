"""``show`` on a study, a run of it and its tables."""

from pathlib import Path
from typing import Any

from understudy.cli import main
from understudy.runs.describe import show
from understudy.runs.sweep.experiment import Experiment
from understudy.runs.sweep.study import begin, work
from understudy.runs.sweep.table import gather

FIELDS: dict[str, Any] = {
    "name": "cheap", "learner": "uniform", "env": "bandit", "log": {"episodes": 20}, "evaluate": {"episodes": 20},
    "sweep": {"variant": [{"learner": "uniform"}, {"learner": "fixed", "settings.action": "nobody"}]}, "seeds": 2,
}  # fmt: skip


def test_any_part_of_a_study_is_told(tmp_path: Path, capsys: Any) -> None:
    """Its runs by state and why some failed; a run's last figures; a table's head."""
    study = begin(Experiment(**FIELDS), tmp_path / "s")
    work(study, [0, 1, 2])
    told = show(str(study.folder), home=tmp_path / "home")
    assert "2 settings x 2 seeds = 4 runs: 2 done, 1 failed, 1 missing" in told.lines
    assert any("nobody" in line for line in told.lines) and told.data["states"]["3"] == "missing"
    run = study.path(study.plan.run(0))
    assert any(line.startswith("  return: ") for line in show(str(run), home=tmp_path / "home").lines)
    assert main(["show", str(gather(study) / "results.parquet"), "--json"]) == 0
    assert '"rows":4' in capsys.readouterr().out
