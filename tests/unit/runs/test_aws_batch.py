"""AWS Batch: what is submitted is really executed, by an engine that reads it back from the API."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from tests.clouds import BUCKET, LOSE, boto3_client, cluster, lead

from understudy.core.errors import ConfigError, ExecutorError, StoreError
from understudy.core.jobs import ALIVE, Executor, Job, Resources
from understudy.runs.executors.aws_batch import AwsBatch, by_index, chunks, stage_of
from understudy.runs.executors.aws_setup import documents
from understudy.runs.executors.build import make_executor


def refused(**asked: object) -> object:
    raise ClientError({"Error": {"Code": "ServerException", "Message": "try later"}}, "SubmitJob")


def written(path: Path) -> Path:
    file = path / "aws.yaml"
    file.write_text(json.dumps(cluster()))
    return file


@pytest.fixture
def queue(amazon, tmp_path) -> AwsBatch:
    """A queue in an account of its own, made by ``cluster setup``."""
    made = make_executor("aws_batch", tmp_path / "study", written(tmp_path))
    assert isinstance(made, AwsBatch) and isinstance(made, Executor)
    made.setup()
    return made


def until_ended(queue: AwsBatch, name: str) -> tuple[str, ...]:
    end = time.monotonic() + 180
    while any(state in ALIVE for state in queue.poll(name)) and time.monotonic() < end:
        time.sleep(0.1)
    return queue.poll(name)


def sh(text: str, **resources: int) -> Job:
    return Job(("sh", "-c", text), Resources(**resources))


def test_an_array_runs_each_of_its_lines_once(queue, monkeypatch):
    """Commands with every sort of quoting; each job prints its own words, and the log is its own."""
    words = ["plain", "two words", "it's", 'a "b" $HOME `c` \\d', "*", "#x", ";", "é"]
    jobs = [Job(("printf", "%s|%s\\n", str(k), word)) for k, word in enumerate(words)]
    queue.submit("words-1", jobs)
    assert until_ended(queue, "words-1") == ("done",) * len(words)
    for k, word in enumerate(words):
        assert queue.log("words-1", k) == f"{k}|{word}\n"


def test_a_single_job_is_no_array(queue):
    """Batch has no array of one."""
    queue.submit("one", [sh('echo "index ${AWS_BATCH_JOB_ARRAY_INDEX-none}, threads $OMP_NUM_THREADS"', cpus=3)])
    assert until_ended(queue, "one") == ("done",)
    assert queue.log("one", 0) == "index none, threads 3\n"


def test_states_logs_and_names(queue):
    """A job that fails, one that is killed by its time; a name that nobody gave; a name that begins like another."""
    assert queue.poll("never") == () and queue.log("never", 0) == ""
    queue.submit("mixed", [sh("echo out; echo err >&2; exit 3"), sh("true")])
    queue.submit("mixed_1", [sh("echo another")])
    assert until_ended(queue, "mixed") == ("failed", "done")
    assert sorted(queue.log("mixed", 0).split()) == ["err", "out"]
    assert until_ended(queue, "mixed_1") == ("done",)


def test_a_name_that_is_taken_starts_nothing(queue):
    """Submitted twice, also from another machine: one array."""
    for place in ("a", "a", "b"):
        AwsBatch(queue.folder / place, queue="understudy").submit("twice", [sh("echo a"), sh("echo b")])
    assert until_ended(queue, "twice") == ("done", "done")
    found = boto3_client("batch").list_jobs(jobQueue="understudy", filters=[{"name": "JOB_NAME", "values": ["twice*"]}])
    assert len([job for job in found["jobSummaryList"] if ":" not in job["jobId"]]) == 1


def test_a_stage_waits_for_the_one_before(queue):
    """collect → train → evaluate: none begins before all of the last have ended well; after a failure none begins."""
    queue.submit("collect", [sh("sleep 0.4; date +%s%N"), sh("sleep 0.4; date +%s%N")])
    queue.submit("train", [sh("date +%s%N")], after=["collect"])
    queue.submit("bad", [sh("exit 1"), sh("true")])
    queue.submit("never-1", [sh("echo began"), sh("echo began")], after=["collect", "bad"])
    assert until_ended(queue, "train") == ("done",)
    times = [int(queue.log("collect", k)) for k in range(2)]
    assert max(times) <= int(queue.log("train", 0))
    assert until_ended(queue, "never-1") == ("cancelled", "cancelled")
    assert queue.log("never-1", 0) == ""
    with pytest.raises(ExecutorError, match="nothing called 'nobody' was ever submitted"):
        queue.submit("next", [sh("true")], after=["nobody"])


def test_cancel_ends_what_runs_and_what_waits(queue):
    """Two run and one waits: all three are cancelled, at once; one that has ended stays as it is."""
    queue.submit("ended", [sh("true")])
    assert until_ended(queue, "ended") == ("done",)
    queue.submit("long", [sh("echo begun; sleep 60")] * 3)
    end = time.monotonic() + 30
    while queue.poll("long").count("running") < 2 and time.monotonic() < end:
        time.sleep(0.05)
    before = time.monotonic()
    queue.cancel("long")
    queue.cancel("ended")
    assert until_ended(queue, "long") == ("cancelled",) * 3
    assert time.monotonic() - before < 20
    assert queue.poll("ended") == ("done",)


def test_a_job_that_outruns_its_time_is_ended(queue, monkeypatch):
    """Minutes become the attempt's duration; here a second stands for a minute."""
    request = AwsBatch._request

    def quick(self, *args):
        made = request(self, *args)
        return made | {"timeout": {"attemptDurationSeconds": made["timeout"]["attemptDurationSeconds"] // 60}}

    monkeypatch.setattr(AwsBatch, "_request", quick)
    queue.submit("slow", [sh("sleep 60", minutes=1), sh("true", minutes=1)])
    assert until_ended(queue, "slow") == ("failed", "done")


def test_large_arrays_are_cut_where_batch_ends(queue, monkeypatch):
    """By bytes of command lines, by stage and by needs; the parts are one array to us, and a part not there is gone."""
    jobs = [Job(("understudy", "run", f"s3://bucket/{'x' * 200}", "--index", str(k))) for k in range(300)]
    cut = list(chunks(jobs))
    assert [job for _, chunk in cut for job in chunk] == jobs and len(cut) > 2
    assert all(len(by_index(chunk).encode()) < 24_000 for _, chunk in cut)
    assert [first for first, _ in cut] == [sum(len(chunk) for _, chunk in cut[:k]) for k in range(len(cut))]
    mixed = [sh("true"), sh("true", cpus=2), sh("true", cpus=2), Job(("understudy", "evaluate", "x"))]
    assert [(first, len(chunk)) for first, chunk in chunks(mixed)] == [(0, 1), (1, 2), (3, 1)]
    assert list(chunks([])) == []
    submit = queue._batch.submit_job
    monkeypatch.setattr(
        queue._batch, "submit_job", lambda **asked: submit(**asked) if "_0-0-3" in asked["jobName"] else None
    )
    queue.submit("half", mixed[:3])
    assert queue.poll("half")[1:] == ("waiting", "waiting"), "whoever submits may be about to"
    os.utime(queue.folder / "half" / "jobs.json", (0, 0))
    assert until_ended(queue, "half") == ("done", "gone", "gone")


def test_a_submission_that_is_refused_leaves_nothing_waiting(queue, monkeypatch):
    """Batch says no: an error, and the jobs are cancelled, so that the next sweep sends their runs again."""
    monkeypatch.setattr(queue._batch, "submit_job", refused)
    with pytest.raises(ExecutorError, match="cannot be submitted") as caught:
        queue.submit("no", [sh("true")] * 2)
    assert "try later" in caught.value.why
    assert queue.poll("no") == ("cancelled", "cancelled")


def test_the_stage_of_a_job_is_told_by_its_verb():
    told = {verb: stage_of(Job(("understudy", verb))) for verb in ("simulate", "tune", "run", "train", "evaluate")}
    assert told == {"simulate": "collect", "tune": "tune", "run": "train", "train": "train", "evaluate": "evaluate"}
    assert stage_of(sh("true")) == "train"


def test_a_lost_machine_is_tried_again_and_a_fault_is_not(queue):
    """Every third job loses its machine in its first attempt: done all the same; what fails by itself fails once."""
    try:
        LOSE.write_text("3")
        queue.submit("lossy", [sh("echo begun; sleep 1.2; echo ended")] * 6)
        assert until_ended(queue, "lossy") == ("done",) * 6
    finally:
        LOSE.unlink()
    assert [queue.log("lossy", k).split()[-1] for k in range(6)] == ["ended"] * 6
    assert sorted(len(job["attempts"]) for job in described("lossy", 6)) == [1, 1, 1, 1, 2, 2]
    queue.submit("faulty", [sh("exit 1")] * 2)
    assert until_ended(queue, "faulty") == ("failed", "failed")
    assert [len(job["attempts"]) for job in described("faulty", 2)] == [1, 1]


def described(name: str, n: int) -> list[dict]:
    batch = boto3_client("batch")
    found = batch.list_jobs(jobQueue="understudy", filters=[{"name": "JOB_NAME", "values": [f"{name}_*"]}])
    (parent,) = [job["jobId"] for job in found["jobSummaryList"] if ":" not in job["jobId"]]
    return batch.describe_jobs(jobs=[f"{parent}:{k}" for k in range(n)])["jobs"]


# Setup: templates without account data, made once


def test_setup_makes_what_is_missing_and_nothing_twice(queue, tmp_path):
    """The environment, the queue, four definitions with their needs; again: all is there; changed: one new revision."""
    assert [line.rpartition(": ")[2] for line in queue.setup()] == ["is there"] * 6
    batch = boto3_client("batch")
    (train,) = batch.describe_job_definitions(jobDefinitionName="understudy-train")["jobDefinitions"]
    needs = {each["type"]: each["value"] for each in train["containerProperties"]["resourceRequirements"]}
    assert needs == {"VCPU": "2", "MEMORY": "3000", "GPU": "1"}
    assert train["timeout"] == {"attemptDurationSeconds": 1800} and train["retryStrategy"]["attempts"] == 5
    assert {each["jobDefinitionName"] for each in batch.describe_job_definitions()["jobDefinitions"]} == {
        f"understudy-{stage}" for stage in ("collect", "tune", "train", "evaluate")
    }
    changed = AwsBatch(Path(), **(cluster() | {"image": "registry.example/understudy:1", "stages": {}}))
    assert sum("revision 2 made" in line for line in changed.setup()) == 4


def test_dry_run_prints_what_would_be_made(monkeypatch, tmp_path):
    """Whole JSON documents, without asking anybody: there is no server here."""
    lead(monkeypatch, "http://127.0.0.1:9", tmp_path)
    filled = AwsBatch(Path(), bucket="s3://b/p", image="i", subnets=("s",), security_groups=("g",), job_role="r")
    printed = dict(line.split(".json\n", 1) for line in filled.setup(dry_run=True))
    assert {name: json.loads(text) for name, text in printed.items()} == documents(filled)
    assert "${" not in "".join(printed.values())
    assert json.loads(printed["policy-job"])["Statement"][0]["Resource"] == "arn:aws:s3:::b/p/*"


def test_templates_hold_no_account_data():
    """No account number, no bucket, no region, no key; and no policy that allows everything on everything."""
    import re

    from understudy.runs.executors.aws_setup import TEMPLATES

    files = sorted(TEMPLATES.glob("*.json"))
    assert len(files) == 10
    for file in files:
        text = file.read_text()
        assert not re.search(r"\d{12}|AKIA|(us|eu|ap)-\w+-\d|amazonaws\.com/", text), file.name
        assert '"Action": "*"' not in text
        for statement in json.loads(text).get("Statement", []):
            if statement.get("Resource") == "*":
                assert all(re.search(":(List|Describe)", action) for action in statement["Action"]), file.name


def test_a_cluster_file_that_says_too_little(tmp_path):
    """All that is missing, in one error; an unknown key lists the nearest."""
    with pytest.raises(ConfigError, match="does not say: image, bucket, subnets, security_groups, job_role"):
        AwsBatch(tmp_path).setup(dry_run=True)
    file = tmp_path / "aws.yaml"
    file.write_text("qeue: understudy\n")
    with pytest.raises(ConfigError) as caught:
        make_executor("aws_batch", tmp_path, file)
    assert "qeue" in caught.value.what and "queue" in caught.value.hint


# Bad input: a clear error before anything is submitted


def nothing_submitted() -> bool:
    return not boto3_client("batch").list_jobs(jobQueue="understudy", filters=[{"name": "JOB_NAME", "values": ["*"]}])[
        "jobSummaryList"
    ]


def study(k: int = 0, place: str = f"s3://{BUCKET}/study", **resources: int) -> Job:
    return Job(("understudy", "run", place, "--index", str(k)), Resources(**resources))


def test_what_is_sound_passes(queue):
    queue.check([study(k) for k in range(3)])


def test_no_queue_and_no_definition(amazon, tmp_path):
    """A queue nobody made; a queue without its definitions."""
    with pytest.raises(ExecutorError, match="there is no job queue 'understudy'") as caught:
        AwsBatch(tmp_path).check([study()])
    assert "cluster setup" in caught.value.hint
    made = make_executor("aws_batch", tmp_path / "study", written(tmp_path))
    made.setup()
    (train,) = boto3_client("batch").describe_job_definitions(jobDefinitionName="understudy-train")["jobDefinitions"]
    boto3_client("batch").deregister_job_definition(jobDefinition=train["jobDefinitionArn"])
    with pytest.raises(ExecutorError, match="there is no job definition 'understudy-train'"):
        made.check([study()])


def test_more_than_there_is(queue):
    """17 cores of a queue that has at most 8."""
    with pytest.raises(ConfigError, match="asks for 17 cpus, and queue 'understudy' has at most 8"):
        queue.check([study(cpus=17)])
    assert nothing_submitted()


def test_a_study_on_this_machine(queue, tmp_path):
    """A container does not see this disk."""
    with pytest.raises(ConfigError, match="is on this machine and not in its container"):
        queue.check([study(place=str(tmp_path))])


def test_a_bucket_that_cannot_be_written(queue):
    with pytest.raises(StoreError, match="s3://nobody-made-this/x cannot be written"):
        queue.check([study(place="s3://nobody-made-this/x")])


def test_no_credentials(queue, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(ExecutorError, match="no credentials for Amazon were found"):
        AwsBatch(Path()).check([study()])


def test_credentials_that_may_not(queue, monkeypatch):
    """Somebody without the policy; somebody with a wrong secret."""
    from tests.unit.data.test_objects import judged

    iam = boto3_client("iam")
    iam.create_user(UserName="nobody")
    made = iam.create_access_key(UserName="nobody")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", made["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", made["SecretAccessKey"])
    with judged(boto3_client("batch").meta.endpoint_url):
        with pytest.raises(ExecutorError, match="cannot be asked") as caught:
            AwsBatch(Path()).check([study()])
        assert "may not do that" in caught.value.why and "policy-submit.json" in caught.value.hint
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with pytest.raises(ExecutorError) as caught:
            AwsBatch(Path()).check([study()])
        assert "not accepted" in caught.value.why


def test_nobody_answers(monkeypatch, tmp_path):
    lead(monkeypatch, "http://127.0.0.1:9", tmp_path)
    with pytest.raises(ExecutorError, match="cannot be asked") as caught:
        AwsBatch(tmp_path).check([study()])
    assert "does not answer" in caught.value.why


def test_the_missing_extra(monkeypatch, tmp_path):
    import sys

    for name in ("botocore", "botocore.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "understudy.runs.executors.aws_batch")
    with pytest.raises(ConfigError) as caught:
        make_executor("aws_batch", tmp_path, None)
    assert caught.value.hint == 'pip install "understudy[aws]"'
