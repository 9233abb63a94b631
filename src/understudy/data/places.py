"""Artifacts elsewhere: ``s3://bucket/prefix`` wherever a folder may stand, through a local copy that is checked.

There an artifact is ``manifest.json`` and ``files/<sha256>/<path>``. Files lie under the hash of what they hold, so
two writers never touch the same one differently, and what a killed upload leaves is nobody's. The manifest comes last
and only if there is none: whoever finishes first has made the artifact.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from understudy.core.errors import StoreError
from understudy.core.manifest import Manifest
from understudy.core.protocols import Store
from understudy.data.artifact import MANIFEST, begin, decode_manifest, verify_artifact
from understudy.data.store import Absent, check_key, open_store, remote

FETCHED = Path(".understudy/fetched")  # where nobody says another home
SHARED = ("study.json", "best.json")  # a place with one of these is no artifact: many write to it (``data.mirror``)
_CHUNK = 1 << 20
_SPOKEN: dict[str, str] = {}  # local folder → the place it stands for, in whatever is printed or recorded


def spoken(text: str) -> str:
    """A text with the places themselves instead of their local copies."""
    for local in sorted(_SPOKEN, key=len, reverse=True):
        text = text.replace(local, _SPOKEN[local])
    return text


def stand_for(local: Path, url: str) -> None:
    """From now on a local path is called by its place."""
    _SPOKEN[str(local)] = url


def standing(place: str | Path) -> Manifest | None:
    """The manifest of the artifact at a place; None if none is there, or none is finished."""
    body = _manifest(open_store(place))
    return None if body is None else decode_manifest(body, f"{place}/{MANIFEST}")


def here(place: str | Path) -> Path:
    """A folder as it stands, or the local copy of an artifact that lies elsewhere."""
    return fetch(place, FETCHED) if remote(place) else Path(place)


def fetch(place: str | Path, cache: Path) -> Path:
    """The local copy of an artifact, in ``cache/<id>/<name>``, every file checked against its manifest.

    Raises: StoreError if there is no finished artifact, or it is damaged.
    """
    url = remote(place)
    body, manifest = _finished(url)
    folder = cache.absolute() / manifest.id / url.rpartition("/")[2]
    stand_for(folder, url)
    if not _intact(folder):
        _bring(open_store(url), manifest, body, folder)
    return folder


def fetch_into(place: str | Path, folder: Path) -> None:
    """An artifact's files, checked against its manifest, as ``folder``, which another process may make meanwhile."""
    url = remote(place)
    body, manifest = _finished(url)
    _bring(open_store(url), manifest, body, folder)


def _finished(url: str) -> tuple[bytes, Manifest]:
    body = _manifest(open_store(url))
    if body is None:
        raise StoreError(
            f"{url} is not an artifact: it has no {MANIFEST}",
            "Only a finished artifact has one; it is written last.",
            "Check the place, or make the artifact again.",
            field=url,
        )
    return body, decode_manifest(body, f"{url}/{MANIFEST}")


def cached(cache: Path, id: str) -> Path | None:
    """A local copy that was fetched before, whatever it was called."""
    return next((path.parent for path in sorted((cache.absolute() / id).glob(f"*/{MANIFEST}"))), None)


def publish(path: Path, place: str | Path) -> Manifest | None:
    """Bring an artifact's folder to a place; or a file; or a folder of such things, one by one.

    Returns: the manifest of the artifact that stands there now: this one, or one that somebody made from the same
    inputs and finished first. None for what is no artifact.

    Raises: StoreError if something else is there: nothing is overwritten.
    """
    url = remote(place)
    if (path / MANIFEST).exists():
        return _publish_artifact(path, url)
    if path.is_dir():
        for child in sorted(path.iterdir()):
            publish(child, f"{url}/{child.name}")
        return None
    parent, _, name = url.rpartition("/")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    _deposit(open_store(parent), name, path, digest)
    return None


def _publish_artifact(folder: Path, url: str) -> Manifest:
    manifest, store = verify_artifact(folder), open_store(url)
    found, refused = standing(url), None
    if found is None:
        for name, digest in manifest.files.items():
            _deposit(store, _key(name, digest), folder / name, digest)
        try:
            store.put(MANIFEST, io.BytesIO((folder / MANIFEST).read_bytes()))
        except StoreError as error:  # taken since, or taken by this very put, whose answer was lost; or a real fault
            refused = error
        found = standing(url)  # read back: a server that ignores conditions may have let another pass
        if found is None:
            raise refused or StoreError(f"{url}/{MANIFEST} was written and is not there", field=url)
    if found.recipe != manifest.recipe:
        raise StoreError(
            f"{url} already holds another {found.kind} ({found.id})",
            "Writing over it would break the lineage of everything made from it.",
            "Give another place, or delete this one first.",
            field=url,
        )
    return found


@dataclass
class Errand:
    """Stand-ins for the places of one command: what it reads is fetched, what it writes is brought there at the end."""

    cache: Path
    _rooms: list[tuple[Path, str]] = field(default_factory=list)  # (folder, what it stands for)
    _scratch: Path | None = None

    def read(self, place: str | Path) -> str:
        """The local path of an artifact (with ``@7``: its epoch 7) or of one object. Raises: StoreError if absent."""
        url, at = re.fullmatch(r"(.+?)(@\d+|@all)?", remote(place)).groups()  # pyright: ignore[reportOptionalMemberAccess]
        if standing(url) is not None:
            return f"{fetch(url, self.cache)}{at or ''}"
        if any(_held_there(url, name) for name in SHARED):
            return str(_mirrored(url, self.cache))
        return str(self._object(remote(place), self._room(url)))

    def share(self, place: str | Path) -> str:
        """The folder that stands for a place where many write. Raises: StoreError if nothing could be written there."""
        getattr(open_store(remote(place)), "check", lambda: None)()
        return str(_mirrored(place, self.cache))

    def write(self, place: str | Path) -> str:
        """Where to write what shall be brought to a place. Raises: StoreError if nothing could be written there."""
        url = remote(place)
        parent, _, name = url.rpartition("/")
        if parent.endswith("/"):
            raise StoreError(f"{url} is a whole bucket", hint="Give a place in it: s3://BUCKET/PREFIX", field=url)
        getattr(open_store(url), "check", lambda: None)()  # before the work, not after it
        room = self._room(url)
        if standing(url) is not None:
            shutil.copytree(fetch(url, self.cache), room / name)
        else:
            self._object(url, room, may_be_absent=True)
        self._rooms.append((room, parent))
        return str(room / name)

    def finish(self) -> None:
        """Bring everything that was written to its place. Raises: StoreError if something else is there by now."""
        while self._rooms:
            room, parent = self._rooms[0]
            for path in sorted(path for path in room.iterdir() if not path.name.startswith(".")):
                made = publish(path, f"{parent}/{path.name}")
                if made is not None and made == _held(path):
                    self._keep(path, made, f"{parent}/{path.name}")
            self._rooms.pop(0)

    def close(self) -> None:
        """Remove what was not worth keeping."""
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _room(self, url: str) -> Path:
        self._scratch = self._scratch or begin(self.cache.absolute() / "errand")
        room = self._scratch / str(len(list(self._scratch.iterdir())))
        room.mkdir()
        stand_for(room, url.rpartition("/")[0])
        return room

    def _object(self, url: str, room: Path, *, may_be_absent: bool = False) -> Path:
        parent, _, name = url.rpartition("/")
        path = room / name
        try:
            with open_store(parent).open(name) as source, path.open("wb") as file:
                shutil.copyfileobj(source, file, _CHUNK)
        except Absent:
            if not may_be_absent:
                raise StoreError(
                    f"{url} is neither an artifact nor an object",
                    f"An artifact has a {MANIFEST}, which is written last.",
                    "Check the place; a folder that is no artifact is read file by file.",
                    field=url,
                ) from None
        return path

    def _keep(self, path: Path, manifest: Manifest, url: str) -> None:
        """What was just made need not be fetched by the next command."""
        kept = self.cache.absolute() / manifest.id / path.name
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            os.rename(path, kept)
            stand_for(kept, url)


def _key(name: str, digest: str) -> str:
    return f"files/{digest}/{name}"


def _held(path: Path) -> Manifest | None:
    file = path / MANIFEST
    return decode_manifest(file.read_bytes(), str(file)) if file.exists() else None


def _mirrored(place: str | Path, cache: Path) -> Path:
    from understudy.data.mirror import mirrored  # which builds upon this module

    return mirrored(place, cache)


def _held_there(url: str, key: str) -> bool:
    try:
        open_store(url).open(key).close()
    except Absent:
        return False
    return True


def _manifest(store: Store) -> bytes | None:
    try:
        with store.open(MANIFEST) as file:
            return file.read()
    except Absent:
        return None


def _intact(folder: Path) -> bool:
    """Whether the copy is whole; a damaged one is removed, to be fetched again."""
    if not (folder / MANIFEST).exists():
        return False
    try:
        verify_artifact(folder)
    except StoreError:
        shutil.rmtree(folder)
        return False
    return True


def _bring(store: Store, manifest: Manifest, body: bytes, folder: Path) -> None:
    partial = begin(folder)
    try:
        for name, digest in manifest.files.items():
            check_key(name)  # a manifest from elsewhere must not name a file outside of the folder
            path = partial / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with _open_file(store, name, digest) as source, path.open("wb") as file:
                if _copy(source, file) != digest:
                    raise StoreError(
                        f"{spoken(str(folder))}: {name} was changed after it was stored",
                        f"Artifact {manifest.id} no longer is what its manifest says, so nothing may be made from it.",
                        "Make the artifact again from its parents.",
                        field=name,
                    )
        (partial / MANIFEST).write_bytes(body)
        with suppress(OSError):  # another process may have been faster
            os.rename(partial, folder)
        if not (folder / MANIFEST).exists():
            raise StoreError(f"{folder} is in use and holds no artifact", hint="Delete it: it is only a copy.")
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _open_file(store: Store, name: str, digest: str) -> BinaryIO:
    """Under its hash; or by its name, where somebody copied the folder as it stands on a disk."""
    try:
        return store.open(_key(name, digest))
    except Absent:
        return store.open(name)


def _copy(source: BinaryIO, file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        file.write(chunk)
    return digest.hexdigest()


def _deposit(store: Store, key: str, path: Path, digest: str) -> None:
    """Put a file; that the same bytes are there already is as good."""
    try:
        with path.open("rb") as file:
            store.put(key, file)
    except StoreError as refused:
        try:
            with store.open(key) as there, open(os.devnull, "wb") as nowhere:
                same = _copy(there, nowhere) == digest
        except StoreError:
            raise refused from None
        if not same:
            raise
