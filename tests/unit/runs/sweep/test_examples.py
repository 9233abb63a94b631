"""The experiment files that are shipped resolve."""

from pathlib import Path

import pytest

from understudy.runs.sweep.experiment import plan, read_experiment

FOLDER = Path(__file__).parents[4] / "examples" / "sweeps"


@pytest.mark.parametrize(("name", "runs"), [("pendulum-families", 75), ("cartpole-offline", 60)])
def test_an_example_resolves(name: str, runs: int) -> None:
    """Every learner, world and setting it names exists; at most 20 lines say it."""
    path = FOLDER / f"{name}.yaml"
    assert plan(read_experiment(path)).total == runs
    assert sum(not line.startswith("#") for line in path.read_text().splitlines()) <= 20
