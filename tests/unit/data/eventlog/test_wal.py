"""What a crash leaves behind the last commit, counted to the byte."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3

import pytest

from understudy.data.eventlog import Record, open_event_log
from understudy.data.eventlog.wal import torn_bytes


def killed(folder, commits: int, body: bytes = b"x" * 300) -> list[int]:
    """Let a process write and be killed. Returns the size of its write-ahead log after each commit."""
    out, back = os.pipe()
    child = os.fork()
    if not child:
        log = open_event_log(folder)
        for i in range(commits):
            log.append([Record("decision", f"d{i}", body)])
            os.write(back, b"%d\n" % os.path.getsize(folder / "worker-0.db-wal"))
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(back)
    with os.fdopen(out) as told:
        sizes = [int(line) for line in told]
    os.waitpid(child, 0)
    return sizes


def keys(log) -> list[str]:
    return [entry.key for entry in log.read({}, 10**6)[0]]


@pytest.mark.parametrize("tail", [b"\x00", b"garbage" * 999, bytes(24), bytes(4120), bytes(range(256)) * 70])
def test_a_torn_tail_is_cut_off_and_counted(tmp_path, tail):
    """Whatever stands behind the last commit is counted and gone; what was committed stays."""
    killed(tmp_path, 5)
    with (tmp_path / "worker-0.db-wal").open("ab") as wal:
        wal.write(tail)
    log = open_event_log(tmp_path)
    assert log.counts()["torn_bytes"] == len(tail)
    assert keys(log) == [f"d{i}" for i in range(5)]
    assert (tmp_path / "worker-0.db-wal").stat().st_size == 0
    assert log.append([Record("decision", "next", b"{}")]) == [None]
    log.close()
    again = open_event_log(tmp_path)
    assert again.counts()["torn_bytes"] == 0
    again.close()


def test_half_a_commit_is_no_commit(tmp_path):
    """Cut anywhere, the log keeps exactly the commits that lie before the cut, as SQLite's own recovery does."""
    sizes = killed(tmp_path / "whole", 6)
    wal = tmp_path / "whole" / "worker-0.db-wal"
    for cut in sorted({n + more for n in sizes[:-1] for more in (0, 1, 23, 24, 4119, 4121)}):
        folder = tmp_path / f"cut-{cut}"
        shutil.copytree(tmp_path / "whole", folder)
        os.truncate(folder / "worker-0.db-wal", cut)
        kept = sum(size <= cut for size in sizes)
        assert torn_bytes(folder / "worker-0.db-wal") == cut - sizes[kept - 1]
        log = open_event_log(folder)
        assert keys(log) == [f"d{i}" for i in range(kept)]
        log.close()
    assert torn_bytes(wal) == 0


def test_a_flipped_bit_ends_the_log_there(tmp_path):
    """The checksums are SQLite's: every frame from the damaged commit on counts as torn, and is gone after opening."""
    sizes = killed(tmp_path, 6)
    wal = tmp_path / "worker-0.db-wal"
    body = bytearray(wal.read_bytes())
    body[sizes[2] + 100] ^= 1
    wal.write_bytes(body)
    assert torn_bytes(wal) == sizes[-1] - sizes[2]
    log = open_event_log(tmp_path)
    assert keys(log) == ["d0", "d1", "d2"]
    log.close()


def test_frames_of_an_earlier_pass_are_not_torn(tmp_path):
    """SQLite writes over its log from the start again; what then stands behind the last commit is no fault."""
    sizes = killed(tmp_path, 120, b"x" * 60_000)
    wal = tmp_path / "worker-0.db-wal"
    assert sizes[-1] == max(sizes) == sizes[-2]  # it was written over: the file no longer grows
    assert torn_bytes(wal) == 0
    with wal.open("ab") as file:
        file.write(b"rest")
    assert torn_bytes(wal) == 4
    log = open_event_log(tmp_path)
    assert len(keys(log)) == 120
    log.close()


def test_a_header_that_is_none(tmp_path):
    """No file and an empty one hold nothing; a file too short or with a wrong header is torn as a whole."""
    path = tmp_path / "x-wal"
    assert torn_bytes(path) == 0
    for body in (b"", b"short", bytes(32), bytes(5_000)):
        path.write_bytes(body)
        assert torn_bytes(path) == len(body)


def test_it_reads_the_logs_of_sqlite_itself(tmp_path):
    """Another page size, another writer: whole logs have no torn byte."""
    db = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    for pragma in ("page_size = 1024", "journal_mode = WAL"):
        db.execute(f"PRAGMA {pragma}")
    db.execute("CREATE TABLE t (x)")
    for i in range(50):
        db.execute("INSERT INTO t VALUES (?)", (os.urandom(i * 50),))
    assert torn_bytes(tmp_path / "x.db-wal") == 0
    db.close()
