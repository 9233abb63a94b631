"""What a queue of AWS Batch needs around it: templates filled with a cluster file, and made where they are missing."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from understudy.core.errors import ConfigError, ExecutorError
from understudy.core.hashing import canonical, content_id
from understudy.core.jobs import Resources
from understudy.data.amazon import client
from understudy.data.store import remote
from understudy.runs.executors.aws_batch import STAGES, AwsBatch

TEMPLATES = Path(__file__).parent / "aws"
POLICIES = ("policy-job", "policy-submit", "policy-setup", "trust-job")
DEFAULTS: Mapping[str, Resources] = {
    "collect": Resources(),
    "tune": Resources(cpus=2, memory_mb=4_000, minutes=240),
    "train": Resources(cpus=2, memory_mb=4_000, minutes=240),
    "evaluate": Resources(memory_mb=4_000),
}
_MARK = "understudy"  # the tag of a definition that says what it was made from
_PATIENCE = 300.0  # seconds for a compute environment to become valid


def documents(settings: AwsBatch) -> dict[str, Any]:
    """Every template by its name, filled.

    Raises: ConfigError names the settings that are missing.
    """
    missing = [name for name in ("image", "bucket", "subnets", "security_groups", "job_role")
               if not getattr(settings, name)]  # fmt: skip
    if missing:
        raise ConfigError(
            f"the cluster file does not say: {', '.join(missing)}",
            "No queue can be made without them.", "See the guide: docs/aws-batch.md.", field=missing[0],
        )  # fmt: skip
    if not remote(settings.bucket):
        raise ConfigError(f"bucket {settings.bucket!r} is no place", hint="s3://BUCKET/PREFIX", field="bucket")
    given = _given(settings)
    made = {name: _filled(name, given) for name in ("compute-environment", "job-queue", *POLICIES)}
    if settings.service_role:
        made["compute-environment"]["serviceRole"] = settings.service_role
    for stage in STAGES:
        asked = settings.stages.get(stage, DEFAULTS[stage])
        needs = {"VCPU": asked.cpus, "MEMORY": asked.memory_mb} | ({"GPU": asked.gpus} if asked.gpus else {})
        more = {
            "resources": [{"type": type, "value": str(n)} for type, n in needs.items()],
            "seconds": 60 * asked.minutes,
            "environment": [{"name": "OMP_NUM_THREADS", "value": str(asked.cpus)}],
        }
        made[f"job-definition-{stage}"] = _filled(f"job-definition-{stage}", given | more)
    return made


def set_up(settings: AwsBatch, *, dry_run: bool) -> list[str]:
    """Make what is missing, in order; the same file again changes nothing. Roles are not made: see the guide.

    Returns: a line for each; with ``dry_run`` the documents themselves, and nothing is asked or made.
    """
    found = documents(settings)
    if dry_run:
        return [
            f"{name}.json\n{msgspec.json.format(msgspec.json.encode(each)).decode()}" for name, each in found.items()
        ]
    batch = client("batch", ExecutorError)
    return [
        _compute(batch, found["compute-environment"]),
        _queue(batch, found["job-queue"]),
        *(_definition(batch, found[f"job-definition-{stage}"]) for stage in STAGES),
    ]


def _compute(batch: Any, wanted: dict[str, Any]) -> str:
    name = wanted["computeEnvironmentName"]
    made = not batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"]
    if made:
        batch.create_compute_environment(**wanted)
    until = time.monotonic() + _PATIENCE
    while True:
        (found,) = batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"]
        if found["status"] == "VALID":
            return f"compute environment {name}: {'made' if made else 'is there'}"
        if found["status"] == "INVALID" or time.monotonic() > until:
            raise ExecutorError(
                f"compute environment {name} is {found['status']}", str(found.get("statusReason", "")),
                "Mend the roles, subnets or groups, delete it in the console, then run the same line again.",
            )  # fmt: skip
        time.sleep(2)


def _queue(batch: Any, wanted: dict[str, Any]) -> str:
    name = wanted["jobQueueName"]
    if batch.describe_job_queues(jobQueues=[name])["jobQueues"]:
        return f"job queue {name}: is there"
    batch.create_job_queue(**wanted)
    return f"job queue {name}: made"


def _definition(batch: Any, wanted: dict[str, Any]) -> str:
    """A definition is never changed, only followed by another; jobs take the newest."""
    name, mark = wanted["jobDefinitionName"], content_id(canonical(wanted))
    found = batch.describe_job_definitions(jobDefinitionName=name, status="ACTIVE")["jobDefinitions"]
    newest = max(found, key=lambda each: each["revision"], default={})
    if newest.get("tags", {}).get(_MARK) == mark:
        return f"job definition {name}: is there"
    made = batch.register_job_definition(**wanted, tags={_MARK: mark})
    return f"job definition {name}: revision {made['revision']} made"


def _given(settings: AwsBatch) -> dict[str, Any]:
    place = remote(settings.bucket).partition("://")[2]
    return {
        "queue": settings.queue,
        "image": settings.image,
        "machines": "SPOT" if settings.spot else "EC2",
        "strategy": "SPOT_CAPACITY_OPTIMIZED" if settings.spot else "BEST_FIT_PROGRESSIVE",
        "vcpus": settings.vcpus,
        "instances": list(settings.instances),
        "subnets": list(settings.subnets),
        "security_groups": list(settings.security_groups),
        "instance_role": settings.instance_role,
        "instance_role_name": settings.instance_role.rpartition("/")[2],
        "job_role": settings.job_role,
        "job_role_name": settings.job_role.rpartition("/")[2],
        "attempts": settings.attempts,
        "bucket": place,
        "bucket_name": place.partition("/")[0],
    }


def _filled(name: str, given: Mapping[str, Any]) -> Any:
    return _fill(msgspec.json.decode((TEMPLATES / f"{name}.json").read_bytes()), given)


def _fill(value: Any, given: Mapping[str, Any]) -> Any:
    """``"${name}"`` becomes the value itself; within a longer text its text."""
    if isinstance(value, dict):
        return {key: _fill(inner, given) for key, inner in value.items()}
    if isinstance(value, list):
        return [_fill(inner, given) for inner in value]
    if not isinstance(value, str):
        return value
    whole = re.fullmatch(r"\$\{(\w+)\}", value)
    return given[whole[1]] if whole else re.sub(r"\$\{(\w+)\}", lambda found: str(given[found[1]]), value)
