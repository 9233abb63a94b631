"""kill -9 at any moment: no half artifact, no half promotion, and the same command again finishes the work.

Only processes that a test started are ended, by their id; each test is bounded in time and count.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from understudy.data.artifact import MANIFEST, verify_artifact
from understudy.runs.bring import bring, bring_together, draft
from understudy.runs.home import Home
from understudy.runs.prove import Proof, prove
from understudy.runs.simulate import simulate
from understudy.runs.train import train


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw log, its dataset, and a policy that the gate ships."""
    folder = tmp_path_factory.mktemp("killed")
    simulate("digits", {}, behavior="warm", n=6_000, seed=4, to=folder / "raw")
    files = [folder / "raw" / "decisions.jsonl", folder / "raw" / "outcomes.jsonl"]
    draft(files, folder / "problem.yaml")
    bring(files, layout="events", problem=folder / "problem.yaml", options={}, to=folder / "logs", home=folder / "h")
    bring_together(folder / "logs", window="2h", backward="2m", as_of=None, to=folder / "data", home=folder / "h")
    train("direct", on=folder / "data", to=folder / "ridge")
    return folder


def start(*arguments: str) -> subprocess.Popen[bytes]:
    code = "import sys; from understudy.cli import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=-3, stderr=-3)


def verbs(place: Path, out: Path) -> dict[str, list[str]]:
    raw = [str(place / "raw" / name) for name in ("decisions.jsonl", "outcomes.jsonl")]
    home = ["--home", str(out / "home")]
    return {
        "ingest": [*raw, "--problem", str(place / "problem.yaml"), "--to", str(out / "it"), *home],
        "join": [str(place / "logs"), "--window", "2h", "--to", str(out / "it"), *home],
        "train": ["direct", "model=forest", "--on", str(place / "data"), "--to", str(out / "it"), *home],
    }


@pytest.mark.parametrize("verb", ["ingest", "join", "train"])
def test_a_killed_verb_leaves_nothing_half_and_can_be_run_again(verb: str, place: Path, tmp_path: Path) -> None:
    """Killed at five moments spread over its run: whole or absent each time; the next run sweeps and finishes."""
    command = [verb, *verbs(place, tmp_path)[verb]]
    begun = time.monotonic()
    assert start(*command).wait(60) == 0
    length = time.monotonic() - begun
    whole = verify_artifact(tmp_path / "it").id
    for i in range(5):
        out = tmp_path / f"kill{i}"
        command = [verb, *verbs(place, out)[verb]]
        process = start(*command)
        time.sleep(length * (i + 1) / 6)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        if (out / "it").exists():
            assert verify_artifact(out / "it").id == whole  # it was faster than the signal
        assert start(*command).wait(60) == 0
        assert verify_artifact(out / "it").id == whole
        assert not list(out.glob(".it.*.partial"))


def test_a_gate_killed_after_its_look_leaves_the_look_and_nothing_else(place: Path, tmp_path: Path) -> None:
    """The look was announced, so it stays, open; no verdict appears; the same question again is answered."""
    home = tmp_path / "home"
    process = start("gate", str(place / "ridge"), "--on", str(place / "data"), "--home", str(home))
    deadline = time.monotonic() + 60
    while not (Home(home).exists and Home(home).ledger.looks()):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    (look,) = Home(home).ledger.looks()
    assert look.outcome is None and not (home / "verdicts").exists()
    verdict, folder = prove(place / "ridge", on=place / "data", how=Proof(), home=home)
    assert verdict.outcome == "ship" and (folder / MANIFEST).exists()
    assert [(one.k, one.outcome) for one in Home(home).ledger.looks()] == [(1, None), (1, "ship")]


def test_a_killed_promotion_is_whole_or_absent(place: Path, tmp_path: Path) -> None:
    """Wherever the signal strikes, production is nobody or a verified copy; the same command again finishes."""
    home = tmp_path / "home"
    prove(place / "ridge", on=place / "data", how=Proof(), home=home)
    for i in range(6):
        process = start("promote", str(place / "ridge"), "--home", str(home))
        time.sleep(0.15 * (i + 1))
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        kept = Home(home).current("production")
        assert kept is None or verify_artifact(kept).kind == "policy"
    assert start("promote", str(place / "ridge"), "--home", str(home)).wait(60) == 0
    kept = Home(home).current("production")
    assert kept is not None and verify_artifact(kept).id == verify_artifact(place / "ridge").id


def test_a_full_disk_is_an_error_that_says_so_and_leaves_nothing(place: Path, tmp_path: Path) -> None:
    """On a file system of 256 KiB ingest fails with a message, exit code 1, and no artifact; elsewhere it succeeds."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    try:
        code = "import sys; from understudy.cli import main; sys.exit(main(sys.argv[1:]))"
        raw = [str(place / "raw" / name) for name in ("decisions.jsonl", "outcomes.jsonl")]
        rest = ["--problem", str(place / "problem.yaml"), "--home", str(tmp_path / "home")]
        full = subprocess.run([sys.executable, "-c", code, "ingest", *raw, *rest, "--to", str(small / "logs")],
                              capture_output=True, text=True, timeout=60)  # fmt: skip
        assert full.returncode == 1 and "Error" in full.stderr and "Traceback" not in full.stderr
        assert not (small / "logs").exists() and not list(small.glob("*"))
    finally:
        subprocess.run(["umount", str(small)], check=True)
    command = ["ingest", *raw, *rest, "--to", str(tmp_path / "logs")]
    assert start(*command).wait(60) == 0
