"""Open Bandit sample, women: the real log on which one row decides."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.protocols import State
from understudy.core.steps import bandit_steps
from understudy.data.dataset import MemoryDataset
from understudy.ope.audit import audit
from understudy.ope.diagnostics import diagnose

DATA = Path(__file__).parents[3] / "../shared/data/open-bandit-sample"


class Uniform:
    """Every item with the same probability."""

    def __init__(self, k: int) -> None:
        self.k = k

    def probs(self, context: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        return np.full((len(context), self.k), 1 / self.k)

    def prob(self, context: np.ndarray, action: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        return np.full(len(context), 1 / self.k)

    def act(self, context, rng, allowed=None):
        raise NotImplementedError

    def state(self) -> State:
        raise NotImplementedError


def sample(campaign: str, k: int) -> MemoryDataset:
    """The log of Bernoulli Thompson sampling, read with nothing but the csv module."""
    path = DATA / "bts" / campaign / f"{campaign}.csv.gz"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    column = {name: np.array([float(row[name]) for row in rows]) for name in ("item_id", "click", "position")}
    propensity = np.array([float(row["propensity_score"]) for row in rows])
    problem = Problem(
        features=(Feature(name="position"),), actions=ActionSpace(names=tuple(f"item {i}" for i in range(k)))
    )
    steps = bandit_steps(column["position"][:, None], column["item_id"].astype(int), column["click"], propensity)
    return MemoryDataset(problem, steps)


def test_women_to_uniform_rests_on_one_row() -> None:
    """ESS ≈ 2.1 of 10,000, and one row holds ≈ 69 % of the weight."""
    data = sample("women", 46)
    d = diagnose(data, Uniform(46), name="uniform", by="position")
    assert d.n == 10_000
    assert d.ess == pytest.approx(2.1, abs=0.05)
    assert d.max_weight_share == pytest.approx(0.69, abs=0.005)
    assert data.steps.propensity is not None
    assert d.heaviest == int(data.steps.propensity.argmin())
    assert sum(row.n for row in d.overlap if row.segment.startswith("position=")) == 10_000
    assert min(row.ess for row in d.overlap if row.segment.startswith("position=")) < 5


def test_men_to_uniform_has_more_to_stand_on() -> None:
    """The same target on the men's log: an ESS in the hundreds, and no row above a tenth of the weight."""
    d = diagnose(sample("men", 34), Uniform(34), name="uniform")
    assert d.ess > 200
    assert d.max_weight_share < 0.1


def test_the_audit_of_a_real_uniform_log_finds_nothing() -> None:
    """The uniformly random logs were drawn as they say; an audit that doubts them cries wolf."""
    path = DATA / "random" / "men" / "men.csv.gz"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    problem = Problem(
        features=(Feature(name="position"),), actions=ActionSpace(names=tuple(f"item {i}" for i in range(34)))
    )
    column = {name: np.array([float(row[name]) for row in rows]) for name in ("item_id", "click", "propensity_score")}
    position = np.array([[float(row["position"])] for row in rows])
    steps = bandit_steps(position, column["item_id"].astype(int), column["click"], column["propensity_score"])
    assert audit(MemoryDataset(problem, steps)) == ()
    doubled = steps.with_(propensity=column["propensity_score"] * 2)
    assert {f.name for f in audit(MemoryDataset(problem, doubled))} == {"propensity_constant"}
