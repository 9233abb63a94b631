"""What can go wrong, in one shape: what is wrong, why it matters, what to do next."""

from __future__ import annotations


class UnderstudyError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        what: the fault, with the number of offenders and the first of them.
        why: the consequence, had it been let through.
        hint: the next step, a command where there is one.
        field: the offending field or key, for machines (HTTP, ``--json``).
    """

    kind = "error"

    def __init__(self, what: str, why: str = "", hint: str = "", *, field: str = "") -> None:
        self.what, self.why, self.hint, self.field = what, why, hint, field
        super().__init__(what)

    def __str__(self) -> str:
        return "\n  ".join(part for part in (self.what, self.why, self.hint) if part)

    def as_dict(self) -> dict[str, dict[str, str]]:
        """The one error shape that HTTP and ``--json`` speak."""
        message = f"{self.what.rstrip('.')}. {self.why}" if self.why else self.what
        return {"error": {"kind": self.kind, "message": message, "hint": self.hint, "field": self.field}}


class ConfigError(UnderstudyError):
    """A setting is unknown, malformed or contradicts another."""

    kind = "config"


class DataError(UnderstudyError):
    """The data break a rule that estimates rely on."""

    kind = "data"


class EvidenceError(UnderstudyError):
    """The data are sound but cannot support the claim that was asked for."""

    kind = "evidence"


class StoreError(UnderstudyError):
    """An artifact is missing, damaged, or would be overwritten."""

    kind = "store"


class ExecutorError(UnderstudyError):
    """A job could not be submitted, or ended without its result."""

    kind = "executor"
