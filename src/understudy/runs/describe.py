"""Look before you leap: a dataset with its audit, or any artifact with its lineage."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from understudy.core.errors import StoreError
from understudy.core.evidence import Finding
from understudy.core.manifest import Manifest
from understudy.core.summary import Diagnostics, LogSummary
from understudy.data.artifact import MANIFEST, read_manifest, verify_artifact
from understudy.data.dataset import open_dataset
from understudy.ope.audit import Known, audit
from understudy.ope.diagnostics import diagnose
from understudy.ope.summary import summarize
from understudy.runs.assess import aligned
from understudy.runs.baseline import episode_lines, summarize_episodes
from understudy.runs.bring import joined_lines
from understudy.runs.home import Home
from understudy.runs.train import open_policy


@dataclass(frozen=True)
class Told:
    """Lines for a person, the same as data for a machine."""

    lines: list[str]
    data: dict[str, Any] = field(default_factory=dict)


def describe(data: str | Path, *, target: str | None, behavior: str | None, home: str | Path) -> Told:
    """Counts, actions, episodes, the audit's findings, and the overlap with a target policy if one is given."""
    manifest, dataset = read_manifest(data), open_dataset(data)
    summary = summarize(dataset)
    acting = open_policy(behavior).policy if behavior else None
    findings = audit(dataset, behavior=acting, known=Known(counts=manifest.counts))
    told: dict[str, Any] = {"summary": summary, "counts": manifest.counts, "findings": findings}
    lines = summary_lines(summary)
    if not dataset.problem.bandit:
        told["episodes"] = summarize_episodes(dataset)
        lines += episode_lines(told["episodes"], dataset.problem.discount)
    lines += [*count_lines(manifest), *finding_lines(findings)]
    if target:
        policy = open_policy(target)
        overlap = diagnose(dataset, policy.policy, name=policy.name)
        lines += overlap_lines(overlap)
        told["overlap"] = overlap
    return Told(lines, told)


def summary_lines(summary: LogSummary) -> list[str]:
    """Who, when, how much; a row per action."""
    days = [datetime.fromtimestamp(t / 1e6, UTC).strftime("%Y-%m-%d %H:%M") for t in (summary.first, summary.last)]
    rows = [
        [a.name, str(a.n), f"{a.share:.1%}", "-" if a.mean_propensity is None else f"{a.mean_propensity:.4f}",
         f"{a.mean_reward:.4f}"] for a in summary.actions
    ]  # fmt: skip
    bare = summary.propensities is None and bool(rows)
    return [
        *(["no propensities in this log: estimates have to estimate them too (--propensity estimate)"] if bare else []),
        f"{summary.n_steps} decisions by {summary.n_units} units, {days[0]} to {days[1]} UTC",
        f"mean reward {summary.mean_reward:.4f}; no outcome on {summary.missing_outcomes:.1%} of decisions",
        *(aligned(rows, ["action", "taken", "share", "propensity", "reward"]) if rows else []),
    ]


def count_lines(manifest: Manifest) -> list[str]:
    """What the join counted, or the timeline."""
    if "rows" in manifest.counts:
        from understudy.runs.sequences import timeline_lines  # which loads the engines of the timeline

        return timeline_lines(manifest.counts)
    return joined_lines(manifest.counts) if "steps" in manifest.counts else []


def finding_lines(findings: tuple[Finding, ...]) -> list[str]:
    """The audit in words: what, how many rows, the effect, the cure."""
    if not findings:
        return ["audit: nothing found"]
    lines = [f"audit: {len(findings)} finding{'s' if len(findings) > 1 else ''}"]
    for f in findings:
        lines += [f"  {f.severity}: {f.name}: {f.observed} ({f.rows} rows, first {f.first})"]
        lines += [f"    effect: {f.effect}", f"    cure: {f.cure}"]
    return lines


def overlap_lines(overlap: Diagnostics) -> list[str]:
    """How well the log covers a target."""
    tail = "unknown" if overlap.pareto_k is None else f"{overlap.pareto_k:.2f}"
    return [
        f"overlap with {overlap.target}: ESS {overlap.ess:.1f} of {overlap.n}, heaviest row "
        f"{overlap.max_weight_share:.1%} of the weight (row {overlap.heaviest}), Pareto k {tail}, "
        f"matched {overlap.matched}, unsupported {overlap.unsupported:.1%}",
        f"mean weight {overlap.mean_weight:.4f} ± {overlap.mean_weight_se:.4f} (1 if the propensities are right)",
    ]


def show(artifact: str, *, home: str | Path) -> Told:
    """An artifact by folder, id or alias: what it is, whether its files are intact, what it was made from.

    A study folder and its tables are no artifacts; they are told for what they are.
    """
    from understudy.runs.sweep.tell import final, is_part, tell  # which loads the learners

    if is_part(Path(artifact)):
        return Told(*tell(Path(artifact)))
    place = Home(home)
    folder = _folder(artifact, place)
    manifest = verify_artifact(folder)
    lines = [f"{manifest.kind} {manifest.id}  (files intact)", f"  at {folder}"]
    lines += [f"  {key}: {value}" for key, value in sorted(manifest.config.items())]
    lines += [f"  {name}: {count}" for name, count in manifest.counts.items()]
    lines += final(folder)
    lineage = _lineage(manifest, place)
    lines += ["made from:"] + [
        f"  {'  ' * depth}{kind} {id}  {where or ''}".rstrip() for depth, kind, id, where in lineage
    ]
    if not lineage:
        lines[-1] = "made from nothing: it is where a lineage starts"
    data = msgspec.to_builtins(manifest) | {"id": manifest.id, "folder": str(folder), "lineage": lineage}
    return Told(lines, data)


def _folder(artifact: str, home: Home) -> Path:
    if (Path(artifact) / MANIFEST).exists():
        return Path(artifact)
    if home.exists:
        if (folder := home.current(artifact)) is not None:
            return folder
        if (folder := home.known(artifact)) is not None:
            return folder
        if home.ledger.current(artifact) is not None:
            raise StoreError(
                f"under {artifact!r} the logged policy acts: the policy that was promoted has been rolled back",
                "It made the log and is no artifact.", "Promote one: understudy promote RUN",
            )  # fmt: skip
    raise StoreError(
        f"{artifact!r} is no artifact's folder, id or alias",
        hint=f"Looked for {MANIFEST} in that folder, and in the ledger of {home.folder}.",
        field=artifact,
    )


def _lineage(manifest: Manifest, home: Home) -> list[tuple[int, str, str, str | None]]:
    """(depth, kind, id, where it lies if the ledger knows), nearest first."""
    if home.exists and home.known(manifest.id) is not None:
        return [(a.depth - 1, a.kind, a.id, a.path) for a in home.ledger.lineage(manifest.id)[1:]]
    return [(0, parent.kind, parent.id, None) for parent in manifest.parents]
