"""What a machine does to a run: no room, no permission, damaged files, two at once. Said clearly, nothing half-done."""

from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from understudy.cli import main
from understudy.core.errors import ConfigError, StoreError
from understudy.runs.assess import ESTIMATES, Assessment, assess
from understudy.runs.bring import bring, bring_together, draft
from understudy.runs.home import Home
from understudy.runs.prove import Proof, prove
from understudy.runs.simulate import simulate
from understudy.runs.train import ROWS, open_policy, train


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small log, joined, and a policy learned from it."""
    place = tmp_path_factory.mktemp("damage")
    simulate("digits", {}, behavior="uniform", n=600, seed=3, to=place / "raw")
    files = [place / "raw" / "decisions.jsonl", place / "raw" / "outcomes.jsonl"]
    draft(files, place / "problem.yaml")
    bring(files, layout="events", problem=place / "problem.yaml", options={}, to=place / "logs", home=place / "home")
    bring_together(place / "logs", window="10m", backward="2m", as_of=None, to=place / "data", home=place / "home")
    train("direct", on=place / "data", to=place / "ridge")
    return place


@pytest.mark.parametrize("option", ["--to", "--home"])
def test_a_path_that_cannot_be_made_is_said_in_one_shape(
    option: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file where a folder should be: exit 1, what, why and what next; no traceback, no hidden leftovers."""
    (tmp_path / "file").write_text("in the way")
    where = {"--to": str(tmp_path / "run"), "--home": str(tmp_path / "home")} | {option: str(tmp_path / "file" / "x")}
    words = [word for pair in where.items() for word in pair]
    assert main(["train", "uniform", "--on", str(made / "data"), *words]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("StoreError: ") and str(tmp_path / "file") in said[0]
    assert len(said) == 3 and "run the same line again" in said[2]
    assert not [path.name for path in tmp_path.rglob(".*.partial")]


def test_a_shortened_list_of_training_rows_is_noticed(made: Path, tmp_path: Path) -> None:
    """Whoever edits what a policy was trained on would otherwise pass the gate's check of disjoint data."""
    manifest = train("direct", on=made / "data", to=tmp_path / "edited")
    rows = tmp_path / "edited" / ROWS
    save_file({"decisions": load_file(rows)["decisions"][:1]}, rows)
    with pytest.raises(StoreError, match=f"{ROWS} was changed") as caught:
        open_policy(tmp_path / "edited")
    assert manifest.id in str(caught.value)


def test_a_truncated_dataset_is_no_traceback(made: Path, tmp_path: Path) -> None:
    """Half a Parquet file stops every verb that reads it with a StoreError, and no policy is left behind."""
    half = tmp_path / "data"
    half.mkdir()
    for path in (made / "data").iterdir():
        body = path.read_bytes()
        (half / path.name).write_bytes(body[: len(body) // 2] if path.name == "steps.parquet" else body)
    with pytest.raises(StoreError, match=r"steps\.parquet cannot be read"):
        train("direct", on=half, to=tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_estimates_that_were_edited_are_not_shown_again(made: Path, tmp_path: Path) -> None:
    """The same question is answered from the artifact only while its files are what was written."""
    how = Assessment(("ips",))
    _, folder = assess([made / "ridge"], on=made / "data", how=how, home=tmp_path)
    (folder / ESTIMATES).write_text("[")
    with pytest.raises(StoreError, match=f"{ESTIMATES} was changed"):
        assess([made / "ridge"], on=made / "data", how=how, home=tmp_path)


def test_a_proof_on_an_edited_dataset_is_refused_before_the_look(made: Path, tmp_path: Path) -> None:
    """Rewards changed after the join would prove anything; the look is not spent on them."""
    edited = tmp_path / "data"
    edited.mkdir()
    for path in (made / "data").iterdir():
        (edited / path.name).write_bytes(path.read_bytes() + (b" " if path.name == "problem.json" else b""))
    with pytest.raises(StoreError, match=r"problem\.json was changed"):
        prove(made / "ridge", on=edited, how=Proof(against="logged"), home=tmp_path / "home")
    assert not Home(tmp_path / "home").ledger.looks()


def test_nobody_is_proven_better_than_himself(made: Path, tmp_path: Path) -> None:
    """A candidate that is the incumbent is a mistake of the caller's, and costs no comparison."""
    with pytest.raises(ConfigError, match="one policy"):
        prove(made / "ridge", on=made / "data", how=Proof(against=str(made / "ridge")), home=tmp_path)
    assert not Home(tmp_path).ledger.looks()
