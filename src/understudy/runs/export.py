"""A policy artifact as one ONNX file, whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from understudy.core.errors import ConfigError, StoreError
from understudy.models.onnx.export import OPSET, to_onnx
from understudy.models.policy_file import read_policy, write_file
from understudy.runs.incumbent import locate


@dataclass(frozen=True)
class Exported:
    """Where the file lies and what it holds."""

    path: Path
    policy_id: str
    size: int
    opset: int = OPSET


def export(policy: str | Path, *, to: str | Path, home: str | Path, replace: bool = False) -> Exported:
    """Write the policy (a folder, an id or an alias) as ``to``, which ends in .onnx. The same policy, the same bytes.

    Raises: ConfigError for a policy that cannot be exported; StoreError if ``to`` holds something else.
    """
    to = Path(to)
    if to.suffix != ".onnx":
        raise ConfigError(f"{to} does not end in .onnx", hint="That is the one format of export.", field="to")
    folder, policy_id = locate(str(policy), home)
    held = read_policy(folder)
    raw = to_onnx(held.policy, held.problem, policy_id)
    if to.exists() and not replace and to.read_bytes() != raw:
        raise StoreError(
            f"{to} already holds something else", "Somebody may be serving it.",
            "Give another name, or say --replace.", field="to",
        )  # fmt: skip
    to.parent.mkdir(parents=True, exist_ok=True)
    write_file(to, raw)
    return Exported(to, policy_id, len(raw))


def is_study(path: str) -> bool:
    """Whether the path is a study folder, which is exported as figures."""
    return (Path(path) / "study.json").exists()


def nested(study: str, to: str | Path) -> Path:
    """The finished runs of a study as one nested JSON; see ``sweep.nested``."""
    from understudy.runs.sweep.nested import write_nested
    from understudy.runs.sweep.study import open_study

    return write_nested(open_study(study), Path(to))
