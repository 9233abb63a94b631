"""One decision in this process, without the log: hash → uniform number → exact propensities → action.

A linear model of 20 features and 10 actions, ε-greedy, one request at a time, beside Vowpal Wabbit's Python binding
deciding from the same dict, and drawing an action from its pmf: with one line of features per action (cb_explore_adf,
context × action; what takes a set of allowed actions, as ours does), and with one model per action (cb_explore) from
text or from a list of features. Chunks alternate, so that all see the same machine.

Bars: median of ours ≤ 12 µs; adf ≥ 4 times ours. What the others take is printed beside it. Ours checks every context,
standardizes it and makes the whole record that is logged; theirs does none of the three.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import vowpalwabbit

from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.service import DecideRequest
from understudy.data.context import Coder
from understudy.models.feature_map import FeatureMap, FittedFeature
from understudy.models.policies import Explore
from understudy.models.ridge import LinearModel
from understudy.serve.deployment import Actor, Deployment
from understudy.serve.engine import Engine

D, K, EPSILON = 20, 10, 0.1
MICROSECONDS, RATIO = 12.0, 4.0
CHUNK = 500


def ours(rng: np.random.Generator) -> Callable[[DecideRequest], Any]:
    """Engine.decide of one deployment."""
    names = [f"x{i}" for i in range(D)]
    problem = Problem(
        features=tuple(Feature(name=name) for name in names),
        actions=ActionSpace(names=tuple(f"a{i}" for i in range(K))),
    )
    columns = tuple(
        FittedFeature(
            kind="number", source=i, name=name, location=float(rng.normal()), scale=float(rng.uniform(0.5, 2))
        )
        for i, name in enumerate(names)
    )
    model = LinearModel(FeatureMap(columns), rng.normal(size=(K, D)), rng.normal(size=K))
    deployment = Deployment(Coder(problem), Actor("linear", Explore(model, "epsilon_greedy", EPSILON)))
    engine = Engine("production")
    return lambda request: engine.decide(request, deployment, 0.0)


def theirs() -> dict[str, Callable[[DecideRequest], Any]]:
    """Their ways to predict, each with its example built from the request."""
    plain = vowpalwabbit.Workspace(f"--cb_explore {K} --epsilon {EPSILON} --quiet")
    adf = vowpalwabbit.Workspace(f"--cb_explore_adf -q sa --epsilon {EPSILON} --quiet")
    actions = [f"|a a{a}" for a in range(K)]
    rng = np.random.default_rng(0)
    for i in range(200):  # so that they have learned something
        text = " ".join(f"x{j}:{v:.6f}" for j, v in enumerate(rng.normal(size=D)))
        a, cost = i % K, rng.random()
        plain.learn(f"{a + 1}:{cost:.3f}:0.1 | {text}")
        adf.learn([f"shared |s {text}", *(f"0:{cost:.3f}:0.1 {x}" if j == a else x for j, x in enumerate(actions))])
    draw = np.random.default_rng(1).random

    def action(pmf: Sequence[float]) -> tuple[int, float]:
        u, total = draw() * sum(pmf), 0.0
        for a, p in enumerate(pmf):
            total += p
            if u < total:
                return a, p
        return len(pmf) - 1, pmf[-1]

    def text(request: DecideRequest) -> str:
        return " ".join([f"{name}:{value}" for name, value in request.context.items()])

    return {
        "adf_text": lambda request: action(adf.predict([f"shared |s {text(request)}", *actions])),
        "cb_text": lambda request: action(plain.predict(f"| {text(request)}")),
        "cb_features": lambda request: action(plain.predict(plain.example({" ": list(request.context.items())}))),
    }


def times(work: Callable[[DecideRequest], Any], requests: Sequence[DecideRequest]) -> list[float]:
    """Microseconds of each call."""
    clock, found = time.perf_counter_ns, []
    for request in requests:
        start = clock()
        work(request)
        found.append((clock() - start) / 1e3)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds, nothing written")
    quick = parser.parse_args().quick
    rounds = 4 if quick else 60
    rng = np.random.default_rng(7)
    contexts = [dict(zip([f"x{i}" for i in range(D)], rng.normal(size=D).tolist())) for _ in range(CHUNK)]
    requests = [DecideRequest(context=context, decision_id=f"d-{i}") for i, context in enumerate(contexts)]
    named = {"ours": ours(rng)} | theirs()
    found: dict[str, list[list[float]]] = {name: [] for name in named}
    for _ in range(rounds):
        for name, work in named.items():
            found[name].append(times(work, requests))
    medians = {name: [statistics.median(chunk) for chunk in chunks] for name, chunks in found.items()}
    peers = {name: statistics.median(medians[name]) for name in named if name != "ours"}
    ratios = {
        name: statistics.median(peer / own for own, peer in zip(medians["ours"], medians[name])) for name in peers
    }
    every = [microseconds for chunk in found["ours"] for microseconds in chunk]
    result = {
        "decisions": len(every),
        "p50_us": statistics.median(every),
        "p99_us": float(np.quantile(every, 0.99)),
        "quiet_p50_us": min(medians["ours"]),  # of the chunk that was disturbed least
        "vw_p50_us": peers,
        "vw_ratio": ratios,
        "ratio": ratios["adf_text"],
        "bars": {"p50_us": MICROSECONDS, "ratio": RATIO},
    }
    path = Path(__file__).parent / "results" / "decide.json"
    path.parent.mkdir(exist_ok=True)
    if not quick:
        path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))
    raise SystemExit(0 if result["p50_us"] <= MICROSECONDS and result["ratio"] >= RATIO else 1)


if __name__ == "__main__":
    main()
