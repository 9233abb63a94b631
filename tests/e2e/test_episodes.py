"""From random episodes to a policy that earns more, by the verbs; judged from its file in a process without JAX."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from understudy.cli import main


def _said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*words, "--json"]) == code, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_random_episodes_become_a_better_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The policy, and its first epoch, act in our CartPole; what they log is told apart from the baseline's."""
    pytest.importorskip("jax")
    monkeypatch.chdir(tmp_path)
    random = _said(capsys, "simulate", "cartpole", "--episodes", "3", "--to", "random")
    table = ["random/decisions.parquet", "--problem", "random/problem.yaml"]
    made = _said(capsys, "timeline", *table, "--to", "data")
    assert made["path"] == "data"
    told = _said(capsys, "describe", "data")
    assert told["episodes"]["returns"]["value"] == random["mean_return"] < 30
    _said(capsys, "train", "dqn", "updates=2000", "--epochs", "2", "--on", "data", "--to", "run", "--train-share", "80",
          "--eval-share", "20", "--choose", "last")  # fmt: skip
    code = """
import sys
from understudy.cli import main
for name in ("run", "run@1"):
    assert main(["simulate", "cartpole", "--with", name, "--to", name.replace("@", "-") + ".csv", "--json"]) == 0
assert "jax" not in sys.modules and "optax" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    final, first = (json.loads(line) for line in done.stdout.splitlines())
    assert final["mean_return"] > 100 > 2 * random["mean_return"], "learning must pay"
    assert first["mean_return"] != final["mean_return"]
    again = _said(capsys, "timeline", "run.csv", "--problem", "run.problem.yaml", "--to", "next")
    assert again["path"] == "next"
    assert _said(capsys, "describe", "next")["episodes"]["returns"]["value"] == final["mean_return"]
