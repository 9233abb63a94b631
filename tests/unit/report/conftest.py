"""A report built by hand: five candidates, one per verdict and one unjudged, with names that try to break the page."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from understudy.core.evidence import Check, Estimate, Finding, Lift, Verdict
from understudy.core.manifest import Manifest, Parent
from understudy.core.problem import ActionSpace, Feature, OutcomeSpec, Problem
from understudy.core.summary import ActionRow, Diagnostics, Histogram, LogSummary, OverlapRow, SeriesPoint
from understudy.report import Candidate, Report

HOSTILE = "<script>alert('x')</script> & $\\frac{1}{0}$"
DAY = 86_400_000_000
START = 1_767_225_600_000_000  # 1 January 2026
PROBLEM = Problem(
    features=(Feature(name="age"), Feature(name="region", kind="category", values=("north", "south"))),
    actions=ActionSpace(names=("free delivery", "10 % off", "bundle", "none")),
    outcomes=(OutcomeSpec(name="purchase"),),
    reward="purchase",
)


def estimate(target: str, estimator: str, value: float, half: float | None, **more) -> Estimate:
    """An estimate with a symmetric interval, or a refused one where ``half`` is None."""
    refused = half is None
    fields = {
        "std_error": None if half is None else half / 1.96,
        "low": None if half is None else value - half,
        "high": None if half is None else value + half,
        "notes": ("ESS 2.1 is below 200: a few rows carry the estimate",) if refused else (),
    }
    return Estimate(
        target=target, estimator=estimator, value=value, level=0.95, method="jackknife", n_episodes=4180, n_units=4180,
        ess=2.1 if refused else 1830.4, max_weight_share=0.69 if refused else 0.0021, matched=2204, **(fields | more),
    )  # fmt: skip


def diagnosis(target: str, ess: float, share: float, unsupported: float = 0.0) -> Diagnostics:
    """Weights on the fixed edges that diagnostics use: zeros in the first bin, a bell around weight 1."""
    edges = tuple(-4 + 0.25 * i for i in range(33))
    counts = [0] * 32
    counts[0] = 1310
    for i in range(10, 22):
        counts[i] = int(620 * math.exp(-(((i - 16) / 2.4) ** 2)))
    overlap = tuple(
        OverlapRow(segment=name, n=n, ess=ess * part, max_weight_share=share, unsupported=u, matched=int(n / 2))
        for name, n, part, u in (
            ("free delivery", 1180, 0.34, 0.0), ("10 % off", 1011, 0.21, 0.0), ("bundle", 996, 0.24, 0.0),
            ("none", 993, 0.19, unsupported), ("region=north", 2111, 0.52, 0.0), ("region=south", 2069, 0.46, 0.0),
        )
    )  # fmt: skip
    return Diagnostics(
        target=target, n=4180, ess=ess, max_weight_share=share, heaviest=311, pareto_k=0.21 if ess > 10 else 1.4,
        mean_weight=1.004, mean_weight_se=0.011, matched=2204, unsupported=unsupported,
        weights=Histogram(edges=edges, counts=tuple(counts)), overlap=overlap,
    )  # fmt: skip


def lift(name: str, mean: float, low: float, peak: float, against: float, high: float | None = None) -> Lift:
    """A lift whose bets grew e^peak-fold at most, and the opposite bets e^against-fold."""
    return Lift(
        candidate=name, incumbent="current", n=4180, margin=0.0, log_e=peak, peak_log_e=peak, mean=mean, low=low,
        high=high, second_moment=0.2, parts={"ips": peak, "dr": peak}, reverse_peak_log_e=against,
    )  # fmt: skip


def verdict(lift: Lift, outcome: str, reason: str, failed: str = "", needed: int | None = None) -> Verdict:
    """The gate's eight checks, all passed but one."""
    bar = math.log(20)
    figures = {
        "audit": (0, 0, "The audit found nothing that would void an estimate."),
        "lineage": ("disjoint", "disjoint", "Training, selection and gate data share no decision."),
        "support": (0.43 if failed == "support" else 0.0, 0.05,
                    "How much of what the candidate would do was never possible in the log."),
        "weight share": (0.0021, 0.5, "The heaviest decision holds 0.2 % of the candidate's weight."),
        "effective sample size": (1830.4, 100.0, "The log is worth 1,830.4 decisions of the candidate's own."),
        "matched": (2204, 30, "2,204 logged actions are what the candidate would most probably have done."),
        "lift": (lift.peak_log_e, bar, "The bets that it is better than current must grow 20-fold."),
        "harm": (lift.reverse_peak_log_e, bar, "The bets that it is no better than current."),
    }  # fmt: skip
    checks = tuple(
        Check(name=key, observed=seen, threshold=threshold, passed=key not in failed.split(","), why=why)
        for key, (seen, threshold, why) in figures.items()
    )
    return Verdict(outcome=outcome, candidate=lift.candidate, incumbent="current", checks=checks, reason=reason,
                   needed=needed)  # fmt: skip


def candidate(name: str, value: float, half: float | None, truth: float | None, **more) -> Candidate:
    """A candidate with three estimates of its value and two of its difference from the incumbent."""
    rows = [
        estimate(name, "ips", value + 0.008, None if half is None else half * 2.1),
        estimate(name, "snips", value + 0.003, None if half is None else half * 1.3),
        estimate(name, "dr", value, half),
        estimate(f"{name} - current", "ips", value - 0.592, None if half is None else half * 1.9),
        estimate(f"{name} - current", "dr", value - 0.6, half),
    ]
    if half is not None:
        rows += [
            estimate(name, "dr", value + d, half * 1.6, segment=s)
            for s, d in (("region=north", 0.03), ("region=south", -0.03))
        ]
    return Candidate(name=name, estimates=tuple(rows), truth=truth, **more)


def log_summary() -> LogSummary:
    means = [0.58, 0.60, 0.57, 0.61, 0.62, 0.59, 0.63, 0.61, 0.60, 0.62, 0.64, 0.61]
    shares = (0.282, 0.242, 0.238, 0.238)
    return LogSummary(
        n_steps=4180, n_episodes=4180, n_units=4180, first=START, last=START + 84 * DAY, mean_reward=0.6021,
        missing_outcomes=0.0312,
        actions=tuple(
            ActionRow(name=name, n=int(4180 * s), share=s, mean_propensity=s, mean_reward=0.4 + s)
            for name, s in zip(PROBLEM.actions.names, shares)
        ),
        rewards=tuple(
            SeriesPoint(time=START + 7 * i * DAY, n=348, mean=m, low=m - 0.05, high=m + 0.05)
            for i, m in enumerate(means)
        ),
    )  # fmt: skip


def lineage() -> tuple[Manifest, ...]:
    log = Manifest(
        kind="log",
        problem_hash=PROBLEM.hash,
        counts={
            "rows": 6786,
            "decisions": 4180,
            "outcome_rows": 2545,
            "duplicates": 38,
            "quarantined": 23,
            "quarantined.propensity": 20,
            "quarantined.not_json": 3,
        },
    )
    joined = {
        "decisions": 4180, "steps": 4180, "pending": 0, "quarantined": 0,
        "outcomes": 2545, "joined": 2529, "duplicates": 12, "late": 4, "early": 0, "orphans": 0, "waiting": 0,
    }  # fmt: skip
    data = Manifest(kind="dataset", problem_hash=PROBLEM.hash, parents=(Parent(id=log.id, kind="log"),), counts=joined)
    policy = Manifest(kind="policy", problem_hash=PROBLEM.hash, parents=(Parent(id=data.id, kind="dataset"),), seed=7)
    judged = Manifest(kind="verdict", problem_hash=PROBLEM.hash,
                      parents=(Parent(id=policy.id, kind="policy"), Parent(id=data.id, kind="dataset")))  # fmt: skip
    return log, data, policy, judged


def sample() -> Report:
    lifts = {
        "trees": lift("trees", 0.3102, 0.2714, 41.27, 0.0),
        "linear": lift("linear", 0.0154, -0.0311, 1.43, 0.62),
        "fixed_3": lift("fixed_3", -0.2010, -0.2480, 0.0, 36.4, high=-0.1602),
        HOSTILE: lift(HOSTILE, 0.1, -0.9, 0.02, 0.02),
    }
    good = candidate(
        "trees", 0.9123, 0.0112, 0.9101, description="Gradient-boosted trees, greedy with 5 % exploration.",
        diagnostics=diagnosis("trees", 1830.4, 0.0021), lift=lifts["trees"],
        verdict=verdict(lifts["trees"], "ship", "proven that trees is better than current"),
        shares={"free delivery": 0.61, "10 % off": 0.08, "bundle": 0.27, "none": 0.04},
    )  # fmt: skip
    close = candidate(
        "linear", 0.6154, 0.0201, 0.6202, description="Ridge regression per action.",
        diagnostics=diagnosis("linear", 1210.0, 0.0048), lift=lifts["linear"],
        verdict=verdict(lifts["linear"], "not_enough_evidence", "the log cannot yet tell them apart", "lift", 11_800),
        shares={"free delivery": 0.31, "10 % off": 0.22, "bundle": 0.25, "none": 0.22},
    )  # fmt: skip
    worse = candidate(
        "fixed_3", 0.4011, 0.0231, 0.4040, description="Always the same action.",
        diagnostics=diagnosis("fixed_3", 893.0, 0.0011), lift=lifts["fixed_3"],
        verdict=verdict(lifts["fixed_3"], "hold", "it is no better than current, and this is proven", "lift,harm"),
        shares={"none": 1.0},
    )  # fmt: skip
    lost = candidate(
        HOSTILE, 0.52, None, 0.71, description="Wants what the log never tried.",
        diagnostics=diagnosis(HOSTILE, 2.1, 0.69, 0.43), lift=lifts[HOSTILE],
        verdict=verdict(lifts[HOSTILE], "refused", "43.0 % of what it would do was never possible in the log",
                        "support,lift"),
    )  # fmt: skip
    incumbent = replace(candidate("current", 0.6021, 0.0149, 0.6), description="The rules in force.")
    findings = (
        Finding(name="missing_rewards_by_action", severity="warn", rows=131, first="decision_id=9f3c",
                observed="3.1 % of outcomes are missing, 5.2 % under “bundle” and 1.9 % elsewhere",
                effect="policies that choose “bundle” look worse than they are, by at most 0.012",
                cure="join again with a longer window: understudy join logs/ --window 14d", p_value=0.0004),
    )  # fmt: skip
    return Report(
        title="Voucher policy", subtitle="spring campaign <2026>", problem=PROBLEM, log=log_summary(),
        candidates=(worse, good, incumbent, lost, close), incumbent="current", findings=findings, lineage=lineage(),
        commands=("understudy ingest events/*.jsonl --problem problem.yaml --to logs/",
                  "understudy join logs/ --window 7d --to data/",
                  "understudy report runs/a"),
        code_version="0.1.0", seed=7, generated=START + 85 * DAY, headline="dr", alpha=0.05,
        basis="Estimates rest on the slice “select”, verdicts on the slice “gate”.",
    )  # fmt: skip


@pytest.fixture(scope="session")
def report() -> Report:
    return sample()
