"""Whether comparisons of few runs keep their word: coverage, false claims, and the optimism of a best of twenty.

    python benchmarks/compare.py             full counts → results/compare.json
    python benchmarks/compare.py --quick     few rounds, nothing written

500 rounds, 200 of the best of twenty, 100 of the bootstrap of pairs. Every rate stands with its exact 95 % limits
(Clopper & Pearson). Seeds are fixed; worlds are laws of returns whose mean, median and interquartile mean are known.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402  # after the threads are fixed

from understudy.ops.bootstrap import SUMMARIES, interval, resampled, shares, summary  # noqa: E402
from understudy.ops.improvement import improvement_interval  # noqa: E402
from understudy.ops.multiple import paired_mean, simultaneous  # noqa: E402
from understudy.ops.stats import binomial_lower, binomial_upper  # noqa: E402
from understudy.report.compare_model import Result  # noqa: E402
from understudy.runs.compare.asked import Asked  # noqa: E402
from understudy.runs.compare.compare import compared  # noqa: E402
from understudy.runs.compare.records import Record  # noqa: E402

RESULTS = Path(__file__).resolve().parent / "results" / "compare.json"
LEARNERS = 20
Law = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(size=shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Most runs do well, some badly: minus an exponential."""
    return -rng.exponential(size=shape)


def two_peaks(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Seven in ten runs learn the task."""
    return np.where(rng.random(shape) < 0.7, rng.normal(1.0, 0.1, shape), rng.normal(0.0, 0.1, shape))


LAWS: dict[str, Law] = {"normal": normal, "skewed": skewed, "two peaks": two_peaks}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    rounds = 40 if (options := parser.parse_args(argv)).quick else 500
    report = {
        "benchmark": "compare",
        "rounds": rounds,
        "coverage": [row for case in CASES for row in coverage(*case, rounds)],
        "improvement": [row for runs in (5, 10) for row in improvements(runs, rounds)],
        "false_claims": [false_claims(law, runs, rounds) for law in LAWS for runs in (5, 10, 20)],
        "optimism": [optimism(law, choosing, 10, rounds * 2 // 5) for law in LAWS for choosing in (5, 10)],
        "python": sys.version.split()[0],
        "numpy": np.__version__,
    }
    for part in ("coverage", "improvement", "false_claims", "optimism"):
        print(part)
        for row in report[part]:
            print("  " + json.dumps(row, ensure_ascii=False))
    if not options.quick:
        RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    return 0


CASES = [(law, tasks, runs) for law in LAWS for tasks, runs in ((1, 5), (1, 10), (1, 20), (5, 5))]


def coverage(law: str, tasks: int, runs: int, rounds: int) -> list[dict]:
    """How often intervals of each summary contain what very many runs give; beside them plain percentiles."""
    rng, truths = np.random.default_rng(1), truth(law)
    hits = {name: [0, 0] for name in SUMMARIES}
    for seed in range(rounds):
        strata = list(LAWS[law](rng, (tasks, runs)))
        found = interval(strata, tuple(SUMMARIES), times=1000, seed=seed)
        drawn = resampled(strata, 1000, rng)
        for name, summarize in SUMMARIES.items():
            plain = np.quantile(summarize(drawn, shares(strata)), [0.025, 0.975])
            hits[name][0] += found[name][0] <= truths[name] <= found[name][1]
            hits[name][1] += plain[0] <= truths[name] <= plain[1]
    case = {"law": law, "tasks": tasks, "runs": runs}
    return [case | {"summary": name, **rate("covers", a, rounds), "plain": b / rounds} for name, (a, b) in hits.items()]


@cache
def truth(law: str) -> dict[str, float]:
    drawn = LAWS[law](np.random.default_rng(9), (2_000_000,))
    return {name: summary(name, [drawn]) for name in SUMMARIES}


def improvements(runs: int, rounds: int) -> list[dict]:
    """P(A > B) of normals that differ in place and spread."""
    from scipy.stats import norm

    rows, rng = [], np.random.default_rng(2)
    for shift, spread in ((0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (0.0, 4.0)):
        exact, hits = float(norm.cdf(shift / np.hypot(1.0, spread))), 0
        for _ in range(rounds):
            low, high = improvement_interval([rng.normal(shift, 1, runs)], [rng.normal(0, spread, runs)])
            hits += low <= exact <= high
        rows.append({"runs": runs, "chance": round(exact, 3), "spread": spread, **rate("covers", hits, rounds)})
    return rows


def false_claims(law: str, runs: int, rounds: int) -> dict:
    """Twenty identical learners on shared seeds, 190 pairs: how often any difference is claimed, by four methods."""
    rng, counts = np.random.default_rng(3), dict.fromkeys(("holm", "interval", "unadjusted"), 0)
    first, second = np.triu_indices(LEARNERS, 1)
    for _ in range(rounds):
        scores = LAWS[law](rng, (runs, LEARNERS))
        pairs = [paired_mean([scores[:, a] - scores[:, b]]) for a, b in zip(first, second)]
        adjusted, low, high = simultaneous(pairs)
        counts["holm"] += bool((adjusted <= 0.05).any())
        counts["interval"] += bool(((low > 0) | (high < 0)).any())
        counts["unadjusted"] += any(pair.p <= 0.05 for pair in pairs)
    max_t, critical = _max_t(law, runs, max(rounds // 5, 8))
    return {
        "law": law, "runs": runs, **rate("holm", counts["holm"], rounds),
        "interval": counts["interval"] / rounds, "unadjusted": counts["unadjusted"] / rounds,
        "max_t": max_t, "max_t_critical": critical, "bonferroni_critical": _bonferroni(runs),
    }  # fmt: skip


def _bonferroni(runs: int) -> float:
    from scipy.special import stdtrit

    return round(float(stdtrit(runs - 1, 1 - 0.025 / (LEARNERS * (LEARNERS - 1) / 2))), 2)


def _max_t(law: str, runs: int, rounds: int) -> tuple[float, float]:
    """The studentized max-t bootstrap that was weighed and not taken: its false claims and median critical value."""
    rng, claims, critical = np.random.default_rng(4), 0, []
    for _ in range(rounds):
        scores = LAWS[law](rng, (runs, LEARNERS))
        center, error = _t_parts(scores)
        drawn, spread = _t_parts(scores[rng.integers(0, runs, (400, runs))])
        sound = spread > 1e-9 * error
        t = np.where(sound, np.abs(drawn - center) / np.where(sound, spread, 1.0), np.inf).max(-1)
        critical.append(float(np.quantile(t, 0.95, method="higher")))
        claims += (np.abs(center) / error).max() > critical[-1]
    return claims / rounds, round(float(np.median(critical)), 2)


def _t_parts(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean differences of all pairs and their standard errors; scores [..., runs, learners]."""
    first, second = np.triu_indices(scores.shape[-1], 1)
    centered = scores - scores.mean(-2, keepdims=True)
    cov = np.swapaxes(centered, -1, -2) @ centered / (scores.shape[-2] - 1)
    var = np.diagonal(cov, axis1=-2, axis2=-1)
    spread = var[..., first] + var[..., second] - 2 * cov[..., first, second]
    mean = scores.mean(-2)
    return mean[..., first] - mean[..., second], np.sqrt(np.maximum(spread, 0) / scores.shape[-2])


def optimism(law: str, choosing: int, fresh: int, rounds: int) -> dict:
    """Best of twenty identical learners: reported on the seeds that chose it, on fresh ones, and corrected."""
    rng, truths = np.random.default_rng(5), truth(law)
    names = ("fresh_mean", "fresh_iqm", "naive_mean", "naive_iqm", "corrected_mean")
    hits, bias = dict.fromkeys(names, 0), dict.fromkeys(names, 0.0)
    for _ in range(rounds):
        scores = LAWS[law](rng, (LEARNERS, choosing + fresh))
        told = best(scores, Asked(select=tuple(range(choosing)), times=400))
        chosen = scores[int(told.setting.partition("=")[2]), :choosing]
        naive = best(chosen[None], Asked(times=400))
        corrected = best(scores[:, :choosing], Asked(same=True, times=400))
        said = {"fresh": told, "naive": naive, "corrected": corrected}
        for name in names:
            who, _, what = name.partition("_")
            number = getattr(said[who], what)
            hits[name] += number.low <= truths[what] <= number.high
            bias[name] += (number.value - truths[what]) / rounds
    told = {name: rate("covers", n, rounds) | {"bias": round(float(bias[name]), 3)} for name, n in hits.items()}
    return {"law": law, "choosing": choosing, "fresh_seeds": fresh} | told


def best(scores: np.ndarray, asked: Asked) -> Result:
    """The comparison's row of one learner whose settings scored this. f64[settings, seeds]"""
    records = [
        Record("twins", "task", f"{i:02}", seed, "done", "", {"settings.twin": i}, float(score))
        for i, row in enumerate(scores)
        for seed, score in enumerate(row)
    ]
    return compared(records, asked, "twins", 0).results[0]


def rate(name: str, hits: int, rounds: int) -> dict:
    """A share with its exact limits."""
    ends = [binomial_lower(hits, rounds, 0.975), binomial_upper(hits, rounds, 0.975)]
    return {name: hits / rounds, f"{name}_limits": [round(end, 3) for end in ends]}


if __name__ == "__main__":
    raise SystemExit(main())
