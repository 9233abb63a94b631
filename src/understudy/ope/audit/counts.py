"""What the ingest and the join counted, and the joined table no longer shows."""

from __future__ import annotations

from collections.abc import Iterator

from understudy.core.evidence import Finding
from understudy.ope.audit.log import Log

STRAY = 0.01  # share of outcomes without a decision of theirs, above which ids do not hold
LATE = 0.05  # share of outcomes after their window, above which the window is too short


def counted(log: Log) -> Iterator[Finding]:
    """Orphans and early outcomes point at wrong ids; many late ones at a window that is too short."""
    counts = log.known.counts
    outcomes = counts.get("outcomes", 0)
    if not outcomes:
        return
    stray = counts.get("orphans", 0) + counts.get("early", 0)
    if stray > STRAY * outcomes:
        yield log.finding(
            "misjoined_rewards",
            stray,
            f"{stray} of {outcomes} outcomes name no decision, or one that came after them",
            "Outcomes with wrong ids are missing where they belong, and some may count where they do not.",
            "Have the outcome carry the id that the decision was answered with; strays are kept beside the dataset.",
            severity="warn",
        )
    late = counts.get("late", 0)
    if late > LATE * outcomes:
        yield log.finding(
            "late_outcomes",
            late,
            f"{late} of {outcomes} outcomes came after their window",
            "The default stands in for them: values are of what happens within the window only.",
            "Join with a longer window.",
            severity="warn",
        )
