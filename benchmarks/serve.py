"""What a decision costs over HTTP and in process, beside bare handlers, MLflow and Vowpal Wabbit.

    python benchmarks/serve.py              five rounds and more → results/serve.json, docs/speed.md
    python benchmarks/serve.py --quick      small, nothing written

Servers take turns in one run, each pinned to one core, the load to the other. CPU is user + system time of the
server's processes per request, medians over rounds; a ratio is the median of the rounds' ratios. MLflow lives in an
environment of its own, benchmarks/.peers/mlflow, made on first use.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from service import FEATURES, Server, make_home, scratch
from service_pages import main as write_pages

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "benchmarks"
RESULTS = HERE / "results" / "serve.json"
PEER = HERE / ".peers" / "mlflow"
SERVER_CORE, LOAD_CORE = ["taskset", "-c", "0"], ["taskset", "-c", "1"]
GOALS = {"json": 1.6, "mlflow": 8.0, "durable": 0.9, "decide_us": 12.0, "vw": 4.0}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--without", nargs="*", default=[], help="peers to leave out, such as mlflow")
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args(argv)
    rounds, requests = (1, 2_000) if options.quick else (options.rounds or 7, 10_000)
    without = set(options.without) | ({"mlflow"} if options.quick else set())
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        report = measure(Path(folder), rounds, requests, without)
    print(json.dumps(report, indent=1))
    if not options.quick and not options.without:
        RESULTS.write_text(json.dumps(report, indent=1) + "\n")
        write_pages()
    return 0


def contestants(folder: Path, without: set[str]) -> dict[str, Server]:
    """The servers, not yet started."""
    make_home(folder / "home")
    bare = [sys.executable, str(HERE / "bare.py")]
    made = {"ours": Server(folder / "home", wrap=SERVER_CORE)}
    for name in ("json", "raw", "commit"):
        command = [*bare, name, "--port", "{port}", "--to", str(folder)]
        made[name] = Server(folder / name, command=command, wrap=SERVER_CORE)
    if "mlflow" not in without:
        command = mlflow_command(folder / "mlflow")
        path = f"{PEER / 'bin'}:{os.environ['PATH']}"
        made["mlflow"] = Server(
            folder / "mlflow", command=command, wrap=SERVER_CORE, ready_path="/ping", env={"PATH": path}
        )
    return {name: server for name, server in made.items() if name not in without}


def measure(folder: Path, rounds: int, requests: int, without: set[str]) -> dict[str, Any]:
    """Every contestant in turn, round by round; the first round warms up and is not counted."""
    found: dict[str, list[dict[str, float]]] = {}
    with ExitStack() as stack:
        servers = contestants(folder, without)
        for server in servers.values():
            server.start()
            stack.callback(server.kill)
        for server in servers.values():
            server.wait_ready(90)
        for turn in range(rounds + 1):
            for name, server in servers.items():
                n = max(200, requests // (10 if name == "mlflow" else 1))
                seen = asked(server, n, 32, f"{name}{turn}", mlflow=name == "mlflow")
                if name in ("ours", "commit"):  # as many at once as keep the core busy while the disk confirms
                    seen["most_per_second"] = asked(server, n, 128, f"{name}{turn}m")["per_second"]
                if turn:
                    found.setdefault(name, []).append(seen)
        calm = {name: calmly(server, name) for name, server in servers.items()}
    told = {"mlflow_version": mlflow_version(), "rounds": rounds, "requests": requests, "goals": GOALS}
    return summary(found) | {"calm_ms": calm, **told}


def asked(server: Server, n: int, connections: int, prefix: str, *, mlflow: bool = False) -> dict[str, float]:
    """A closed loop of n requests. CPU µs of the server per request, and requests a second."""
    before = server.cpu()
    seen = load(server, "--requests", str(n), "--connections", str(connections), "--prefix", prefix, mlflow=mlflow)
    assert seen["statuses"] == {"200": n}, (server.words(), seen)
    return {"cpu_us": (server.cpu() - before) / n * 1e6, "per_second": seen["per_second"], **seen["ms"]}


def calmly(server: Server, name: str) -> dict[str, float]:
    """Latencies where nobody waits for anybody: 100 requests a second on four connections."""
    told = ["--requests", "500", "--connections", "4", "--rate", "100", "--prefix", f"calm{name}"]
    return load(server, *told, mlflow=name == "mlflow")["ms"]


def load(server: Server, *arguments: str, mlflow: bool = False) -> dict[str, Any]:
    """The load generator in a process of its own, on the other core."""
    command = [*LOAD_CORE, sys.executable, str(HERE / "load.py"), "--port", str(server.port), *arguments]
    command += ["--path", "/invocations", "--rows"] if mlflow else []
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def summary(found: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Medians of rounds, and medians of the ratios within rounds."""
    medians = {
        name: {key: round(statistics.median(one[key] for one in rounds), 3) for key in rounds[0]}
        for name, rounds in found.items()
    }

    def ratio(top: str, bottom: str, key: str) -> dict[str, Any]:
        each = [a[key] / b[key] for a, b in zip(found[top], found[bottom])]
        return {"ratio": round(statistics.median(each), 3), "rounds": [round(one, 3) for one in each]}

    ratios = {"json": ratio("ours", "json", "cpu_us"), "raw": ratio("ours", "raw", "cpu_us")}
    ratios |= {"commit_cpu": ratio("ours", "commit", "cpu_us"), "durable": ratio("ours", "commit", "most_per_second")}
    if "mlflow" in found:
        ratios["mlflow"] = ratio("mlflow", "ours", "cpu_us")
    return {"servers": medians, "ratios": ratios}


# MLflow

MODEL = """
import sys, numpy as np, mlflow, mlflow.sklearn
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression
rng = np.random.default_rng(0)
x = rng.standard_normal((2000, {d})); y = rng.integers(0, 10, 2000)
model = LogisticRegression(max_iter=200).fit(x, y)
mlflow.sklearn.save_model(model, sys.argv[1])
print(mlflow.__version__)
"""


def mlflow_version() -> str:
    """Of the peer's environment; empty where there is none."""
    python = PEER / "bin" / "python"
    if not python.exists():
        return ""
    asked = "from importlib.metadata import version; print(version('mlflow'))"
    return subprocess.run([str(python), "-c", asked], capture_output=True, text=True, check=True).stdout.strip()


def mlflow_command(folder: Path) -> Sequence[str]:
    """`mlflow models serve` of a linear classifier of 20 numbers and 10 classes."""
    python = PEER / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(PEER)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "mlflow>=3"], check=True)
    folder.mkdir(parents=True)
    subprocess.run([str(python), "-c", MODEL.format(d=FEATURES), str(folder / "model")], check=True, cwd=folder)
    serve = [str(PEER / "bin" / "mlflow"), "models", "serve", "-m", str(folder / "model"), "--env-manager", "local"]
    return [*serve, "--port", "{port}", "--host", "127.0.0.1", "--workers", "1"]


if __name__ == "__main__":
    raise SystemExit(main())
