"""Bad input at the border: a clear error or a row in quarantine by name, and nothing lost."""

from __future__ import annotations

import gzip
import json

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from understudy.core.errors import DataError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.data.ingest import ingest
from understudy.data.log import Log

PROBLEM = Problem(
    features=(
        Feature(name="age"),
        Feature(name="city", kind="category", values=("oslo", "rome")),
        Feature(name="vip", kind="boolean", optional=True),
    ),
    actions=ActionSpace(names=("red", "green", "blue")),
)


def decision(i: int = 0, **changes) -> dict:
    row = {
        "decision_id": f"d{i}",
        "time": 1_700_000_000 + i,
        "context": {"age": 30 + i, "city": "oslo", "vip": True},
        "action": "red",
        "propensity": 0.5,
    }
    row |= changes
    return {key: value for key, value in row.items() if value is not ...}


def context(**changes) -> dict:
    return {key: v for key, v in ({"age": 1, "city": "oslo"} | changes).items() if v is not ...}


def outcome(i: int = 0, **changes) -> dict:
    return {"decision_id": f"d{i}", "time": 1_700_000_100 + i, "value": 1.0, "name": "reward"} | changes


def ingested(tmp_path, *lines: str | bytes | dict, problem: Problem = PROBLEM) -> Log:
    """Two good decisions, then the given lines."""
    path = tmp_path / "events.jsonl"
    with path.open("wb") as file:
        for line in (decision(100), decision(101), *lines):
            raw = json.dumps(line) if isinstance(line, dict) else line
            file.write((raw if isinstance(raw, bytes) else raw.encode()) + b"\n")
    log = ingest(path, problem=problem, to=tmp_path / "log")
    reconciles(log)
    return log


def reconciles(log: Log) -> None:
    c = log.counts
    assert c["rows"] == c["decisions"] + c["duplicates"] + c["outcome_rows"] + c["quarantined"]
    assert c["quarantined"] == sum(n for name, n in c.items() if name.startswith("quarantined."))
    assert log.quarantine().num_rows == c["quarantined"]


BAD_DECISIONS = {
    "propensity zero": (decision(propensity=0), "propensity", "not in (0, 1]"),
    "propensity negative": (decision(propensity=-0.1), "propensity", "not in (0, 1]"),
    "propensity above one": (decision(propensity=1.0001), "propensity", "not in (0, 1]"),
    "propensity whose weight overflows": (decision(propensity=1e-320), "propensity", "not in (0, 1]"),
    "propensity text": (decision(propensity="0.5"), "propensity", "not a number"),
    "propensity boolean": (decision(propensity=True), "propensity", "not a number"),
    "propensity missing in one row": (decision(propensity=...), "propensity_missing", "other decisions"),
    "propensities do not sum to 1": (decision(propensities=[0.5, 0.5, 0.5]), "propensities_sum", "1.5"),
    "propensities contradict": (decision(propensities=[0.2, 0.3, 0.5]), "propensity_contradiction", "0.2"),
    "propensities too few": (decision(propensities=[0.5, 0.5]), "propensities", "3 numbers"),
    "propensities negative": (decision(propensities=[0.5, 0.7, -0.2]), "propensities", "[0, 1]"),
    "propensities text": (decision(propensities=["a", 0.5, 0.5]), "propensities", "3 numbers"),
    "mass on what was not allowed": (
        decision(propensities=[0.5, 0.3, 0.2], allowed=["red", "green"]), "propensities_not_allowed", "not allowed",
    ),
    "own entry is zero": (decision(propensity=..., propensities=[0, 0.5, 0.5]), "propensity", "is 0"),
    "action outside the set": (decision(action="pink"), "action", "'pink'"),
    "action index outside": (decision(action=3), "action", "3"),
    "action boolean": (decision(action=True), "action", "True"),
    "action a list": (decision(action=[0.5]), "action", "[0.5]"),
    "action not allowed": (decision(allowed=["green", "blue"]), "action_not_allowed", "was not allowed"),
    "allowed empty": (decision(allowed=[]), "allowed", "[]"),
    "allowed unknown": (decision(allowed=["red", "pink"]), "allowed", "pink"),
    "unknown feature": (decision(context=context(agee=3)), "unknown_field", "'agee'"),
    "unknown field": (decision(reward=1), "unknown_field", "'reward'"),
    "context no object": (decision(context=[1, 2]), "unknown_field", "'context'"),
    "missing feature": (decision(context=context(age=...)), "feature_missing", "age is missing"),
    "null feature": (decision(context=context(age=None)), "feature_missing", "age is missing"),
    "no context at all": (decision(context=...), "feature_missing", "age is missing"),
    "feature of wrong type": (decision(context=context(age="30")), "feature_type", "not a number"),
    "feature boolean for number": (decision(context=context(age=True)), "feature_type", "not a number"),
    "feature a list": (decision(context=context(age=[30])), "feature_type", "not a number"),
    "feature beyond 32 bits": (decision(context=context(age=1e39)), "feature_value", "1e+39"),
    "feature integer beyond 64 bits": (decision(context=context(age=10**400)), None, ""),
    "category unknown": (decision(context=context(city="bern")), "feature_value", "'bern'"),
    "category of wrong type": (decision(context=context(city=1.5)), "feature_type", "1.5"),
    "boolean neither 0 nor 1": (decision(context=context(vip=2)), "feature_type", "not a boolean"),
    "time missing": (decision(time=...), "time", "no time"),
    "time no date": (decision(time="yesterday"), "time", "'yesterday'"),
    "time in milliseconds": (decision(time=1_700_000_000_000), "time", "seconds since 1970"),
    "time boolean": (decision(time=True), "time", "True"),
    "decision_id missing": (decision(decision_id=...), "decision_id", "no decision_id"),
    "decision_id empty": (decision(decision_id=""), "decision_id", "no decision_id"),
    "decision_id a number with a point": (decision(decision_id=1.5), "decision_id", "not text"),
    "decision_id too long": (decision(decision_id="x" * 2000), "decision_id", "2,000 characters"),
    "t beyond the horizon": (decision(t=1), "t", "horizon"),
    "neither decision nor outcome": (decision(action=...), "neither", "no action"),
    "both decision and outcome": (decision(value=1.0), "both", "decision or an outcome"),
    "outcome NaN text": (outcome(100, value="nan"), "outcome_value", "finite"),
    "outcome of unknown name": (outcome(100, name="clicks"), "outcome_name", "'clicks'"),
    "outcome with unknown field": (outcome(100, extra=1), "unknown_field", "'extra'"),
    "outcome without time": ({"decision_id": "d100", "value": 1.0}, "time", "no time"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_DECISIONS)
def test_bad_row_is_quarantined_by_name(tmp_path, name):
    """Each fault on the list sets its row aside with place, reason, detail and text; the good rows stay."""
    row, reason, detail = BAD_DECISIONS[name]
    log = ingested(tmp_path, row)
    assert log.counts["decisions"] == 2 and log.counts["quarantined"] == 1
    aside = log.quarantine().to_pylist()[0]
    assert (aside["source"], aside["line"]) == ("events.jsonl", 3)
    if reason:
        assert aside["reason"] == reason and detail in aside["detail"]
    if reason != "propensity_missing":  # found after reading, so its text is the row as understood
        assert json.loads(aside["raw"]) == row


BAD_LINES = {
    "half a JSON line": (b'{"decision_id": "d0", "ti', "not_json"),
    "1e400": (b'{"decision_id": "d0", "time": 1, "value": 1e400}', "number_out_of_range"),
    "NaN": (b'{"decision_id": "d0", "time": 1, "value": NaN}', "not_json"),
    "Infinity": (b'{"decision_id": "d0", "time": 1, "value": Infinity}', "not_json"),
    "invalid UTF-8": (b'{"decision_id": "d\xff", "time": 1, "value": 1}', "not_utf8"),
    "duplicate key": (b'{"decision_id": "d0", "time": 1, "value": 1, "value": 2}', "duplicate_key"),
    "duplicate key in the context": (b'{"context": {"a": 1, "a": 1}}', "duplicate_key"),
    "duplicate key, odd spacing": (b'{"decision_id": "d0", "time": 1, "value" : 1, "value":2}', "duplicate_key"),
    "over-deep nesting": (b'{"decision_id": ' + b"[" * 5000 + b"]" * 5000 + b"}", "too_deep"),
    "not an object": (b"[1, 2]", "not_an_object"),
    "a 10 MB line": (b'{"decision_id": "' + b"x" * 10_000_000 + b'", "time": 1, "value": 1}', "line_too_long"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_LINES)
def test_unreadable_line_is_quarantined_whole(tmp_path, name):
    """A line that is no event is kept as it stood, and the lines after it are still read."""
    line, reason = BAD_LINES[name]
    log = ingested(tmp_path, line, decision(5))
    assert log.counts["decisions"] == 3 and log.counts[f"quarantined.{reason}"] == 1
    aside = log.quarantine().to_pylist()[0]
    assert aside["line"] == 3 and aside["raw"].encode() == line.decode("utf-8", "backslashreplace").encode()


def test_duplicate_decision_with_other_content(tmp_path):
    """The earliest stays, the contradiction goes to quarantine, the exact copy is counted as a duplicate."""
    other = decision(100, action="blue")
    log = ingested(tmp_path, other, decision(100), outcome(100))
    assert log.counts["decisions"] == 2 and log.counts["duplicates"] == 1
    aside = log.quarantine().to_pylist()
    assert [(row["line"], row["reason"]) for row in aside] == [(3, "decision_conflict")]
    said = json.loads(aside[0]["raw"])
    assert (said["action"], said["context.city"], said["time"]) == ("blue", "oslo", 1_700_000_100)
    kept = pq.read_table(log.folder / "decisions.parquet").to_pylist()
    assert {row["decision_id"]: row["action"] for row in kept} == {"d100": 0, "d101": 0}


def test_one_outcome_id_with_two_values(tmp_path):
    """The earliest value stays; the other is set aside with what it contradicts."""
    late = outcome(100, outcome_id="k", value=0.25, time=1_700_000_500)
    log = ingested(tmp_path, late, outcome(100, outcome_id="k", value=1.0), outcome(101, outcome_id="k"))
    assert log.counts["outcomes"] == 2 and log.counts["quarantined.outcome_conflict"] == 1
    assert log.quarantine().to_pylist()[0]["line"] == 3


def test_nothing_valid_is_an_error_and_leaves_nothing(tmp_path):
    """If no decision is left, the error counts the reasons, names the first row and writes no artifact."""
    path = tmp_path / "bad.jsonl"
    path.write_text("\n".join(json.dumps(decision(i, propensity=0)) for i in range(3)))
    with pytest.raises(DataError, match=r"none of 3 rows.*propensity 3; first: bad.jsonl, line 1") as caught:
        ingest(path, problem=PROBLEM, to=tmp_path / "log")
    assert "problem" in caught.value.hint
    assert [p.name for p in tmp_path.iterdir()] == ["bad.jsonl"]


def _truncated_parquet(path):
    pq.write_table(pa.table({"decision_id": ["a"], "time": [1.0], "action": ["red"]}), path)
    path.write_bytes(path.read_bytes()[:-20])


def _half_damaged_parquet(path):
    pq.write_table(pa.table({"decision_id": [f"d{i}" for i in range(9999)]}), path)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 4 : len(raw) // 2] = b"\0" * (len(raw) // 2 - len(raw) // 4)
    path.write_bytes(bytes(raw))


def _truncated_gzip(path):
    path.write_bytes(gzip.compress("\n".join(json.dumps(decision(i)) for i in range(5000)).encode())[:-400])


UNREADABLE = {
    "empty.jsonl": lambda path: path.write_bytes(b""),
    "empty.csv": lambda path: path.write_bytes(b""),
    "truncated.parquet": _truncated_parquet,
    "damaged.parquet": _half_damaged_parquet,
    "text.parquet": lambda path: path.write_text("this is no parquet"),
    "truncated.jsonl.gz": _truncated_gzip,
    "no-gzip.jsonl.gz": lambda path: path.write_text(json.dumps(decision())),
    "rows.xlsx": lambda path: path.write_bytes(b"PK"),
    "empty-table.parquet": lambda path: pq.write_table(pa.table({"decision_id": pa.array([], pa.string())}), path),
    "header.csv": lambda path: path.write_bytes(b"decision_id,t\xffme\na,1\n"),
    "twice.csv": lambda path: path.write_text("decision_id,time,time,action\na,1,1,red\n"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_file_is_refused_whole(tmp_path, name):
    """A file that cannot be read as a whole is a DataError naming it, and no artifact is left behind."""
    path = tmp_path / name
    UNREADABLE[name](path)
    good = tmp_path / "good.jsonl"
    good.write_text(json.dumps(decision()))
    with pytest.raises(DataError, match=name.split(".")[0]):
        ingest([good, path], problem=PROBLEM, to=tmp_path / "log")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["good.jsonl", name])


def test_no_file_matches(tmp_path):
    """A pattern without a match is an error, not an empty log."""
    with pytest.raises(DataError, match="no file matches"):
        ingest(str(tmp_path / "*.jsonl"), problem=PROBLEM)


CSV = """decision_id,time,age,city,vip,action,propensity
a,1700000000,30,oslo,true,red,0.5
b,2023-11-14T22:13:21Z,31.5,rome,,green,.25
c,1700000002,old,rome,0,green,0.5
d,1700000003,33,rome,0,green,nan
e,1700000004,1e400,rome,0,green,0.5
f,1700000005,34
g,1700000006,35,r\xffme,0,green,0.5
h,soon,35,rome,0,green,0.5
"""


def test_csv_rows_are_checked_like_any_other(tmp_path):
    """Text is parsed by the problem's types; short rows, bad bytes, NaN and 1e400 are set aside with their line."""
    path = tmp_path / "log.csv"
    path.write_bytes(CSV.encode("latin-1"))
    log = ingest(path, problem=PROBLEM, to=tmp_path / "log")
    reconciles(log)
    assert {(row["line"], row["reason"]) for row in log.quarantine().to_pylist()} == {
        (4, "feature_type"), (5, "propensity"), (6, "feature_value"), (7, "wrong_number_of_columns"),
        (8, "not_utf8"), (9, "time"),
    }  # fmt: skip
    rows = pq.read_table(log.folder / "decisions.parquet").to_pylist()
    assert [(r["decision_id"], r["time"], r["context.age"], r["action"]) for r in rows] == [
        ("a", 1_700_000_000_000_000, 30.0, 0), ("b", 1_700_000_001_000_000, 31.5, 1)]  # fmt: skip
    assert rows[0]["context.vip"] == 1 and np.isnan(rows[1]["context.vip"])


def test_a_gap_in_csv_line_numbers_is_right_behind_a_short_row(tmp_path):
    """Rows behind a malformed one keep their own line number."""
    path = tmp_path / "log.csv"
    path.write_text("decision_id,time,age,city,action,propensity\na,1,1,oslo,red,.5\nshort\nc,3,1,bern,red,.5\n")
    log = ingest(path, problem=PROBLEM, to=tmp_path / "log")
    assert {row["line"]: row["reason"] for row in log.quarantine().to_pylist()} == {
        3: "wrong_number_of_columns", 4: "feature_value"}  # fmt: skip


@pytest.mark.parametrize("column, values, reason", [
    ("age", ["a", "b"], "feature_type"),
    ("age", [[1.0], [2.0]], "feature_type"),
    ("age", [float("inf"), float("nan")], None),
    ("time", ["x", "y"], "time"),
    ("propensity", ["x", "y"], "propensity"),
    ("propensity", [float("nan"), 2.0], "propensity"),
    ("action", [0.5, 1.5], "action"),
    ("city", [1.5, 2.5], "feature_type"),
])  # fmt: skip
def test_wrong_column_types_in_a_table(tmp_path, column, values, reason):
    """A column of the wrong type sets every row of it aside; the good table beside it stays."""
    good = {"decision_id": ["a", "b"], "time": [1.0, 2.0], "age": [1.0, 2.0], "city": ["oslo", "rome"],
            "action": ["red", "blue"], "propensity": [0.5, 0.5]}  # fmt: skip
    bad = good | {"decision_id": ["c", "d"], column: values}
    log = ingest([pa.table(good), pa.table(bad)], problem=PROBLEM, to=tmp_path / "log")
    reconciles(log)
    assert log.counts["decisions"] == 2 and log.counts["quarantined"] == 2
    if reason:
        assert log.counts[f"quarantined.{reason}"] == 2


def test_pandas_column_of_mixed_types(tmp_path):
    """A DataFrame that Arrow cannot type is still checked row by row."""
    frame = pd.DataFrame({
        "decision_id": ["a", "b", "c"], "time": [1, 2, 3], "age": [1, "two", 3], "city": "oslo", "action": "red",
        "propensity": 0.5,
    })  # fmt: skip
    log = ingest(frame, problem=PROBLEM, to=tmp_path / "log")
    reconciles(log)
    assert log.counts["decisions"] == 2 and log.counts["quarantined.feature_type"] == 1


def test_unknown_column_of_a_table(tmp_path):
    """A column that is neither field nor feature refuses the rows by its name, unless the problem ignores it."""
    table = pa.table({"decision_id": ["a"], "time": [1.0], "agee": [1.0], "age": [1.0], "city": ["oslo"],
                      "action": ["red"], "propensity": [0.5]})  # fmt: skip
    with pytest.raises(DataError, match="'agee' is neither a field nor a feature"):
        ingest(table, problem=PROBLEM)
    ignoring = Problem(features=PROBLEM.features, actions=PROBLEM.actions, ignore=("agee",))
    assert ingest(table, problem=ignoring).counts["decisions"] == 1


def test_conflicting_rows_are_told_from_equal_ones_even_with_nulls(tmp_path):
    """A missing optional feature equals itself: the copy is a duplicate, not a conflict."""
    row = decision(7, context=context(), propensities=None)
    log = ingested(tmp_path, row, row, row)
    assert log.counts["duplicates"] == 2 and log.counts["quarantined"] == 0


def test_ingest_is_idempotent(tmp_path):
    """The same files under the same problem are already done; other files in the same folder are refused."""
    first = ingested(tmp_path, outcome(100))
    assert ingest(tmp_path / "events.jsonl", problem=PROBLEM, to=tmp_path / "log").manifest == first.manifest


def test_an_episode_of_two_units_is_set_aside_whole():
    """Which of them is independent of the others could not be told; the other episodes stay."""
    problem = Problem(features=(), actions=ActionSpace(names=("a", "b")), horizon=None, discount=0.9, unit="unit")
    rows = [
        {"decision_id": f"{e}{t}", "episode_id": e, "t": t, "time": t, "unit_id": unit, "action": "a"}
        for e, units in (("e", "uuv"), ("f", "uu")) for t, unit in enumerate(units)
    ]  # fmt: skip
    log = ingest(pd.DataFrame(rows), problem=problem)
    assert (log.counts["decisions"], log.counts["quarantined.unit_conflict"]) == (2, 3)
    by_episode = msgspec.structs.replace(problem, unit="episode")
    assert ingest(pd.DataFrame(rows), problem=by_episode).counts["decisions"] == 5
