"""Sequential estimators: speed on 10,000 episodes of 20 steps, and coverage of their intervals on a chain.

    python benchmarks/sequential.py             full counts → results/sequential.json
    python benchmarks/sequential.py --quick     few rounds, nothing written
    python benchmarks/sequential.py --only speed

Speed: one thread, CPU milliseconds of a process, median over rounds. Six point values from π(·|x) and Q̂(x, ·) of all
steps beside scope-rl 0.2.1 (peers_scope_rl.py), in turns; values must agree to 1e-5: its self-normalised ones add a
small number to what they divide by. Coverage: logs of 800 and 3,000 episodes of the three-state chain, whose value is
exact.
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
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402  # after the threads are fixed

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "sequential.json"
SIX = ("tis", "wis", "pdis", "cwpdis", "sdr", "wdr")
ALL = (*SIX, "magic", "mis", "snmis", "drl", "fqe")
M, T = 10_000, 20
K, GAMMA = 4, 0.95


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=["speed", "coverage"])
    options = parser.parse_args(argv)
    report: dict[str, Any] = json.loads(RESULTS.read_text()) if options.only else {}
    report |= {"benchmark": "sequential", "python": sys.version.split()[0], "numpy": np.__version__}
    if options.only != "coverage":
        report["speed"] = speed(5 if options.quick else 40)
    if options.only != "speed":
        report["coverage"] = [coverage(m, 20 if options.quick else 500) for m in (800, 3_000)]
    print(json.dumps(report, indent=2))
    if not options.quick:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def speed(rounds: int) -> dict:
    """CPU milliseconds of six point values, beside the peer; of each alone, and of six with intervals."""
    from understudy.ope.evaluate import estimate
    from understudy.ope.evidence import point_values, weigh
    from understudy.ope.naming import named

    a, steps = arrays(), logged()
    six = dict(named(SIX))

    def evidence() -> Any:
        """Made anew each time: nothing is kept from the round before."""
        return weigh(steps, a["evaluation_policy_action_dist"], a["state_action_value_prediction"], GAMMA, match=False)

    tasks: dict[str, Any] = {"six": lambda: point_values(evidence(), six)}
    tasks |= {name: lambda n=name: point_values(evidence(), {n: six[n]}) for name in SIX}
    tasks["six_with_intervals"] = lambda: estimate({"target": evidence()}, SIX, blocks=256)
    found: dict[str, list[float]] = {name: [] for name in tasks}
    values: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "log.npz", **a, length=T, gamma=GAMMA)
        peer, theirs, told = peer_process(Path(folder) / "log.npz"), [], {}
        for turn in range(rounds + 1):
            for name, task in tasks.items():
                start = time.process_time()
                out = task()
                found[name] += [1e3 * (time.process_time() - start)] * (turn > 0)
                values = dict(out) if name == "six" else values
            told = ask(peer)
            theirs += [1e3 * told["cpu"]] * (turn > 0)
        peer.stdin.close()  # type: ignore[union-attr]
        peer.wait(timeout=30)
    worst = max(abs(values[name] - told["values"][name]) for name in SIX)
    if worst > 1e-5:
        raise SystemExit(f"values differ from the peer's by {worst:.3g}: {values} and {told['values']}")
    medians = {name: round(statistics.median(each), 3) for name, each in found.items()}
    ratios = [b / a for a, b in zip(found["six"], theirs)]
    return {
        "unit": "CPU milliseconds, one thread, median", "episodes": M, "steps": T, "actions": K, "product": medians,
        "peer": "scope-rl 0.2.1", "peer_ms": round(statistics.median(theirs), 3), "worst_difference": worst,
        "ratio": round(statistics.median(ratios), 1), "goal": 10.0,
    }  # fmt: skip


def peer_process(data: Path) -> Any:
    """The peer, waiting."""
    from peers_scope_rl import __file__ as script
    from peers_scope_rl import peer_python

    command = [str(peer_python()), "-W", "ignore", str(script), str(data)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(peer: Any) -> dict[str, Any]:
    """Its next six values."""
    peer.stdin.write("six\n")
    peer.stdin.flush()
    line = peer.stdout.readline()
    if not line:
        raise SystemExit(f"the peer ended with code {peer.wait()}")
    return json.loads(line)


def arrays() -> dict[str, np.ndarray]:
    """A log of K actions, a policy near the one that made it, and a model, row by row."""
    rng = np.random.default_rng(0)
    n = M * T
    behavior, target = (softmax(0.2 * rng.normal(size=(n, K))) for _ in range(2))
    target = 0.9 * behavior + 0.1 * target
    action = (behavior.cumsum(1) < rng.random((n, 1))).sum(1).clip(max=K - 1).astype(np.int32)
    return {
        "action": action, "reward": rng.normal(size=n), "pscore": behavior[np.arange(n), action],
        "evaluation_policy_action_dist": target, "state_action_value_prediction": rng.normal(size=(n, K)),
    }  # fmt: skip


def softmax(score: np.ndarray) -> np.ndarray:
    e = np.exp(score)
    return e / e.sum(1, keepdims=True)


def logged() -> Any:
    """The same log as ours."""
    from understudy.core.steps import Steps

    a, n = arrays(), M * T
    last = np.tile(np.arange(T) == T - 1, M)
    return Steps(
        starts=np.arange(M + 1) * T, unit=np.arange(M, dtype=np.uint64), time=np.arange(n),
        context=np.zeros((n, 1), np.float32), action=a["action"], reward=a["reward"], terminated=last,
        truncated=np.zeros(n, bool), propensity=a["pscore"],
    )  # fmt: skip


def coverage(m: int, logs: int) -> dict:
    """Bias, spread and coverage of nominal 95 % intervals over many logs of m episodes."""
    from understudy.data.dataset import MemoryDataset
    from understudy.ope.evaluate import evaluate
    from understudy.testing.chain import ChainPolicy, chain_problem, exact_value, tiny_chain

    behavior, target = ChainPolicy((0.5, 0.5, 0.5)), ChainPolicy((0.7, 0.6, 0.3))
    truth, problem = exact_value(target), chain_problem()
    hits: dict[str, list[bool]] = {name: [] for name in ALL}
    values: dict[str, list[float]] = {name: [] for name in ALL}
    for seed in range(logs):
        for e in evaluate(MemoryDataset(problem, tiny_chain(behavior, m, seed)), {"target": target}, ALL):
            values[e.estimator].append(e.value)
            if e.low is not None and e.high is not None:
                hits[e.estimator].append(e.low <= truth <= e.high)
    rows = {}
    for name in ALL:
        drawn, hit = np.array(values[name]), hits[name]
        rows[name] = {
            "bias": round(float(drawn.mean() - truth), 5),
            "bias_se": round(float(drawn.std(ddof=1) / np.sqrt(len(drawn))), 5),
            "spread": round(float(drawn.std(ddof=1)), 4),
            "answered": len(hit),
            "covered": round(float(np.mean(hit)), 4) if hit else None,
        }
    return {"episodes": m, "logs": logs, "truth": round(truth, 5), "estimators": rows}


if __name__ == "__main__":
    raise SystemExit(main())
