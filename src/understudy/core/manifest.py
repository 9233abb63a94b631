"""What an artifact says about itself."""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.core.hashing import canonical, content_id


class Parent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An artifact this one was made from."""

    id: str
    kind: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Identity and lineage of an artifact: verdict ← estimates ← policy ← dataset ← log.

    ``id`` is the hash of everything else but ``code_version``, so equal content made twice has one id.
    """

    kind: str  # "log", "dataset", "policy", "estimates", "verdict", "report"
    problem_hash: str
    parents: tuple[Parent, ...] = ()
    config: dict[str, Any] = {}
    counts: dict[str, int] = {}
    seed: int | None = None
    code_version: str = ""
    files: dict[str, str] = {}  # relative path → sha256

    @property
    def id(self) -> str:
        return content_id(canonical(msgspec.structs.replace(self, code_version="")))

    @property
    def recipe(self) -> str:
        """Hash of what went in (not of what came out): equal recipes need not be run twice."""
        return content_id(canonical([self.kind, self.problem_hash, self.parents, self.config, self.seed]))
