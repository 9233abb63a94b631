"""What a table says in a way that could be read wrongly: read rightly, or refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import duckdb
import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import ActionSpace, Feature, OutcomeSpec, Problem
from understudy.data.ingest import ingest
from understudy.data.timeline.draft import draft_table
from understudy.data.timeline.rules import Rules
from understudy.data.timeline.run import timeline
from understudy.data.timeline.transitions import transitions
from understudy.runs.sequences import Wanted, sql_text

ACTIONS = ActionSpace(names=("a", "b"))


def problem(*features: Feature, **options) -> Problem:
    return Problem(features=features, actions=ACTIONS, discount=0.9, horizon=None, **options)


def rows(*more: dict) -> list[dict]:
    plain = {"action": "a", "reward": 0.5}
    return [{"episode": f"e{i}", "sequence": 0} | plain | one for i, one in enumerate(more)]


def written(path: Path, found: list[dict]) -> Path:
    if path.suffix == ".csv":
        pd.DataFrame(found).to_csv(path, index=False)
    else:
        path.write_text("".join(json.dumps(one) + "\n" for one in found))
    return path


def context(made) -> list[float]:
    return made.load().steps.context[:, 0].tolist()


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_category_called_state_is_no_map(tmp_path, suffix):
    """By name it would be a map of features; what it says, and the problem, say that it is a feature."""
    path = written(tmp_path / f"t.{suffix}", rows({"state": "CA"}, {"state": "NY"}, {"state": "CA"}))
    drafted, _ = draft_table(path)
    assert drafted.features == (Feature(name="state", kind="category", values=("CA", "NY")),)
    assert context(timeline(path, problem=drafted)) == [0.0, 1.0, 0.0]
    x = problem(Feature(name="reward_seen", optional=True))
    other = written(
        tmp_path / f"u.{suffix}", rows({"state": "CA", "reward_seen": 1.0}, {"state": "NY", "reward_seen": 2})
    )
    assert context(timeline(other, problem=x)) == [1.0, 2.0]  # a column nobody asked for
    assert pq.read_table(transitions(path))["next_state"].to_pylist() == ["", "", ""]


def test_a_number_called_state_is_a_feature(tmp_path):
    """The place on a board, say."""
    path = written(tmp_path / "t.jsonl", rows({"state": 3}, {"state": 4}))
    drafted, _ = draft_table(path)
    assert [f.name for f in drafted.features] == ["state"]
    assert context(timeline(path, problem=drafted)) == [3.0, 4.0]


def test_a_map_called_state_still_is_one(tmp_path):
    """Written as an object, or as its text in a CSV."""
    for suffix in ("jsonl", "csv"):
        found = rows({"state": {"1": 0.5}}, {"state": {"1": 1.5}})
        if suffix == "csv":
            found = [one | {"state": json.dumps(one["state"])} for one in found]
        path = written(tmp_path / f"t.{suffix}", found)
        assert [f.name for f in draft_table(path)[0].features] == ["1"]
        assert context(timeline(path, problem=problem(Feature(name="1")))) == [0.5, 1.5]


@pytest.mark.parametrize("nested", [{"x": 2.0}, {"x": 2.0, "town": "Rome"}], ids=["map", "struct"])
def test_flat_lines_and_nested_ones_are_not_mixed(tmp_path, nested):
    """Whichever place is read, some lines would seem to lack the feature."""
    path = written(tmp_path / "t.jsonl", rows({"x": 1.0}, {"context": nested}))
    with pytest.raises(DataError, match="1 rows have feature 'x' in another place"):
        timeline(path, problem=problem(Feature(name="x", optional=True)))
    with pytest.raises(DataError, match="feature 'x' stands in two columns"):
        draft_table(path)
    both = written(tmp_path / "u.jsonl", rows({"x": 1.0, "context": {"x": 2.0}}, {"x": 1.0, "context": {"x": 3.0}}))
    assert len(context(timeline(both, problem=problem(Feature(name="x"))))) == 2


def test_values_of_several_kinds_are_texts(tmp_path):
    """1 and "CA" in one column of JSON: categories by their letters, without the quotes of JSON."""
    path = written(tmp_path / "t.jsonl", rows({"town": "CA"}, {"town": 1}))
    towns = Feature(name="town", kind="category", values=("1", "CA"))
    assert context(timeline(path, problem=problem(towns))) == [1.0, 0.0]


@pytest.mark.parametrize("kind", ["features", "outcomes"])
def test_names_that_differ_by_case_only_are_refused(kind):
    """DuckDB gives both the values of the first, without a word."""
    table = pa.table({"episode": ["e"], "sequence": [0], "action": ["a"], "reward": [0.0], "x": [1.0], "X": [2.0]})
    with pytest.raises(DataError, match="columns 'x' and 'X' differ by case only"):
        timeline(table, problem=problem(Feature(name="x")))
    if kind == "features":
        made = problem(Feature(name="x"), Feature(name="X"))
    else:
        made = problem(Feature(name="x"), outcomes=(OutcomeSpec(name="y"), OutcomeSpec(name="Y")), reward="y + Y")
    for make in (timeline, transitions):
        with pytest.raises(ConfigError, match=f"the problem's {kind} '.' and '.' differ by case only"):
            make(table.drop(["X"]), problem=made)
    events = pd.DataFrame([{"decision_id": "d", "time": 0, "action": "a", "propensity": 0.5}])
    with pytest.raises(ConfigError, match="differ by case only"):
        ingest(events, problem=made)


@pytest.mark.parametrize("name", ["c.jsonl", "c.csv", "c.parquet"])
def test_columns_of_a_file_that_differ_by_case_only(tmp_path, name):
    """They would be renamed, and one looked for in vain."""
    found = rows({"x": 1.0, "X": 2.0})
    if name.endswith("parquet"):
        pd.DataFrame(found).to_parquet(tmp_path / name)
    else:
        written(tmp_path / name, found)
    with pytest.raises(DataError, match=f"{name}: columns 'x' and 'X' differ by case only"):
        timeline(tmp_path / name, problem=problem(Feature(name="x")))


def test_categories_of_a_column_of_numbers_are_numbers():
    """pandas makes 1.0 of 1 where another row lacks it; what is missing is no "other" value."""
    levels = [Feature(name="x", kind="category", values=("1", "2.0", "0.5"), open=open_, optional=True)
              for open_ in (False, True)]  # fmt: skip
    for values in ([1.0, 2.0, 0.5, None], [1.0, 2.0, 0.5, float("nan")]):
        table = pa.Table.from_pylist(rows(*({"x": value, "z": 1.0} for value in values)))
        for level in levels:
            made = timeline(table, problem=problem(level, Feature(name="z")))
            assert np.array_equal(context(made), [0.0, 1.0, 2.0, np.nan], equal_nan=True)
    whole = pa.Table.from_pylist(rows({"x": 1}, {"x": 2}))
    assert context(timeline(whole, problem=problem(levels[0]))) == [0.0, 1.0]
    with pytest.raises(ConfigError, match="two of its values in the problem are 1"):
        timeline(whole, problem=problem(Feature(name="x", kind="category", values=("1", "01"))))
    flags = pa.Table.from_pylist(rows({"x": True}, {"x": False}))
    assert context(timeline(flags, problem=problem(Feature(name="x", kind="category", values=("False", "true"))))) == [
        1.0, 0.0,
    ]  # fmt: skip


def test_a_flag_may_be_missing_as_nan():
    """As pandas writes booleans that have gaps: 1.0, 0.0, NaN."""
    table = pa.Table.from_pylist(rows(*({"x": value, "z": 1.0} for value in (1.0, 0.0, float("nan")))))
    made = timeline(table, problem=problem(Feature(name="x", kind="boolean", optional=True), Feature(name="z")))
    assert np.array_equal(context(made), [1.0, 0.0, np.nan], equal_nan=True)
    with pytest.raises(DataError, match="a feature is missing that is not optional"):
        timeline(table, problem=problem(Feature(name="x", kind="boolean"), Feature(name="z")))


def test_a_row_of_nan_has_no_state():
    """No feature at all, whether it is said by NaN or by nothing."""
    table = pa.Table.from_pylist(rows({"x": 1.0}, {"x": float("nan")}))
    with pytest.raises(DataError, match="1 of 2 rows: no feature at all"):
        timeline(table, problem=problem(Feature(name="x", optional=True)))


def test_a_printed_text_holds_the_length_it_was_asked_for(tmp_path):
    """A percentile is looked up in the table that was given, told with the query behind it, and part of the text."""
    lengths = [2] * 95 + [30] * 5
    path = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_pylist([
        {"episode": f"e{i}", "sequence": t, "x": 1.0, "action": "a", "reward": 0.0}
        for i, n in enumerate(lengths) for t in range(n)
    ]), path)  # fmt: skip
    wanted = Wanted(None, "", "", "steps", 1, "", 0.95, [])
    (tmp_path / "p.json").write_bytes(msgspec.json.encode(problem(Feature(name="x"))))
    wanted = replace(wanted, problem=tmp_path / "p.json")
    said = sql_text([path], wanted, Rules(), "duckdb")
    assert "COUNT(*) <= 3.4" in said and said.startswith("-- 0.95 of the episodes here have at most 3.4 rows")
    ran = duckdb.sql(f"WITH decisions AS (SELECT * FROM '{path}') SELECT COUNT(*) FROM ({said})").fetchall()
    assert ran == [(190,)]
    assert "COUNT(*) <=" in sql_text([path], wanted, Rules(), "spark")
    assert "COUNT(*) <=" not in sql_text([path], replace(wanted, percentile=None), Rules(), "duckdb")
    with pytest.raises(ConfigError, match="prints the text of steps"):
        sql_text([path], replace(wanted, form="transitions"), Rules(), "duckdb")
