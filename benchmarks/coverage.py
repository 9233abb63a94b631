"""Do intervals cover what they claim? Simulated logs with known truth, judged by exact binomial tests.

    python benchmarks/coverage.py                 the whole grid → results/coverage.json and docs/coverage.md
    python benchmarks/coverage.py --quick         a fast subset, nothing written (also run by tests/statistical)
    python benchmarks/coverage.py --table         docs/coverage.md anew from results/coverage.json

Only the world is simulated here: terms, values, block sums, replicates, intervals and bets are the package's own code,
run on thousands of logs at once (a log is a leading axis).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

from coverage_page import write_page
from coverage_worlds import MEANS, MODEL, Logs, World, draw, expected_weights, reward_means, worlds
from understudy.core.evidence import Evidence
from understudy.core.hashing import buckets, text_hash
from understudy.core.registry import find
from understudy.core.steps import bandit_steps
from understudy.ope.conclude import MIN_ESS, MIN_INFORMATIVE, MIN_MATCHED
from understudy.ope.evidence import as_logged
from understudy.ops.betting import BETS, Stream, growth, lower_bound, weighted_streams
from understudy.ops.blocks import BLOCKS, block_sums, leave_one_out
from understudy.ops.intervals import (
    MIN_EXPECTED,
    SKEW_LIMIT,
    binomial_p,
    expected_contributions,
    jackknife_interval,
)

RESULTS = Path(__file__).resolve().parent / "results" / "coverage.json"
LEVEL, LOGS, SIZES, CHUNK, FOLDS = 0.95, 2000, (75, 300, 1000, 5000), 1_250_000, 5
INSIDE = (0.935, 0.965)  # the claim: 95 ± 1.5 %
ALPHA = 0.01  # chance that a cell whose true coverage lies exactly at an edge of the claim is rejected
SKEW = 0.25  # beyond it, up to SKEW_LIMIT, intervals are answered but claimed to be no narrower than they should

TRUE = ("ips", "snips", "dr", "sndr", "dr_crossfit", "sndr_crossfit", "replay", "lift")  # claimed against the truth
OWN = ("clipped_ips", "switch_dr", "dros", "sg_ips", "sg_dr")  # biased on purpose: claimed against their expectation


@cache
def formula(name: str):
    """The estimator of that name with its default settings."""
    return find("estimators", name)()


def cross_fitted(logs: Logs) -> np.ndarray:
    """Q̂ of every (event, action) from the other folds of its log: shrunken cell means, i.e. one-hot ridge. [L n, 5]."""
    count, n = logs.shape
    row = np.repeat(np.arange(count), n)
    fold, cell = buckets(logs.unit, FOLDS, salt=7), 5 * logs.context + logs.action
    key, size = (row * FOLDS + fold) * 40 + cell, count * FOLDS * 40
    tops = np.bincount(key, weights=logs.reward, minlength=size).reshape(count, FOLDS, 40)
    bottoms = np.bincount(key, minlength=size).reshape(count, FOLDS, 40)
    tops, bottoms = tops.sum(1, keepdims=True) - tops, bottoms.sum(1, keepdims=True) - bottoms
    center = tops.sum(2, keepdims=True) / np.maximum(bottoms.sum(2, keepdims=True), 1)
    table = ((tops + center) / (bottoms + 1)).reshape(count, FOLDS, 8, 5)
    return table[row, fold, logs.context]


def evidence(logs: Logs, target: np.ndarray, q: np.ndarray) -> Evidence:
    """What the estimators read. target f64[8, 5]; q f64[L n, 5]."""
    steps = bandit_steps(logs.context[:, None], logs.action, logs.reward, logs.propensity, unit=logs.unit)
    pi, rows = target[logs.context], np.arange(len(logs.action))
    ratio = pi[rows, logs.action] / logs.propensity
    if logs.observed is not None:
        ratio = np.where(logs.observed, ratio, 0.0)
    match = pi[rows, logs.action] >= pi.max(1) - 1e-12
    match = match if logs.observed is None else match & logs.observed
    return Evidence(steps, 1.0, ratio, q[rows, logs.action], (pi * q).sum(1), match)


@dataclass(frozen=True)
class Lift:
    """SNIPS of the target minus the log's own mean reward, paired: terms of both, as ``evaluate(against=...)``."""

    def terms(self, e: Evidence) -> np.ndarray:
        snips = formula("snips")
        return np.hstack([snips.terms(e), snips.terms(as_logged(e.steps))])

    def value(self, mean: np.ndarray) -> np.ndarray:
        snips = formula("snips")
        return snips.value(mean[..., :2]) - snips.value(mean[..., 2:])


@dataclass(frozen=True)
class Sample:
    """What one estimator said about a batch of logs."""

    value: np.ndarray  # f64[L]
    low: np.ndarray
    high: np.ndarray
    half: np.ndarray  # half-width of the plain t interval, for contrast
    answered: np.ndarray  # bool[L] the API would give this interval
    moments: np.ndarray  # f64[3] rows, Σ d², Σ d³ of first-order contributions to the estimate


def ask(name: str, e: Evidence, shape: tuple[int, int], fit: np.ndarray, unit_block: np.ndarray) -> Sample:
    """One estimator on L logs: real terms, block sums, replicates and interval."""
    count, n = shape
    estimator = Lift() if name == "lift" else formula(name)
    terms = estimator.terms(e)  # [L n, p]
    block = np.repeat(np.arange(count) * BLOCKS, n) + unit_block
    totals = block_sums(terms, block, count * BLOCKS)
    sums, counts = totals.sums.reshape(count, BLOCKS, -1), totals.counts.reshape(count, BLOCKS)
    value = np.asarray(estimator.value(sums.sum(1) / n))
    replicates = np.asarray(estimator.value(leave_one_out(sums, counts)))
    bounds = jackknife_interval(value, replicates, counts, LEVEL)
    sound = np.isfinite(bounds.low) & np.isfinite(bounds.high) & (bounds.std_error > 0)
    answered = fit & sound & (np.abs(bounds.skew) <= SKEW_LIMIT)
    plain = bounds.std_error * stdtrit((counts > 0).sum(1) - 1, (1 + LEVEL) / 2)
    low = np.nan_to_num(bounds.low, nan=np.inf)  # no interval covers nothing
    return Sample(value, low, bounds.high, plain, answered, contributions(estimator, terms))


def contributions(estimator, terms: np.ndarray) -> np.ndarray:
    """Rows, Σ d² and Σ d³ of ∇value · (terms − mean): the skewness of the estimate at any n follows from them."""
    columns = terms[: max(len(terms) // 5, 20_000)].T  # a fifth of the rows tells enough
    mean = columns.mean(1)
    step = np.maximum(np.abs(mean), 1e-9) * 1e-5
    plus, minus = (np.asarray(estimator.value(mean + s * np.diag(step))) for s in (1, -1))
    slope = (plus - minus) / (2 * step)
    d = sum(g * column for g, column in zip(slope, columns)) - slope @ mean
    return np.array([len(d), d @ d, (d * d) @ d])


def unit_ess(ratio: np.ndarray, logs: Logs) -> np.ndarray:
    """(Σ W)² / Σ W² of the weights of independent units, per log. f64[L]."""
    if logs.unit[-1] == len(logs.unit) - 1:
        weight, log = ratio, np.repeat(np.arange(logs.shape[0]), logs.shape[1])
    else:
        _, first, unit = np.unique(logs.unit, return_index=True, return_inverse=True)
        weight, log = np.bincount(unit, ratio), first // logs.shape[1]
    square = np.bincount(log, weight**2, logs.shape[0])
    return np.bincount(log, weight, logs.shape[0]) ** 2 / np.maximum(square, 1e-300)


@dataclass(frozen=True)
class Overlap:
    """What logs share with a target, or with what a target does differently."""

    fit: np.ndarray  # bool[L] overlap suffices for the API to answer
    facts: np.ndarray  # f64[5] expected ESS, and means over logs: matched, varied, observed ESS, contributions due

    def __and__(self, other: Overlap) -> Overlap:
        return Overlap(self.fit & other.fit, np.minimum(self.facts, other.facts))


def overlap(world: World, logs: Logs, delta, weight: np.ndarray, match: np.ndarray, powers: np.ndarray) -> Overlap:
    """The rules of ope/conclude.py on many logs. delta f64[8, 5]: π or π − b; weight f64[L n], match bool[L n]."""
    ess, matched = unit_ess(weight, logs), per_log(match.astype(float), logs.shape)
    common = 0.0 if world.reward in ("binary", "rare") else -1.0  # no continuous reward is common
    varied = per_log(((weight > 0) & (logs.reward != common)).astype(float), logs.shape)
    due = expected_contributions(*expected_weights(world, logs, delta), powers)
    fit = (due >= MIN_EXPECTED) & (ess >= MIN_ESS) & (matched >= MIN_MATCHED) & (varied >= MIN_INFORMATIVE)
    expected = logs.shape[1] * world.worth(delta)
    expected = expected if world.users == "one event" else min(expected, float(ess.mean()))
    return Overlap(fit, np.array([expected, *(float(a.mean()) for a in (matched, varied, ess, due))]))


def per_log(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return values.reshape(shape).sum(1)


def bets(e: Evidence, logs: Logs, truth: float) -> dict[str, np.ndarray]:
    """Which logs' betting bounds hold: lower at 95 %, and both sides at 97.5 % each. bool[L] each.

    A bound exceeds the truth exactly when the bets against "the mean is at most the truth" have won 1/α, so no root
    has to be found; the first logs of each batch are checked against ``lower_bound`` itself.
    """
    streams = weighted_streams(e.ratio, e.steps.reward, 0.0, 1.0)
    wealth = []
    for stream, mean in zip(streams, (truth, -truth)):
        total = won(stream, mean, logs)  # [L, J]
        top = total.max(1)
        wealth.append(top + np.log(np.exp(total - top[:, None]).mean(1)))
        first = stream.values[: logs.shape[1]]
        if (lower_bound(first, stream.floor, LEVEL) > mean) != (wealth[-1][0] >= -np.log1p(-LEVEL)):
            raise AssertionError("the bets and the bound disagree")
    side = -np.log((1 - LEVEL) / 2)
    return {"lower": wealth[0] < -np.log1p(-LEVEL), "both": (wealth[0] < side) & (wealth[1] < side)}


def won(stream: Stream, mean: float, logs: Logs) -> np.ndarray:
    """Log wealth of every bet on every log, f64[L, J]; few distinct draws are counted first."""
    if logs.observed is not None or not np.isin(logs.reward, (0.0, 1.0)).all():
        gain = growth(stream.values, BETS, bound=-stream.floor, margin=mean)
        return gain.reshape(*logs.shape, -1).sum(1)
    kind = 10 * logs.context + 2 * logs.action + logs.reward.astype(np.int64)  # equal kinds are equal draws
    draws = np.full(80, np.nan)
    draws[kind] = stream.values
    counts = np.bincount(np.repeat(np.arange(logs.shape[0]) * 80, logs.shape[1]) + kind, minlength=80 * logs.shape[0])
    seen = ~np.isnan(draws)
    return counts.reshape(-1, 80)[:, seen] @ growth(draws[seen], BETS, bound=-stream.floor, margin=mean)


def run_world(world: World, logs: int, sizes: tuple[int, ...], seed: int) -> Iterator[dict]:
    """All cells of one world."""
    if world.users != "one event":
        sizes = tuple(n for n in sizes if n >= 300)  # fewer events are a handful of users
    rng = np.random.default_rng([seed, text_hash(f"{world.name}/{world.reward}/{world.users}") % 2**32])
    samples: dict[tuple, list] = {}
    done = 0
    while done < logs:
        count = min(logs - done, max(1, CHUNK // max(sizes)))
        whole = draw(world, count, max(sizes), rng)
        for n in sizes:
            batch(world, whole.first(n), samples)
        done += count
    for key, parts in samples.items():
        yield summary(world, key, parts)


def batch(world: World, logs: Logs, samples: dict[tuple, list]) -> None:
    """Adds what every estimator and bet says about these logs to ``samples``."""
    n, unit_block = logs.shape[1], buckets(logs.unit, BLOCKS)
    given = np.broadcast_to(MODEL * (reward_means(world.reward).mean() / MEANS.mean()), (8, 5))[logs.context]
    fitted = cross_fitted(logs)
    powers = np.stack([per_log(logs.reward**j, logs.shape) for j in range(5)], -1)  # [L, 5]
    for target_name, target in world.targets().items():
        e = evidence(logs, target, given)
        fitted_e = replace(e, q=fitted[np.arange(len(fitted)), logs.action], v=(target[logs.context] * fitted).sum(1))
        own = overlap(world, logs, target, e.ratio, e.match, powers)
        gap = np.abs(e.ratio - 1)
        lift = None if world.tail else own & overlap(world, logs, target - world.behavior, gap, gap > 1e-12, powers)
        for name in (*TRUE, *OWN):
            if name == "replay" and not (world.name == "uniform" and target_name == "far"):
                continue  # replay estimates another quantity elsewhere
            shared = lift if name == "lift" else own
            if shared is None:
                continue
            base = name.removesuffix("_crossfit")
            said = ask(base, fitted_e if name != base else e, logs.shape, shared.fit, unit_block)
            samples.setdefault((target_name, n, name), []).append((said, shared.facts))
        if world.users == "one event":
            truth = world.truth(target)
            samples.setdefault((target_name, n, "betting"), []).append(bets(e, logs, truth))


def summary(world: World, key: tuple, parts: list) -> dict:
    """One cell of the table."""
    target, n, name = key
    cell = {"behavior": world.name, "reward": world.reward, "users": world.users, "target": target, "n": n,
            "estimator": name}  # fmt: skip
    truth = world.truth(world.targets()[target])
    if name == "betting":
        lower, both = (np.concatenate([part[side] for part in parts]) for side in ("lower", "both"))
        return cell | {"logs": len(lower), "truth": truth, "hits_lower": int(lower.sum()), "hits": int(both.sum())}
    said = [part[0] for part in parts]
    fields = ("value", "low", "high", "answered")
    value, low, high, answered = (np.concatenate([getattr(s, field) for s in said]) for field in fields)
    rows, square, cube = sum(s.moments for s in said)
    share = np.array([len(s.value) for s in said]) / len(value)
    expected, matched, varied, ess, due = share @ np.array([part[1] for part in parts])
    skew = float(cube / square**1.5 * np.sqrt(rows / n)) if square else 0.0
    truth -= world.truth(world.behavior) if name == "lift" else 0.0
    own = float(value.mean()) if name in OWN else truth
    plain = np.concatenate([s.half for s in said])
    hit = (low <= own) & (own <= high)
    width = high - low
    return cell | {
        "logs": len(value), "truth": truth, "claimed_value": own, "hits": int(hit.sum()),
        "hits_truth": int(((low <= truth) & (truth <= high)).sum()),
        "hits_plain": int((np.abs(value - own) <= plain).sum()),
        "answered": int(answered.sum()), "hits_answered": int((hit & answered).sum()),
        "expected_ess": expected, "observed_ess": ess, "due": due,
        "matched": matched, "varied": varied, "skew": skew if not 0 < world.tail <= 2 else None,  # None: infinite
        "width": float(width[np.isfinite(width)].mean()) if np.isfinite(width).any() else None,
        "bias": float(np.nanmean(value) - truth), "below": int((low > own).sum()), "above": int((high < own).sum()),
    }  # fmt: skip


def claim(cell: dict) -> str:
    """What the package claims here: "two-sided" (95 ± 1.5 %), "at least" (93.5 %), "bound" (95 %, bets) or ""."""
    if cell["estimator"] == "betting":
        return "bound"
    if cell["skew"] is None or "ignored" in cell["users"] or abs(cell["skew"]) > SKEW_LIMIT:
        return ""
    floors = {"expected_ess": MIN_ESS, "matched": MIN_MATCHED, "varied": MIN_INFORMATIVE, "due": MIN_EXPECTED}
    if any(cell[key] < floor for key, floor in floors.items()):
        return ""
    return "two-sided" if abs(cell["skew"]) <= SKEW else "at least"


def rejected(cell: dict) -> bool:
    """Whether an exact binomial test at ALPHA rejects what is claimed."""
    kind = claim(cell)
    if kind == "bound":
        return min(binomial_p(cell[hits], cell["logs"], LEVEL, "less") for hits in ("hits", "hits_lower")) < ALPHA
    low = binomial_p(cell["hits"], cell["logs"], INSIDE[0], "less")
    high = binomial_p(cell["hits"], cell["logs"], INSIDE[1], "greater") if kind == "two-sided" else 1.0
    return bool(kind and min(low, high) < ALPHA)


def run(grid: list[World], logs: int, sizes: tuple[int, ...], seed: int = 1, say=lambda line: None) -> list[dict]:
    """Every cell of the given worlds."""
    cells = []
    for world in grid:
        clock = time.process_time()
        new = list(run_world(world, logs, sizes, seed))
        bad = [cell for cell in new if rejected(cell)]
        cells += new
        counts = f"{len(new):4} cells, {sum(bool(claim(cell)) for cell in new):3} claimed, {len(bad)} rejected"
        say(f"{world.name:13} {world.reward:10} {world.users:20} {counts}  {time.process_time() - clock:5.1f} s")
        for cell in bad:
            say("   rejected: " + brief(cell))
    return cells


def brief(cell: dict) -> str:
    keys = ("target", "n", "estimator", "expected_ess", "skew", "below", "above", "answered", "hits_lower")
    facts = {key: round(cell[key], 3) if isinstance(cell[key], float) else cell[key] for key in keys if key in cell}
    return f"{cell['hits'] / cell['logs']:.4f} {facts}"


def line_of(cell: dict) -> str:
    """A cell as one line of JSON, floats to six digits."""
    return json.dumps({key: float(f"{v:.6g}") if isinstance(v, float) else v for key, v in cell.items()})


QUICK = (
    ("epsilon 0.3", "binary", "one event"),
    ("uniform", "spiky", "one event"),
    ("Pareto 0.8", "binary", "one event"),
)


def quick(*chosen: tuple[str, str, str]) -> list[dict]:
    """The fast subset: all logs, two sizes; the given worlds (behavior, reward, users), or QUICK."""
    return run([w for w in worlds() if (w.name, w.reward, w.users) in (chosen or QUICK)], LOGS, (300, 1000))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a fast subset, nothing written")
    parser.add_argument("--table", action="store_true", help="only write docs/coverage.md anew")
    parser.add_argument("--logs", type=int, default=LOGS)
    parser.add_argument("--only", default="", help="part of behavior/reward/users; nothing written")
    options = parser.parse_args()
    if options.table:
        return write_page(json.loads(RESULTS.read_text()), claim, rejected)
    grid = [world for world in worlds() if options.only in f"{world.name}/{world.reward}/{world.users}"]
    say = lambda line: print(line, flush=True)
    cells = quick() if options.quick else run(grid, options.logs, SIZES, say=say)
    bad = [cell for cell in cells if rejected(cell)]
    say(f"{len(cells)} cells, {sum(bool(claim(cell)) for cell in cells)} claimed, {len(bad)} rejected")
    for cell in bad:
        say("   rejected: " + brief(cell))
    if options.logs >= LOGS and not options.only and not options.quick:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text("[\n" + ",\n".join(map(line_of, cells)) + "\n]\n")
        write_page(cells, claim, rejected)
    return bool(bad)


if __name__ == "__main__":
    raise SystemExit(main())
