"""Identify: a draft that can be ingested as it stands, and says what it guessed."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.data.identify import draft, draft_yaml, identify, load_problem, save_problem
from understudy.data.ingest import ingest
from understudy.data.profile import merge, profile, profiles
from understudy.data.read import read
from understudy.data.sources import resolve


def frame(n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({
        "decision_id": [f"d{i}" for i in range(n)], "age": rng.integers(18, 80, n),
        "time": pd.date_range("2026-01-01", periods=n, freq="min", tz="UTC"),
        "city": rng.choice(["rome", "oslo"], n), "vip": rng.random(n) > 0.5,
        "score": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)), "user": [f"u{i}" for i in range(n)],
        "row": np.arange(n), "unit_id": rng.integers(0, 50, n), "action": rng.choice(["x", "y"], n), "propensity": 0.5,
        "revenue": rng.random(n) * 5,
    })  # fmt: skip


def test_draft_of_a_table():
    """Kinds by value, ids left out by name with a note, gaps made optional, the reward's range as seen."""
    problem, notes = draft(frame())
    assert {f.name: (f.kind, f.values, f.optional) for f in problem.features} == {
        "age": ("number", (), False), "city": ("category", ("oslo", "rome"), False), "score": ("number", (), True),
        "vip": ("boolean", (), False)}  # fmt: skip
    assert problem.ignore == ("row", "user") and any("user left out" in note for note in notes["features"])
    assert problem.actions.names == ("x", "y") and problem.unit == "unit" and problem.horizon == 1
    assert problem.reward == "revenue" and problem.reward_range == (0.0, 5.0)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "frame"])
def test_the_draft_ingests_what_it_was_drafted_from(tmp_path, kind):
    """identify → ingest keeps every row, whatever the format, and all formats give the same draft."""
    source = frame()
    path = tmp_path / f"log.{kind}"
    if kind == "csv":
        source.to_csv(path, index=False)
    elif kind == "parquet":
        source.to_parquet(path)
    elif kind == "jsonl":
        source.to_json(path, orient="records", lines=True, date_format="iso")
    given = source if kind == "frame" else path
    problem = identify(given)
    log = ingest(given, problem=problem)
    assert log.counts["decisions"] == 400 and log.counts["quarantined"] == 0
    assert problem == identify(frame())


def test_yaml_round_trip_with_notes(tmp_path):
    """The YAML draft reads back as the same problem, and its comments carry the notes."""
    problem, notes = draft(frame())
    path = save_problem(problem, tmp_path / "problem.yaml", notes)
    assert load_problem(path) == problem and "# user left out" in path.read_text()
    assert load_problem(save_problem(problem, tmp_path / "problem.json")) == problem
    odd = Problem(features=(Feature(name="a: b #c", kind="category", values=("yes", "no", "1", "null", "")),),
                  actions=ActionSpace(names=("on", "off", "é\n")))  # fmt: skip
    (tmp_path / "odd.yaml").write_text(draft_yaml(odd))
    assert load_problem(tmp_path / "odd.yaml") == odd


def test_the_order_of_propensities_is_read_from_the_log(tmp_path):
    """The place of an action in propensities is where its own propensity stands, not the alphabet."""
    rng, names, lines = np.random.default_rng(0), ["zebra", "ant", "mole"], []
    for i in range(50):
        p = rng.dirichlet([1, 1, 1])
        a = int(rng.integers(0, 3))
        lines.append(json.dumps({"decision_id": f"d{i}", "time": i, "context": {}, "action": names[a],
                                 "propensity": p[a], "propensities": p.tolist()}))  # fmt: skip
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    assert identify(tmp_path / "log.jsonl").actions.names == ("zebra", "ant", "mole")


def test_outcomes_are_drafted_from_their_own_rows(tmp_path):
    """Names and ranges come from outcome rows; several arrivals per decision are pointed out."""
    rows = [{"decision_id": f"d{i}", "time": i, "context": {"x": i / 3}, "action": i % 2} for i in range(10)]
    rows += [{"decision_id": "d1", "time": 5 + j, "name": "click", "value": 1} for j in range(3)]
    rows += [{"decision_id": "d2", "time": 5, "name": "cost", "value": -7.5}]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, rows)))
    problem, notes = draft(tmp_path / "log.jsonl")
    assert problem.outcome_names == ("click", "cost") and problem.reward == "click"
    assert any("up to 3 times" in note for note in notes["outcomes"])
    assert any("no propensities" in note for note in notes["actions"])
    assert problem.actions.names == ("0", "1")


def test_nothing_to_identify(tmp_path):
    """A file without a single action is no log of decisions."""
    (tmp_path / "log.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(DataError, match="no row has an action"):
        identify(tmp_path / "log.jsonl")


def test_load_problem_errors(tmp_path):
    """A missing file and an unknown key are ConfigErrors that say what to do."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load_problem(tmp_path / "none.yaml")
    (tmp_path / "p.yaml").write_text("features: []\nactions: {names: [a]}\nrewrd: x\n")
    with pytest.raises(ConfigError, match="rewrd"):
        load_problem(tmp_path / "p.yaml")


def test_profiles_merge_as_the_whole():
    """Two halves of a table summed are the profile of the table, in either order."""
    whole, halves = frame(), (frame().iloc[:150], frame().iloc[150:])

    def of(part: pd.DataFrame) -> dict:
        rows = next(read(resolve(part)[0]))
        return profiles(rows)

    a, b = map(of, halves)
    assert merge(a, b) == of(whole)
    assert {k: (p.n, p.missing, p.low) for k, p in merge(b, a).items()} == {
        k: (p.n, p.missing, p.low) for k, p in of(whole).items()
    }
    assert profile(["1", None], text=True).numbers == 1


def test_names_that_ingest_would_refuse_are_told_at_once():
    """Foreign column names, rows that are neither, an action that was taken once: a note each."""
    mails = frame(2_000).drop(columns="revenue").rename(columns={"decision_id": "mail", "time": "sent"})
    mails.loc[7, "action"] = "xx"
    _, notes = draft(mails, pd.DataFrame({"mail": ["d1"], "amount": [2.0]}))
    assert "decision_id or time" in notes["columns"][0] and notes["columns"][1].startswith("1 row")
    assert any(note.startswith("xx was taken 1 of 2,000 times") for note in notes["actions"])
    assert "columns" not in draft(frame())[1]
