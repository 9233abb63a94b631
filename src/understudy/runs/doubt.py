"""How wrong would the propensities have to be before a conclusion breaks? The Γ-curve of each policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from understudy.core.errors import EvidenceError
from understudy.core.protocols import DiscretePolicy
from understudy.core.steps import Steps, concat
from understudy.ope.evidence import weigh
from understudy.ope.propensity import fit_propensities
from understudy.ope.sensitivity import SensitivityCurve, sensitivity
from understudy.runs.assess import Assessment, aligned
from understudy.runs.slices import open_slice
from understudy.runs.train import open_policy


def curves(runs: Sequence[str | Path], *, on: str | Path, how: Assessment) -> tuple[SensitivityCurve, ...]:
    """One curve per policy, of SNIPS on the slice of ``how``; propensities are estimated where ``how`` says so."""
    steps = _steps(on, how)
    made = []
    for run in runs:
        opened = open_policy(run)
        if not isinstance(opened.policy, DiscretePolicy):
            raise EvidenceError(f"{opened.name} has continuous actions; sensitivity curves are for named ones")
        evidence = weigh(steps, opened.policy.probs(steps.context, steps.allowed))
        made.append(sensitivity(evidence, target=opened.name, level=how.level, seed=how.seed))
    return tuple(made)


def curve_lines(found: Sequence[SensitivityCurve]) -> list[str]:
    """A table per policy, and its conclusion; labelled as what could be."""
    lines = []
    for curve in found:
        rows = [[f"{p.gamma:g}", f"{p.low:.4f}", f"{p.high:.4f}"] for p in curve.points]
        lines += [f"sensitivity of {curve.target} ({curve.estimator}): what could be, not an estimate"]
        lines += [*aligned(rows, ["Γ", "low", "high"]), curve.conclusion]
    return lines


def _steps(on: str | Path, how: Assessment) -> Steps:
    data = open_slice(on, how.slice)
    steps = concat(list(data.scan()))
    if how.propensity == "estimate":
        return fit_propensities(steps, data.problem, seed=how.seed).apply(steps)
    return steps
