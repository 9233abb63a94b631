"""Fetching a public data set once, into a cache, and believing it only by its checksum."""

from __future__ import annotations

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from understudy.core.errors import StoreError
from understudy.envs.lzw import MAGIC, decompress

SHA256 = "87b24ee9fb5137e1d417659cf905d84d0e15342bbaa60770f1ae83da1a38200a"
_EXAMPLES = "https://raw.githubusercontent.com/aws/amazon-sagemaker-examples/2d519b52c3a2c2361f2b87f0d3de46fd6c0232a5"
SOURCES = (
    "https://archive.ics.uci.edu/ml/machine-learning-databases/statlog/shuttle/shuttle.trn.Z",
    f"{_EXAMPLES}/%20archived/bandits_statlog_vw_customEnv/sim_app/shuttle.trn",
)
LIMIT = 8 << 20  # bytes; the file has 1.2 million
TIMEOUT = 20.0  # seconds per source


def shuttle_file(cache: Path, sources: Sequence[str] = SOURCES, sha256: str = SHA256) -> Path:
    """The path of ``shuttle.trn`` in the cache, fetched if it is not there yet.

    Raises: StoreError, naming what each source answered, if none gives the file with this checksum.
    """
    file = cache / "shuttle.trn"
    if file.is_file() and _sha(file.read_bytes()) == sha256:
        return file
    answers = []
    for url in sources:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as reply:
                raw = reply.read(LIMIT + 1)
            if len(raw) > LIMIT:
                raise ValueError(f"more than {LIMIT} bytes")
            body = decompress(raw, LIMIT) if raw.startswith(MAGIC) else raw
        except (urllib.error.URLError, OSError, ValueError) as error:
            answers.append(f"{url}: {error}")
            continue
        if _sha(body) == sha256:
            return _keep(file, body)
        answers.append(f"{url}: another file (sha256 {_sha(body)[:12]}…)")
    raise StoreError(
        f"Statlog Shuttle could not be fetched; {'; '.join(answers)}",
        "Without the file there is no such world.",
        "Fetch shuttle.trn elsewhere and give its path: shuttle(path=…). The digits need no network.",
    )


def _sha(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _keep(file: Path, body: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent)
    with os.fdopen(handle, "wb") as out:
        out.write(body)
    os.replace(temporary, file)
    return file
