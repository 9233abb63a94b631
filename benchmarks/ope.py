"""Off-policy estimators against obp 0.5.7: seven point estimates, and intervals for all seven.

    python benchmarks/ope.py              n = 100,000 and 1,000,000 → results/ope.json
    python benchmarks/ope.py --quick      n = 20,000, few rounds, nothing written

Peer and product are two child processes that take turns in one run: one thread each, CPU seconds (user + system) of
the process, medians over rounds. Both read the same arrays; values must agree to 1e-9. The peer lives in its own
environment, benchmarks/.peers/obp, made on first use. obp imports torch for learners that are not measured here; an
empty stand-in takes its place, so that gigabytes need not be installed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "ope.json"
PEER = ROOT / "benchmarks" / ".peers" / "obp"
NEEDS = ["numpy>=2.2,<2.5", "scipy", "scikit-learn", "pandas", "tqdm", "matplotlib", "seaborn", "pyyaml"]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
K, TAU, LAMBDA = 10, 5.0, 20.0
SEVEN = ("ips", "snips", "dm", "dr", "sndr", "switch_dr", "dros")
TARGETS = {"point_100000": 25.0, "point_1000000": 15.0, "interval_100000": 10.0}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--child", choices=["product", "peer"], help=argparse.SUPPRESS)
    parser.add_argument("--data", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        serve(product_tasks if options.child == "product" else peer_tasks, Path(options.data))
        return 0
    # n → (turns, times per turn): with several in a row, what the other side left in the caches counts little
    sizes = {20_000: (5, 5)} if options.quick else {100_000: (15, 5), 1_000_000: (7, 2)}
    draws, interval_rounds = 1000, 1 if options.quick else 3
    python = peer_python()
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for n, (rounds, repeats) in sizes.items():
            path = Path(folder) / f"{n}.npz"
            np.savez(path, **make_log(n))
            with_intervals = n == min(sizes)
            found[n] = duel(python, path, (rounds, repeats), draws if with_intervals else 0, interval_rounds)
    report = summary(found, draws)
    print(json.dumps(report, indent=2))
    if not options.quick:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def make_log(n: int) -> dict[str, np.ndarray]:
    """A logged bandit with k = 10: softmax behavior and target, Bernoulli rewards, a noisy reward model."""
    rng = np.random.default_rng(n)
    score, mean = rng.normal(size=(n, K)), rng.uniform(0.1, 0.9, (n, K))
    behavior = softmax(score)
    action = (behavior.cumsum(1) < rng.random((n, 1))).sum(1).clip(max=K - 1)
    row = np.arange(n)
    return {
        "action": action,
        "reward": (rng.random(n) < mean[row, action]).astype(float),
        "propensity": behavior[row, action],
        "probs": softmax(0.5 * score + rng.normal(size=(n, K))),
        "q": np.clip(mean + rng.normal(0, 0.1, (n, K)), 0, 1),
    }


def softmax(score: np.ndarray) -> np.ndarray:
    e = np.exp(score)
    return e / e.sum(1, keepdims=True)


def duel(python: Path, data: Path, turns: tuple[int, int], draws: int, interval_rounds: int) -> dict:
    """Both sides do each task in turn; the first turn warms up and is not counted."""
    rounds, repeats = turns
    with Child(Path(sys.executable), "product", data) as ours, Child(python, "peer", data) as theirs:
        answer: dict = {"values": {}, "point": ([], []), "interval": ([], []), "bootstrap": []}
        for round_ in range(rounds + 1):
            pair = ours.ask("point", repeats), theirs.ask("point", repeats)
            answer["values"] = {name: (pair[0]["values"][name], pair[1]["values"][name]) for name in SEVEN}
            if round_:
                for side, reply in zip(answer["point"], pair):
                    side.append(reply["cpu"] / repeats)
        for round_ in range(interval_rounds if draws else 0):
            if not round_:
                ours.ask("interval")
            answer["interval"][0].append(ours.ask("interval")["cpu"])
            answer["bootstrap"].append(ours.ask(f"bootstrap {draws}")["cpu"])
            answer["interval"][1].append(theirs.ask(f"bootstrap {draws}")["cpu"])
    worst = max(abs(a - b) for a, b in answer["values"].values())
    if worst > 1e-9:
        raise SystemExit(f"values differ from the peer's by {worst:.3g}: {answer['values']}")
    return {**answer, "worst_difference": worst}


def summary(found: dict[int, dict], draws: int) -> dict:
    """Medians and ratios of every task."""
    tasks = {}
    for n, result in found.items():
        tasks[f"point_{n}"] = compared(*result["point"])
        if result["interval"][0]:
            tasks[f"interval_{n}"] = compared(*result["interval"])
            tasks[f"bootstrap_{n}"] = compared(result["bootstrap"], result["interval"][1])
    for name, task in tasks.items():
        task["goal"] = TARGETS.get(name)
    return {
        "benchmark": "ope",
        "peer": "obp 0.5.7",
        "unit": "CPU seconds of one process, one thread; median",
        "what": {
            "point": f"{', '.join(SEVEN)} from arrays, {K} actions",
            "interval": f"all seven with intervals: block jackknife in one pass; peer: bootstrap of {draws} each",
            "bootstrap": f"all seven, bootstrap of {draws} on both sides (ours resamples blocks of units, once)",
        },
        "worst_difference_of_values": max(result["worst_difference"] for result in found.values()),
        "tasks": tasks,
        "python": sys.version.split()[0],
        "numpy": np.__version__,
    }


def compared(ours: list[float], theirs: list[float]) -> dict:
    a, b = statistics.median(ours), statistics.median(theirs)
    return {"product": round(a, 6), "peer": round(b, 6), "ratio": round(b / a, 1), "rounds": [len(ours), len(theirs)]}


class Child:
    """A process that answers one line of JSON per line it reads."""

    def __init__(self, python: Path, role: str, data: Path) -> None:
        command = [
            str(python),
            "-P",
            "-W",
            "ignore",
            str(Path(__file__).resolve()),
            "--child",
            role,
            "--data",
            str(data),
        ]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **ONE_THREAD}
        )

    def __enter__(self) -> Child:
        return self

    def ask(self, task: str, repeats: int = 1) -> dict:
        """Do a task some times in a row; CPU seconds of all of them."""
        task = f"{repeats} {task}"
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(task + "\n")
        self.process.stdin.flush()
        reply = self.process.stdout.readline()
        if not reply:
            raise SystemExit(f"the {task!r} child ended with code {self.process.wait()}")
        return json.loads(reply)

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=30)


def serve(make_tasks: Callable[[dict], dict[str, Callable]], data: Path) -> None:
    """The child's loop: run the named task, reply with its CPU seconds and values."""
    with np.load(data) as arrays:
        tasks = make_tasks({name: arrays[name] for name in arrays.files})
    for line in sys.stdin:
        repeats, name, *arguments = line.split()
        values = None
        start = time.process_time()
        for _ in range(int(repeats)):
            values = tasks[name](*map(int, arguments))
        print(json.dumps({"cpu": time.process_time() - start, "values": values}), flush=True)


def product_tasks(d: dict) -> dict[str, Callable]:
    from understudy.ope.estimators.dros import DRos
    from understudy.ope.estimators.switch_dr import SwitchDR
    from understudy.ope.evaluate import estimate
    from understudy.ope.evidence import from_arrays, point_values, stream
    from understudy.ope.naming import named

    columns = (d["action"], d["reward"], d["propensity"], d["probs"], d["q"])
    estimators = [*SEVEN[:5], SwitchDR(tau=TAU), DRos(lam=LAMBDA)]
    by_name = dict(zip(SEVEN, (estimator for _, estimator in named(estimators))))

    def intervals(method: str) -> dict[str, float]:
        answer = estimate({"target": from_arrays(*columns)}, estimators, method=method)
        if any(e.refused for e in answer):
            raise SystemExit(f"an interval was refused: {answer}")
        return {name: e.value for name, e in zip(SEVEN, answer)}

    return {
        "point": lambda: point_values(stream(*columns, match=False), by_name),
        "interval": lambda: intervals("jackknife"),
        "bootstrap": lambda draws: intervals("bootstrap"),
    }


def peer_tasks(d: dict) -> dict[str, Callable]:
    stand_in_for_torch()
    from obp import ope

    makers = {
        "ips": ope.InverseProbabilityWeighting(),
        "snips": ope.SelfNormalizedInverseProbabilityWeighting(),
        "dm": ope.DirectMethod(),
        "dr": ope.DoublyRobust(),
        "sndr": ope.SelfNormalizedDoublyRobust(),
        "switch_dr": ope.SwitchDoublyRobust(lambda_=TAU),
        "dros": ope.DoublyRobustWithShrinkage(lambda_=LAMBDA),
    }
    inputs = {
        "reward": d["reward"],
        "action": d["action"],
        "pscore": d["propensity"],
        "action_dist": d["probs"][:, :, None],
        "estimated_rewards_by_reg_model": d["q"][:, :, None],
    }

    def bootstrap(draws: int) -> dict:
        for estimator in makers.values():
            estimator.estimate_interval(**inputs, n_bootstrap_samples=draws, random_state=0)
        return {}

    return {
        "point": lambda: {name: float(e.estimate_policy_value(**inputs)) for name, e in makers.items()},
        "bootstrap": bootstrap,
    }


def stand_in_for_torch() -> None:
    """Names that obp imports from torch at start-up, as empty classes; nothing measured here calls them."""
    import types

    class Empty(types.ModuleType):
        __path__: list[str] = []

        def __getattr__(self, name: str) -> type:
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (), {})

    for name in ("torch", "torch.nn", "torch.nn.functional", "torch.optim", "torch.utils", "torch.utils.data"):
        sys.modules[name] = Empty(name)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])


def peer_python() -> Path:
    """The peer's own interpreter, made on first use. obp pins versions of 2022; they are not needed to run it."""
    python = PEER / "bin" / "python"
    if not (PEER / ".ready").exists():
        print(f"making the peer's environment in {PEER} (once)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(PEER)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *NEEDS], check=True)
        subprocess.run([*pip, "--ignore-requires-python", "--no-deps", "obp==0.5.7"], check=True)
        (PEER / ".ready").touch()
    return python


if __name__ == "__main__":
    raise SystemExit(main())
