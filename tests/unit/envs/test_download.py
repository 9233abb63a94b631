"""Fetching Shuttle: into a cache, once, and only the right file; .Z files as the Unix tools write them."""

import hashlib
import http.server
import random
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from understudy.core.errors import StoreError
from understudy.envs.download import shuttle_file
from understudy.envs.lzw import decompress

PLAIN = ("".join(random.Random(0).choices("0123456789 \n", k=60_000))).encode()
SHA = hashlib.sha256(PLAIN).hexdigest()


def compressed(data: bytes, bits: int = 16) -> bytes:
    """What ``compress -b bits`` writes: codes of growing width, in groups of eight."""
    out, pending, width, count = bytearray(b"\x1f\x9d" + bytes([0x80 | bits])), 0, 9, 0
    table, word = {bytes([i]): i for i in range(256)}, b""
    used = 0

    def emit(code: int) -> None:
        nonlocal pending, used, count
        pending |= code << used
        used += width
        count += 1
        if count % 8 == 0:
            flush()

    def flush() -> None:
        nonlocal pending, used
        out.extend(pending.to_bytes((used + 7) // 8, "little"))
        pending = used = 0

    for i in range(len(data)):
        longer = word + data[i : i + 1]
        if longer in table:
            word = longer
            continue
        emit(table[word])
        if len(table) + 1 < 1 << bits:
            table[longer] = len(table) + 1  # 256 is the clear code
            if len(table) + 1 > 1 << width and width < bits:
                while count % 8:
                    emit(0)
                width += 1
        word = data[i : i + 1]
    if word:
        emit(table[word])
    flush()
    return bytes(out)


SAMPLES = {"nothing": b"", "one": b"a", "runs": b"a" * 10_000, "text": PLAIN}


@pytest.mark.parametrize("bits", [9, 12, 16])
@pytest.mark.parametrize("name", SAMPLES)
def test_z_files_are_read(name: str, bits: int) -> None:
    """Every width of code, and words that are used before they are complete."""
    assert decompress(compressed(SAMPLES[name], bits), 1 << 20) == SAMPLES[name]


@pytest.mark.skipif(shutil.which("gzip") is None, reason="no gzip here")
def test_our_z_files_are_what_unix_reads() -> None:
    """The samples above are no private dialect."""
    assert subprocess.run(["gzip", "-dc"], input=compressed(PLAIN), capture_output=True, check=True).stdout == PLAIN


@pytest.mark.parametrize(
    "raw", [b"", b"\x1f\x9d", b"PK\x03\x04", b"\x1f\x9d\x9f" + b"a" * 9, b"\x1f\x9d\x90\xff\xff\xff"]
)
def test_damaged_z_files_are_refused(raw: bytes) -> None:
    """Not the format, impossible widths, codes before they are defined."""
    with pytest.raises(ValueError, match=r"\.Z"):
        decompress(raw, 1 << 20)


def test_a_z_file_cannot_grow_without_end() -> None:
    """A bomb is stopped at the limit."""
    with pytest.raises(ValueError, match="beyond"):
        decompress(compressed(b"a" * 100_000), 10_000)


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = {"/plain": PLAIN, "/z": compressed(PLAIN), "/other": b"hello"}.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *args: object) -> None: ...

    here = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=here.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{here.server_port}", asked
    here.shutdown()


def test_it_is_fetched_once_and_believed_by_its_checksum(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    """A missing source, a wrong file, then the right one compressed; the second time nobody is asked."""
    base, asked = server
    sources = [f"{base}/gone", f"{base}/other", f"{base}/z"]
    file = shuttle_file(tmp_path / "cache", sources, SHA)
    assert file.read_bytes() == PLAIN and asked == ["/gone", "/other", "/z"]
    assert shuttle_file(tmp_path / "cache", sources, SHA) == file and len(asked) == 3


def test_a_damaged_cache_is_fetched_again(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    """What lies in the cache is checked too."""
    (tmp_path / "shuttle.trn").write_bytes(b"half")
    assert shuttle_file(tmp_path, [f"{server[0]}/plain"], SHA).read_bytes() == PLAIN


def test_offline_says_what_was_tried_and_what_to_do(tmp_path: Path) -> None:
    """No network: every source with its answer, and the way without one; nothing is left behind."""
    with pytest.raises(StoreError) as caught:
        shuttle_file(tmp_path / "cache", ["http://127.0.0.1:9/shuttle.trn"], SHA)
    assert "127.0.0.1:9" in caught.value.what and "path" in caught.value.hint
    assert not (tmp_path / "cache").exists()
