"""What ``import understudy`` costs beside ``import numpy``: interleaved processes, medians of CPU seconds.

Bar: at most 1.5 times.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path

BAR = 1.5


def cost(module: str) -> float:
    """CPU seconds (user + system) of a fresh interpreter that imports one module."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds, nothing written")
    quick = parser.parse_args().quick
    rounds = 5 if quick else 31
    pairs = [(cost("understudy"), cost("numpy")) for _ in range(rounds)]
    ours, numpy = (statistics.median(column) for column in zip(*pairs))
    result = {"rounds": rounds, "understudy_cpu_s": ours, "numpy_cpu_s": numpy, "ratio": ours / numpy, "bar": BAR}
    path = Path(__file__).parent / "results" / "imports.json"
    path.parent.mkdir(exist_ok=True)
    if not quick:
        path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))
    raise SystemExit(0 if ours <= BAR * numpy else 1)


if __name__ == "__main__":
    main()
