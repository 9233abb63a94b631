"""The chain with every artifact in a bucket; uploads that are killed; two who write to one place."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.clouds import BUCKET, boto3_client, keys

from understudy.cli import main
from understudy.core.errors import StoreError
from understudy.core.manifest import Manifest
from understudy.data.artifact import MANIFEST, read_manifest, verify_artifact, write_artifact
from understudy.data.objects import ObjectStore
from understudy.data.places import Errand, fetch, publish, spoken, standing

CLOUD = f"s3://{BUCKET}/team"


@pytest.fixture(params=["amazon", "unconditional"])
def server(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(request.param)


def said(capsys: pytest.CaptureFixture[str], line: str, code: int = 0) -> str:
    """What a command line prints."""
    capsys.readouterr()
    assert main(line.split()) == code, capsys.readouterr().err
    told = capsys.readouterr()
    assert "fetched" not in told.out + told.err, "a local copy is called by its place"
    return told.out + told.err


def artifact(folder: Path, text: str = "one", files: int = 1, recipe: str = "") -> Manifest:
    def fill(partial: Path) -> None:
        for k in range(files):
            (partial / f"part-{k:03d}.txt").write_text(f"{text} {k}")

    return write_artifact(folder, Manifest(kind="log", problem_hash="p", config={"text": recipe or text}), fill)


def test_the_chain_with_everything_in_a_bucket(amazon, tmp_path, monkeypatch, capsys):
    """simulate → identify → ingest → join → train → evaluate → report → predict: nothing but the ledger lies here."""
    monkeypatch.chdir(tmp_path)
    made = said(capsys, f"simulate digits --decisions 1500 --seed 3 --to {CLOUD}/raw")
    assert made.splitlines()[-1] == f"{CLOUD}/raw"
    events = f"{CLOUD}/raw/decisions.jsonl {CLOUD}/raw/outcomes.jsonl"
    said(capsys, f"identify {events} --to {CLOUD}/problem.yaml")
    said(capsys, f"ingest {events} --problem {CLOUD}/problem.yaml --to {CLOUD}/logs")
    said(capsys, f"join {CLOUD}/logs --window 1h --to {CLOUD}/data")
    assert said(capsys, f"join {CLOUD}/logs --window 1h --to {CLOUD}/data").startswith("already done")
    said(capsys, f"train direct --on {CLOUD}/data --to {CLOUD}/runs/ridge model=ridge")
    said(capsys, f"evaluate {CLOUD}/runs/ridge --on {CLOUD}/data --with snips --to {CLOUD}/estimates")
    said(capsys, f"report {CLOUD}/runs/ridge --on {CLOUD}/data --with snips --to {CLOUD}/report")
    said(capsys, f"predict {CLOUD}/raw/decisions.jsonl --policy {CLOUD}/runs/ridge --overwrite --to {CLOUD}/next.jsonl")
    said(capsys, f"simulate digits --decisions 30 --with {CLOUD}/runs/ridge --to {CLOUD}/more")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".understudy"]
    assert f"{CLOUD}/data" in said(capsys, f"show {CLOUD}/runs/ridge")  # its lineage, as the ledger remembers it
    shown = json.loads(said(capsys, f"show {CLOUD}/estimates --json"))
    assert shown["folder"] == f"{CLOUD}/estimates"
    assert {parent["kind"] for parent in shown["parents"]} == {"dataset", "policy"}


def test_the_same_bytes_as_in_folders(amazon, tmp_path, monkeypatch, capsys):
    """An artifact has one id wherever it lies: the chain in the bucket and the chain in folders make the same ones."""
    monkeypatch.chdir(tmp_path)
    for root in (CLOUD, "here"):
        said(capsys, f"simulate digits --decisions 600 --to {root}/raw")
        events = f"{root}/raw/decisions.jsonl {root}/raw/outcomes.jsonl"
        said(capsys, f"identify {events} --to {root}/problem.yaml")
        said(capsys, f"ingest {events} --problem {root}/problem.yaml --to {root}/logs")
        said(capsys, f"join {root}/logs --window 1h --to {root}/data")
        said(capsys, f"train direct --on {root}/data --to {root}/runs/ridge model=ridge")
    for name in ("data", "runs/ridge"):
        there = standing(f"{CLOUD}/{name}")
        assert there is not None and there.id == read_manifest(Path("here") / name).id


def test_a_place_that_is_no_artifact_is_refused_by_its_name(amazon, tmp_path, monkeypatch, capsys):
    """The error speaks of the place, not of a scratch folder, and exits as for a folder."""
    monkeypatch.chdir(tmp_path)
    ObjectStore(f"{CLOUD}/half").put("files/abc/steps.parquet", io.BytesIO(b"x"))
    told = said(capsys, f"describe {CLOUD}/half", 1)
    assert f"{CLOUD}/half is neither an artifact nor an object" in told
    assert "cannot be written" in said(capsys, "simulate digits --decisions 10 --to s3://nobody-made-this/x", 1)
    assert "whole bucket" in said(capsys, f"simulate digits --decisions 10 --to s3://{BUCKET}", 1)
    assert "is not on this machine" in said(capsys, f"show x --home {CLOUD}/home", 2)
    assert json.loads(said(capsys, f"show {CLOUD}/none --json", 1))["error"]["kind"] == "store"


def test_nothing_is_done_before_the_bucket_is_known_to_take_it(amazon, tmp_path, monkeypatch, capsys):
    """A bucket that nobody made is told before the work, not after it."""
    import understudy.runs.perform as perform

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(perform, "perform", lambda *_: pytest.fail("the work was begun"))
    said(capsys, "simulate digits --decisions 10 --to s3://nobody-made-this/x", 1)


def test_another_artifact_is_never_written_over(server, tmp_path, monkeypatch, capsys):
    """The same question is "already done"; another question to the same place is an error, and the place stays."""
    monkeypatch.chdir(tmp_path)
    said(capsys, f"simulate digits --decisions 60 --seed 1 --to {CLOUD}/raw")
    before = keys()
    said(capsys, f"simulate digits --decisions 60 --seed 1 --to {CLOUD}/raw")
    assert "already" in said(capsys, f"simulate digits --decisions 60 --seed 2 --to {CLOUD}/raw", 1)
    assert keys() == before
    one, two = artifact(tmp_path / "one"), artifact(tmp_path / "two", "two")
    publish(tmp_path / "one", f"{CLOUD}/a")
    with pytest.raises(StoreError, match=f"{CLOUD}/a already holds another log"):
        publish(tmp_path / "two", f"{CLOUD}/a")
    there = standing(f"{CLOUD}/a")
    assert there is not None and there.id == one.id != two.id


def test_what_is_fetched_is_checked(server, tmp_path):
    """A file that was changed in the bucket; a damaged local copy; a manifest that names a file outside."""
    manifest = artifact(tmp_path / "a", files=3)
    publish(tmp_path / "a", f"{CLOUD}/a")
    copy = fetch(f"{CLOUD}/a", tmp_path / "cache")
    assert copy == tmp_path / "cache" / manifest.id / "a" and verify_artifact(copy) == manifest
    (copy / "part-001.txt").write_text("damaged")
    assert verify_artifact(fetch(f"{CLOUD}/a", tmp_path / "cache")) == manifest
    key = next(key for key in keys() if key.endswith("part-001.txt"))
    boto3_client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"changed")
    with pytest.raises(StoreError, match=r"part-001\.txt was changed"):
        fetch(f"{CLOUD}/a", tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere" / manifest.id / "a").exists()
    evil = json.loads((tmp_path / "a" / MANIFEST).read_bytes()) | {"files": {"../../../evil": "0" * 64}}
    boto3_client("s3").put_object(Bucket=BUCKET, Key="team/evil/manifest.json", Body=json.dumps(evil).encode())
    with pytest.raises(StoreError, match="is not a key"):
        fetch(f"{CLOUD}/evil", tmp_path / "cache")


def test_a_folder_that_somebody_copied_as_it_was_is_read_too(amazon, tmp_path):
    """``aws s3 cp --recursive`` keeps plain names: found by them, and checked all the same."""
    manifest = artifact(tmp_path / "a")
    for path in (tmp_path / "a").iterdir():
        boto3_client("s3").upload_file(str(path), BUCKET, f"team/plain/{path.name}")
    assert verify_artifact(fetch(f"{CLOUD}/plain", tmp_path / "cache")) == manifest


PUBLISH = """
import sys
from pathlib import Path
from understudy.data.places import publish
publish(Path(sys.argv[1]), sys.argv[2])
"""


def test_a_killed_upload_leaves_no_artifact(server, tmp_path):
    """SIGKILL in the middle: there are files and no manifest, so nothing to fetch; the same line again completes it."""
    manifest = artifact(tmp_path / "a", files=500)
    child = subprocess.Popen([sys.executable, "-c", PUBLISH, str(tmp_path / "a"), f"{CLOUD}/a"])
    until = time.monotonic() + 60
    while len(keys()) < 5 and time.monotonic() < until:
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert 5 <= len(keys()) < 120 and "team/a/manifest.json" not in keys()
    assert standing(f"{CLOUD}/a") is None
    with pytest.raises(StoreError, match="is not an artifact"):
        fetch(f"{CLOUD}/a", tmp_path / "cache")
    other = artifact(tmp_path / "other", "another text", files=2)  # what is left does not stand in anybody's way
    publish(tmp_path / "other", f"{CLOUD}/a")
    assert verify_artifact(fetch(f"{CLOUD}/a", tmp_path / "cache")) == other
    publish(tmp_path / "a", f"{CLOUD}/b")
    assert verify_artifact(fetch(f"{CLOUD}/b", tmp_path / "cache")) == manifest


def test_of_two_writers_one_has_made_it(amazon, tmp_path):
    """Six processes, three contents of one recipe, one place: all end well; what stands is whole and of one of them."""
    made = {artifact(tmp_path / f"{k}" / "a", f"by {k}", files=20, recipe="same").id for k in range(3)}
    assert len(made) == 3
    writers = [
        subprocess.Popen([sys.executable, "-c", PUBLISH, str(tmp_path / f"{k % 3}" / "a"), f"{CLOUD}/a"])
        for k in range(6)
    ]
    assert [writer.wait(300) for writer in writers] == [0] * 6
    there = standing(f"{CLOUD}/a")
    assert there is not None and there.id in made
    assert verify_artifact(fetch(f"{CLOUD}/a", tmp_path / "cache")).id == there.id


def test_a_writer_that_was_overtaken_says_so(amazon, tmp_path, monkeypatch):
    """Another recipe finished at the same place while this one was uploading: refused at the manifest."""
    artifact(tmp_path / "mine", "mine")
    theirs = artifact(tmp_path / "theirs", "theirs")
    put = ObjectStore.put

    def overtaken(self, key, body):
        if key == MANIFEST:
            monkeypatch.setattr(ObjectStore, "put", put)
            publish(tmp_path / "theirs", f"{CLOUD}/a")
        put(self, key, body)

    monkeypatch.setattr(ObjectStore, "put", overtaken)
    with pytest.raises(StoreError, match="already holds another log"):
        publish(tmp_path / "mine", f"{CLOUD}/a")
    assert standing(f"{CLOUD}/a") == theirs


def test_the_copies_of_a_command_do_not_outlive_it(amazon, tmp_path):
    """What was written is kept as a fetched copy, and the scratch folder is gone."""
    errand = Errand(tmp_path / "fetched")
    place = Path(errand.write(f"{CLOUD}/a"))
    made = artifact(place)
    assert spoken(f"see {place}") == f"see {CLOUD}/a"
    errand.finish()
    errand.close()
    assert [path.name for path in (tmp_path / "fetched").iterdir()] == [made.id]
    boto3_client("s3").delete_object(Bucket=BUCKET, Key=next(k for k in keys() if k.endswith(".txt")))
    assert fetch(f"{CLOUD}/a", tmp_path / "fetched").exists()  # from the copy
    shutil.rmtree(tmp_path / "fetched")
    with pytest.raises(StoreError):
        fetch(f"{CLOUD}/a", tmp_path / "fetched")
