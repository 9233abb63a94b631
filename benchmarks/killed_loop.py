"""kill -9 of a loop at every single commit to its ledger, before it and after it: is the ledger the same in the end?

    python benchmarks/killed_loop.py [--quick]     → results/killed_loop.json

Each run is a forked child that kills itself at its n-th commit; the same loop is then run to its end and all that the
ledger says is compared with an uninterrupted run's.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path

import duckdb  # noqa: F401 - loaded here, so that no forked child has to
import sklearn.datasets  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.looping import killed_at, said, small  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "killed_loop.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="every twentieth commit, nothing written")
    quick, told = parser.parse_args().quick, small(loops=2, size=60, seed=1)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        assert killed_at(place / "whole", told, 0, after=True) == 0
        whole, killed, equal, at, step = said(place / "whole", told), 0, 0, 1, 20 if quick else 1
        while True:
            codes = []
            for after in (False, True):
                home = place / f"{at}-{after}"
                codes.append(killed_at(home, told, at, after=after))
                if codes[-1] == -signal.SIGKILL:
                    killed += 1
                    equal += killed_at(home, told, 0, after=after) == 0 and said(home, told) == whole
            if codes == [0, 0]:  # the loop has fewer commits than that
                break
            at += step
    print(f"{killed} kills, {equal} ledgers equal to that of a run that was never interrupted")
    if not quick:
        RESULTS.write_text(json.dumps({"kills": killed, "equal": equal}, indent=1) + "\n")
    raise SystemExit(0 if killed == equal else 1)


if __name__ == "__main__":
    main()
