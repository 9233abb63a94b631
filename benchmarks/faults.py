"""What the service survives, at full counts: kills, torn logs, full and failing disks, swaps, bad policies, floods.

    python benchmarks/faults.py [NAME ...]     → results/faults.json, docs/faults.md; a fast part is tests/faults
    python benchmarks/faults.py --quick        small counts, nothing written

The join of late, repeated and orphan rewards in any order is benchmarks/joins.py. Every experiment has a server of its
own under real load from another process, on loopback. What was measured earlier stays until it is measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fault_crash import kills, stops, torn
from fault_disk import Unavailable, full, injected
from fault_traffic import Hostile, failing, overload, swaps
from service import scratch
from service_pages import main as write_pages

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "faults.json"


def ways(home: Path, n: int) -> dict[str, Any]:
    """Each way to fail, always and now and then."""
    told = [(f"{way}, {share:.0%}", way, share) for way in Hostile.WAYS for share in (1.0, 0.1)]
    told = [("never, for comparison", "raises", 0.0), *told]
    return {name: failing(home / f"{i}", way, n, share=share) for i, (name, way, share) in enumerate(told)}


# name → (what to run, full counts, quick ones)
EXPERIMENTS: dict[str, tuple[Callable[..., dict[str, Any]], tuple, tuple]] = {
    "kills": (kills, (1_000,), (10,)),
    "torn": (torn, (101,), (6,)),
    "stops": (stops, (50,), (4,)),
    "full": (full, (20,), (1,)),
    "eio": (lambda home, n: injected(home, n, "eio"), (200,), (4,)),
    "enospc": (lambda home, n: injected(home, n, "enospc"), (200,), (4,)),
    "swaps": (swaps, (100, 60.0), (10, 6.0)),
    "failing": (ways, (1_000,), (60,)),
    "overload": (overload, (40.0,), (5.0,)),
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(EXPERIMENTS)}; default: all")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(argv)
    for name in options.names or EXPERIMENTS:
        what, counts, few = EXPERIMENTS[name]
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(dir=scratch()) as folder:
            try:
                found = what(Path(folder) / "home", *(few if options.quick else counts))
            except Unavailable as error:
                found = {"unavailable": str(error)}
        print(json.dumps({name: found}, indent=1), flush=True)
        print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        if not options.quick:
            kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
            kept[name] = found
            RESULTS.write_text(json.dumps({key: kept[key] for key in EXPERIMENTS if key in kept}, indent=1) + "\n")
            write_pages()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
