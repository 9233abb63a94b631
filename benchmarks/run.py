"""All benchmarks and long statistical runs, one after the other, each in a process of its own.

    python benchmarks/run.py [--quick] [NAME ...]

Results lie in benchmarks/results/*.json; `make docs` turns them into the tables of docs/ and of the README.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
NAMES = (
    "imports",
    "decide",
    "demo",
    "coverage",
    "gate",
    "audit",
    "ope",
    "sequential",
    "compare",
    "data",
    "timeline",
    "spark",
    "joins",
    "predict",
    "features",
    "envs",
    "retail",
    "retail_benchmark",
    "shuttle_learners",
    "learners",
    "learner_speed",
    "selection",
    "rows",
    "guard",
    "killed_loop",
    "live",
    "fresh",
    "loop",
    "serve",
    "faults",
    "sweep_faults",
    "sweep_overhead",
    "fuzz",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--quick", action="store_true", help="reduced sizes: whether they run, not what they show")
    options = parser.parse_args()
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    failed = []
    for name in options.names or NAMES:
        quick = (["--seeds", "2"] if name == "demo" else ["--quick"]) if options.quick else []
        start = time.monotonic()
        code = subprocess.call([sys.executable, str(HERE / f"{name}.py"), *quick])
        print(f"{name}: {'ok' if code == 0 else f'failed ({code})'} in {time.monotonic() - start:.0f} s", flush=True)
        failed += [name] * (code != 0)
    raise SystemExit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
