"""What is wrong with this log? One idea per file; a new audit is a function ``Log → findings`` and one line here."""

from __future__ import annotations

from collections.abc import Mapping

from understudy.core.evidence import Finding
from understudy.core.protocols import LoggedDataset, Policy
from understudy.core.registry import find, table
from understudy.ope.audit.log import Known, Log, read

AUDITS = {
    "consistency": "understudy.ope.audit.consistency:consistency",
    "recompute": "understudy.ope.audit.recompute:recompute",
    "calibration": "understudy.ope.audit.calibration:calibration",
    "leaks": "understudy.ope.audit.leaks:leaks",
    "support": "understudy.ope.audit.support:support",
    "duplicates": "understudy.ope.audit.duplicates:duplicates",
    "arrivals": "understudy.ope.audit.arrivals:wrong_arrivals",
    "misjoined": "understudy.ope.audit.misjoined:misjoined",
    "counts": "understudy.ope.audit.counts:counted",
    "missing_by_action": "understudy.ope.audit.outcomes:missing_by_action",
    "missing_over_time": "understudy.ope.audit.outcomes:missing_over_time",
    "unripe_default": "understudy.ope.audit.outcomes:unripe_default",
    "context_drift": "understudy.ope.audit.drift:context_drift",
}

__all__ = ["AUDITS", "Known", "Log", "audit"]


def audit(
    data: LoggedDataset,
    *,
    behavior: Policy | Mapping[str, Policy] | None = None,
    known: Known | None = None,
    alpha: float = 0.01,
    max_steps: int = 200_000,
) -> tuple[Finding, ...]:
    """Every registered audit of one log; the chance that a clean log raises any finding is at most ``alpha``.

    P(any finding | clean) ≤ Σ_audits α / (number of audits) = α: each audit corrects its own p-value for all that it
    looked at, and a finding is kept where p ≤ α / (number of audits). Contradictions in the log itself have no p-value
    and are always kept. With chosen propensities only, α is kept if no allowed action is all but impossible
    (docs/audit.md).

    Args:
        behavior: the policy that chose, or policies by policy_id; its probabilities are then recomputed.
        known: what else is known about the log; sharpens some audits.
        alpha: family-wise chance of a false alarm.
        max_steps: of a longer log, this many steps are read in whole batches spread over it.

    Returns:
        Findings, the gravest and least likely first.
    """
    log = read(data, behavior=behavior, known=known or Known(), max_steps=max_steps)
    names = list(table("audits"))
    kept = [
        finding
        for name in names
        for finding in find("audits", name)(log)
        if finding.p_value is None or finding.p_value <= alpha / len(names)
    ]
    return tuple(sorted(kept, key=lambda f: (f.severity != "refuse", f.p_value or 0.0)))
