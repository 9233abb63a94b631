"""How often the audit sees each fault, and how often it cries wolf: fault injection with the truth known.

    python benchmarks/audit.py             20 seeds × 5 kinds of log × 20 faults, twice (all or chosen propensities)
    python benchmarks/audit.py --quick     3 seeds, nothing written
    python benchmarks/audit.py --docs      only the table of docs/audit.md, from the last results

Writes benchmarks/results/audit.json and the table of docs/audit.md. Clean logs use seeds that no fault uses.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path

from understudy.data.dataset import MemoryDataset
from understudy.ope.audit import audit
from understudy.ops import stats
from understudy.testing.faults import FAULTS, INVISIBLE
from understudy.testing.worlds import KINDS, World, world

ROOT = Path(__file__).parents[1]
MODES = {"all": lambda w: w, "chosen": lambda w: w.chosen_only()}
BEGIN, END = "<!-- measured: benchmarks/audit.py -->", "<!-- end -->"
CLEAN = 10_000  # first seed of the clean logs


def names(w: World) -> list[str]:
    """What the audit says of a log."""
    return [f.name for f in audit(MemoryDataset(w.problem, w.steps, w.rules))]


def recall(n: int, seeds: int, mode: str) -> dict[str, dict]:
    """Per fault: logs made, logs in which a finding named it, and what else was said."""
    table = {}
    for fault, spec in FAULTS.items():
        made, seen, said = 0, 0, Counter()
        worst: dict[str, int] = {}
        for kind_name, kind in KINDS.items():
            for seed in range(seeds):
                w = spec.make(kind, n, seed)
                if w is None:
                    break
                found = names(MODES[mode](w))
                made, hit = made + 1, bool(spec.names.intersection(found))
                seen += hit
                worst[kind_name] = worst.get(kind_name, 0) + (not hit)
                said.update(found or ["nothing"])
        table[fault] = {
            "logs": made,
            "seen": seen,
            "recall": seen / made,
            "low": stats.binomial_lower(seen, made),
            "missed": {k: v for k, v in worst.items() if v},
            "said": dict(said.most_common()),
        }
        print(f"{mode:>7} {fault:<50} {seen:>4}/{made:<4} {dict(said.most_common(4))}", flush=True)
    return table


def invisible(n: int, seeds: int) -> dict[str, dict]:
    """Faults that no test can see: measured all the same."""
    table = {}
    for fault, (make, why) in INVISIBLE.items():
        worlds = [make(kind, n, seed) for kind in KINDS.values() for seed in range(seeds)]
        found = [bool(names(w)) for w in worlds if w is not None]
        table[fault] = {"logs": len(found), "flagged": sum(found), "why": why}
        print(f"unseen  {fault:<50} {sum(found):>4}/{len(found)}", flush=True)
    return table


def clean(n: int, logs: int, mode: str) -> dict:
    """Clean logs of every kind: any finding is a false alarm."""
    alarms, per = [], -(-logs // len(KINDS))
    for kind_name, kind in KINDS.items():
        for seed in range(CLEAN, CLEAN + per):
            alarms += [f"{kind_name} {seed}: {said}" for said in [names(MODES[mode](world(kind, n, seed)))] if said]
    made = per * len(KINDS)
    print(f"{mode:>7} clean: {len(alarms)} of {made} raise a finding {alarms}", flush=True)
    return {
        "logs": made,
        "alarms": len(alarms),
        "which": alarms,
        "upper": stats.binomial_upper(len(alarms), made),
        "p_above_2_percent": 1 - float(stats.binomial_lower(len(alarms), made, 0.95) > 0.02),
    }


def write_docs(result: dict) -> None:
    """The measured table of docs/audit.md, between its markers."""
    lines = ["| fault | rows | named as | recall, all propensities | recall, chosen only |", "|---|---|---|---|---|"]
    for fault, spec in FAULTS.items():
        cells = []
        for mode in MODES:
            row = result["recall"][mode][fault]
            cells.append(f"{row['seen']} / {row['logs']} = {row['recall']:.1%}")
        said = [name for name in result["recall"]["all"][fault]["said"] if name in spec.names]
        lines.append(f"| {fault} | {spec.scope} | {', '.join(f'`{n}`' for n in said[:3])} | {cells[0]} | {cells[1]} |")
    means = [f"**{result['recall'][mode + ' mean']:.1%}**" for mode in MODES]
    lines.append(f"| **mean** | | | {means[0]} | {means[1]} |")
    quiet = [result["clean"][mode] for mode in MODES]
    alarms = [f"{c['alarms']} / {c['logs']} (95 % upper bound {c['upper']:.1%})" for c in quiet]
    lines.append(f"| *clean logs with any finding* | | | {alarms[0]} | {alarms[1]} |")
    lines += ["", "| fault that leaves no trace | flagged | why |", "|---|---|---|"]
    lines += [f"| {f} | {r['flagged']} / {r['logs']} | {r['why']} |" for f, r in result["invisible"].items()]
    page = ROOT / "docs" / "audit.md"
    head, rest = page.read_text().split(BEGIN)
    tail = rest.split(END)[1]
    page.write_text(head + BEGIN + "\n" + "\n".join(lines) + "\n" + END + tail)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--clean", type=int, default=250)
    parser.add_argument("--to", type=Path, default=ROOT / "benchmarks" / "results" / "audit.json")
    parser.add_argument("--docs", action="store_true")
    args = parser.parse_args()
    if args.docs:
        write_docs(json.loads(args.to.read_text()))
        return
    seeds, logs = (3, 50) if args.quick else (args.seeds, args.clean)
    start = time.process_time()
    result: dict = {"n": args.n, "seeds": seeds, "kinds": list(KINDS)}
    result["clean"] = {mode: clean(args.n, logs, mode) for mode in MODES}
    result["recall"] = {mode: recall(args.n, seeds, mode) for mode in MODES}
    result["invisible"] = invisible(args.n, seeds)
    result["cpu_seconds"] = time.process_time() - start
    for mode in MODES:
        shares = [row["recall"] for row in result["recall"][mode].values()]
        result["recall"][mode + " mean"] = sum(shares) / len(shares)
        print(f"{mode}: mean recall {sum(shares) / len(shares):.3f}, least {min(shares):.3f}")
    if not args.quick:
        args.to.parent.mkdir(exist_ok=True)
        args.to.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        write_docs(result)
        print(args.to)


if __name__ == "__main__":
    main()
