"""kill -9, a full disk, a disk that errs: what was acknowledged is there, what was not is never said to be."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from understudy.core.errors import StoreError
from understudy.data.eventlog import GroupCommit, LogDown, LogFull, Record, open_event_log

BODY = b"x" * 700


def decision(key: str) -> Record:
    return Record("decision", key, BODY)


def keys(log) -> list[str]:
    return [entry.key for entry in log.read({}, 10**6)[0]]


def _serve(folder: Path, life: int, out: int) -> None:
    """Write in groups and say what was acknowledged, until somebody puts an end to it."""
    start = time.monotonic()
    log = open_event_log(folder)
    os.write(out, f"ready {time.monotonic() - start:.6f}\n".encode())
    group = GroupCommit(log)
    for i in range(10**9):
        names = [f"{life}-{i}-{j}" for j in range(8)]
        futures = [group.submit([decision(name)]) for name in names]
        for name, future in zip(names, futures):
            if future.result() == [None]:
                os.write(out, f"{name}\n".encode())


def test_twenty_kills_lose_nothing_that_was_acknowledged(tmp_path):
    """Killed at twenty random moments: every acknowledged event is there once, and it is back at once."""
    rng = np.random.default_rng(20)
    acknowledged, restarts = [], []
    for life in range(20):
        out, back = os.pipe()
        child = os.fork()
        if not child:
            _serve(tmp_path, life, back)
        os.close(back)
        with os.fdopen(out) as told:
            restarts.append(float(told.readline().split()[1]))
            time.sleep(rng.uniform(0.0, 0.08))
            os.kill(child, signal.SIGKILL)
            acknowledged += told.read().splitlines()
        os.waitpid(child, 0)
    log = open_event_log(tmp_path)
    found = keys(log)
    assert len(acknowledged) > 200
    assert set(acknowledged) <= set(found)
    assert len(found) == len(set(found))
    assert sorted(restarts)[10] < 2.0
    log.close()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of two megabytes that can really be full."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", place], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_said_and_recovered_from(small_disk):
    """LogFull while it is full, nothing acknowledged in vain; events are taken again once space returns."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    log = open_event_log(small_disk / "log")
    group = GroupCommit(log)
    acknowledged, refused = [], []
    for i in range(2_000):
        names = [f"{i}-{j}" for j in range(10)]
        try:
            group.submit([decision(name) for name in names]).result(10)
            acknowledged += names
        except LogFull:
            refused += names
        if len(refused) >= 200:
            break
    assert acknowledged and len(refused) >= 200
    assert not set(refused) & set(keys(log)) and set(acknowledged) <= set(keys(log))
    assert log.find("decision", acknowledged[0]) == BODY
    ballast.unlink()
    start = time.monotonic()
    while True:
        try:
            assert group.submit([decision("after")]).result(10) == [None]
            break
        except LogFull:
            time.sleep(0.05)
    assert time.monotonic() - start < 5
    assert group.submit([decision(name) for name in refused]).result(10) == [None] * len(refused)
    group.close()
    log.close()
    again = open_event_log(small_disk / "log")
    assert sorted(keys(again)) == sorted([*acknowledged, *refused, "after"])
    again.close()


WRITE = """
import sys
from understudy.core.errors import StoreError
from understudy.data.eventlog import Record, open_event_log
log = open_event_log(sys.argv[1])
for i in range(30):
    try:
        log.append([Record("decision", f"d{i}", b"x")])
        print("ok", f"d{i}", flush=True)
    except StoreError as error:
        print(error.kind, f"d{i}", flush=True)
"""


@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
def test_a_disk_that_errs_is_never_believed(tmp_path, call):
    """EIO from the disk, one call or several: refused as LogDown, opened anew, and what was acknowledged is there."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed, so no disk error can be injected")
    first = 40 if call == "pwrite64" else 14
    fault = f"inject={call}:error=EIO:when={first}..{first + 2}"
    trace = [strace, "-f", "-o", tmp_path / "trace", "-e", f"trace={call}", "-e", fault]
    command = [*trace, sys.executable, "-c", WRITE, tmp_path / "log"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "ptrace" in done.stderr.lower():
        pytest.skip(f"strace may not be used here: {done.stderr.strip()[:200]}")
    assert done.returncode == 0, done.stderr
    assert "INJECTED" in (tmp_path / "trace").read_text()
    said = [line.split() for line in done.stdout.splitlines()]
    kinds = [kind for kind, _ in said]
    assert "log_down" in kinds and set(kinds) == {"ok", "log_down"}
    assert kinds[-5:] == ["ok"] * 5
    log = open_event_log(tmp_path / "log")
    assert {key for kind, key in said if kind == "ok"} <= set(keys(log))
    log.close()


def test_a_folder_that_goes_away_is_down_and_comes_back(tmp_path):
    """A file that can no longer be opened: LogDown for as long as that lasts, and then on as before."""
    log = open_event_log(tmp_path / "log")
    log.append([decision("a")])
    with pytest.raises(StoreError):
        log.append([Record("decision", "b", object())])  # type: ignore[arg-type]  # fails, so the file is closed
    (tmp_path / "log").rename(tmp_path / "away")
    with pytest.raises(LogDown):
        log.append([decision("b")])
    (tmp_path / "away").rename(tmp_path / "log")
    assert log.append([decision("a"), decision("b")]) == [BODY, None]
    assert log.counts()["reopened"] == 1
    log.close()


def test_postgresql_that_is_stopped_is_down_and_comes_back(postgres_url):
    """Connections that the server cuts: LogDown once, and the next append goes through on a new one."""
    import sqlalchemy as sa

    log = open_event_log(postgres_url)
    log.append([decision("a")])
    engine = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as db:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
        db.execute(sa.text(cut + "pg_backend_pid()"))
    engine.dispose()
    with pytest.raises(LogDown):
        log.append([decision("b")])
    assert log.append([decision("a"), decision("b")]) == [BODY, None]
    assert log.counts()["failures"] == log.counts()["reopened"] == 1
    log.close()
