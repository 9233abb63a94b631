"""What the verb ``compare`` does: reads its words, compares, and writes the report where one is asked for."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from understudy.core.errors import ConfigError
from understudy.data.home import now
from understudy.report.compare import compare_lines, write_comparison
from understudy.runs.compare.asked import LOWEST, Asked
from understudy.runs.compare.compare import compare
from understudy.runs.sweep.radix import indices


def wanted(
    metric: str, curve: str, by: str, statistic: str, failed: str, *, select: str, fresh: str, **rest: Any
) -> Asked:
    """The question, from a command line's words. Raises: ConfigError for a word that means nothing."""
    fields = tuple(name.strip() for name in by.split(",") if name.strip())
    if not fields:
        raise ConfigError("--by names no field", hint="Write --by learner.", field="by")
    return Asked(
        metric=metric, curve=curve, by=fields, statistic=statistic, failed=_failed(failed),
        select=_seeds("select", select), fresh=_seeds("fresh", fresh), **{**rest, "scales": tuple(rest["scales"])},
    )  # fmt: skip


def told(
    studies: Sequence[Path], asked: Asked, to: Path | None, argv: Sequence[str]
) -> tuple[list[str], dict[str, Any], Path | None]:
    """Lines for a person, the same as data, and the page if it was asked for."""
    made = compare(studies, asked, now(), (f"understudy {shlex.join(argv)}",) if argv else ())
    page = write_comparison(made, to) if to else None
    return compare_lines(made), {"comparison": msgspec.to_builtins(made)}, page


def _seeds(name: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(indices(text)) if text else ()
    except ConfigError as error:
        raise ConfigError(f"--{name} {text!r} names no seeds", hint="Write 0:3, or 1,5,9.", field=name) from error


def _failed(text: str) -> str | float:
    try:
        return LOWEST if text == LOWEST else float(text)
    except ValueError:
        raise ConfigError(f"--failed {text!r} is no score", hint="Write lowest, or a number.", field="failed") from None
