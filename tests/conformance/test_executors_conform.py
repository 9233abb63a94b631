"""Every executor keeps what an executor must: here, in a local pool, on a real Slurm, and at the API of AWS Batch."""

from pathlib import Path

import pytest

from understudy.testing.conformance_executor import EXECUTOR_CHECKS, Ground

CHECKS = pytest.mark.parametrize("check", EXECUTOR_CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))


@CHECKS
@pytest.mark.parametrize("name", ["inline", "local"])
def test_executors_here_conform(name: str, check, tmp_path: Path) -> None:
    """Children of this machine."""
    ground = Ground(name, tmp_path / "jobs", {} if name == "inline" else {"workers": 2})
    check(ground)
    ground.close()


@CHECKS
def test_aws_batch_conforms(check, tmp_path: Path, batch_queue: dict[str, object]) -> None:
    """moto's API; each command is executed as the API tells it."""
    ground = Ground("aws_batch", tmp_path / "jobs", batch_queue)
    check(ground)
    ground.close()


@CHECKS
def test_slurm_conforms(check, tmp_path: Path, slurm: Path) -> None:
    """The daemons and programs of Debian, two jobs to an element."""
    ground = Ground("slurm", tmp_path / "jobs", {"cores": 2, "every": 0.2})
    check(ground)
    ground.close()
