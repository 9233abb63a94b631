"""AWS Batch: array jobs in a queue, one container per job, retried when Spot takes the machine away.

An array of ours is one or several of theirs, called ``NAME_FIRST-LAST-TOTAL``: everything is found again by name, as
long as Batch remembers, which is a week. Jobs of one array differ by their command line alone, so the container is
given all lines of its array and takes the one of its ``AWS_BATCH_JOB_ARRAY_INDEX``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from understudy.core.errors import ConfigError, ExecutorError
from understudy.core.jobs import Job, JobState, Resources
from understudy.data.amazon import client
from understudy.data.store import open_store, remote
from understudy.runs.executors.array import Array

STAGES = ("collect", "tune", "train", "evaluate")
_STAGE_OF = {"simulate": "collect", "tune": "tune", "evaluate": "evaluate", "compare": "evaluate"}
_STATES: Mapping[str, JobState] = {
    "SUBMITTED": "waiting", "PENDING": "waiting", "RUNNABLE": "waiting", "STARTING": "waiting", "RUNNING": "running",
    "SUCCEEDED": "done", "FAILED": "failed",
}  # fmt: skip
_CANCELLED = "cancelled by understudy"
_ORPHANED = "Dependent Job failed"
_MEMORY = 1 << 25  # MB: more than any machine of Amazon's has
_CREDENTIALS = ("UnrecognizedClient", "InvalidClientToken", "SignatureDoesNotMatch", "ExpiredToken", "AuthFailure",
                "InvalidSignature")  # fmt: skip
_PAYLOAD = 20_000  # bytes of command lines in one submission; Batch takes 30 KiB with everything around them
_LARGEST = 10_000  # jobs in one array
_AT_ONCE = 100  # jobs described in one request
_LOG_GROUP = "/aws/batch/job"


@dataclass(frozen=True)
class AwsBatch:
    """A queue of AWS Batch, and what ``understudy cluster setup`` needs to make it.

    Args:
        folder: where names are taken, so that nobody submits an array twice; what became of it, Batch alone tells.
        queue: name of the job queue; job definitions are called ``queue-stage``.
        bucket: where studies lie, ``s3://BUCKET/PREFIX``: what the containers may read and write.
        image: the container image, with understudy in it.
        stages: cores, memory, accelerators and minutes of collect, tune, train, evaluate, where a job says nothing.
        vcpus: most cores at once. spot: machines that may be taken away, at a third of the price. attempts: of a job
            whose machine was taken away; whatever else fails is not tried again.
        instance_role, job_role, service_role: of the machines, of the jobs, of Batch itself ("": its own).
    """

    folder: Path
    queue: str = "understudy"
    bucket: str = ""
    image: str = ""
    stages: dict[str, Resources] = field(default_factory=dict)
    vcpus: int = 64
    spot: bool = True
    attempts: int = 5
    instances: tuple[str, ...] = ("optimal",)
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    instance_role: str = "ecsInstanceRole"
    job_role: str = ""
    service_role: str = ""

    def check(self, jobs: Sequence[Job]) -> None:
        """Credentials, queue, definitions, places that can be written, sizes that fit: before anything is submitted."""
        with _told(f"queue {self.queue!r} cannot be asked"):
            largest = self._most_vcpus(self._queue())
            stages = {stage_of(job) for job in jobs}
            names = [self.definition(stage) for stage in sorted(stages)]
            found = {each["jobDefinitionName"] for name in names for each in self._definitions(name)}
        for name in names:
            if name not in found:
                raise _missing(f"there is no job definition {name!r}", name)
        for job in jobs:
            for need, most in (("cpus", largest), ("memory_mb", _MEMORY)):
                if (asked := getattr(job.resources, need)) > most:
                    raise ConfigError(
                        f"a job asks for {asked} {need}, and queue {self.queue!r} has at most {most}",
                        "It would wait for ever.", "Ask for less under resources:, or make the queue larger.",
                        field=need,
                    )  # fmt: skip
        words = {word for job in jobs for word in job.argv}
        for word in sorted(words):
            if word.startswith("/"):
                raise ConfigError(
                    f"a job would read {word}, which is on this machine and not in its container",
                    "Each container has its own disk, and it is gone when the job ends.",
                    "Put the study into a bucket: --to s3://BUCKET/STUDY.", field="to",
                )  # fmt: skip
        for place in sorted(filter(None, map(remote, words))):
            getattr(open_store(place), "check", lambda: None)()

    def submit(self, name: str, jobs: Sequence[Job], *, after: Sequence[str] = ()) -> None:
        """Submit the array, in as few of theirs as their limits allow. The name is taken in the folder, before that."""
        array = self._array(name)
        with _told(f"{name} cannot be submitted"):
            needed = [{"jobId": each["jobId"]} for other in after for each in self._known(other)]
            if self._arrays(name) or not array.take(jobs):
                return
            for first, chunk in chunks(jobs):
                label = f"{_plain(name)}_{first}-{first + len(chunk) - 1}-{len(jobs)}"
                try:
                    self._batch.submit_job(**self._request(label, chunk, needed))
                except BaseException:
                    array.mark_all(range(first, len(jobs)), "cancelled")
                    raise

    def poll(self, name: str) -> tuple[JobState, ...]:
        """As Batch tells; what it does not know is about to be submitted, or gone."""
        array, states = self._array(name), dict[int, JobState]()
        if array.taken:
            states = dict(enumerate(array.states(lambda k, begun: "waiting" if array.young else "gone")))
        with _told(f"{name} cannot be asked for"):
            for first, last, total, each in self._spans(name):
                told = dict(enumerate(self._states(each, last - first + 1), first))
                absent: dict[int, JobState] = dict.fromkeys(range(total), "gone")
                states = absent | states | told
        return tuple(states.values())

    def cancel(self, name: str) -> None:
        """End what runs, drop what waits."""
        with _told(f"{name} cannot be cancelled"):
            for each in self._arrays(name):
                if each["status"] not in ("SUCCEEDED", "FAILED"):
                    self._batch.terminate_job(jobId=each["jobId"], reason=_CANCELLED)

    def log(self, name: str, job: int) -> str:
        """What the job's last attempt has printed."""
        with _told(f"the log of {name} cannot be read"):
            for first, last, _, each in self._spans(name):
                if first <= job <= last:
                    id = each["jobId"] if first == last else f"{each['jobId']}:{job - first}"
                    (found,) = self._batch.describe_jobs(jobs=[id])["jobs"]
                    return self._printed(found.get("container", {}).get("logStreamName", ""))
        return ""

    def definition(self, stage: str) -> str:
        """What the job definition of a stage is called."""
        return f"{self.queue}-{stage}"

    def setup(self, *, dry_run: bool = False) -> list[str]:
        """Make the compute environment, the queue and the definitions, or what of them is missing or has changed."""
        from understudy.runs.executors.aws_setup import set_up

        with _told(f"queue {self.queue!r} cannot be made"):
            return set_up(self, dry_run=dry_run)

    def _array(self, name: str) -> Array:
        return Array(self.folder / _plain(name))

    @cached_property
    def _batch(self) -> Any:
        return client("batch", ExecutorError)

    def _queue(self) -> dict[str, Any]:
        found = self._batch.describe_job_queues(jobQueues=[self.queue])["jobQueues"]
        if not found:
            raise _missing(f"there is no job queue {self.queue!r}", "queue")
        if found[0]["state"] != "ENABLED":
            raise ExecutorError(f"job queue {self.queue!r} is {found[0]['state']}", "It takes no jobs.",
                                "Enable it in the console of AWS Batch.", field="queue")  # fmt: skip
        return found[0]

    def _most_vcpus(self, queue: Mapping[str, Any]) -> float:
        names = [each["computeEnvironment"] for each in queue["computeEnvironmentOrder"]]
        found = self._batch.describe_compute_environments(computeEnvironments=names)["computeEnvironments"]
        return max((each.get("computeResources", {}).get("maxvCpus") or float("inf") for each in found), default=0)

    def _definitions(self, name: str) -> list[dict[str, Any]]:
        return self._batch.describe_job_definitions(jobDefinitionName=name, status="ACTIVE")["jobDefinitions"]

    def _request(self, label: str, jobs: Sequence[Job], after: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        asked = jobs[0].resources
        needs = {"VCPU": asked.cpus, "MEMORY": asked.memory_mb} | ({"GPU": asked.gpus} if asked.gpus else {})
        threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        return {
            "jobName": label,
            "jobQueue": self.queue,
            "jobDefinition": self.definition(stage_of(jobs[0])),
            "dependsOn": list(after),
            "timeout": {"attemptDurationSeconds": 60 * asked.minutes},
            "containerOverrides": {
                "command": list(jobs[0].argv) if len(jobs) == 1 else ["sh", "-c", by_index(jobs)],
                "resourceRequirements": [{"type": type, "value": str(n)} for type, n in needs.items()],
                "environment": [{"name": name, "value": str(asked.cpus)} for name in threads],
            },
        } | ({"arrayProperties": {"size": len(jobs)}} if len(jobs) > 1 else {})

    def _arrays(self, name: str) -> list[dict[str, Any]]:
        """Their arrays, or single jobs, that ours consists of."""
        return [each for *_, each in self._spans(name)]

    def _known(self, name: str) -> list[dict[str, Any]]:
        found = self._arrays(name)
        if not found:
            raise ExecutorError(f"nothing called {name!r} was ever submitted", "It cannot be waited for.", field=name)
        return found

    def _spans(self, name: str) -> Iterator[tuple[int, int, int, dict[str, Any]]]:
        """(first, last, total, summary) of each of them. The filter knows no end of a name, nor small from capital."""
        asked = {"jobQueue": self.queue, "filters": [{"name": "JOB_NAME", "values": [f"{_plain(name)}_*"]}]}
        for page in self._batch.get_paginator("list_jobs").paginate(**asked):
            for each in page["jobSummaryList"]:
                found = re.fullmatch(rf"{_plain(name)}_(\d+)-(\d+)-(\d+)", each["jobName"])
                if found and ":" not in each["jobId"]:  # not a child of an array
                    first, last, total = map(int, found.groups())
                    yield first, last, total, each

    def _states(self, each: Mapping[str, Any], size: int) -> list[JobState]:
        if each["status"] == "SUCCEEDED":
            return ["done"] * size
        ids = [each["jobId"]] if size == 1 else [f"{each['jobId']}:{k}" for k in range(size)]
        found: dict[str, JobState] = {}
        for at in range(0, size, _AT_ONCE):
            told = self._batch.describe_jobs(jobs=ids[at : at + _AT_ONCE])["jobs"]
            found |= {job["jobId"]: _state(job) for job in told}
        return [found.get(id, _state(each)) for id in ids]  # children do not exist before their array has begun

    def _printed(self, stream: str) -> str:
        if not stream:
            return ""
        logs, token, lines = client("logs", ExecutorError), None, []
        while True:
            more = {"nextToken": token} if token else {}
            try:
                page = logs.get_log_events(logGroupName=_LOG_GROUP, logStreamName=stream, startFromHead=True, **more)
            except logs.exceptions.ResourceNotFoundException:
                return ""
            lines += [event["message"] for event in page["events"]]
            if not page["events"] or page["nextForwardToken"] == token:
                return "".join(f"{line}\n" for line in lines)
            token = page["nextForwardToken"]


def stage_of(job: Job) -> str:
    """Which of the four definitions a job is of, by its verb; training unless it says another."""
    verb = job.argv[1] if len(job.argv) > 1 and job.argv[0] == "understudy" else ""
    return _STAGE_OF.get(verb, "train")


def chunks(jobs: Sequence[Job]) -> Iterator[tuple[int, Sequence[Job]]]:
    """(number of its first job, jobs) of each array to submit: neighbors of one stage and equal needs, in limits."""
    first, size = 0, 0
    for k, job in enumerate(jobs):
        line = len(shlex.join(job.argv)) + 32
        alike = k == first or (job.resources, stage_of(job)) == (jobs[first].resources, stage_of(jobs[first]))
        if k > first and (not alike or size + line > _PAYLOAD or k - first == _LARGEST):
            yield first, jobs[first:k]
            first, size = k, 0
        size += line
    if jobs:
        yield first, jobs[first:]


def by_index(jobs: Iterable[Job]) -> str:
    """A shell's text that becomes the job of its array index.

    >>> by_index([Job(("echo", "a b")), Job(("true",))])
    "case $AWS_BATCH_JOB_ARRAY_INDEX in 0) exec echo 'a b';; 1) exec true;; *) exit 64;; esac"
    """
    lines = " ".join(f"{k}) exec {shlex.join(job.argv)};;" for k, job in enumerate(jobs))
    return f"case $AWS_BATCH_JOB_ARRAY_INDEX in {lines} *) exit 64;; esac"


def _plain(name: str) -> str:
    """A name in the letters that Batch takes."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)


def _state(job: Mapping[str, Any]) -> JobState:
    dropped = any(reason in job.get("statusReason", "") for reason in (_CANCELLED, _ORPHANED))
    return "cancelled" if job["status"] == "FAILED" and dropped else _STATES[job["status"]]


def _missing(what: str, field: str) -> ExecutorError:
    return ExecutorError(
        what, "Jobs would have nowhere to run.", "Make it: understudy cluster setup aws.yaml", field=field
    )


@contextmanager
def _told(what: str) -> Iterator[None]:
    """A client's own error as an ExecutorError."""
    try:
        yield
    except ClientError as error:
        said, status = str(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if any(code in said for code in _CREDENTIALS):
            why, hint = f"The credentials are not accepted: {said}", "Check AWS_ACCESS_KEY_ID and its secret."
        elif "AccessDenied" in said or status == 403:
            why, hint = f"These credentials may not do that: {said}", "Attach policy-submit.json; see the guide."
        else:
            why, hint = said, "Run the same line again; what was submitted is found by its name."
        raise ExecutorError(what, why, hint) from error
    except BotoCoreError as error:
        raise ExecutorError(
            what, f"AWS Batch does not answer: {error}", "Check the network, AWS_ENDPOINT_URL and AWS_REGION."
        ) from error
