"""Where Spark reads and writes: many files, locations of Hadoop's, tables; and what it never writes over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from understudy.core.errors import ConfigError, DataError, StoreError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.data.dataset import open_dataset
from understudy.data.timeline.rules import Rules
from understudy.data.timeline.run import timeline

PROBLEM = Problem(features=(Feature(name="x"),), actions=ActionSpace(names=("a", "b")), discount=0.9, horizon=None)
FILES = 200


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 200 files; its name holds what a pattern would take for one of its own."""
    folder, rng, n = tmp_path_factory.mktemp("[a] {b}"), np.random.default_rng(0), 1000
    rows = pa.table({
        "episode": [f"e{i // 10}" for i in range(n)], "sequence": np.arange(n) % 10, "x": rng.normal(size=n),
        "action": rng.choice(["a", "b"], n), "reward": rng.random(n),
        "time": pa.array(1_700_000_000_000_000 + np.arange(n), pa.timestamp("us", "UTC")),
    }).take(rng.permutation(n))  # fmt: skip
    for i in range(FILES):
        pq.write_table(rows.slice(i * n // FILES, n // FILES), folder / f"{i:03d}.parquet")
    return folder


@pytest.fixture(scope="module")
def steps(table: Path) -> bytes:
    return (timeline(table, problem=PROBLEM).folder / "steps.parquet").read_bytes()


def test_two_hundred_files(spark: Any, table: Path, steps: bytes, tmp_path: Path):
    """A folder of them, by this machine's paths: the bytes that DuckDB makes."""
    made = timeline(table, problem=PROBLEM, to=tmp_path / "data", engine="spark")
    assert (made.folder / "steps.parquet").read_bytes() == steps
    assert not list(tmp_path.glob(".*")) and not (made.folder / "spill").exists()
    again = timeline(table, problem=PROBLEM, to=tmp_path / "data")  # what made it is no part of what it is
    assert again.manifest == made.manifest


def test_a_location_is_read_and_written(spark: Any, table: Path, steps: bytes, tmp_path: Path):
    """By file:// as by hdfs://: a pattern in, an artifact out, again over itself, and over nothing else."""
    here = tmp_path / "in"
    here.symlink_to(table)
    source, to = f"file://{here}/*.parquet", f"file://{tmp_path}/out/data"
    for _ in range(2):
        timeline(source, problem=PROBLEM, to=to, engine="spark")
        made = open_dataset(tmp_path / "out" / "data")
        assert (made.folder / "steps.parquet").read_bytes() == steps
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["data"]
        (tmp_path / "out" / "beside.txt").write_text("mine")
        (tmp_path / "out" / "beside.txt").rename(tmp_path / "beside.txt")
    with pytest.raises(StoreError, match="already holds another artifact"):
        timeline(source, problem=PROBLEM, to=to, engine="spark", rules=Rules(within=3))
    with pytest.raises(StoreError, match="already holds something else"):
        timeline(source, problem=PROBLEM, to=f"file://{tmp_path}", engine="spark")
    assert (tmp_path / "beside.txt").read_text() == "mine"
    with pytest.raises(ConfigError, match=r"by Spark and .* from this machine's disk"):
        timeline([source, str(table)], problem=PROBLEM, engine="spark")


def test_a_table_is_read_and_written(spark: Any, table: Path, steps: bytes, tmp_path: Path):
    """Only a table that carries our mark is replaced."""
    here = tmp_path / "in"
    here.symlink_to(table)
    spark.read.parquet(f"file://{here}").write.saveAsTable("logged")
    for _ in range(2):
        made = timeline("table:logged", problem=PROBLEM, to="table:made", engine="spark")
        assert (made.folder / "steps.parquet").read_bytes() == steps
    assert spark.table("made").count() == 1000
    assert spark.sql("SELECT sum(reward) = (SELECT sum(reward) FROM logged) FROM made").collect()[0][0] is not None
    with pytest.raises(StoreError, match="table:logged already holds something else"):
        timeline("table:made", problem=PROBLEM, to="table:logged", engine="spark")
    assert spark.table("logged").columns[0] == "episode"


@pytest.mark.parametrize("place", ["hdfs://127.0.0.1:9/table", "s3a://bucket/table"])
def test_a_location_reaches_hadoop_as_it_was_given(spark: Any, place: str):
    """There is no cluster and no bucket here: that the location arrives, and what is said then, is all we can tell."""
    spark._jsc.hadoopConfiguration().set("ipc.client.connect.max.retries", "0")
    with pytest.raises(DataError, match=f"{place} cannot be read by Spark: .*(127.0.0.1|[Ss]3[Aa])"):
        timeline(place, problem=PROBLEM, engine="spark")


@pytest.mark.parametrize("place", ["hdfs://host/table", "s3a://bucket/table", "table:logged"])
def test_duckdb_says_what_it_does_not_reach(place: str, table: Path):
    """Neither to read nor to write; a file whose name has a colon is a file."""
    with pytest.raises(ConfigError, match="does not reach"):
        timeline(place, problem=PROBLEM)
    with pytest.raises(ConfigError, match="does not reach"):
        timeline(table, problem=PROBLEM, to=place)
    with pytest.raises(DataError, match="no file matches"):
        timeline("a:b", problem=PROBLEM)
