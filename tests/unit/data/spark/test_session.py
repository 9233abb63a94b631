"""A session of our own: what it needs, what it says when that is missing, and that nothing of it remains."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.spark import QUICK, need_java

from understudy.core.errors import ConfigError
from understudy.data.engine import reaching
from understudy.data.spark.session import running, settings

PROBLEM = """
features: [{name: x}]
actions: {names: [a, b]}
discount: 0.9
horizon: null
"""


def understudy(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    temp = folder.parent / "temp"
    temp.mkdir(exist_ok=True)
    (folder / "problem.yaml").write_text(PROBLEM)
    rows = {"episode": ["e", "e"], "sequence": [1, 2], "x": [0.5, 1.5], "action": ["a", "b"], "reward": [0.0, 1.0]}
    pq.write_table(pa.table(rows), folder / "table.parquet")
    verb = ["timeline", "table.parquet", "--problem", "problem.yaml", *words]
    command = [sys.executable, "-c", "from understudy.cli import run; run()", *verb]
    env = os.environ | {"TMPDIR": str(temp)} | env
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


def test_nothing_remains(tmp_path: Path):
    """A process of its own: the artifact and nothing else, not a word too many, no temporary file, no Java."""
    need_java()
    folder = tmp_path / "work"
    folder.mkdir()
    done = understudy(folder, "--engine", "spark", "--to", "data", **QUICK)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and done.stdout.startswith("2 rows = 2 steps\n")
    assert sorted(path.name for path in folder.iterdir()) == [".understudy", "data", "problem.yaml", "table.parquet"]
    assert list((tmp_path / "temp").iterdir()) == []
    told = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _mine(path)]
    assert not [line for line in told if b"org.apache.spark" in line and str(tmp_path).encode() in line]


def _mine(path: Path) -> bool:
    return path.exists() and os.access(path, os.R_OK)


def test_it_listens_on_loopback_only(spark: Any):
    """No port of the Java process is open to others, and it serves no page."""
    from pyspark import SparkContext

    pid = SparkContext._gateway.proc.pid
    sockets = {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink() and fd.exists()}
    addresses = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            part = line.split()
            if part[3] == "0A" and f"socket:[{part[9]}]" in sockets:
                addresses.add(part[1].split(":")[0])
    assert addresses and addresses <= {"0100007F", "0000000000000000FFFF00000100007F"}
    assert spark.sparkContext.uiWebUrl is None


def test_a_session_in_a_session_shares_its_context(spark: Any):
    """What starts a context ends it; what finds one leaves it."""
    with running("local[1]") as inner:
        assert inner.sparkContext is spark.sparkContext and inner.sparkContext.master == "local[2]"
        inner.range(1).createOrReplaceTempView("inside")
    assert not spark.catalog.tableExists("inside") and spark.range(3).count() == 3


def test_java_is_asked_for(tmp_path: Path):
    """None, or one that is too old: the same error, and what to install."""
    said = understudy(tmp_path, "--engine", "spark", JAVA_HOME=str(tmp_path / "none"))
    assert said.returncode == 2 and "needs Java 17 or newer" in said.stderr and "openjdk-17-jre-headless" in said.stderr
    old = tmp_path / "old" / "bin" / "java"
    old.parent.mkdir(parents=True)
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    old.chmod(0o755)
    said = understudy(tmp_path, "--engine", "spark", "--json", JAVA_HOME=str(tmp_path / "old"))
    assert said.returncode == 2 and "java is 11" in said.stdout + said.stderr


def test_a_java_that_breaks_says_why(tmp_path: Path):
    """As the cut-down runtime of a wheel does, which lacks a module: its own last words are told."""
    broken = tmp_path / "broken" / "bin" / "java"
    broken.parent.mkdir(parents=True)
    broken.write_text(
        '#!/bin/sh\n[ "$1" = -version ] && echo \'openjdk version "25"\' >&2 && exit 0\n'
        "echo 'Error occurred during initialization of boot layer' >&2\n"
        "echo 'java.lang.module.FindException: Module jdk.incubator.vector not found' >&2\nexit 1\n"
    )
    broken.chmod(0o755)
    said = understudy(tmp_path, "--engine", "spark", JAVA_HOME=str(tmp_path / "broken"))
    assert said.returncode == 1 and "Module jdk.incubator.vector not found" in said.stderr


def test_pyspark_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    """Without the extra: which one to install."""
    monkeypatch.setitem(sys.modules, "pyspark", None)
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(ConfigError, match="needs the package 'pyspark'") as told, running():
        pass
    assert told.value.hint.startswith('pip install "understudy[spark]"')


def test_an_engine_has_a_name():
    """A close one is suggested."""
    with pytest.raises(ConfigError, match="unknown engine 'sparc'"), reaching("sparc", "local[2]"):
        pass


def test_where_the_user_configures_spark_we_do_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """With SPARK_CONF_DIR the catalog and the warehouse are its own; a cluster's driver is reached as it says."""
    monkeypatch.delenv("SPARK_CONF_DIR", raising=False)
    own = settings("local[2]", tmp_path)
    assert own["spark.sql.catalogImplementation"] == "in-memory" and own["spark.driver.host"] == "127.0.0.1"
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    assert not {"spark.sql.catalogImplementation", "spark.sql.warehouse.dir"} & settings("local[2]", tmp_path).keys()
    assert "spark.driver.host" not in settings("yarn", tmp_path)
