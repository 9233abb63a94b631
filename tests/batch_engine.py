"""What runs jobs on moto's AWS Batch, in place of its Docker: processes, of what the API itself tells about a job.

Command, environment and array index are read back over HTTP, as a container's agent is told them; dependencies, time
limits, termination, and retries on a lost machine are kept as Amazon describes them. Each job has a directory of its
own that is gone when it ends, as a container's disk is.
"""

from __future__ import annotations

import fnmatch
import os
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

TICK = 0.02
SLOTS = threading.Semaphore(2)
LOST = "Host EC2 (instance i-0123456789abcdef0) terminated."
ASKED = threading.Lock()


def install(address: str, lose: Path) -> None:
    """Put it in place of the engine. ``lose``: a file with n in it, if each n-th job shall lose its machine once."""
    import boto3
    import moto.batch.models as batch

    api = boto3.client("batch", endpoint_url=address, region_name="us-east-1",
                       aws_access_key_id="engine", aws_secret_access_key="engine")  # fmt: skip
    batch.Job.run = lambda job: Engine(job, api, lose).run()  # type: ignore[method-assign]


class Engine:
    """One job from RUNNABLE to its end."""

    started = 0

    def __init__(self, job: Any, api: Any, lose: Path) -> None:
        self.job, self.api, self.lose = job, api, lose

    def run(self) -> None:
        self.job.status = "PENDING"
        if not self.waited():
            return self.ended(False, self.job.job_stopped_reason or "Dependent Job failed")
        self.job.status = "RUNNABLE"
        while not SLOTS.acquire(timeout=TICK):
            if self.stop:
                return self.ended(False, self.job.job_stopped_reason)
        try:
            self.attempts()
        finally:
            SLOTS.release()
        return None

    @property
    def stop(self) -> bool:
        """Whether this job was terminated, or the array it belongs to."""
        mine = [self.job, self.job.all_jobs.get(self.job.job_id.partition(":")[0])]
        reasons = [each.job_stopped_reason for each in mine if each is not None and each.stop]
        self.job.job_stopped_reason = reasons[0] if reasons else self.job.job_stopped_reason
        return bool(reasons)

    def told(self, id: str) -> dict[str, Any]:
        with ASKED:
            return self.api.describe_jobs(jobs=[id])["jobs"][0]

    def waited(self) -> bool:
        """Until all it depends on has succeeded; False if anything failed or this was ended."""
        open = [each["jobId"] for each in self.job.depends_on or []]
        while open:
            told = self.told(open[0])
            states = told.get("arrayProperties", {}).get("statusSummary", {})
            if told["status"] == "SUCCEEDED":
                open.pop(0)
            elif told["status"] == "FAILED" or states.get("FAILED") or self.stop:
                return False
            else:
                time.sleep(0.1)
        return not self.stop

    def attempts(self) -> None:
        told = self.told(self.job.job_id)
        retry = self.job.job_definition.retry_strategy or {}
        with ASKED:
            every = int(self.lose.read_text()) if self.lose.exists() else 0
            Engine.started = Engine.started + 1 if every else 0
            lost = bool(every) and Engine.started % every == 0
        for attempt in range(int(retry.get("attempts", 1))):
            self.job._start_attempt()
            code, reason = self.attempt(told, lost and attempt == 0)
            if code == 0 or self.stop or not self.again(retry, reason):
                break
        self.job.exit_code = code
        self.ended(code == 0 and not self.stop, self.job.job_stopped_reason or reason)

    @staticmethod
    def again(retry: dict[str, Any], reason: str) -> bool:
        """The first rule that matches; without rules whatever fails is tried again."""
        for rule in retry.get("evaluateOnExit", []):
            if "onReason" in rule or fnmatch.fnmatchcase(reason, rule.get("onStatusReason", "*")):
                return rule["action"].upper() == "RETRY"
        return True

    def attempt(self, told: dict[str, Any], lost: bool) -> tuple[int, str]:
        container, index = told["container"], told["jobId"].partition(":")[2]
        given = {each["name"]: each["value"] for each in container["environment"]}
        given |= {"AWS_BATCH_JOB_ARRAY_INDEX": index} if index else {}
        self.job.status, until = "RUNNING", time.monotonic() + self.job._get_attempt_duration()
        with tempfile.TemporaryDirectory() as disk:
            printed = Path(disk) / ".printed"
            with printed.open("wb") as out:
                child = subprocess.Popen(
                    container["command"], cwd=disk, env=os.environ | given | {"HOME": disk}, stdout=out, stderr=out,
                    stdin=subprocess.DEVNULL, start_new_session=True,
                )  # fmt: skip
                reason, die = "", time.monotonic() + 0.7
                while child.poll() is None:
                    time.sleep(TICK)
                    if lost and time.monotonic() > die:
                        reason = LOST
                    elif time.monotonic() > until:
                        reason = "Job attempt duration exceeded timeout"
                    elif not self.stop:
                        continue
                    os.killpg(child.pid, signal.SIGKILL)
                    child.wait()
            self.printed(printed.read_text(errors="replace").splitlines())
        return child.returncode, reason or "Essential container in task exited"

    def printed(self, lines: list[str]) -> None:
        job = self.job
        job.log_stream_name = job._stream_name
        with ASKED:
            job._log_backend.ensure_log_group(job._log_group)
            job._log_backend.ensure_log_stream(job._log_group, job.log_stream_name)
            events = [{"timestamp": int(time.time() * 1000), "message": line} for line in lines]
            if events:
                job._log_backend.put_log_events(job._log_group, job.log_stream_name, events)

    def ended(self, well: bool, reason: str | None) -> None:
        self.job.job_stopped_reason = reason
        self.job._mark_stopped(success=well)
