"""The demo over many seeds: do its intervals cover the truth, does the good candidate ship, does the bad one never?

    python benchmarks/demo.py [--seeds 20] [--shuttle PATH]

Bars: of the intervals that were not refused at least 90 % cover the known truth; the good candidate ships in at least
18 of 20 seeds; the deliberately worse one in none.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from understudy.core.evidence import Estimate
from understudy.runs.demo import BAD, GOOD, demo

RESULTS = Path(__file__).parent / "results"


def covered(estimate: Estimate, truths: dict[str, float]) -> bool | None:
    """Whether the interval holds the true value (or difference); None if it was refused."""
    if estimate.low is None or estimate.high is None:
        return None
    first, _, second = estimate.target.partition(" - ")
    truth = truths[first] - (truths[second] if second else 0.0)
    return estimate.low <= truth <= estimate.high


def one(seed: int, shuttle: str | None) -> dict[str, object]:
    """One demo: outcomes of the verdicts, and how its intervals fared."""
    with tempfile.TemporaryDirectory() as folder:
        shown = demo(to=Path(folder) / "demo", shuttle=shuttle, seed=seed, episodes=False, say=None)
    judged = [(e, covered(e, shown.truths)) for e in shown.estimates]
    return {
        "seed": seed,
        "truths": shown.truths,
        "verdicts": {name: verdict.outcome for name, verdict in shown.verdicts.items()},
        "intervals": sum(ok is not None for _, ok in judged),
        "covering": sum(ok is True for _, ok in judged),
        "refused": sum(ok is None for _, ok in judged),
        "missed": [f"{e.target}, {e.estimator}: {e.low:.4f} to {e.high:.4f}" for e, ok in judged if ok is False],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--shuttle")
    options = parser.parse_args()
    with ProcessPoolExecutor(2) as pool:
        runs = list(pool.map(one, range(options.seeds), [options.shuttle] * options.seeds))
    total, hits = sum(r["intervals"] for r in runs), sum(r["covering"] for r in runs)  # type: ignore[misc]
    summary = {
        "seeds": options.seeds,
        "data": "shuttle" if options.shuttle else "digits",
        "coverage": hits / total,
        "intervals": total,
        "refused": sum(r["refused"] for r in runs),  # type: ignore[misc]
        "good_shipped": sum(r["verdicts"][GOOD] == "ship" for r in runs),  # type: ignore[index]
        "bad_shipped": sum(r["verdicts"][BAD] == "ship" for r in runs),  # type: ignore[index]
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"demo-{summary['data']}.json"
    if options.seeds >= 5:  # fewer show whether it runs, not what it shows
        path.write_text(json.dumps({"summary": summary, "runs": runs}, indent=1) + "\n")
    print(json.dumps(summary, indent=1))
    good = summary["good_shipped"] >= 0.9 * options.seeds and summary["bad_shipped"] == 0
    raise SystemExit(0 if good and summary["coverage"] >= 0.9 else 1)


if __name__ == "__main__":
    main()
