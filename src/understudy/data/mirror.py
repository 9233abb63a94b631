"""A folder on this machine that stands for a place where many write: small files put once, artifacts that come whole.

What is there decides; what is here is a copy, fetched when it is asked for. Nothing there is ever changed, so a copy
once fetched stays right for as long as its key is listed.
"""

from __future__ import annotations

import io
import os
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from understudy.core.errors import StoreError
from understudy.core.hashing import content_id
from understudy.core.protocols import Store
from understudy.data.artifact import MANIFEST
from understudy.data.places import SHARED, fetch_into, publish, stand_for
from understudy.data.store import Absent, open_store, remote

_MIRRORS: dict[str, str] = {}  # folder → place, of this process


@dataclass(frozen=True)
class Mirror:
    """``folder`` here for ``url`` there."""

    folder: Path
    url: str

    @cached_property
    def store(self) -> Store:
        return open_store(self.url)

    def keys(self, prefix: str) -> list[str]:
        """What is there below ``prefix``, now also here: files as they are, an artifact once its manifest is there."""
        there = list(self.store.list(prefix))
        whole = {key.removesuffix(f"/{MANIFEST}") for key in there if key.endswith(f"/{MANIFEST}")}
        for place in whole:
            if not (self.folder / place / MANIFEST).exists():
                fetch_into(f"{self.url}/{place}", self.folder / place)
        files = [key for key in there if "/files/" not in key and not key.endswith(f"/{MANIFEST}")]
        for key in files:
            if not (self.folder / key).exists():
                self._bring(key)
        return sorted([*whole, *files])

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        try:
            self.store.open(key).close()
        except Absent:
            return False
        return True

    def renew(self, *keys: str) -> None:
        """These files as they are there now; gone here if they are gone there."""
        for key in keys:
            try:
                self._bring(key)
            except Absent:
                (self.folder / key).unlink(missing_ok=True)

    def put(self, key: str, body: bytes) -> bool:
        """Put a file there and here. Returns: False if somebody else's is there; it is then here too."""
        try:
            self.store.put(key, io.BytesIO(body))
        except StoreError:
            try:
                self._bring(key)
            except Absent:
                pass
            else:
                return (self.folder / key).read_bytes() == body
            raise
        self._write(key, body)
        return True

    def deliver(self, key: str) -> None:
        """Bring an artifact that was made here to its place; one from the same inputs that is there already stands."""
        publish(self.folder / key, f"{self.url}/{key}")

    def _bring(self, key: str) -> None:
        with self.store.open(key) as file:
            self._write(key, file.read())

    def _write(self, key: str, body: bytes) -> None:
        """Whole or not at all: other processes read this folder."""
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        partial.write_bytes(body)
        os.replace(partial, path)


def mirrored(place: str | Path, cache: Path) -> Path:
    """The folder that stands for a place, the same one for every process of this machine that uses this cache."""
    url = remote(place)
    folder = cache.absolute() / "places" / content_id(url.encode()) / url.rpartition("/")[2]
    folder.mkdir(parents=True, exist_ok=True)
    Mirror(folder, url).renew(*SHARED)
    _MIRRORS[str(folder)] = url
    stand_for(folder, url)
    return folder


def mirror_of(folder: Path) -> Mirror | None:
    """What a folder, or one it lies in, stands for; None if it is only itself."""
    whole = folder.absolute()
    for above in (whole, *whole.parents):
        if url := _MIRRORS.get(str(above)):
            return Mirror(whole, "/".join([url, *whole.relative_to(above).parts]))
    return None
