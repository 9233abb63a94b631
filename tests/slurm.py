"""A real Slurm of one node for tests, in a folder of its own, by slurm-one-node.sh. Skips, visibly, without it."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "slurm-one-node.sh"
_PATIENCE = 300  # seconds, for the packages too


@pytest.fixture(scope="session")
def slurm_node() -> Iterator[Path]:
    """The slurm.conf of a Slurm that runs: one per test process, started when first asked for, ended with it."""
    if os.geteuid() != 0 or shutil.which("bash") is None:
        pytest.skip("Slurm's daemons are started as root")
    folder = Path(tempfile.mkdtemp(prefix="understudy-slurm-"))
    try:
        with open(Path(tempfile.gettempdir()) / "understudy-slurm.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one at a time installs the packages
            ports = map(str, _free_ports(2))
            line = ["bash", str(SCRIPT), "start", str(folder), *ports]
            made = subprocess.run(line, capture_output=True, text=True, timeout=_PATIENCE)
        if made.returncode:
            pytest.skip(f"Slurm did not start (Debian: slurmctld slurmd slurm-client munge): {made.stderr[-300:]}")
        yield folder / "slurm.conf"
    finally:
        subprocess.run(["bash", str(SCRIPT), "stop", str(folder)], timeout=_PATIENCE)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def slurm(slurm_node: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Slurm's programs speak to that one; no job is left behind."""
    monkeypatch.setenv("SLURM_CONF", str(slurm_node))
    yield slurm_node
    subprocess.run(["scancel", "--me"], timeout=60)


def _free_ports(n: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports
