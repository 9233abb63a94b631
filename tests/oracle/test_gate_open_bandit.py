"""The gate on a real log: Open Bandit sample, Thompson-sampling log, uniform target."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.steps import bandit_steps
from understudy.data.dataset import MemoryDataset
from understudy.gate import GateRules, Lineage, gate
from understudy.ope.lift import lift

SAMPLE = Path(__file__).parents[2].parent / "shared" / "data" / "open-bandit-sample"
pytestmark = pytest.mark.skipif(not SAMPLE.exists(), reason=f"no Open Bandit sample in {SAMPLE}")


class Uniform:
    def __init__(self, k: int) -> None:
        self.k = k

    def probs(self, context: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        return np.full((len(context), self.k), 1 / self.k)


def log(campaign: str) -> tuple[MemoryDataset, int]:
    with gzip.open(SAMPLE / "bts" / campaign / f"{campaign}.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    item, click, propensity = (
        np.array([float(row[c]) for row in rows]) for c in ("item_id", "click", "propensity_score")
    )
    k = int(item.max()) + 1
    problem = Problem(features=(Feature(name="x"),), actions=ActionSpace(names=tuple(map(str, range(k)))))
    return MemoryDataset(problem, bandit_steps(np.zeros((len(rows), 1)), item.astype(int), click, propensity)), k


def verdict(campaign: str):
    data, k = log(campaign)
    proof = lift(data, Uniform(k), None, names=("uniform", "logged"))  # pyright: ignore[reportArgumentType]
    return gate((), GateRules(), against="logged", lift=proof, lineage=Lineage())


def test_women_is_refused_by_name_and_number():
    """ESS about 2.1 of 10,000 and one row with about 69 % of the weight: refused, and the reason says both."""
    found = verdict("women")
    assert found.outcome == "refused"
    assert "2.1 of 10,000" in found.reason
    assert "69%" in found.reason


def test_men_is_judged():
    """The men's log carries an answer: nothing is refused, and a uniform policy does not ship."""
    found = verdict("men")
    assert found.outcome in ("hold", "not_enough_evidence")
    assert {check.name for check in found.checks if not check.passed} <= {"lift", "harm", "effective sample size"}
