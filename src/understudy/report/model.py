"""What a report holds: frozen results of other rooms, gathered, and nothing computed here."""

from __future__ import annotations

from dataclasses import dataclass, field

from understudy.core.evidence import Estimate, Finding, Lift, Verdict
from understudy.core.manifest import Manifest
from understudy.core.problem import Problem
from understudy.core.summary import Diagnostics, LogSummary


@dataclass(frozen=True)
class Candidate:
    """One policy and all that is known of it. The incumbent is one too, without a lift or a verdict.

    Args:
        estimates: of the policy itself (target = name), of its paired difference (target = "name - incumbent"),
            and of segments; the report sorts them out by ``target`` and ``segment``.
        truth: the policy's true value, where a simulator or labelled data know it.
        shares: action name → share of decisions on which this policy would take it.
    """

    name: str
    description: str = ""
    diagnostics: Diagnostics | None = None
    estimates: tuple[Estimate, ...] = ()
    lift: Lift | None = None
    verdict: Verdict | None = None
    truth: float | None = None
    shares: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """Everything a reader is shown, in the order it is shown.

    Args:
        title, subtitle: what this is about, for people.
        incumbent: name of the policy that candidates are measured against; it may be among ``candidates``.
        generated: microseconds since 1970 UTC; an argument, so that equal reports are equal bytes.
        findings: what the audit found; () = it found nothing, None = no audit was run.
        headline: estimator quoted in sentences and small tables; "" = each policy's first.
        alpha: chance of ever shipping by luck that the gate's rules allow; None = not said.
        basis: which decisions the estimates rest on, where they are not those of the verdicts.
        lineage: manifests, oldest first: log, dataset, policies, estimates, verdict.
        commands: what to type to make this again.
    """

    title: str
    problem: Problem
    log: LogSummary
    candidates: tuple[Candidate, ...]
    incumbent: str
    generated: int
    subtitle: str = ""
    findings: tuple[Finding, ...] | None = None
    lineage: tuple[Manifest, ...] = ()
    commands: tuple[str, ...] = ()
    code_version: str = ""
    seed: int | None = None
    headline: str = ""
    alpha: float | None = None
    basis: str = ""

    @property
    def challengers(self) -> tuple[Candidate, ...]:
        """The candidates but the incumbent: best verdict first, otherwise as given."""
        others = [c for c in self.candidates if c.name != self.incumbent]
        return tuple(sorted(others, key=lambda c: ORDER.get(c.verdict.outcome, 9) if c.verdict else 9))

    @property
    def shipped(self) -> tuple[Candidate, ...]:
        return tuple(c for c in self.challengers if c.verdict and c.verdict.outcome == "ship")

    def candidate(self, name: str) -> Candidate | None:
        return next((c for c in self.candidates if c.name == name), None)

    def values(self, candidate: Candidate) -> tuple[Estimate, ...]:
        """Estimates of the policy itself, on everybody."""
        return tuple(e for e in candidate.estimates if e.target == candidate.name and not e.segment)

    def differences(self, candidate: Candidate) -> tuple[Estimate, ...]:
        """Paired differences from the incumbent, on everybody."""
        target = f"{candidate.name} - {self.incumbent}"
        return tuple(e for e in candidate.estimates if e.target == target and not e.segment)

    def segments(self, candidate: Candidate) -> tuple[Estimate, ...]:
        """Headline estimates of the policy itself, by segment."""
        own = [e for e in candidate.estimates if e.target == candidate.name and e.segment]
        name = self.headline or (own[0].estimator if own else "")
        return tuple(e for e in own if e.estimator == name)

    def quoted(self, estimates: tuple[Estimate, ...]) -> Estimate | None:
        """The estimate quoted in sentences: the headline estimator's, else the first."""
        return next((e for e in estimates if e.estimator == self.headline), estimates[0] if estimates else None)

    def truth(self, candidate: Candidate, *, difference: bool = False) -> float | None:
        """The known true value of a policy, or of its difference from the incumbent."""
        if not difference:
            return candidate.truth
        incumbent = self.candidate(self.incumbent)
        if candidate.truth is None or incumbent is None or incumbent.truth is None:
            return None
        return candidate.truth - incumbent.truth


ORDER = {"ship": 0, "not_enough_evidence": 1, "hold": 2, "refused": 3}
