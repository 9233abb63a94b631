"""An artifact is a folder: files, and a ``manifest.json`` that names and hashes them. Whole or absent, never half."""

from __future__ import annotations

import glob
import hashlib
import os
import platform
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from understudy.core.errors import StoreError
from understudy.core.manifest import Manifest

MANIFEST = "manifest.json"
_HOST = re.sub(r"[^A-Za-z0-9]", "", platform.node()) or "host"

Fill = Callable[[Path], Mapping[str, int] | None]


def write_artifact(
    folder: str | Path, manifest_without_files: Manifest, fill: Fill, *, replace: bool = False
) -> Manifest:
    """Fill a hidden sibling folder, hash its files, write the manifest last, rename into place.

    Args:
        folder: where the artifact shall lie; its parents are made.
        manifest_without_files: what went in. Its ``recipe`` decides whether the work is already done.
        fill: writes the files into the folder it is given; may return counts, which go into the manifest.
        replace: put this artifact in the place of one made from another recipe.

    Raises:
        StoreError: the folder holds something else. Whatever ``fill`` raises passes through and nothing is left behind.
    """
    folder = Path(folder)
    done = _already(folder, manifest_without_files, replace)
    if done is not None:
        return done
    partial = begin(folder)
    try:
        counts = fill(partial)
        manifest = msgspec.structs.replace(
            manifest_without_files,
            files=_hash_files(partial),
            counts=dict(manifest_without_files.counts) | dict(counts or {}),
        )
        _write_durably(partial / MANIFEST, _encoded(manifest))
        _sync_folders(partial)
        done = _already(folder, manifest_without_files, replace)  # another process may have been faster
        if done is None:
            _move(partial, folder, replace)
            sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if done is not None:
        shutil.rmtree(partial, ignore_errors=True)
        return done
    return manifest


def write_named(parent: Path, manifest_without_files: Manifest, files: Mapping[str, bytes]) -> Manifest:
    """An artifact whose files are at hand, in a folder of ``parent`` called by its id; what is there already stays.

    Cheap enough for one artifact per event: every byte is written once and nothing is read back.
    """
    hashes = {name: hashlib.sha256(body).hexdigest() for name, body in sorted(files.items())}
    manifest = msgspec.structs.replace(manifest_without_files, files=hashes)
    folder = parent / manifest.id
    if (folder / MANIFEST).exists():
        return manifest
    parent.mkdir(parents=True, exist_ok=True)
    partial = parent / f".{manifest.id}.{_HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}.partial"
    partial.mkdir()
    try:
        for name, body in files.items():
            _write_durably(partial / name, body)
        _write_durably(partial / MANIFEST, _encoded(manifest))
        sync_folder(partial)
        with suppress(OSError):  # another process made the same one
            os.rename(partial, folder)
        sync_folder(parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    read_manifest(folder)
    return manifest


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of an artifact folder; StoreError if there is none or it is damaged."""
    path = Path(folder) / MANIFEST
    try:
        return decode_manifest(path.read_bytes(), str(path))
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(
            f"{folder} is not an artifact: it has no {MANIFEST}",
            "Only a finished artifact has one; it is written last.",
            "Check the path, or make the artifact again.",
            field=str(folder),
        ) from None


def decode_manifest(body: bytes, where: str) -> Manifest:
    """The manifest in these bytes, which lay at ``where``; StoreError if they are none."""
    try:
        return msgspec.json.decode(body, type=Manifest)
    except msgspec.MsgspecError as error:
        raise StoreError(f"{where} is damaged: {error}", hint="Make the artifact again.", field=where) from error


def verify_artifact(folder: str | Path) -> Manifest:
    """Hash every file again and compare with the manifest; StoreError names the first file that differs."""
    folder, manifest = Path(folder), read_manifest(folder)
    found = _hash_files(folder)
    found.pop(MANIFEST, None)
    for name in sorted(manifest.files.keys() | found.keys()):
        expected, actual = manifest.files.get(name), found.get(name)
        if expected != actual:
            state = "is missing" if actual is None else "is not in the manifest" if expected is None else "was changed"
            raise StoreError(
                f"{folder / name} {state}",
                f"Artifact {manifest.id} no longer is what its manifest says, so nothing made from it can be trusted.",
                "Make the artifact again from its parents.",
                field=name,
            )
    return manifest


def begin(folder: Path) -> Path:
    """A new hidden folder beside ``folder``, to be filled first; those that dead processes left there are removed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    partial = folder.parent / f".{folder.name}.{_HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}.partial"
    partial.mkdir()
    return partial


def _sweep(folder: Path) -> None:
    """Remove what processes of this machine that no longer live left half-written for the same artifact."""
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.{_HOST}-*.partial"):
        pid = left.name.split(f"{_HOST}-", 1)[1].split("-")[0]
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, so it lives
        return True
    return True


def _already(folder: Path, wanted: Manifest, replace: bool) -> Manifest | None:
    if not folder.exists():
        return None
    if folder.is_dir() and not any(folder.iterdir()):
        return None
    if (folder / MANIFEST).exists():
        found = read_manifest(folder)
        if found.recipe == wanted.recipe:
            return verify_artifact(folder)  # done, but only if it still is what it was
        what = f"{folder} already holds another {found.kind} ({found.id})"
    elif replace:  # something that is no artifact is never deleted, whatever was asked
        raise StoreError(f"{folder} holds files that are not an artifact", hint="Give another folder.")
    else:
        what = f"{folder} is in use and holds no artifact"
    if replace:
        return None
    raise StoreError(
        what,
        "Writing over it would break the lineage of everything made from it.",
        "Give another folder, or delete this one first (from Python: replace=True).",
        field=str(folder),
    )


def _move(partial: Path, folder: Path, replace: bool) -> None:
    aside = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}.old"
    if replace and folder.exists() and any(folder.iterdir()):
        os.rename(folder, aside)
    try:
        os.rename(partial, folder)
    except OSError as error:
        if aside.exists():
            os.rename(aside, folder)
        raise StoreError(
            f"{folder} appeared while it was being written", hint="Another process made it; look at what it holds."
        ) from error
    shutil.rmtree(aside, ignore_errors=True)


def _hash_files(folder: Path) -> dict[str, str]:
    """sha256 of every file below ``folder``, by relative path; each file is flushed to disk on the way."""
    hashes = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            hashes[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
    return hashes


def _encoded(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted")) + b"\n"


def _write_durably(path: Path, body: bytes) -> None:
    with path.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def _sync_folders(root: Path) -> None:
    for folder in [root, *(p for p in root.rglob("*") if p.is_dir())]:
        sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Move the names in a folder to the disk: one that is not flushed can be lost."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
