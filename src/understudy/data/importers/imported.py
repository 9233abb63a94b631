"""What an importer gives, and the way from there to a log."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from understudy.core.problem import Problem
from understudy.core.registry import find
from understudy.data.ingest import ingest
from understudy.data.log import Log
from understudy.data.read import Reject


class Imported(NamedTuple):
    """A foreign log in our terms: decisions and outcomes as tables, notes, and rows that could not be translated."""

    problem: Problem
    decisions: pa.Table
    outcomes: pa.Table | None
    notes: tuple[str, ...] = ()
    aside: tuple[Reject, ...] = ()


def import_log(name: str, path: Any, *, to: str | Path | None = None, replace: bool = False, **options: Any) -> Log:
    """Run the importer of that name and ingest what it gives. The log counts as complete.

    Raises:
        ConfigError: no importer has that name.
        DataError: what lies at ``path`` is not of that kind, or no decision is left.
    """
    made: Imported = find("importers", name)(path, **options)
    return ingest(
        made.decisions, made.outcomes, problem=made.problem, to=to, complete=True, replace=replace, aside=made.aside
    )
