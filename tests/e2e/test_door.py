"""The front door: what a data scientist types in Python, and the mistake that it does not let pass."""

from pathlib import Path

import pytest

import understudy as u
from understudy.core.errors import DataError
from understudy.runs.simulate import simulate
from understudy.runs.train import train


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset and a policy, made through the names of the front door."""
    folder = tmp_path_factory.mktemp("door")
    simulate("digits", {}, behavior="uniform", n=3_000, seed=2, to=folder / "raw")
    files = [folder / "raw" / "decisions.jsonl", folder / "raw" / "outcomes.jsonl"]
    u.ingest(files, problem=u.identify(files), to=folder / "logs")
    u.join(folder / "logs", window="2h", to=folder / "data")
    train("direct", on=folder / "data", to=folder / "ridge")
    return folder


def test_an_opened_policy_is_not_judged_on_what_it_learned_from(place: Path) -> None:
    """evaluate refuses the training rows by itself, and answers on the rows that are left."""
    policy, data = u.open_policy(place / "ridge"), u.open_dataset(place / "data")
    with pytest.raises(DataError, match="trained on"):
        u.evaluate(data, {"ridge": policy}, ["snips"], seed=0)
    fresh = data.split({"train": 0.5, "select": 0.2})["select"]
    (estimate,) = u.evaluate(fresh, {"ridge": policy}, ["snips"], seed=0)
    assert estimate.target == "ridge" and estimate.value > 0.5
