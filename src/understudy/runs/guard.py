"""The guardrail: has the live policy turned out worse than the one before it? A bet, read after every turn.

The roles of the gate are exchanged: the previous policy is the candidate, the live one the incumbent, and what is
proven is that the previous one is better by more than the margin. The bet begins with the promotion and goes on over
all decisions since then, by the mixture's own propensities, so it may be read as often as one likes
(docs/adr/0023): the chance that a live policy which is not worse by more than the margin is ever rolled back is at
most α.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.core.errors import EvidenceError
from understudy.core.evidence import Lift
from understudy.core.protocols import LoggedDataset, Policy
from understudy.core.steps import concat
from understudy.data.dataset import MemoryDataset, open_dataset
from understudy.data.home import LOGGED
from understudy.data.ledger import Promotion
from understudy.ope.lift import lift
from understudy.ops.betting import spent
from understudy.runs.course import Course
from understudy.runs.loop_settings import Guardrail
from understudy.runs.train import open_policy

BEFORE, LIVE = "the policy before it", "the live policy"


@dataclass(frozen=True)
class Watched:
    """What one reading showed: evidence that the previous policy is better than the live one by the margin."""

    lift: Lift
    need: float  # ln(1/α): what ``lift.peak_log_e`` has to reach
    turns: int = 0

    @property
    def breached(self) -> bool:
        return self.lift.peak_log_e >= self.need

    @property
    def reason(self) -> str:
        """For the ledger."""
        return (
            f"guardrail: after {self.lift.n:,} decisions the policy before it is better by {self.lift.mean:.4f}; "
            f"proven is more than {self.lift.margin:g} (evidence {self.lift.peak_log_e:.2f}, required {self.need:.2f})"
        )

    def as_dict(self) -> dict[str, Any]:
        """For the journal."""
        return {"lift": self.lift, "need": self.need, "breached": self.breached}


def watch(
    data: LoggedDataset, live: Policy, before: Policy, rules: Guardrail, *, number: int = 1, seed: int = 0
) -> Watched:
    """One reading over all decisions since the promotion, in the order of the log.

    Args:
        number: which reading this is, from 1; counts only where units may return, which makes each a test of its own.
    Raises: EvidenceError if the log has no propensities, or fewer than two units.
    """
    names, level = (BEFORE, LIVE), 1 - rules.alpha
    found = lift(data, before, live, names=names, margin=rules.margin, level=level, seed=seed, bounds=False)
    alpha = rules.alpha if found.anytime else spent(rules.alpha, number)
    return Watched(found, -math.log(alpha), number)


def active(course: Course) -> bool:
    """Whether there is anything to watch: a promotion, and a policy before it that could be brought back."""
    return course.settings.guardrail.on and _before(course.home.ledger.history(course.alias)) is not None


def look(course: Course, dataset: str | Path) -> Watched | None:
    """A reading on the turns since the promotion and on the newest decisions; None where there is nothing to watch."""
    live = course.home.ledger.current(course.alias)
    before = _before(course.home.ledger.history(course.alias))
    if not course.settings.guardrail.on or live is None or before is None:
        return None
    parts = [open_dataset(path) for path in [*_since(course, live), dataset]]
    data = MemoryDataset(course.problem, concat([steps for part in parts for steps in part.scan()]), parts[0].rules)
    if data.n_steps < 2:
        return None
    mine, theirs = (open_policy(course.home.kept(id)).policy for id in (live.policy, before))
    try:
        return watch(data, mine, theirs, course.settings.guardrail, number=len(parts), seed=course.settings.seed)
    except EvidenceError:  # for instance two users only: nothing can be shown either way yet
        return None


def _before(history: Sequence[Promotion]) -> str | None:
    """Whom a rollback would bring back, if it is a policy that can be asked; nobody right after a rollback."""
    if not history or history[-1].kind not in ("promote", "override"):
        return None
    stack: list[str] = []
    for change in history:
        if change.kind == "rollback":
            stack.pop()
        else:
            stack.append(change.policy)
    return stack[-2] if len(stack) > 1 and stack[-2] != LOGGED else None


def _since(course: Course, live: Promotion) -> list[Path]:
    """Datasets of the turns that were served since this promotion, the one that is just being joined left out."""
    return [
        course.folder / job.body["dataset"]["path"]
        for job in course.jobs
        if job.workflow == "joining" and job.done and job.body["turn"] and job.body["version"][0] == live.version
    ]
