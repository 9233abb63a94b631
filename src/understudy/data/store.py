"""Bytes by key, whole or absent: the local directory behind the Store protocol, and content addresses on any store."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from understudy.core.errors import StoreError
from understudy.core.protocols import Store
from understudy.core.registry import find, table
from understudy.data.artifact import sync_folder

# By the scheme of a place, scheme://…; without one it is a local directory.
STORES = {
    "file": "understudy.data.store:LocalStore",
    "s3": "understudy.data.objects:ObjectStore",
}


class Absent(StoreError):
    """There is no such key."""


_LONGEST = 255  # bytes in one part of a key: what common file systems allow in a name
_SCRATCH = ".scratch"  # where a body is written before it has a name; keys may not start a part with a dot


@dataclass(frozen=True)
class LocalStore:
    """A directory as a Store. Safe for concurrent writers on one machine: the first ``put`` of a key wins.

    A body is written to a scratch file, flushed to the disk, and only then linked under its key; the directory is
    flushed before ``put`` returns. A reader therefore sees all of it or nothing, also after a crash.
    """

    root: Path

    def open(self, key: str) -> BinaryIO:
        """A stream of the key's bytes. Raises: Absent if there is no such key."""
        path = self._path(key)
        try:
            return path.open("rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise Absent(f"nothing is stored under {key!r} in {self.root}", field=key) from error

    def put(self, key: str, body: BinaryIO) -> None:
        """Store all of ``body`` under a new key. Raises: StoreError if the key is taken; nothing is overwritten."""
        path = self._path(key)
        scratch = self.root / _SCRATCH
        try:
            scratch.mkdir(parents=True, exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise StoreError(f"part of the key {key!r} is itself a stored key in {self.root}", field=key) from error
        handle, name = tempfile.mkstemp(dir=scratch)
        try:
            with os.fdopen(handle, "wb") as file:
                shutil.copyfileobj(body, file, 1 << 20)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o444)
            os.link(name, path)  # unlike a rename, a link never replaces what is there
        except FileExistsError as error:
            raise StoreError(
                f"{key!r} is already stored in {self.root}",
                "What is stored never changes, so that whatever refers to it stays true.",
                "Store under another key, or address it by its content.",
                field=key,
            ) from error
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
        self._settle(path.parent)

    def list(self, prefix: str) -> Iterator[str]:
        """All keys that start with ``prefix``, in order of their text."""
        keys = []
        for folder, inner, files in os.walk(self.root):
            inner[:] = [name for name in inner if not name.startswith(".")]
            relative = Path(folder).relative_to(self.root)
            keys += [(relative / name).as_posix() for name in files if not name.startswith(".")]
        return iter(sorted(key for key in keys if key.startswith(prefix)))

    def _path(self, key: str) -> Path:
        check_key(key)
        path = self.root / key
        root = self.root.resolve()
        if not path.parent.resolve().is_relative_to(root):  # a link inside the directory may lead out of it
            raise StoreError(f"the key {key!r} leads out of {self.root}", field=key)
        return path

    def _settle(self, folder: Path) -> None:
        """Flush the directories from the new name up to the root: a name that is not flushed can be lost."""
        while True:
            sync_folder(folder)
            if folder == self.root:
                return
            folder = folder.parent


def remote(place: object) -> str:
    """The place as ``scheme://rest`` if a store other than the local directory holds it, else "".

    A ``Path`` of it, which has lost a slash, is still understood.

    >>> remote("s3://bucket/data"), remote(Path("s3://bucket/data")), remote("data")
    ('s3://bucket/data', 's3://bucket/data', '')
    """
    scheme, colon, rest = str(place).partition(":/")
    if not colon or not scheme.isidentifier() or scheme == "file" or scheme not in table("stores"):
        return ""
    return f"{scheme}://{rest.strip('/')}"


def open_store(place: str | Path) -> Store:
    """The store behind a place: a directory, or ``s3://bucket/prefix``. Raises: ConfigError if an extra is missing."""
    url = remote(place)
    return find("stores", url.partition(":")[0])(url) if url else LocalStore(Path(place))


def check_key(key: str) -> None:
    """Raise StoreError unless ``key`` is a relative path with ``/`` that stays where it is put."""
    parts = key.split("/")
    plain = all(part and not part.startswith(".") and len(part.encode()) <= _LONGEST for part in parts)
    if not plain or "\\" in key or any(ord(letter) < 32 or ord(letter) == 127 for letter in key):
        raise StoreError(
            f"{key[:80]!r} is not a key",
            "It could name a file outside the store, or none that every file system can hold.",
            "Use a relative path with /, no part empty, none starting with a dot, none longer than 255 bytes.",
            field=key[:80],
        )


def put_content(store: Store, body: bytes, prefix: str = "sha256") -> str:
    """Store bytes under the hash of their content and return the key; storing equal bytes again changes nothing.

    >>> import tempfile, pathlib
    >>> put_content(LocalStore(pathlib.Path(tempfile.mkdtemp())), b"")[:17]
    'sha256/e3/b0c4429'
    """
    import io

    digest = hashlib.sha256(body).hexdigest()
    key = f"{prefix}/{digest[:2]}/{digest[2:]}"
    try:
        store.put(key, io.BytesIO(body))
    except StoreError:
        get_content(store, key)  # taken by the same bytes: fine; by others: an error that says so
    return key


def get_content(store: Store, key: str) -> bytes:
    """The bytes behind a content address. Raises: StoreError if they are absent, or no longer what they were."""
    with store.open(key) as file:
        body = file.read()
    if "".join(key.split("/")[-2:]) != hashlib.sha256(body).hexdigest():
        raise StoreError(
            f"{key!r} holds {len(body)} bytes that do not hash to its name",
            "It was damaged or replaced after it was stored, so nothing made from it can be trusted.",
            "Restore it from a copy, or make the artifact again.",
            field=key,
        )
    return body
