"""Events → a log: validated once, whole or not at all, every row accounted for."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from understudy import __version__
from understudy.core.errors import DataError
from understudy.core.manifest import Manifest
from understudy.core.problem import Problem
from understudy.data.artifact import write_artifact
from understudy.data.log import PROBLEM, QUARANTINE, Log, scratch
from understudy.data.read import Names, Reject, read
from understudy.data.schema import check_names
from understudy.data.settle import settle
from understudy.data.sources import Source, resolve
from understudy.data.staging import Quarantine, Staging
from understudy.data.validate import validate


def ingest(
    decisions: Any,
    outcomes: Any = None,
    *,
    problem: Problem,
    to: str | Path | None = None,
    complete: bool = False,
    replace: bool = False,
    aside: Sequence[Reject] = (),
) -> Log:
    """Validate events against the problem and write a log artifact.

    Args:
        decisions, outcomes: paths, patterns, folders, DataFrames or Arrow tables, or lists of these. Decisions and
            outcomes may share a file: a row with an ``action`` is the one, a row with a ``value`` the other.
        problem: what a valid row is.
        to: folder of the artifact; None makes one that lives as long as the process.
        complete: every outcome that will ever come is in here, so that no decision has to wait for its window.
        replace: put the log in the place of another one.
        aside: rows that an importer could not translate; they are counted and kept like any that fail here.

    Returns:
        The log; its ``counts`` reconcile: rows = decisions + duplicates + outcome_rows + quarantined.

    Raises:
        DataError: a file cannot be read at all, or no decision is left. Nothing is written then.
    """
    sources = resolve(decisions) + resolve(outcomes)
    folder = scratch("log") if to is None else Path(to)
    manifest = Manifest(
        kind="log",
        problem_hash=problem.hash,
        config={"sources": [[source.name, source.sha256] for source in sources], "complete": complete},
        code_version=__version__,
    )
    made = write_artifact(folder, manifest, lambda part: fill(part, sources, problem, aside), replace=replace)
    return Log(folder, made)


def fill(
    folder: Path, sources: list[Source], problem: Problem, aside: Sequence[Reject] = (), *, hollow: bool = False
) -> dict[str, int]:
    """Write a log's files; ``hollow`` allows one without decisions. Returns its counts."""
    check_names(problem)
    (folder / PROBLEM).write_bytes(msgspec.json.format(msgspec.json.encode(problem)) + b"\n")
    with Quarantine(folder / QUARANTINE, [source.name for source in sources]) as quarantine:
        quarantine.add(0, [("row", reject) for reject in aside])
        with Staging(folder / "staging", problem) as staging:
            rows = len(aside) + _stage(sources, problem, staging, quarantine)
        counts = Counter(settle(staging, folder, problem, quarantine))
    shutil.rmtree(staging.folder)
    counts["rows"] = rows
    counts["quarantined"] = quarantine.counts.total()
    counts.update({f"quarantined.{reason}": n for reason, n in quarantine.counts.items()})
    if not counts["decisions"] and not hollow:
        raise _nothing_left(counts["rows"], quarantine)
    return {name: int(n) for name, n in sorted(counts.items())}


def _stage(sources: list[Source], problem: Problem, staging: Staging, quarantine: Quarantine) -> int:
    """Read and validate everything once. Returns the number of rows read."""
    names = Names(frozenset(problem.feature_names), frozenset(problem.outcome_names), frozenset(problem.ignore))
    read_rows = 0
    for number, source in enumerate(sources):
        for rows in read(source, names):
            read_rows += rows.n + len(rows.rejects)
            made = validate(rows, problem, number)
            quarantine.add(number, made.rejects)
            staging.add("decisions", made.decisions)
            staging.add("outcomes", made.outcomes)
    return read_rows


def _nothing_left(rows: int, quarantine: Quarantine) -> DataError:
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in quarantine.counts.most_common(5)) or "no row is a decision"
    return DataError(
        f"none of {rows:,} rows is a valid decision: {reasons}; first: {quarantine.first}",
        "A log without decisions supports no estimate, so nothing was written.",
        "A decision needs decision_id, time, action and the problem's features, an outcome decision_id, time, name and "
        "value: rename your columns to these, or compare problem and data (docs/guide/ingest.md).",
    )
