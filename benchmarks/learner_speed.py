"""Gradient steps beside d3rlpy 2.8.1, and whole processes from the first import to a policy that holds the pole.

    python benchmarks/learner_speed.py              → results/learner-speed.json; make docs
    python benchmarks/learner_speed.py --quick      one short round, nothing written

One thread, CPU seconds (user + system); two children with the same rows, nets and minibatches take turns in one run,
and a ratio is the median of the rounds' ratios. Ours compiles before the first round; the peer warms up as long. A
step is drawing the minibatch and updating every network. *Whole*: the peer may stop at the first look that finds 195,
and its looks are free; ours trains as long as its default says, with a compilation cache that an earlier run filled.
The peer lives in its own environment, benchmarks/.peers/d3rlpy, made on first use (torch without CUDA is enough).
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

import numpy as np

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "learner-speed.json"
PEER = HERE / ".peers" / "d3rlpy"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
ENVS = {"iql": "pendulum", "td3_bc": "pendulum", "sac": "pendulum"}
GOALS = {"dqn": 3.0, "bcq": 4.0, "cql": 4.0, "iql": 2.0, "td3_bc": 2.0, "sac": 2.0, "bcq_small": 15.0}
STEPS = {"dqn": (600, 150), "bcq": (400, 100), "cql": (600, 150), "bcq_small": (2000, 200)}  # ours and theirs a round
WHOLE_GOAL, SEEDS = 0.5, range(100, 103)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=["steps", "whole"])
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        what, folder, *rest = options.child
        steps(options.rounds) if what == "steps" else whole(int(rest[0]))
        return 0
    python, rounds = peer_python(), 1 if options.quick else options.rounds
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() and options.only else {}
    with tempfile.TemporaryDirectory(prefix="understudy-speed-") as folder:
        seeds = [0] if options.quick else list(SEEDS)
        write_logs(Path(folder), seeds)
        if options.only != "whole":
            found["steps"] = duel(python, Path(folder), rounds)
        if options.only != "steps":
            found["whole"] = race(python, Path(folder), seeds)
    found |= {"benchmark": "learner_speed", "peer": "d3rlpy 2.8.1", "python": sys.version.split()[0]}
    print(json.dumps(found, indent=1))
    if not options.quick:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def example_log(env: str, seed: int) -> Any:
    """The log that the examples of ``env`` learn from."""
    from understudy.runs.example import log, read_example

    return log(read_example(HERE.parent / "examples" / env / ("sac.yaml" if env == "pendulum" else "bcq.yaml")), seed)


def write_logs(folder: Path, seeds: list[int]) -> None:
    """The rows for the peer."""
    for name, data in {"pendulum": example_log("pendulum", 0)}.items():
        write_rows(folder / f"{name}.npz", data)
    for seed in seeds:
        data = example_log("cartpole", seed)
        write_rows(folder / f"cartpole{seed}.npz", data)
        if seed == seeds[0]:
            write_rows(folder / "cartpole.npz", data)


def write_rows(path: Path, data: Any) -> None:
    s = data.steps
    action = s.action if s.action.ndim == 2 else s.action[:, None]
    np.savez(
        path, observations=s.context, actions=action, rewards=s.reward[:, None].astype(np.float32),
        terminals=s.terminated.astype(np.float32), timeouts=s.truncated.astype(np.float32),
    )  # fmt: skip


def duel(python: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Both sides do every learner in turn; the first round of each warms up and is not counted."""
    ours = Child([sys.executable, str(HERE / "learner_speed.py"), "--rounds", str(rounds), "--child", "steps", "-"])
    theirs = Child([str(python), str(HERE / "peers_d3rlpy.py"), "steps", str(folder)])
    rows = {}
    for name, goal in GOALS.items():
        own, other = STEPS.get(name, (300, 80))
        rates: dict[str, list[float]] = {"ours": [], "peer": []}
        for turn in range(rounds + 1):
            pair = own / ours.ask(f"{name} {own}")["cpu"], other / theirs.ask(f"{name} {other}")["cpu"]
            if turn:
                for side, rate in zip(rates.values(), pair):
                    side.append(round(rate, 1))
        ratios = [round(a / b, 2) for a, b in zip(*rates.values())]
        ratio = statistics.median(ratios)
        rows[name] = {
            "hidden": [64, 64] if name == "bcq_small" else [256, 256], "batch": 256, "env": ENVS.get(name, "cartpole"),
            "steps_per_cpu_s": {side: statistics.median(each) for side, each in rates.items()}, "rounds": rates,
            "ratio": ratio, "ratios": [min(ratios), max(ratios)], "goal": goal, "met": ratio >= goal,
        }  # fmt: skip
        print(f"{name:10} {ratio:5.2f} ({min(ratios)} to {max(ratios)}), bar {goal:g}", file=sys.stderr, flush=True)
    ours.close()
    theirs.close()
    return rows


def race(python: Path, folder: Path, seeds: list[int]) -> dict[str, Any]:
    """Whole processes in turn, seed by seed: ours from a cache that a run of another seed filled."""
    environment = {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }  # fmt: skip
    product = [sys.executable, str(HERE / "learner_speed.py"), "--child", "whole", "-"]
    cold = answer([*product, "99"], environment)
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "peer": [], "peer, 2×64": []}
    for seed in seeds:
        runs["ours"].append(answer([*product, str(seed)], environment))
        for who, width in (("peer", 256), ("peer, 2×64", 64)):
            runs[who].append(answer([str(python), str(HERE / "peers_d3rlpy.py"), "whole", str(folder), str(width), str(seed)]))  # fmt: skip  # noqa: E501
    cpu = {who: statistics.median(run["cpu"] for run in each) for who, each in runs.items()}
    best = min(cpu[who] for who in cpu if who != "ours")
    ratio, enough = cpu["ours"] / best, min(run["earned"] for each in runs.values() for run in each)
    return {
        "cpu_s": {who: round(value, 2) for who, value in cpu.items()}, "cold_cpu_s": round(cold["cpu"], 2),
        "ratio": round(ratio, 3), "goal": WHOLE_GOAL, "met": ratio <= WHOLE_GOAL and enough >= 195,
        "seeds": seeds, "runs": runs,
    }  # fmt: skip


class Child:
    """A process that answers one line of JSON per line it reads."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | ONE_THREAD
        )

    def ask(self, line: str) -> dict[str, float]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        while not (reply := self.process.stdout.readline()).startswith("{"):
            if not reply:
                raise SystemExit(f"a child ended with code {self.process.wait()} at {line!r}")
        return json.loads(reply)

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=60)


def answer(command: list[str], environment: dict[str, str] | None = None) -> dict[str, float]:
    """What a whole process says at its end."""
    done = subprocess.run(command, env=os.environ | ONE_THREAD | (environment or {}), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2_000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def learner(name: str, updates: int) -> Any:
    """A learner of ours with the nets and minibatches of the duel; all else is its default."""
    from understudy.runs.settings import learner as make

    hidden = (64, 64) if name == "bcq_small" else (256, 256)
    kind = "bcq" if name == "bcq_small" else name
    return make(kind, {"hidden": list(hidden), "batch": 256, "updates": updates})


def steps(rounds: int) -> None:
    """Our side of the duel: every request is the next epoch of one training."""
    from understudy.learners.gradient import epochs

    logs, trainings = {env: example_log(env, 0) for env in ("cartpole", "pendulum")}, {}
    for line in sys.stdin:
        name, count = line.split()
        turns = rounds + 1
        if name not in trainings:
            data = logs[ENVS.get(name, "cartpole")]
            trainings[name] = epochs(learner(name, turns * int(count)), data, seed=0, count=turns)
        start = time.process_time()
        made = next(trainings[name])
        assert made.updates % int(count) == 0
        print(json.dumps({"cpu": time.process_time() - start}), flush=True)


def whole(seed: int) -> None:
    """Our whole process: BCQ as it is shipped, on 500 uniform episodes."""
    import tempfile as scratch

    from understudy.models.policy_file import save_policy
    from understudy.runs.example import earned, read_example, trained

    example = read_example(HERE.parent / "examples" / "cartpole" / "bcq.yaml")
    data = example_log("cartpole", seed)
    policy, _ = trained(example, data, seed)
    with scratch.TemporaryDirectory() as folder:
        save_policy(policy, Path(folder), problem=data.problem)
    spent = time.process_time()
    print(json.dumps({"cpu": spent, "steps": 5000, "earned": earned(example, policy, seed)}), flush=True)


def peer_python() -> Path:
    """The peer's own interpreter, made on first use."""
    python = PEER / "bin" / "python"
    if not (PEER / ".ready").exists():
        print(f"making the peer's environment in {PEER} (once)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(PEER)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "d3rlpy==2.8.1", "torch==2.13.0"], check=True)
        (PEER / ".ready").touch()
    return python


if __name__ == "__main__":
    raise SystemExit(main())
