"""What a report holds, gathered: estimates, diagnostics, audit, verdicts and lineage of some policies on one log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy import __version__
from understudy.core.errors import StoreError
from understudy.core.evidence import Estimate
from understudy.core.manifest import Manifest
from understudy.core.protocols import DiscretePolicy, Policy
from understudy.data.artifact import MANIFEST, read_manifest
from understudy.data.dataset import open_dataset
from understudy.ope.audit import Known, audit
from understudy.ope.diagnostics import diagnose
from understudy.ope.summary import summarize
from understudy.report import write_report
from understudy.report.model import Candidate, Report
from understudy.runs.assess import Assessment, assess, usual
from understudy.runs.home import Home, now
from understudy.runs.incumbent import Incumbent, resolve
from understudy.runs.prove import last_verdict
from understudy.runs.slices import open_slice
from understudy.runs.train import Trained, open_policy

SHARE_ROWS = 20_000  # contexts that a policy's action shares are averaged over


def write(runs: Sequence[str | Path], *, on: str | Path, how: Assessment, home: str | Path, to: str | Path) -> Path:
    """Gather and write ``report.html`` into ``to``; returns its path. Raises: StoreError if an artifact lies there."""
    if (Path(to) / MANIFEST).exists():
        raise StoreError(f"{to} holds a {read_manifest(to).kind}", "A report beside it would mix with its files.",
                         "Give another folder.", field="to")  # fmt: skip
    report = gather(runs, on=on, how=how, home=home, title=f"Policies on {Path(on).name}")
    return write_report(report, Path(to))


def gather(
    runs: Sequence[str | Path],
    *,
    on: str | Path,
    how: Assessment,
    home: str | Path,
    title: str,
    truths: Mapping[str, float] | None = None,
    **about: Any,
) -> Report:
    """A Report of these policies on a dataset.

    Args:
        runs: policy artifacts, in the order a reader should meet them.
        truths: policy name → true value, where a simulator or labels know it; the incumbent's under its name.
        about: further fields of ``Report``: subtitle, commands, seed.
    """
    policies, incumbent, known = [open_policy(run) for run in runs], resolve(how.against, Home(home)), truths or {}
    estimates, _ = assess(runs, on=on, how=how, home=home)
    data = open_slice(on, how.slice)
    candidates = [_candidate(policy, data, estimates, home, known.get(policy.name)) for policy in policies]
    candidates.append(_incumbent(incumbent, data, estimates, known.get(incumbent.name)))
    whole = open_dataset(on)
    return Report(
        title=title,
        problem=whole.problem,
        log=summarize(whole),
        candidates=tuple(candidates),
        incumbent=incumbent.name,
        generated=now(),
        findings=audit(whole, known=Known(counts=read_manifest(on).counts)),
        lineage=tuple(_lineage(on, policies, Home(home))),
        code_version=__version__,
        headline=(how.estimators or usual(whole.problem))[-1],
        alpha=_alpha(candidates),
        basis=f"Estimates rest on the slice {how.slice}, verdicts on the slice gate: no decision is in both.",
        **about,
    )


def _candidate(
    policy: Trained, data: Any, estimates: Sequence[Estimate], home: str | Path, truth: float | None
) -> Candidate:
    judged = last_verdict(policy.manifest.id, home)
    mine = tuple(e for e in estimates if e.target == policy.name or e.target.startswith(f"{policy.name} - "))
    config = policy.manifest.config
    settings = ", ".join(f"{key} {value}" for key, value in config.get("settings", {}).items() if value not in ("", {}))
    return Candidate(
        name=policy.name,
        description=f"{config.get('learner', 'policy')}{': ' + settings if settings else ''}",
        diagnostics=diagnose(data, policy.policy, name=policy.name),
        estimates=mine,
        verdict=judged[0] if judged else None,
        lift=judged[1] if judged else None,
        truth=truth,
        shares=_shares(policy.policy, data),
    )


def _alpha(candidates: Sequence[Candidate]) -> float | None:
    """The chance of shipping by luck that the gate was run with, where it was run."""
    lifts = [candidate.lift for candidate in candidates if candidate.lift is not None]
    return 1.0 - lifts[0].level if lifts else None


def _incumbent(incumbent: Incumbent, data: Any, estimates: Sequence[Estimate], truth: float | None) -> Candidate:
    mine = tuple(e for e in estimates if e.target == incumbent.name)
    what = "the policy that made the log" if incumbent.policy is None else "the policy that is live"
    return Candidate(name=incumbent.name, description=what, estimates=mine, truth=truth)


def _shares(policy: Policy, data: Any) -> dict[str, float]:
    """Action name → mean probability over the first contexts of the log."""
    names = data.problem.actions.names
    if not isinstance(policy, DiscretePolicy):
        return {}
    steps = next(iter(data.scan(SHARE_ROWS)))
    return dict(zip(names, policy.probs(steps.context, steps.allowed).mean(0).tolist()))


def _lineage(on: str | Path, policies: Sequence[Trained], home: Home) -> list[Manifest]:
    """Manifests oldest first: what the ledger knows above the dataset, the dataset, the policies."""
    dataset = read_manifest(on)
    above = home.ledger.lineage(dataset.id)[1:] if home.known(dataset.id) else ()
    places = [home.known(ancestor.id) for ancestor in reversed(above)]
    older = [read_manifest(place) for place in places if place and (place / MANIFEST).exists()]
    return [*older, dataset, *(policy.manifest for policy in policies)]
