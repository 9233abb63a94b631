"""Does the gate keep its word? Simulated loops with known truth, judged by exact binomial tests.

    python benchmarks/gate.py                 the whole grid → results/gate.json and docs/gate.md (about 5 CPU minutes)
    python benchmarks/gate.py --quick         a fast subset, nothing written (also run by tests/statistical)
    python benchmarks/gate.py --table         docs/gate.md anew from results/gate.json

The world is that of the published table (7 actions; the logger is the incumbent and ε-greedy; its greedy action pays
.70, the others .20; the candidate is ε-greedy too and differs in 20 % of contexts, where its action pays what makes
the gap exact; q̂ = truth + N(0, .1), independent of the log). Only the world is simulated here: differences, bets,
wealth, allowances and bounds are the package's own code. Where the two policies agree every draw is 0 whatever the
reward, so only decisions on which they differ are drawn; the five actions that neither prefers have equal probability
under both and are drawn as one.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from understudy.ops.betting import BETS, DR_BOUNDS, SHARES, growth, spent, start
from understudy.ops.draws import Draws
from understudy.ops.intervals import binomial_p
from understudy.ops.paired import controlled_difference, ips_difference

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "gate.json", ROOT / "docs" / "gate.md"

ALPHA, LOOKS, K, DISAGREEMENT, HOST, REST = 0.05, 15, 7, 0.2, 0.70, 0.20
GAPS, EPSILONS = (0.0, -0.01, -0.03, -0.05), (0.001, 0.02, 0.1, 0.3)
SIZES = {75: 2000, 500: 2000, 2000: 2000, 10_000: 400}  # events at the last look → loops
NEED = -np.log(ALPHA)

# The averaged betting row ("M") of the published table: (ε, n) → power at +.03 and at +.05 (+.04 for ε .3), trials.
PUBLISHED = {
    (0.001, 75): (0.002, 0.003, 2000), (0.001, 100): (0.002, 0.003, 2000), (0.001, 300): (0.004, 0.004, 2000),
    (0.001, 1000): (0.003, 0.003, 1000), (0.001, 3000): (0.004, 0.004, 500), (0.001, 10_000): (0.009, 0.009, 333),
    (0.1, 75): (0.004, 0.005, 2000), (0.1, 100): (0.002, 0.002, 2000), (0.1, 300): (0.008, 0.009, 2000),
    (0.1, 1000): (0.011, 0.019, 1000), (0.1, 3000): (0.016, 0.054, 500), (0.1, 10_000): (0.090, 0.661, 333),
    (0.3, 75): (0.002, 0.003, 2000), (0.3, 100): (0.002, 0.003, 2000), (0.3, 1000): (0.023, 0.023, 300),
    (0.3, 10_000): (0.967, 1.0, 120),
}  # fmt: skip


@dataclass(frozen=True)
class World:
    """One exploration rate, one true gap, one kind of reward, one way in which the reward model is wrong."""

    epsilon: float
    gap: float
    reward: str = "binary"  # "binary", "continuous", "heavy", "rare"
    error: str = "row"  # "row": per decision and action; "action": one error per action, the same all through a log
    canary: float = 0.0  # share of traffic on which the candidate acts itself

    @property
    def means(self) -> np.ndarray:
        """Mean reward of the incumbent's action, the candidate's, and the rest, where the two differ. f64[3]"""
        scale = {"heavy": 0.55, "rare": 0.01 / HOST}.get(self.reward, 1.0)
        greedy = 1.0 - self.epsilon
        return np.array([HOST * scale, HOST * scale + self.gap / (DISAGREEMENT * greedy), REST * scale])

    @property
    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Probabilities of the three kinds of action: candidate, incumbent, behavior. f64[3] each"""
        rare = self.epsilon / K
        old = np.array([1.0 - self.epsilon + rare, rare, (K - 2) * rare])
        new = old[[1, 0, 2]]
        return new, old, (1.0 - self.canary) * old + self.canary * new

    def pay(self, mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Rewards in [0, 1] of the given means, exactly."""
        if self.reward == "continuous":
            return rng.beta(4.0 * mean, 4.0 * (1.0 - mean))
        hit = rng.random(len(mean)) < mean / (_CLIPPED if self.reward == "heavy" else 1.0)
        if self.reward != "heavy":
            return hit.astype(float)
        return hit * np.minimum(1.0, rng.lognormal(*_LOGNORMAL, len(mean)))


# Heavy: with probability p nothing else than a lognormal clipped at 1, whose tail is as long as the range allows.
_LOGNORMAL = (-0.5, 1.5)


def _clipped_mean(m: float, s: float) -> float:
    """E min(1, exp(m + s z)) = e^{m + s²/2} Φ(−m/s − s) + Φ(m/s)."""
    from scipy.special import ndtr

    return float(np.exp(m + s * s / 2) * ndtr(-m / s - s) + ndtr(m / s))


_CLIPPED = _clipped_mean(*_LOGNORMAL)


@dataclass(frozen=True)
class Loops:
    """Decisions on which the two policies differ, of many loops one after the other."""

    counts: np.ndarray  # i64[loops]
    action: np.ndarray  # i64[n] 0 incumbent's, 1 candidate's, 2 another
    reward: np.ndarray  # f64[n]
    q: np.ndarray  # f64[n, 3]


def play(world: World, loops: int, n: int, rng: np.random.Generator) -> Loops:
    """``loops`` logs of n events."""
    counts = rng.binomial(n, DISAGREEMENT, loops)
    total = int(counts.sum())
    action = np.searchsorted(np.cumsum(world.tables[2])[:2], rng.random(total), side="right")
    errors = rng.normal(0.0, 0.1, (total if world.error == "row" else loops, 3))
    if world.error != "row":
        errors = np.repeat(errors, counts, axis=0)
    q = np.clip(world.means + errors, 0.0, 1.0)
    return Loops(counts, action, world.pay(world.means[action], rng), q)


def draws(world: World, log: Loops, reverse: bool = False) -> Draws:
    """What the package bets on."""
    new, old, behavior = (np.broadcast_to(table, log.q.shape) for table in world.tables)
    if reverse:
        new, old = old, new
    rows = np.arange(len(log.action))
    w_new, w_old = ((table / behavior)[rows, log.action] for table in (new, old))
    dr = controlled_difference(new, old, behavior, log.action, log.reward, log.q, DR_BOUNDS)
    return Draws(ips_difference(w_new, w_old, log.reward), dr)


def peaks(all_draws: Draws, counts: np.ndarray, half: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Peak of ln E over each loop: of the averaged process, and (``half``) of bets on weights only. f64[loops] each"""
    ends = np.cumsum(counts)
    both, alone = np.zeros(len(counts)), np.zeros(len(counts))
    for i, (first, last) in enumerate(zip(ends - counts, ends)):
        part = slice(first, last)
        assert all_draws.dr is not None
        both[i] = Draws(all_draws.ips[part], all_draws.dr[part]).wealth(0.0).peak
        if half:
            alone[i] = start(SHARES).extend(growth(all_draws.ips[part], BETS)).peak
    return both, alone


def batches(loops: int, n: int, rows: int = 400_000) -> Iterator[int]:
    """Loops at a time, so that memory stays small."""
    step = max(1, int(rows / (DISAGREEMENT * n)))
    for first in range(0, loops, step):
        yield min(step, loops - first)


def simulate(
    world: World, loops: int, n: int, seed: tuple[int, ...], half: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Peaks of ``loops`` independent loops: (averaged, weights only)."""
    rng = np.random.default_rng(seed)
    parts = []
    for size in batches(loops, n):
        log = play(world, size, n, rng)
        parts.append(peaks(draws(world, log), log.counts, half))
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


# What is claimed


def level(sizes: dict[int, int], gaps=GAPS, epsilons=EPSILONS, rewards=("binary", "continuous", "heavy")) -> list[dict]:
    """P(the candidate, no better, is shipped at any of the looks) per cell; α spent on this one candidate."""
    cells = []
    for r, reward in enumerate(rewards):
        for e, epsilon in enumerate(epsilons):
            for g, gap in enumerate(gaps):
                for n, loops in sizes.items():
                    error = "action" if (e + g) % 2 else "row"
                    both, _ = simulate(World(epsilon, gap, reward, error), loops, n, (11, r, e, g, n))
                    cells.append({"reward": reward, "epsilon": epsilon, "gap": gap, "n": n, "loops": loops,
                                  "error": error, "hits": int((both >= NEED).sum())})  # fmt: skip
    return cells


def power(scale: float = 1.0, only=lambda key: True) -> list[dict]:
    """P(a better candidate is shipped by event n) beside the published figure."""
    cells = []
    for key in filter(only, PUBLISHED):
        epsilon, n = key
        for gap, published in zip((0.03, 0.04 if epsilon == 0.3 else 0.05), PUBLISHED[key]):
            for error in ("row", "action"):
                loops = int(scale * {75: 4000, 100: 4000, 300: 4000, 1000: 2000, 3000: 1000, 10_000: 600}[n])
                both, alone = simulate(World(epsilon, gap, error=error), loops, n, (12, n, int(1000 * gap)), True)
                cells.append({"epsilon": epsilon, "gap": gap, "n": n, "loops": loops, "error": error,
                              "published": published, "trials": PUBLISHED[key][2],
                              "hits": int((both >= NEED).sum()), "hits_ips": int((alone >= NEED).sum())})  # fmt: skip
    return cells


def behind(cell: dict) -> bool:
    """Whether the measured power is below the published one by more than two Monte-Carlo standard errors.

    Each error is that of (hits + ½)/(trials + 1), so that 0 and 1 have one too.
    """
    ours, theirs = (cell["hits"], cell["loops"]), (cell["published"] * cell["trials"], cell["trials"])
    variance = sum((h + 0.5) * (n - h + 0.5) / (n + 1) ** 2 / n for h, n in (ours, theirs))
    return bool(ours[0] / ours[1] < cell["published"] - 2.0 * np.sqrt(variance))


def family(loops: int, sizes=(75, 500)) -> list[dict]:
    """15 candidates in a row, each on fresh events, none better: P(any ships) with α_k, and with α for each."""
    cells = []
    for epsilon in (0.001, 0.1, 0.3):
        for gap in (0.0, -0.01, -0.03):
            for n in sizes:
                world = World(epsilon, gap, error="action")
                both, _ = simulate(world, loops * LOOKS, n, (13, n, int(-100 * gap), int(1000 * epsilon)))
                table = both.reshape(loops, LOOKS)
                need = -np.log([spent(ALPHA, k) for k in range(1, LOOKS + 1)])
                cells.append({"epsilon": epsilon, "gap": gap, "n": n, "loops": loops,
                              "hits": int((table >= need).any(1).sum()),
                              "hits_each": int((table >= NEED).any(1).sum())})  # fmt: skip
    return cells


def selection(loops: int, choices=(1, 5, 20, 200), n: int = 1000, gaps=(0.0, -0.01, -0.02)) -> list[dict]:
    """The best of m candidates by its estimate on n events, gated: on those same events, with α_m, or on fresh ones.

    Every candidate differs from the incumbent in a fifth of contexts of its own, and all have the same true gap.
    ``family`` gates all m on the same events, the k-th with α_k, and counts loops in which any ships.
    """
    cells, world_of = [], lambda gap: World(0.3, gap, error="action")
    for m in choices:
        runs = loops if m < 100 else loops // 4
        for gap in gaps:
            world, rng = world_of(gap), np.random.default_rng((14, m, int(-100 * gap)))
            hits = {"same": 0, "fresh": 0, "family": 0}
            for _ in range(runs):
                log = play(world, m, n, rng)
                bets = draws(world, log)
                owner = np.repeat(np.arange(m), log.counts)
                value = np.bincount(owner, bets.ips, m)
                peak = peaks(bets, log.counts)[0]
                best = int(value.argmax())
                new = play(world, 1, n, rng)
                hits["same"] += peak[best] >= NEED
                hits["fresh"] += peaks(draws(world, new), new.counts)[0][0] >= NEED
                hits["family"] += bool((peak >= -np.log([spent(ALPHA, k) for k in range(1, m + 1)])).any())
            cells.append({"m": m, "gap": gap, "n": n, "loops": runs, **{k: int(v) for k, v in hits.items()}})
    return cells


def clusters(loops: int, users: int = 100, events: int = 10) -> list[dict]:
    """Users who come back: a coin decides between two actions, half the users like the candidate's, half do not.

    The incumbent's action pays ½ to everybody, the candidate's ½ + taste or ½ − taste to a user: the lift is 0.
    ``hits_event`` bets on every event as if it were independent, ``hits_unit`` on the mean of each user.
    """
    cells = []
    for taste in (0.25, 0.5):
        rng, shape = np.random.default_rng((15, int(100 * taste))), (users * events, 2)
        new, old, behavior = (np.broadcast_to(np.array(p), shape) for p in ((0.0, 1.0), (1.0, 0.0), (0.5, 0.5)))
        rows, event, unit = np.arange(users * events), 0, 0
        for _ in range(loops):
            likes = np.repeat(rng.choice((-taste, taste), users), events)
            action = rng.integers(0, 2, users * events)
            reward = (rng.random(users * events) < 0.5 + likes * action).astype(float)
            dr = controlled_difference(new, old, behavior, action, reward, np.full(shape, 0.5), DR_BOUNDS)
            bets = Draws(ips_difference(2.0 * new[rows, action], 2.0 * old[rows, action], reward), dr)
            event += bets.wealth(0.0).peak >= NEED
            per_user = Draws(bets.ips.reshape(users, events).mean(1), dr.reshape(users, events, -1).mean(1))
            unit += per_user.wealth(0.0).peak >= NEED
        cells.append({"taste": taste, "users": users, "events": events, "loops": loops,
                      "hits_event": int(event), "hits_unit": int(unit)})  # fmt: skip
    return cells


def canary(loops: int) -> list[dict]:
    """The candidate on a share of traffic: ε = .02, propensities of the mixture; false ships and power."""
    cells = []
    for share in (0.05, 0.1, 0.2):
        for gap in (0.0, -0.01, 0.03, 0.05):
            for n in (3000, 10_000):
                world = World(0.02, gap, error="action", canary=share)
                seed = (16, n, int(100 * share), int(1000 * abs(gap)), int(gap > 0))
                both, alone = simulate(world, loops, n, seed, True)
                cells.append({"share": share, "gap": gap, "n": n, "loops": loops,
                              "hits": int((both >= NEED).sum()), "hits_ips": int((alone >= NEED).sum())})  # fmt: skip
    return cells


def drift(loops: int, n: int = 2000) -> list[dict]:
    """The candidate is worse in the first half of the log and as much better in the second: over no prefix better."""
    cells = []
    for epsilon in (0.02, 0.1, 0.3):
        for gap in (0.01, 0.03, 0.04):
            rng, hits = np.random.default_rng((17, int(1000 * epsilon), int(100 * gap))), 0
            worlds = [World(epsilon, sign * gap, error="action") for sign in (-1, 1)]
            for size in batches(loops, n):
                logs = [play(world, size, n // 2, rng) for world in worlds]
                bets = [draws(world, log) for world, log in zip(worlds, logs)]
                ends = [np.cumsum(log.counts) for log in logs]
                for i in range(size):
                    halves = [slice(end[i] - log.counts[i], end[i]) for end, log in zip(ends, logs)]
                    ips = np.concatenate([b.ips[half] for b, half in zip(bets, halves)])
                    dr = np.concatenate([b.dr[half] for b, half in zip(bets, halves) if b.dr is not None])
                    hits += Draws(ips, dr).wealth(0.0).peak >= NEED
            cells.append({"epsilon": epsilon, "gap": gap, "n": n, "loops": loops, "hits": int(hits)})
    return cells


def false_ships(results: dict[str, list[dict]]) -> Iterator[tuple[str, dict, int]]:
    """Every figure that the gate claims to be at most α: (section, cell, hits)."""
    for cell in results.get("level", []):
        yield "level", cell, cell["hits"]
    for section in ("family", "drift"):
        for cell in results.get(section, []):
            yield section, cell, cell["hits"]
    for cell in results.get("selection", []):
        yield from (("selection", cell, cell[how]) for how in ("fresh", "family"))
    for cell in results.get("clusters", []):
        yield "clusters", cell, cell["hits_unit"]
    for cell in results.get("canary", []):
        if cell["gap"] <= 0:
            yield "canary", cell, cell["hits"]


def rejected(cell: dict, hits: int, alpha: float = 0.01) -> bool:
    """Whether an exact binomial test rejects "at most 5 % of loops ship"."""
    return bool(binomial_p(hits, cell["loops"], ALPHA, "greater") < alpha)


SECTIONS: dict[str, Callable[[], list[dict]]] = {
    "level": lambda: level(SIZES) + level({2000: 2000}, (0.0,), rewards=("rare",)),
    "power": power,
    "family": lambda: family(1000),
    "selection": lambda: selection(400),
    "clusters": lambda: clusters(2000),
    "canary": lambda: canary(400),
    "drift": lambda: drift(2000),
}

QUICK: dict[str, Callable[[], list[dict]]] = {
    "level": lambda: level({75: 1000, 500: 300}, (0.0, -0.01), (0.001, 0.3), ("binary", "heavy")),
    "power": lambda: power(0.25, lambda key: key in {(0.1, 10_000), (0.3, 1000)}),
    "family": lambda: family(60, (75,)),
    "selection": lambda: selection(60, (1, 20), 500, (0.0,)),
    "clusters": lambda: clusters(300),
    "canary": lambda: [],
    "drift": lambda: drift(100, 500),
}


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def rate(hits: int, loops: int) -> str:
    return f"{hits / loops:.3f}".removeprefix("0") if hits < loops else "1"


def page(results: dict[str, list[dict]]) -> str:
    """docs/gate.md."""
    claims = list(false_ships(results))
    bad = [cell for _, cell, hits in claims if rejected(cell, hits)]
    late = [cell for cell in results["power"] if behind(cell)]
    worst = max(hits / cell["loops"] for _, cell, hits in claims)
    parts = [
        INTRODUCTION.format(n=len(claims), bad=len(bad), worst=worst, powers=len(results["power"]), late=len(late))
    ]

    level_cells = {(c["reward"], c["epsilon"], c["gap"], c["n"]): c for c in results["level"]}
    keys = sorted({key[:3] for key in level_cells}, key=lambda key: (key[0], key[1], -key[2]))
    rows = [
        [reward, str(epsilon), f"{gap:+.2f}" if gap else "0"]
        + [rate(c["hits"], c["loops"]) if (c := level_cells.get((reward, epsilon, gap, n))) else "" for n in SIZES]
        for reward, epsilon, gap in keys
    ]
    parts += [LEVEL_TEXT, table(["reward", "ε", "true gap", *(f"n = {n:,}" for n in SIZES)], rows)]

    rows = []
    for epsilon, n in PUBLISHED:
        found = [c for c in results["power"] if (c["epsilon"], c["n"]) == (epsilon, n)]
        row = [str(epsilon), f"{n:,}"]
        for gap in sorted({c["gap"] for c in found}):
            both = [c for c in found if c["gap"] == gap]
            hits, alone, loops = (sum(c[k] for c in both) for k in ("hits", "hits_ips", "loops"))
            row += [
                f"+{gap}: **{rate(hits, loops)}**",
                rate(alone, loops),
                f"{both[0]['published']:.3f}".removeprefix("0"),
            ]
        rows.append(row)
    head = ["lift: power", "weights only", "published"]
    parts += [POWER_TEXT, table(["ε", "n", *head, *head], rows)]

    rows = [[str(c["epsilon"]), f"{c['gap']:+.2f}" if c["gap"] else "0", str(c["n"]), rate(c["hits"], c["loops"]),
             rate(c["hits_each"], c["loops"])] for c in results["family"]]  # fmt: skip
    parts += [FAMILY_TEXT, table(["ε", "true gap", "events each", "α·6/(π²k²)", "α for each"], rows)]

    ways = ("fresh", "family", "same")
    rows = [
        [str(c["m"]), f"{c['gap']:+.2f}" if c["gap"] else "0", *(rate(c[how], c["loops"]) for how in ways)]
        for c in results["selection"]
    ]
    parts += [
        SELECTION_TEXT,
        table(["m", "true gap", "best, fresh data", "all, α_k", "best, same data, α (wrong)"], rows),
    ]

    rows = [[str(c["taste"]), str(c["users"]), str(c["events"]), rate(c["hits_unit"], c["loops"]),
             rate(c["hits_event"], c["loops"])] for c in results["clusters"]]  # fmt: skip
    parts += [
        CLUSTER_TEXT,
        table(["taste ±", "users", "events each", "one draw per user", "one per event (wrong)"], rows),
    ]

    rows = [[str(c["epsilon"]), f"∓{c['gap']}", f"{c['n']:,}", rate(c["hits"], c["loops"])] for c in results["drift"]]
    parts += [DRIFT_TEXT, table(["ε", "gap, half by half", "n", "shipped"], rows)]

    canaries = {(c["share"], c["n"], c["gap"]): rate(c["hits"], c["loops"]) for c in results["canary"]}
    gaps = sorted({key[2] for key in canaries})
    rows = [
        [f"{share:.0%}", f"{n:,}", *(canaries[share, n, gap] for gap in gaps)]
        for share, n in sorted({key[:2] for key in canaries})
    ]
    parts += [CANARY_TEXT, table(["share", "n", *(f"{g:+.2f}" if g else "0" for g in gaps)], rows)]
    return "\n".join(parts)


INTRODUCTION = """# What the gate's word is worth

*Generated by `python benchmarks/gate.py`; a fast part of it runs in `make test`. Do not edit.*

{n} false-ship rates were simulated; an exact binomial test at 1 % rejects "at most 5 %" in **{bad}** of them, and
the highest rate seen is **{worst:.4f}**. {powers} powers were compared with a published table of the same setting;
**{late}** are behind it by more than two Monte-Carlo standard errors.

The setting: 7 actions; the incumbent makes the log and explores evenly with probability ε; its greedy action pays
.70, the others .20; the candidate differs in 20 % of the contexts, where its action pays what makes the gap exact;
the reward model is the truth plus N(0, .1). Figures are of the proof alone. The gate also wants an effective sample
size of 100 and 30 matched decisions, and refuses unfit data, so it ships less often still; by its default the first
candidate gets α·6/π² = .0304, here it gets .05.
"""
LEVEL_TEXT = """## A candidate that is no better, looked at fifteen times

Share of loops in which any of 15 looks at a growing log ships it; n is the number of events at the last look. The
bound is .05. *binary* 0 or 1; *continuous* Beta; *heavy* a lognormal with σ = 1.5 cut at the end of the range, or
0; *rare* one success in a hundred.
"""
POWER_TEXT = """## A candidate that is better, one look

Share of loops that ship it by event n (the average over two kinds of model error: one per decision and action, or
one per action all through a log), what bets on weights alone would do, and the published averaged process.
"""
FAMILY_TEXT = """## Fifteen candidates in a row, none better

Share of families in which any ships, each candidate on fresh events. The bound of .05 is for the first column; the
second spends α on each candidate anew.
"""
SELECTION_TEXT = """## The best of m candidates, none better

1,000 events, ε = .3. The best by its estimate, gated on fresh events; all m gated on the same events with α_k (any
ships); and, as a warning, the best gated with the full α on the very events that chose it.
"""
CLUSTER_TEXT = """## Users who come back

Two actions, a coin decides; half of the users prefer each, so the lift is 0. Betting on events as if they were
independent breaks the bound; one draw per user keeps it.
"""
DRIFT_TEXT = """## A world that changes

The candidate is worse in the first half of the log and as much better in the second, so over no prefix is it better
on average. Bets that are fixed beforehand keep the bound.
"""
CANARY_TEXT = """## A canary: the candidate on a share of traffic

ε = .02, propensities of the mixture. Share of loops that ship, by true gap.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--only", choices=list(SECTIONS), action="append")
    options = parser.parse_args()
    results: dict[str, list[dict]] = json.loads(RESULTS.read_text()) if RESULTS.exists() and not options.quick else {}
    if not options.table:
        for name, run in (QUICK if options.quick else SECTIONS).items():
            if options.only and name not in options.only:
                continue
            clock = time.process_time()
            results[name] = run()
            print(f"{name:10} {len(results[name]):4} cells {time.process_time() - clock:7.1f} CPU s", flush=True)
            if not options.quick:
                RESULTS.parent.mkdir(exist_ok=True)
                RESULTS.write_text(json.dumps(results, indent=0) + "\n")
    if not options.quick and set(SECTIONS) <= set(results):
        PAGE.write_text(page(results))
    bad = [(name, cell) for name, cell, hits in false_ships(results) if rejected(cell, hits)]
    late = [cell for cell in results.get("power", []) if behind(cell)]
    for line in (*bad, *late):
        print("fails:", line)
    for cell in results.get("power", []) if options.quick else []:
        print(cell)
    worst = max((hits / cell["loops"] for _, cell, hits in false_ships(results)), default=0.0)
    print(f"{len(list(false_ships(results)))} false-ship rates, highest {worst:.4f}, {len(bad)} rejected; "
          f"{len(results.get('power', []))} powers, {len(late)} behind the published ones")  # fmt: skip
    return bool(bad or late)


if __name__ == "__main__":
    raise SystemExit(main())
