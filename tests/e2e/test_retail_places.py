"""The benchmark of coupon policies gives equal tables wherever it runs: here, on all cores, on Slurm, in containers."""

from __future__ import annotations

import filecmp
import json
from pathlib import Path

import msgspec
import pytest
from tests.clouds import BUCKET, boto3_client, cluster, keys

from understudy.cli import main
from understudy.runs.sweep.experiment import plan, read_experiment

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ["results.parquet", "episodes.parquet", "runs.parquet"]
SMALL = {"steps": 4, "customers": 20, "products": 60}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """examples/retail.yaml, made small: three of its policies in small shops."""
    monkeypatch.chdir(tmp_path)
    experiment = msgspec.to_builtins(read_experiment(EXAMPLES / "retail.yaml"))
    wanted = ("uniform", "fixed", "lin_ts")
    policies = {p["learner"]: p for p in experiment["sweep"]["policy"] if p["learner"] in wanted}
    experiment |= {"env_settings": {"split": "train", **SMALL}, "log": {"with": "uniform", "episodes": 100},
                   "sweep": {"policy": list(policies.values())}, "group": 3}  # fmt: skip
    experiment["evaluate"] |= {"episodes": 40, "trace": 160, "log": 40, "with": ["snips"]}
    (tmp_path / "small.yaml").write_bytes(msgspec.yaml.encode(experiment))
    return tmp_path


def do(line: str) -> None:
    assert main(line.split()) == 0


def same(one: Path, two: Path) -> bool:
    """All but the times, byte for byte."""
    return filecmp.cmpfiles(one / "tables", two / "tables", NAMES, shallow=False) == (NAMES, [], [])


def test_equal_tables_here_and_on_all_cores(small: Path) -> None:
    do("run small.yaml --to here")
    do("sweep small.yaml group=1 --to cores --at local")
    assert same(small / "here", small / "cores")
    page, other = ((small / name / "report" / "report.json").read_bytes() for name in ("here", "cores"))
    assert page == other


def test_equal_tables_on_slurm(small: Path, slurm: Path) -> None:
    (small / "slurm.yaml").write_text(json.dumps({"kind": "slurm", "cores": 2, "every": 0.5}))
    do("sweep small.yaml --to here --at inline")
    do("sweep small.yaml --to there --at slurm --cluster slurm.yaml")
    assert same(small / "here", small / "there")


def test_equal_tables_in_containers(small: Path, amazon: str) -> None:
    (small / "aws.yaml").write_text(json.dumps({"kind": "aws-batch", **cluster(), "stages": {}}))
    do("cluster setup aws.yaml")
    do("sweep small.yaml --to here --at inline")
    do(f"sweep small.yaml --to s3://{BUCKET}/studies/retail --at aws-batch --cluster aws.yaml")
    (small / "there" / "tables").mkdir(parents=True)
    for key in keys("studies/retail/tables/"):
        boto3_client("s3").download_file(BUCKET, key, str(small / "there" / "tables" / Path(key).name))
    assert same(small / "here", small / "there")


@pytest.mark.parametrize(("name", "runs"), [("retail", 22), ("retail-ablation", 36)])
def test_the_examples_are_valid(name: str, runs: int) -> None:
    """Every learner and setting exists; nobody is judged in a shop it learned from."""
    made = plan(read_experiment(EXAMPLES / f"{name}.yaml"))
    assert made.total == runs
    assert all(c.judging["split"] == "held_out" and c.env_settings["split"] == "train" for c in made.configs)
    assert len({run.id for run in made.runs()}) == runs
