"""Did the contexts of the second half come from where those of the first half came from?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from understudy.core.evidence import Finding
from understudy.core.hashing import mix
from understudy.ope.audit.calibration import judge
from understudy.ope.audit.log import Log
from understudy.ops import stats


def context_drift(log: Log) -> Iterator[Finding]:
    """Per feature: Kolmogorov–Smirnov (numbers) or Pearson's χ² (categories, missing) between halves, Bonferroni.

    Where units come back only their first row in each half counts, so that one busy user is one witness. Of episodes
    only the first step counts: where they lead is the policy's doing.
    """
    late, rows = _witnesses(log)
    if not late.any() or late.all():
        return
    verdict = judge(log)
    p = []
    for j, feature in enumerate(log.problem.features):
        if verdict is not None and j in verdict.leaks:  # it moves with the policy, and is told of elsewhere
            p.append(1.0)
            continue
        x = log.steps.context[rows, j]
        missing = np.isnan(x)
        parts = [stats.homogeneity_p(stats.cross_table(late * 1, missing * 1, (2, 2))) if _some(missing) else 1.0]
        a, b = x[~late & ~missing], x[late & ~missing]
        if feature.kind == "number":
            parts.append(stats.ks_p(a, b))
        elif len(a) and len(b):
            codes = np.unique(x[~missing], return_inverse=True)[1]
            table = stats.cross_table(late[~missing] * 1, codes, (2, int(codes.max()) + 1))
            parts.append(stats.homogeneity_p(_pooled(table)))
        p.append(min(1.0, 2 * min(parts)))
    if not p:
        return
    worst = int(np.argmin(p))
    adjusted = stats.holm(np.array(p))
    moved = [log.problem.feature_names[j] for j in np.flatnonzero(adjusted <= 1e-3)] or [
        log.problem.feature_names[worst]
    ]
    yield log.finding(
        "context_drift",
        log.steps.n - log.steps.n // 2,
        f"{', '.join(repr(name) for name in moved)} differ between the first and the second half",
        "The log's average is over contexts that may not come back: an estimate is of the past, and a model trained on "
        "the first half is tested on something else.",
        "Evaluate by segment and by time, and re-estimate on the newest part before deciding.",
        p=float(adjusted[worst]),
        severity="warn",
        first=log.who(log.steps.n // 2),
    )


def _witnesses(log: Log) -> tuple[np.ndarray, np.ndarray]:
    """(in the second half bool[w], rows i64[w]): all rows, or one per unit and half where units repeat."""
    if not log.problem.bandit:
        first = log.steps.starts[:-1]
        return log.steps.time[first] > np.median(log.steps.time), first
    late = log.steps.time > np.median(log.steps.time)
    _, first = np.unique(mix(log.steps.row_unit) ^ late, return_index=True)
    if len(first) > 0.98 * log.steps.n:
        return late, log.rows
    return late[first], first


def _some(flags: np.ndarray) -> bool:
    return 20 <= int(flags.sum()) <= len(flags) - 20


def _pooled(table: np.ndarray, least: int = 20) -> np.ndarray:
    """Columns with few counts put together, so that χ² holds."""
    small = table.sum(0) < least
    return np.column_stack([table[:, ~small], table[:, small].sum(1)])
