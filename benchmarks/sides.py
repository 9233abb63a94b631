"""Sides of a comparison: each run is a process of its own, sides take turns, and what was measured is kept as JSON."""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Runs = dict[str, list[dict[str, Any]]]


def arguments(description: str | None, child: Callable[[str, Path, Path], None]) -> argparse.Namespace | None:
    """--quick and --rounds; None in a process that was started for one run of one side, which is done by then."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=3, metavar=("SIDE", "SOURCE", "OUT"))
    chosen = parser.parse_args()
    if not chosen.child:
        return chosen
    side, source, out = chosen.child
    child(side, Path(source), Path(out))
    return None


def alternate(script: str, sides: Sequence[str], source: Path, rounds: int) -> Runs:
    """What each run of each side printed last, as JSON; one order of the sides, then the other."""
    runs: Runs = {side: [] for side in sides}
    for number in range(rounds):
        for side in sides if number % 2 == 0 else sides[::-1]:
            out = source.parent / "out"
            command = [sys.executable, script, "--child", side, str(source), str(out)]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            runs[side].append(json.loads(said.strip().splitlines()[-1]))
            shutil.rmtree(out)
            print(side, {k: round(v, 2) for k, v in runs[side][-1].items() if k != "rows"}, flush=True)
    return runs


def medians(runs: Runs, what: str) -> dict[str, float]:
    """Each side's median of one figure."""
    return {side: statistics.median(run[what] for run in found) for side, found in runs.items()}


def keep(name: str, result: dict[str, Any], *, quick: bool) -> Path:
    """Write the result beside those of the other benchmarks."""
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}{'-quick' if quick else ''}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    return path
