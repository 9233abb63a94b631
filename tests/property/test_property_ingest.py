"""Whatever comes through the door: a kept row, a quarantined row, or a DataError. Never a traceback, never a loss."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from understudy.core.errors import DataError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.data.ingest import ingest
from understudy.data.join import join

PROBLEM = Problem(
    features=(
        Feature(name="x"),
        Feature(name="c", kind="category", values=("u", "v"), optional=True),
        Feature(name="b", kind="boolean", optional=True),
    ),
    actions=ActionSpace(names=("a", "b")),
)
GOOD = {"decision_id": "good", "time": 1.0, "context": {"x": 1.0}, "action": "a", "propensity": 0.5}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from([0.5, 1, "a", "u", "2026-01-01", [0.5, 0.5], ["a"], 10**400, 1e39, "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
FIELDS = ("decision_id", "time", "context", "action", "propensity", "propensities", "allowed", "episode_id", "t",
          "unit_id", "policy_id", "name", "value", "outcome_id", "x", "c", "reward", "else")  # fmt: skip
spoilt = st.dictionaries(st.sampled_from(FIELDS), anything, min_size=1, max_size=4).map(lambda change: GOOD | change)
line = st.one_of(spoilt.map(json.dumps), st.dictionaries(st.sampled_from(FIELDS), anything).map(json.dumps)).map(
    str.encode
)
cut = st.tuples(line, st.integers(0, 200)).map(lambda pair: pair[0][: pair[1]])
noise = st.binary(max_size=60).map(lambda raw: raw.replace(b"\n", b" "))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(line, cut, noise), max_size=8))
def test_any_lines_are_kept_or_quarantined(lines):
    """One good row among anything: the counts reconcile, the log can be joined, the good row is in it."""
    with tempfile.TemporaryDirectory() as root:
        path = Path(root) / "events.jsonl"
        path.write_bytes(b"\n".join([json.dumps(GOOD).encode(), *lines]))
        log = ingest(path, problem=PROBLEM, to=Path(root) / "log", complete=True)
        c = log.counts
        assert c["rows"] == 1 + sum(bool(raw.strip()) for raw in lines)
        assert c["rows"] == c["decisions"] + c["duplicates"] + c["outcome_rows"] + c["quarantined"]
        assert log.quarantine().num_rows == c["quarantined"]
        steps = join(log, window="1h", to=Path(root) / "data").load().steps
        assert steps.n >= 1 and ((steps.propensity > 0) & (steps.propensity <= 1)).all()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=300), st.sampled_from(["a.jsonl", "a.csv", "a.parquet", "a.jsonl.gz", "a.csv.gz"]))
def test_any_bytes_are_a_log_or_a_data_error(raw, name):
    """A file of noise is refused with a DataError, whatever its name says."""
    with tempfile.TemporaryDirectory() as root:
        path = Path(root) / name
        path.write_bytes(raw)
        try:
            ingest(path, problem=PROBLEM, to=Path(root) / "log")
        except DataError:
            assert not (Path(root) / "log").exists()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 4000), st.integers(0, 255))
def test_a_damaged_parquet_file_is_read_right_or_refused(place, byte):
    """One byte changed anywhere: a DataError, or the counts still reconcile."""
    with tempfile.TemporaryDirectory() as root:
        path = Path(root) / "a.parquet"
        n = 300
        pq.write_table(pa.table({"decision_id": [f"d{i}" for i in range(n)], "time": [1.0 * i for i in range(n)],
                                 "x": [0.5 * i for i in range(n)], "action": ["a", "b"] * (n // 2),
                                 "propensity": [0.5] * n}), path)  # fmt: skip
        raw = bytearray(path.read_bytes())
        raw[place % len(raw)] = byte
        path.write_bytes(bytes(raw))
        try:
            c = ingest(path, problem=PROBLEM, to=Path(root) / "log").counts
        except DataError:
            return
        assert c["rows"] == c["decisions"] + c["duplicates"] + c["outcome_rows"] + c["quarantined"]
