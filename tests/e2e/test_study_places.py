"""A study in a bucket: the same tables as in a folder, by whoever does the runs; lost machines; two who submit."""

from __future__ import annotations

import filecmp
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.clouds import BUCKET, LOSE, boto3_client, cluster, keys

from understudy.cli import main
from understudy.data.places import Errand, fetch
from understudy.runs.tuning.found import best_of

CLOUD = f"s3://{BUCKET}/studies"
EXPERIMENT = """\
name: small
env: bandit
log: {episodes: 60}
learner: direct
settings: {model: ridge, explore: epsilon_greedy}
sweep: {settings.amount: [0.1, 0.3]}
seeds: 2
group: 2
"""
SEARCH = """\
tune:
  space: {settings.amount: {low: 0.1, high: 0.5}}
  trials: 2
  at_once: 2
  seeds: [100]
  fresh: [200, 201]
"""


@pytest.fixture
def work(amazon, tmp_path, monkeypatch, capfd) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exp.yaml").write_text(EXPERIMENT)
    return tmp_path


def do(line: str, code: int = 0) -> None:
    assert main(line.split()) == code


def tables(folder: Path) -> Path:
    return folder / "tables"


def same_tables(one: Path, two: Path) -> bool:
    """All but the times, byte for byte."""
    names = ["results.parquet", "episodes.parquet", "runs.parquet"]
    return filecmp.cmpfiles(one, two, names, shallow=False) == (names, [], [])


def brought(name: str, to: Path) -> Path:
    """The tables of a study as they lie in the bucket."""
    to.mkdir()
    for key in keys(f"studies/{name}/tables/"):
        boto3_client("s3").download_file(BUCKET, key, str(to / Path(key).name))
    return to


def test_a_study_is_the_same_in_a_bucket_in_containers_and_in_a_folder(work):
    """The same file: here in a folder, here in a bucket, and by AWS Batch, whose jobs lose a machine in between."""
    (work / "aws.yaml").write_text(json.dumps({"kind": "aws-batch", **cluster(), "stages": {}}))
    do("cluster setup aws.yaml")
    do("sweep exp.yaml --to here --at inline")
    do(f"sweep exp.yaml --to {CLOUD}/a --at inline")
    LOSE.write_text("2")
    try:
        do(f"sweep exp.yaml --to {CLOUD}/b --at aws-batch --cluster aws.yaml")
    finally:
        LOSE.unlink()
    for name in ("a", "b"):
        assert same_tables(tables(work / "here"), brought(name, work / name))
        made = [key for key in keys(f"studies/{name}/runs/") if key.endswith("/manifest.json")]
        assert len(made) == 4
    again = len(keys("studies/b/submissions/"))
    do(f"sweep exp.yaml --to {CLOUD}/b --at aws-batch")
    assert len(keys("studies/b/submissions/")) == again == 1
    do(f"logs {CLOUD}/b --index 0")
    do(f"show {CLOUD}/b")
    do(f"compare {CLOUD}/b --by settings.amount --same-seeds --to {CLOUD}/page")
    assert any(key.startswith("studies/page/") and key.endswith(".html") for key in keys())


def test_a_run_is_a_policy_that_other_verbs_take_from_there(work):
    """One run of a study in a bucket, done alone and fetched as an artifact."""
    do(f"sweep exp.yaml --to {CLOUD}/a --at inline --index 1")
    (made,) = {key.split("/")[3] for key in keys("studies/a/runs/")}
    assert (fetch(f"{CLOUD}/a/runs/{made}", work / "cache") / "command.txt").exists()
    do(f"show {CLOUD}/a/runs/{made}")
    do(f"run {CLOUD}/a --index 0")
    assert len({key.split("/")[3] for key in keys("studies/a/runs/")}) == 2


def test_two_machines_do_each_run_once(work):
    """Two homes, one study, all runs of both at once: four runs stand, and both end well."""
    do(f"sweep exp.yaml --to {CLOUD}/a --at inline --index 0")
    workers = []
    for home in ("one", "two"):
        (work / home).mkdir()
        line = ["-c", "from understudy.cli import run; run()", "run", f"{CLOUD}/a", "--index", "0:4"]
        workers.append(subprocess.Popen([sys.executable, *line], cwd=work / home))
    assert [worker.wait(300) for worker in workers] == [0, 0]
    assert len({key.split("/")[3] for key in keys("studies/a/runs/") if key.endswith("manifest.json")}) == 4


def test_a_study_that_cannot_be_reached_from_there(work):
    """A dataset or a study on this machine, a bucket nobody made: told before anything is submitted."""
    (work / "aws.yaml").write_text(json.dumps({"kind": "aws-batch", **cluster()}))
    do("cluster setup aws.yaml")
    do("sweep exp.yaml --to here --at aws-batch --cluster aws.yaml", 2)
    do("sweep exp.yaml --to s3://nobody-made-this/x --at aws-batch --cluster aws.yaml", 1)
    assert not boto3_client("batch").list_jobs(jobQueue="understudy", filters=[{"name": "JOB_NAME", "values": ["*"]}])[
        "jobSummaryList"
    ]


def test_a_search_in_a_bucket(work):
    """Its rounds are studies there; what it found is there when it has ended, and any machine takes it from there."""
    (work / "search.yaml").write_text(EXPERIMENT.partition("sweep:")[0] + SEARCH)
    do(f"tune search.yaml --to {CLOUD}/search --at inline")
    made = keys("studies/search/")
    assert "studies/search/best.json" in made and "studies/search/trials.parquet" in made
    assert (
        len([key for key in made if key.endswith("/manifest.json")]) == 4
    )  # two trials, and the best on two fresh seeds
    do(f"tune search.yaml --to {CLOUD}/search --at inline")
    assert keys("studies/search/") == made
    elsewhere = Errand(work / "another machine").read(f"{CLOUD}/search")  # as train --best-of does
    assert best_of(elsewhere, "direct")["amount"] == best_of(Errand(work).read(f"{CLOUD}/search"), "direct")["amount"]
