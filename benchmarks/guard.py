"""Does the guardrail keep its word? Policies of known value, one put in the place of the other.

    python benchmarks/guard.py [--quick]     → results/guard.json

Two worlds with seven actions. ``labels``: one action pays 1, the others 0; the previous policy names it in 90 % of
contexts, the live one errs on a further tenth. ``clicks``: rewards are coin flips everywhere; what the previous policy
prefers pays .5, what the live one prefers .4. Both policies explore with ε = .02. After the promotion the previous one
keeps a share of the traffic (0: exploration alone). Readings are those of ``runs.guard``, every 500 decisions.

Breach: a true gap of −.10, up to 20,000 decisions: when is it rolled back? Stationary: the live policy differs just as
often and is exactly as good, 20,000 decisions: is it ever?
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.data.dataset import MemoryDataset
from understudy.envs.population import Population
from understudy.envs.rollout import rollout
from understudy.models.policies import Discrete, Mixture, Uniform
from understudy.ops.intervals import binomial_p
from understudy.runs.guard import watch
from understudy.runs.loop_settings import Guardrail

RESULTS = Path(__file__).parent / "results" / "guard.json"
K, N, EPSILON, EVERY = 7, 2_000, 0.02, 500
WITHIN, LONG = 2_000, 20_000
SHARES = (0.0, 0.1, 0.3)
RULES = Guardrail()


@dataclass(frozen=True)
class Chosen(Discrete):
    """A policy by list: the action of each context, which carries its own number in the first column."""

    action: np.ndarray  # i64[N]

    def probs(self, context: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        """One-hot rows, f64[n, k]."""
        return np.eye(K)[self.action[np.rint(context[:, 0]).astype(np.int64)]]


@dataclass(frozen=True)
class Case:
    """A world, and the two policies that follow each other in it."""

    env: Population
    live: Mixture
    before: Mixture


def case(world: str, gap: float, seed: int) -> Case:
    """The live policy's true value is the previous one's plus ``gap`` (0 or −.10), but for exploration's 2 %."""
    rng = np.random.default_rng([seed, 7])
    x = rng.normal(size=(N, 4))
    best = np.argmax(x @ rng.normal(size=(4, K)), axis=1)
    wrong = (best + rng.integers(1, K, N)) % K
    place = rng.permutation(N)
    if world == "labels":
        means = np.eye(K)[best]
        before = np.where(place < N // 10, wrong, best)
        moved = (place >= N // 10) & (place < N // 5)
        live = np.where(moved, wrong, before)
        if gap == 0:  # as many put right as spoilt
            live = np.where(place < N // 10, best, live)
    else:
        before, live = best, wrong
        means = np.full((N, K), 0.3)
        means[np.arange(N), before], means[np.arange(N), live] = 0.5, 0.5 + gap
    features = tuple(Feature(name=name) for name in ("id", "a", "b", "c", "d"))
    problem = Problem(features=features, actions=ActionSpace(names=tuple("abcdefg")))
    env = Population(problem, np.column_stack([np.arange(N), x]), means, rewards="binary")
    return Case(env, floored(live), floored(before))


def floored(action: np.ndarray) -> Mixture:
    """With ε of uniform exploration."""
    return Mixture((Chosen(action), Uniform(K)), (1 - EPSILON, EPSILON))


def noticed(one: Case, share: float, seed: int, most: int) -> int | None:
    """After how many decisions the live policy is rolled back; None if it is not within ``most``."""
    acting = Mixture((one.live, one.before), (1 - share, share)) if share else one.live
    steps = rollout(one.env, acting, most, seed=seed)

    def breached(n: int) -> bool:
        data = MemoryDataset(one.env.problem, steps.episodes(np.arange(steps.n) < n))
        return watch(data, one.live, one.before, RULES, seed=seed).breached

    if not breached(most):  # the bet's peak counts, so what was ever noticed is noticed at the end
        return None
    low, high = 0, most // EVERY  # the first reading at which the peak had been reached
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if breached(middle * EVERY) else (middle, high)
    return high * EVERY


def cell(world: str, share: float, gap: float, seeds: int, most: int) -> dict[str, Any]:
    """One row of the result."""
    found = [noticed(case(world, gap, seed), share, seed, most) for seed in range(seeds)]
    hit = [n for n in found if n is not None]
    row: dict[str, Any] = {"world": world, "share": share, "gap": gap, "runs": seeds, "decisions": most,
                           "rolled_back": len(hit)}  # fmt: skip
    if gap:
        return row | {"within_2000": sum(n <= WITHIN for n in hit), "median": float(np.median(hit)) if hit else None,
                      "slowest": max(hit, default=None)}  # fmt: skip
    return row | {"p_value_at_alpha": float(binomial_p(len(hit), seeds, RULES.alpha, "greater"))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two runs of a cell, nothing written")
    quick, begun, rows = parser.parse_args().quick, time.process_time(), []
    for world in ("labels", "clicks"):
        for share in SHARES:
            for gap, most in ((-0.1, LONG if not quick else WITHIN), (0.0, LONG if not quick else WITHIN)):
                rows.append(cell(world, share, gap, 2 if quick else 20, most))
                print(json.dumps(rows[-1]), flush=True)
    if not quick:
        rules = {"margin": RULES.margin, "alpha": RULES.alpha}
        made = {"rules": rules, "every": EVERY, "rows": rows, "cpu_s": round(time.process_time() - begun)}
        RESULTS.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
