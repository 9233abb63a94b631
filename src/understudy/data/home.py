"""Where a user's record lies: the ledger, and copies of promoted policies that outlive their folders."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from understudy.core.errors import StoreError
from understudy.core.manifest import Manifest
from understudy.data.artifact import MANIFEST, read_manifest, verify_artifact, write_named
from understudy.data.ledger import Ledger
from understudy.data.places import cached, fetch, spoken
from understudy.data.store import remote

LOGGED = "logged"  # the policy behind the log, which acts until another is promoted


def now() -> int:
    """Microseconds since 1970 UTC. The one clock of the verbs; below them time is an argument."""
    return time.time_ns() // 1000


@dataclass(frozen=True)
class Home:
    """A folder with ``ledger.db``, ``policies/<id>/`` and ``log/<alias>/``; made when first written to."""

    folder: str | Path

    @cached_property
    def ledger(self) -> Ledger:
        """The append-only record: artifacts, looks, verdicts, promotions."""
        path = Path(self.folder)
        path.mkdir(parents=True, exist_ok=True)
        return Ledger(f"sqlite:///{(path / 'ledger.db').absolute()}")

    @property
    def exists(self) -> bool:
        """Whether anything was ever recorded here."""
        return (Path(self.folder) / "ledger.db").exists()

    def record(self, artifact: str | Path) -> Manifest:
        """Remember an artifact and where it lies, so that ``show`` can walk its lineage."""
        manifest = read_manifest(artifact)
        self.ledger.record_artifact(manifest, spoken(str(Path(artifact).absolute())), time=now())
        return manifest

    def known(self, id: str) -> Path | None:
        """Where an artifact lay when it was last recorded, or its local copy; None if the ledger never heard of it."""
        try:
            path = self.ledger.lineage(id)[0].path
        except StoreError:
            return None
        if path and remote(path):
            return cached(self.fetched, id) or fetch(path, self.fetched)
        return Path(path) if path else None

    @property
    def fetched(self) -> Path:
        """Local copies of artifacts that lie elsewhere, by their id: may be deleted at any time."""
        return Path(self.folder) / "fetched"

    def current(self, alias: str) -> Path | None:
        """The folder of the policy an alias points at; None if it is the log's own policy that acts."""
        if not self.exists:
            return None
        promotion = self.ledger.current(alias)
        return self.kept(promotion.policy) if promotion and promotion.policy != LOGGED else None

    def log(self, alias: str) -> Path:
        """Where the service under an alias writes its events, one file per worker."""
        return Path(self.folder) / "log" / alias

    def kept(self, policy_id: str) -> Path:
        """Where the copy of a promoted policy lies."""
        return Path(self.folder) / "policies" / policy_id

    def keep(self, artifact: str | Path) -> Path:
        """Copy a policy artifact under its id, verified, so that deleting its folder takes nothing out of service."""
        manifest = verify_artifact(artifact)
        kept = self.kept(manifest.id)
        if not (kept / MANIFEST).exists():
            partial = kept.with_name(f".{manifest.id}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(artifact, partial)
            partial.rename(kept)
        return kept

    def put(self, manifest_without_files: Manifest, files: Mapping[str, bytes]) -> Manifest:
        """Write a policy's files straight under its id, for a policy that never had a folder of its own."""
        return write_named(Path(self.folder) / "policies", manifest_without_files, files)
