"""The Open Bandit sample: a log that cannot carry the question, and one that can. Skips visibly without the data."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.steps import bandit_steps
from understudy.data.dataset import MemoryDataset
from understudy.models.policies import Uniform
from understudy.ope.evaluate import evaluate

ROOT = Path(__file__).parents[3].parent / "shared" / "data" / "open-bandit-sample"


def campaign(policy: str, name: str, k: int) -> MemoryDataset:
    """One campaign as a log; every impression is its own unit, its position the only context."""
    path = ROOT / policy / name / f"{name}.csv.gz"
    if not path.exists():
        pytest.skip(f"no file {path}")
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    item, click, chance, position = (
        np.array([float(row[column]) for row in rows])
        for column in ("item_id", "click", "propensity_score", "position")
    )
    actions = ActionSpace(names=tuple(f"item {i}" for i in range(k)))
    problem = Problem(features=(Feature(name="position"),), actions=actions)
    return MemoryDataset(problem, bandit_steps(position[:, None], item.astype(np.int32), click, chance))


def test_women_cannot_say_what_uniform_would_have_earned() -> None:
    """ESS ≈ 2.1 of 10,000 and one row with ≈ 69 % of the weight: refused, by every estimator, with these figures."""
    data = campaign("bts", "women", 46)
    found = evaluate(data, {"uniform": Uniform(46)}, ["ips", "snips", "clipped_ips"])
    for estimate in found:
        assert estimate.refused and estimate.n_episodes == 10_000
        assert estimate.ess == pytest.approx(2.1, abs=0.05) and estimate.max_weight_share == pytest.approx(
            0.69, abs=0.005
        )
        assert "2.1 of 10,000" in estimate.notes[0] and "heaviest row holds 69 % of the weight" in estimate.notes[0]


def test_men_can_and_the_interval_meets_the_truth() -> None:
    """An interval is answered and overlaps the 95 % interval of what uniform did earn at the same time."""
    data, truth = campaign("bts", "men", 34), campaign("random", "men", 34)
    (estimate,) = evaluate(data, {"uniform": Uniform(34)}, ["snips"])
    (earned,) = evaluate(truth, {"logged": None}, ["ips"])
    assert not estimate.refused and not earned.refused
    assert estimate.low < earned.high and earned.low < estimate.high
    assert earned.value == pytest.approx(truth.steps.reward.mean())
    (exact,) = evaluate(data, {"uniform": Uniform(34)}, ["ips"], method="betting")
    assert exact.low <= earned.value <= exact.high
