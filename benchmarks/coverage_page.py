"""docs/coverage.md from results/coverage.json: every figure on that page is written here, none by hand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from coverage_methods import METHODS, SAMPLES, compare
from understudy.ops.intervals import clopper_pearson

PAGE = Path(__file__).resolve().parents[1] / "docs" / "coverage.md"
SHOWN = ("ips", "snips", "dr", "dr_crossfit", "sndr_crossfit", "replay", "lift")
Claim = Callable[[dict], str]
Rejected = Callable[[dict], bool]

INTRO = """# Coverage: do the intervals hold what they promise?

*Written by `python benchmarks/coverage.py` from `benchmarks/results/coverage.json`; do not edit by hand.*

{logs:,} logs were simulated in every setting, their true values known by enumeration, and the intervals of this
package were computed on each of them by the package's own code. A nominal 95 % interval should hold the truth in 95 %
of the logs.

**What is claimed.**

- *Asymptotic intervals* (jackknife, the default): coverage of 95 ± 1.5 % in every setting where, in expectation, the
  API would answer: effective sample size of units ≥ 200, rows on which log and target agree ≥ 30, weighted rows with an
  uncommon reward ≥ 10, large contributions due ≥ 10, and skewness of the estimate ≤ 0.25. Between a skewness of 0.25
  and 0.5 (16 down to 4 equal contributions) the API still answers; there at least 93.5 % is claimed, and a discrete
  estimate may cover more. Beyond, the API refuses.
- *Betting bounds*: at least 95 % in every setting, whatever the weights and rewards (within the declared range).

**How it is judged.** An exact binomial test per cell; a cell fails if coverage in [93.5 %, 96.5 %] (betting: ≥ 95 %) is
rejected at the 1 % level. A cell whose true coverage lies exactly at the edge fails with probability 1 %; one with a
true coverage of 95 % practically never. With {logs:,} logs one standard error is 0.5 points, so a cell of the table may
show 92.3 or 97.4 and not be rejected.

**What is estimated.** IPS, SNIPS, DR, SNDR and replay (uniform logging only) are judged against the truth;
"crossfit" fits the reward model out-of-fold, the others are given an imperfect one. `lift` is the paired difference
SNIPS − mean reward of the log. Clipped and shrunk estimators (clipped IPS, SWITCH-DR, DRos, sub-Gaussian) are biased on
purpose, and their notes say so: their intervals are claimed for their own expectation only, and their coverage of the
truth is shown beside it. DM has no claim: its interval does not see the bias of the model. SWITCH with a data-driven
threshold has none either: it chooses on the same data.

**Settings.** Eight contexts, five actions. Behavior: ε-greedy (ε = 0.001, 0.02, 0.1, 0.3), uniform, softmax. Targets:
*near* the behavior, *hedged* (0.9 · behavior + 0.1 · uniform: a few heavy weights), *far* (deterministic, differing in
21 % of the decisions). Rewards in [0, 1]: *binary*; *beta*; *spiky* (Beta, mean 0.1, most rewards next to 0 and a few
next to 1); *lognormal* (clipped at 1); *rare* (about 1 in 1,000). *Pareto α*: a weight of tail index α + 1 (0.8:
infinite variance; 1.5: infinite third moment). Users: ten events each, or a geometric number (mean 10), who share a
context and a taste; blocks by user.
"""

METHOD = """
## Why the interval is not plain t

The plain interval θ̂ ± t·SE misses on one side when few units carry the estimate: rare rewards, heavy weights. The one
given here (`ops/intervals.py: jackknife_interval`) corrects for skewness with the cubic transformation of Hall (1992)
and takes Satterthwaite degrees of freedom. Both come from the same delete-one-block replicates, so they cost nothing.
In the claimed cells, "plain t" shows what would have happened without. Candidates compared on means of 256 blocks,
{samples:,} samples each (standard error of a cell: 0.3 points), coverage in percent:

{table}

Where a handful of equal events carries an estimate its distribution is a lattice, and no interval covers exactly 95 %.
"""


def write_page(cells: list[dict], claim: Claim, rejected: Rejected) -> int:
    """Write docs/coverage.md; returns 0."""
    parts = [
        INTRO.format(logs=max(cell["logs"] for cell in cells)),
        _verdict(cells, claim, rejected),
        _by_estimator(cells, claim, rejected),
        _betting(cells),
        _methods(),
        _biased(cells, claim),
        _clusters(cells),
        _refused(cells, claim),
        _settings(cells, claim),
    ]
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text("\n".join(part.strip() + "\n" for part in parts))
    return 0


def _verdict(cells, claim, rejected) -> str:
    kinds = [claim(cell) for cell in cells]
    two = [cell["hits"] / cell["logs"] for cell in cells if claim(cell) == "two-sided"]
    shown = sum(0.935 <= share <= 0.965 for share in two)
    bad = [cell for cell in cells if rejected(cell)]
    text = (
        f"**Result.** {kinds.count('two-sided'):,} cells claimed at 95 ± 1.5 %, {kinds.count('at least'):,} at "
        f"≥ 93.5 %, {kinds.count('bound'):,} betting cells at ≥ 95 %; **{len(bad)} rejected**. Of the "
        f"first, {shown:,} show a figure within 93.5 to 96.5; their mean is {100 * sum(two) / max(len(two), 1):.2f}."
    )
    for cell in bad:
        text += f"\n- rejected: {_setting(cell)}, {cell['estimator']}: {_percent(cell['hits'], cell['logs'])} %"
    return text


def _by_estimator(cells, claim, rejected) -> str:
    rows = []
    for kind, what in (("two-sided", "95 ± 1.5"), ("at least", "≥ 93.5")):
        for name in dict.fromkeys(cell["estimator"] for cell in cells):
            mine = [cell for cell in cells if cell["estimator"] == name and claim(cell) == kind]
            if not mine:
                continue
            share = sorted(cell["hits"] / cell["logs"] for cell in mine)
            plain = min(cell["hits_plain"] / cell["logs"] for cell in mine)
            mean = sum(share) / len(share)
            rows.append(
                [name, what, len(mine), *(f"{100 * s:.1f}" for s in (share[0], mean, share[-1])),
                 sum(map(rejected, mine)), f"{100 * plain:.1f}"]
            )  # fmt: skip
    head = ["estimator", "claim, %", "cells", "lowest", "mean", "highest", "rejected", "lowest of plain t"]
    return "## Asymptotic intervals, claimed cells\n\n" + _table(head, rows)


def _betting(cells) -> str:
    rows = []
    groups = _grouped((cell for cell in cells if cell["estimator"] == "betting"), ("behavior", "reward"))
    for (behavior, reward), mine in groups.items():
        lowest = [min(cell[hits] / cell["logs"] for cell in mine) for hits in ("hits_lower", "hits")]
        rows.append([behavior, reward, len(mine), *(f"{100 * s:.2f}" for s in lowest)])
    head = ["behavior", "reward", "cells", "lower bound at 95 %: lowest", "both sides at 97.5 %: lowest"]
    text = "## Betting bounds, every setting (all targets, n = 75 to 5,000)\n\n"
    return text + _table(head, rows)


def _methods() -> str:
    rows = [[name, *(f"{100 * shares[method]:.1f}" for method in METHODS)] for name, shares in compare()]
    return METHOD.format(samples=SAMPLES, table=_table(["what carries the estimate", *METHODS], rows))


def _biased(cells, claim) -> str:
    rows = []
    for name in ("clipped_ips", "switch_dr", "dros", "sg_ips", "sg_dr"):
        mine = [cell for cell in cells if cell["estimator"] == name and claim(cell)]
        if not mine:
            continue
        own = [cell["hits"] / cell["logs"] for cell in mine]
        truth = [cell["hits_truth"] / cell["logs"] for cell in mine]
        worst = max(mine, key=lambda cell: abs(cell["bias"]))
        figures = (min(own), min(truth), sorted(truth)[len(truth) // 2])
        rows.append([name, *(f"{100 * s:.1f}" for s in figures), f"{worst['bias']:+.4f}", _setting(worst)])
    head = ["estimator", "own expectation: lowest", "truth: lowest", "truth: median", "largest bias", "where"]
    text = "## Estimators that are biased on purpose\n\nTheir intervals do not contain their bias, and say so.\n\n"
    return text + _table(head, rows)


def _clusters(cells) -> str:
    rows = []
    chosen = [c for c in cells if c["users"] != "one event" and c["estimator"] in ("snips", "dr") and c["n"] == 5000]
    for cell in sorted(chosen, key=lambda c: (c["behavior"], c["target"], c["estimator"], c["users"])):
        rows.append([_setting(cell), cell["estimator"], _percent(cell["hits"], cell["logs"])])
    text = '## Events of one user are not independent\n\n"ignored" cuts blocks by event instead of by user.\n\n'
    return text + _table(["setting", "estimator", "coverage, %"], rows)


def _refused(cells, claim) -> str:
    """Settings with enough ESS and matches in which nothing is claimed: why the further rules exist."""
    rows = []
    usual = (c for c in cells if c["estimator"] in SHOWN and c["users"] == "one event")
    for mine in _grouped(usual, ("behavior", "reward", "users", "target", "n")).values():
        first = mine[0]
        if first["expected_ess"] < 200 or first["matched"] < 30 or any(claim(cell) for cell in mine):
            continue
        share = [cell["hits"] / cell["logs"] for cell in mine]
        answered = max(cell["answered"] / cell["logs"] for cell in mine)
        rows.append(
            [_setting(first), f"{first['expected_ess']:.0f}", f"{first['varied']:.1f}", f"{first['due']:.1f}",
             f"{100 * min(share):.1f}", f"{100 * answered:.1f}"]
        )  # fmt: skip
    head = ["setting", "ESS", "uncommon rewards", "contributions due", "lowest coverage, had all been answered, %",
            "answered, % of logs"]  # fmt: skip
    text = (
        "## Where ESS ≥ 200 and matches ≥ 30 are not enough\n\n"
        "An effective sample size says nothing about rewards or weights that were possible but are not in the log. "
        "These settings pass both rules; the further ones (uncommon rewards ≥ 10, contributions due ≥ 10, skewness) "
        "refuse most of their logs. Contributions due need the propensities of all actions; a log that has only those "
        "of the logged ones is not protected by that rule. Pareto 1.5 covers well but has no third moment, so nothing "
        "is claimed.\n\n" + _selection(cells, claim)
    )
    return text + _table(head, rows)


def _selection(cells, claim) -> str:
    """Answered logs are not a random sample of logs: what that does."""
    often = [c for c in cells if "answered" in c and "ignored" not in c["users"] and c["answered"] >= 0.1 * c["logs"]]
    share = lambda cell: cell["hits_answered"] / cell["answered"]
    claimed, other = ([c for c in often if bool(claim(c)) == side] for side in (True, False))
    text = "Answered logs are selected by what is in them. Coverage among the answered logs alone, lowest: "
    for what, mine in (("claimed settings", claimed), ("settings not claimed and answered in 10 % or more", other)):
        if mine:
            worst = min(mine, key=share)
            answered = 100 * worst["answered"] / worst["logs"]
            text += (
                f"{what}, {100 * share(worst):.1f} % ({_setting(worst)}, {worst['estimator']}: {answered:.0f} % of "
                "logs answered); "
            )
    return text.rstrip("; ") + ".\n\n"


def _settings(cells, claim) -> str:
    """One row per setting in which anything is claimed."""
    rows = []
    keys = ("behavior", "reward", "users", "target", "n")
    for mine in _grouped((c for c in cells if c["estimator"] != "betting"), keys).values():
        if not any(claim(cell) for cell in mine):
            continue
        found = {cell["estimator"]: cell for cell in mine}
        shown = []
        for name in SHOWN:
            cell = found.get(name)
            mark = {"two-sided": "", "at least": "*"}.get(claim(cell), "") if cell else ""
            shown.append(f"{_percent(cell['hits'], cell['logs'])}{mark}" if cell and claim(cell) else "–")
        snips = found["snips"]
        refused = 100 * (1 - snips["answered"] / snips["logs"])
        rows.append(
            [_setting(snips), f"{snips['expected_ess']:.0f}", f"{snips['matched']:.0f}", f"{refused:.0f}",
             *shown, f"{snips['width']:.3f}"]
        )  # fmt: skip
    low, high = (100 * float(end) for end in clopper_pearson(1900, 2000, 0.99))
    text = (
        "## Every claimed setting\n\nCoverage in percent; * = claimed at ≥ 93.5 % only (skewness above 0.25); – = not "
        "claimed; refused and width: of SNIPS. The 99 % exact interval of a cell that shows 95.0 is "
        f"[{low:.1f}, {high:.1f}].\n\n"
    )
    return text + _table(["setting", "ESS", "matched", "refused, %", *SHOWN, "width"], rows)


def _grouped(cells: Iterable[dict], keys: tuple[str, ...]) -> dict[tuple, list[dict]]:
    groups: dict[tuple, list[dict]] = defaultdict(list)
    for cell in cells:
        groups[tuple(cell[key] for key in keys)].append(cell)
    return groups


def _setting(cell: dict) -> str:
    users = "" if cell["users"] == "one event" else f", users: {cell['users']}"
    return f"{cell['behavior']}, {cell['reward']}, {cell['target']}, n = {cell['n']:,}{users}"


def _percent(hits: int, logs: int) -> str:
    return f"{100 * hits / logs:.1f}"


def _table(head: list[str], rows: list[list]) -> str:
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)
