"""Does the default selection rule find the good checkpoint? Its choice among epochs, beside what each truly earns.

    python benchmarks/selection.py             → results/selection.json
    python benchmarks/selection.py --quick     one seed each, nothing written

As `understudy train NAME --epochs 10 --train-share 80 --eval-share 20`: ten epochs, curves on the fifth of the
episodes that never train. Truth is the mean return of 100 episodes in the world, which the rule never sees. *Regret@1*
is what the chosen epoch earns less than the best of the ten, as a share of the best; *rank correlation* is Spearman's
ρ between the rule's ranking and the truths. Seeds were not used in choosing any setting.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np  # after the threads are fixed

from understudy.core.curves import Curves
from understudy.core.registry import find
from understudy.envs.rollout import mean_return
from understudy.ope.selection import rank_correlation
from understudy.runs.epochs import TARGET, Training, Watch, chosen
from understudy.runs.example import Example, log, read_example
from understudy.runs.settings import learner

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "selection.json"
ROWS = {
    "cartpole": (("bcq", "dqn", "cql", "crr"), range(120, 130)),
    "pendulum": (("sac", "td3_bc", "iql"), range(115, 120)),
}
GOALS = {"regret": 0.05, "pendulum": -200.0, "of_five": 4}
EPOCHS = 10


def one(example: Example, seed: int) -> dict[str, Any]:
    """A training by epochs; what the rule chose, and what every epoch earns."""
    parts = log(example, seed).split({"train": 0.8, "select": 0.2})  # pyright: ignore[reportAttributeAccessIssue]
    taught: Any = learner(example.learner, example.settings)
    with tempfile.TemporaryDirectory(prefix="understudy-selection-") as folder:
        training = Training(
            taught, parts["train"], parts["select"], Watch(EPOCHS), Path(folder) / "work", "benchmark", seed
        )
        curves = training.run()
        returns = {p.epoch: earned(example, training.policy_of(p.epoch), seed) for p in curves.points}
    true = {str(epoch): float(each.mean()) for epoch, each in returns.items()}
    found = chosen(list(curves.points))
    places = {} if found is None else {name: -float(i) for i, name in enumerate(found.ranking)}
    ranked = {name: true[name] for name in places}
    best, got = max(true.values()), true[str(curves.chosen)]
    return {
        "seed": seed, "chosen": curves.chosen, "chosen_by": curves.chosen_by,
        "rule": "last epoch" if found is None else found.rule, "earned": round(got, 2), "best": round(best, 2),
        "regret": round((best - got) / abs(best), 4),
        "rank_correlation": round(rank_correlation(places, ranked), 3) if len(places) > 1 else None,
        "returns": [round(each, 1) for each in true.values()],
    } | judged(example, curves, returns[curves.chosen], found)  # fmt: skip


def judged(example: Example, curves: Curves, returns: np.ndarray, found: Any) -> dict[str, Any]:
    """The chosen epoch's estimate beside the truth in its units: the discounted return. CartPole pays 1 a step."""
    if found is None or example.env != "cartpole":
        return {}
    discount = find("envs", example.env)().problem.discount
    told = next(
        e for p in curves.points if p.epoch == curves.chosen for e in p.estimates
        if e.target == TARGET and e.estimator == curves.chosen_by and not e.segment
    )  # fmt: skip
    bounds = [None if bound is None else round(bound, 2) for bound in (told.low, told.high)]
    truth = float(((1 - discount**returns) / (1 - discount)).mean())
    return {"estimate": round(told.value, 2), "interval": bounds, "truth": round(truth, 2)}


def earned(example: Example, policy: Any, seed: int) -> np.ndarray:
    """Returns of the evaluation's episodes."""
    return mean_return(find("envs", example.env)(), policy, example.evaluate.episodes, seed=1_000_000 + seed)


def summary(env: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, and whether the bar is kept."""
    correlations = [run["rank_correlation"] for run in runs if run["rank_correlation"] is not None]
    told = {
        "seeds": [run["seed"] for run in runs],
        "rules": sorted({f"{run['rule']} {run['chosen_by']}".strip() for run in runs}),
        "regret": round(statistics.mean(run["regret"] for run in runs), 4),
        "worst_regret": max(run["regret"] for run in runs),
        "within": sum(run["regret"] <= GOALS["regret"] for run in runs),
        "rank_correlation": round(statistics.mean(correlations), 3) if correlations else None,
        "earned": round(statistics.mean(run["earned"] for run in runs), 2),
        "least": min(run["earned"] for run in runs),
    }
    if env == "pendulum":
        told["reached"] = sum(run["earned"] >= GOALS["pendulum"] for run in runs)
        return told | {"met": told["reached"] >= GOALS["of_five"] / 5 * len(runs), "runs": runs}
    return told | {"met": told["regret"] <= GOALS["regret"], "runs": runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="rows whose env/name contains this")
    options = parser.parse_args()
    for env, (names, seeds) in ROWS.items():
        for name in names:
            if options.only not in f"{env}/{name}":
                continue
            example = read_example(HERE.parent / "examples" / env / f"{name}.yaml")
            row = summary(env, [one(example, seed) for seed in (seeds[:1] if options.quick else seeds)])
            told = {key: value for key, value in row.items() if key not in ("runs", "seeds")}
            print(f"{env}/{name}: {json.dumps(told)}", flush=True)
            if not options.quick:
                before = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else {}
                report = {"benchmark": "selection", "goals": GOALS, "epochs": EPOCHS}
                report["rows"] = before | {f"{env}/{name}": row}
                RESULTS.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
