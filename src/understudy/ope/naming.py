"""Estimators by name: ``"dr"``, ``"dr(clip=20)"``; and the name that an estimator is reported under."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any

from understudy.core.errors import ConfigError
from understudy.core.protocols import Estimator
from understudy.core.registry import find, table, unknown

_CALL = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\((.*)\))?\s*")


def named(estimators: Sequence[str | Estimator]) -> tuple[tuple[str, Estimator], ...]:
    """(label, estimator) of each; names may carry hyper-parameters: ``"clipped_ips(clip=5)"``.

    Raises: ConfigError on no estimator, an unknown name or hyper-parameter, or one estimator twice.
    """
    if isinstance(estimators, str) or not estimators:
        raise ConfigError(f"give a list of estimators; got {estimators!r}", hint='For example ["snips", "dr"].')
    made = [parse(item) if isinstance(item, str) else item for item in estimators]
    labels = [label(estimator) for estimator in made]
    for name in labels:
        if labels.count(name) > 1:
            raise ConfigError(f"estimator {name} stands twice", field="estimators")
    return tuple(zip(labels, made))


def parse(text: str) -> Estimator:
    """The estimator that a text such as ``"switch_dr(tau=5)"`` names; inverse of ``label``."""
    found = _CALL.fullmatch(text)
    if not found:
        raise ConfigError(f"{text!r} names no estimator", hint='Write "dr" or "dr(clip=20)".', field="estimators")
    kind = find("estimators", found[1])
    known = [f.name for f in fields(kind)]
    settings: dict[str, Any] = {}
    for part in filter(None, (piece.strip() for piece in (found[2] or "").split(","))):
        key, _, value = (piece.strip() for piece in part.partition("="))
        if key not in known:
            raise unknown(f"setting of {found[1]}", key, known)
        number, default = _number(value, text), next(f.default for f in fields(kind) if f.name == key)
        settings[key] = type(default)(number) if isinstance(default, bool | int) else number
    return kind(**settings)


def label(estimator: Estimator) -> str:
    """Registered name, followed by the hyper-parameters that differ from their defaults."""
    kind = type(estimator)
    where = f"{kind.__module__}:{kind.__qualname__}"
    name = next((name for name, path in table("estimators").items() if path == where), kind.__qualname__)
    changed = [f"{f.name}={getattr(estimator, f.name)!r}" for f in fields(estimator) if _changed(estimator, f)]  # type: ignore[arg-type]
    return f"{name}({', '.join(changed)})" if changed else name


def _changed(estimator: Estimator, field: Any) -> bool:
    return field.default is MISSING or getattr(estimator, field.name) != field.default


def _number(value: str, text: str) -> float:
    try:
        return float(value) if value in ("inf", "Infinity") else float(ast.literal_eval(value))
    except (ValueError, SyntaxError, TypeError) as error:
        raise ConfigError(f"{value!r} in {text!r} is not a number", field="estimators") from error
