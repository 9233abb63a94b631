"""Tables from benchmark results: what stands between ``<!-- table: NAME -->`` marks of the pages below.

    python docs/build.py [--check]

``--check`` writes nothing and fails if a table is stale. Pages that belong to one benchmark (docs/coverage.md,
docs/gate.md, docs/audit.md) are written by that benchmark.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def load(name: str) -> dict[str, Any] | None:
    """The results of a benchmark, None if it has not been run."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def speed() -> list[str]:
    """What was measured beside a peer in the same run, as ratios of CPU time."""
    rows = ["| what | beside | ratio of CPU time | bar |", "|---|---|---|---|"]
    if ope := load("ope"):
        names = {
            "point_100000": "seven estimators, 100,000 × 10 actions",
            "point_1000000": "seven estimators, 1,000,000 × 10 actions",
            "interval_100000": "the same with intervals (block jackknife; peer: bootstrap of 1,000)",
        }
        for key, what in names.items():
            task = ope["tasks"][key]
            rows.append(f"| {what} | {ope['peer']} | {task['ratio']:.1f}× faster | ≥ {task['goal']:g}× |")
    if data := load("data"):
        what = f"join of {data['decisions'] / 1e6:g} million decisions and {data['outcomes'] / 1e6:g} million outcomes"
        bar = f"≤ {data['goals']['cpu_ratio']}×, ≤ {data['goals']['peak_gb']} GB"
        what += f", peak {data['peak_gb']['ours']:.2f} GB"
        rows.append(f"| {what} | the bare DuckDB query | {data['cpu_ratio']:.2f}× | {bar} |")
    if features := load("features"):
        what = f"identifying {features['features']} features of {features['rows'] / 1e6:g} million sparse rows"
        what += f", {features['cpu_s']['ours']:.1f} CPU-s"
        goal = features["goals"]
        rows.append(
            f"| {what} | scipy on all values | {features['ratios']['scipy']:.0f}× faster | ≥ {goal['ratio']:g}×, "
            f"≤ {goal['cpu_s']:g} CPU-s |"
        )
        rows.append(f"| the same | scipy on the same sample | {features['ratios']['scipy_sampled']:.1f}× faster | |")
    if serve := load("serve"):
        bare, mlflow = (f"{serve['ratios'][key]['ratio']:.1f}" for key in ("json", "mlflow"))
        goals = serve["goals"]
        what = "a decision over HTTP, durable before its answer"
        rows.append(f"| {what} | a bare JSON handler | {bare}× | ≤ {goals['json']:g}× |")
        rows.append(f"| the same | `mlflow models serve` | {mlflow}× faster | ≥ {goals['mlflow']:g}× |")
    if envs := load("envs"):
        speed, bars = envs["steps_per_cpu_s"], envs["bars"]
        what = f"CartPole, {envs['width']} side by side, {speed['cartpole'] / 1e6:.1f} M steps per CPU-s"
        for peer, words in (("sync", "Gymnasium's sync vector"), ("vector", "Gymnasium's vectorised CartPole")):
            key = f"cartpole / {peer}"
            rows.append(f"| {what} | {words} | {envs['ratios'][key]:.1f}× faster | ≥ {bars[key]:g}× |")
            what = "the same"
    if imports := load("imports"):
        rows.append(f"| `import understudy` | `import numpy` | {imports['ratio']:.2f}× | ≤ {imports['bar']}× |")
    return rows


def demos() -> list[str]:
    """The demo over many seeds, judged against the truth."""
    rows = [
        "| data | seeds | intervals that cover the truth | refused | good candidate shipped | bad one shipped |",
        "|---|---|---|---|---|---|",
    ]
    for name in ("digits", "shuttle"):
        if found := load(f"demo-{name}"):
            s = found["summary"]
            rows.append(
                f"| {name} | {s['seeds']} | {s['coverage']:.1%} of {s['intervals']} | {s['refused']} | "
                f"{s['good_shipped']} | {s['bad_shipped']} |"
            )
    return rows


def live() -> list[str]:
    """Shuttle through the real service."""
    rows = ["| learner | mean reward (least of the seeds) | last 1,000 | bar |", "|---|---|---|---|"]
    for name, row in (load("live") or {}).items():
        bar = [f"≥ {row['bar']:g}"] * bool(row["bar"]) + [f"≥ {row['bar_last']:g} at the end"] * bool(row["bar_last"])
        rows.append(f"| {name} | {row['mean']:.4f} ({row['least']:.4f}) | {row['last']:.4f} | {', '.join(bar)} |")
    return rows


def gates() -> list[str]:
    """The gate on and off over many seeds, beside the truth."""
    rows = [
        "| decisions | seeds | gate on | gate off | ratio | bar | seeds without a promotion that was truly worse |",
        "|---|---|---|---|---|---|---|",
    ]
    for size, row in (load("loop") or {"sizes": {}})["sizes"].items():
        on, off = row["arms"]["rules"]["mean"], row["arms"]["off"]["mean"]
        rows.append(
            f"| 15 × {int(size):,} | {row['seeds']} | {on:.4f} | {off:.4f} | {row['ratio']:.4f} | ≥ {row['bar']:g} | "
            f"{row['seeds_without_worse']:.0%} |"
        )
    return rows


def fresh() -> list[str]:
    """From one more reward to a new model in the service."""
    found = load("fresh")
    rows = ["| way | seconds, runs | bar |", "|---|---|---|"]
    if found:
        seconds = {key: " ".join(f"{value:.2f}" for value in found[key]) for key in ("per_event_s", "loop_s")}
        rows.append(f"| `learn`, per event | {seconds['per_event_s']} | ≤ {found['bar_s']:g} |")
        rows.append(
            f"| a turn of the loop: join, train, promote on {found['decisions'] / 1e6:g} million decisions | "
            f"{seconds['loop_s']} | ≤ {found['bar_s']:g} |"
        )
    return rows


def guardrail() -> list[str]:
    """When a promotion is taken back, by rights and by mistake."""
    rows = [
        "| rewards | share kept | gap of −.10: rolled back within 2,000 | median decisions | stationary: rolled back |",
        "|---|---|---|---|---|",
    ]
    found = (load("guard") or {"rows": []})["rows"]
    for breach, still in zip(found[::2], found[1::2]):
        median = "—" if breach["median"] is None else f"{breach['median']:,.0f}"
        rows.append(
            f"| {breach['world']} | {breach['share']:g} | {breach['within_2000']} of {breach['runs']} | {median} | "
            f"{still['rolled_back']} of {still['runs']} × {still['decisions']:,} |"
        )
    return rows


def learners() -> list[str]:
    """What every gradient learner earns, seed by seed."""
    rows = [
        "| log or world, learner | bar | seeds | reached | mean | least | CPU-s | settings besides the defaults |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in sorted((load("learners") or {}).items()):
        env, learner = name.split("/")
        returns, seeds, cpu = row["returns"], row["seeds"], sorted(row["cpu_seconds"])
        settings = " ".join(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
                            for key, value in row["settings"].items())  # fmt: skip
        world = f"{env}, {learner}" if env != "online" else f"in {row['env']}, {learner}"
        rows.append(
            f"| {world} | {row['bar']:g} | {seeds[0]}–{seeds[-1]} | {row['reached']} of {len(returns)}"
            f"{'' if row['kept'] else ' (**missed**)'} | {sum(returns) / len(returns):.1f} | {min(returns):.1f} | "
            f"{cpu[len(cpu) // 2]:.1f} | {f'`{settings}`' if settings else ''} |"
        )
    return rows


def learner_speed() -> list[str]:
    """Gradient steps and whole processes beside d3rlpy."""
    found = load("learner-speed") or {}
    names = {"dqn": "double DQN", "bcq": "discrete BCQ", "cql": "discrete CQL", "iql": "IQL", "td3_bc": "TD3+BC",
             "sac": "SAC", "bcq_small": "discrete BCQ"}  # fmt: skip
    rows = [
        "| learner | nets | ours, steps/CPU-s | the peer's | ratio (over rounds) | bar |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in found.get("steps", {}).items():
        ours, peer = (row["steps_per_cpu_s"][side] for side in ("ours", "peer"))
        low, high = row["ratios"]
        rows.append(
            f"| {names[name]}, {row['env']} | {'×'.join(map(str, row['hidden']))} | {ours:,.0f} | {peer:,.0f} | "
            f"{row['ratio']:.1f}× ({low:.1f}–{high:.1f}) | ≥ {row['goal']:g}× |"
        )
    if whole := found.get("whole"):
        cpu = whole["cpu_s"]
        peers = ", ".join(f"{value:.1f} s ({who})" for who, value in cpu.items() if who != "ours")
        rows.append(
            f"| whole process, import to ≥ 195 on CartPole | | {cpu['ours']:.1f} s "
            f"({whole['cold_cpu_s']:.1f} s without a compilation cache) | "
            f"{peers} | {whole['ratio']:.2f} of the peer's | ≤ {whole['goal']:g} |"
        )
    return rows


def selection() -> list[str]:
    """The rule's choice among epochs beside the truth."""
    rows = [
        "| log, learner | rule | seeds | regret@1, mean (worst) | within 5 % | rank correlation | earned (least) |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in (load("selection") or {"rows": {}})["rows"].items():
        rho = "—" if row["rank_correlation"] is None else f"{row['rank_correlation']:.2f}"
        rows.append(
            f"| {name.replace('/', ', ')} | {'; '.join(row['rules'])} | {row['seeds'][0]}–{row['seeds'][-1]} | "
            f"{row['regret']:.1%} ({row['worst_regret']:.1%}) | {row['within']} of {len(row['seeds'])} | {rho} | "
            f"{row['earned']:.1f} ({row['least']:.1f}) |"
        )
    return rows


def batch() -> list[str]:
    """Logs of episodes at size: estimators, timeline, features, rows from disk, scoring."""
    rows = ["| what | measured | bar |", "|---|---|---|"]
    if found := load("sequential"):
        speed = found["speed"]
        rows.append(
            f"| six trajectory estimators, {speed['episodes']:,} episodes of {speed['steps']} steps, beside "
            f"{speed['peer']} | {speed['product']['six']:.1f} ms, {speed['ratio']:.0f}× less CPU, values equal to "
            f"{speed['worst_difference']:.0e} | ≥ {speed['goal']:g}× |"
        )
    if found := load("timeline"):
        rows.append(
            f"| timeline of {found['rows'] / 1e6:g} million rows, beside the bare DuckDB query | "
            f"{found['cpu_ratio']:.2f}× its CPU, peak {found['peak_gb']['steps']:.2f} GB | "
            f"≤ {found['goals']['cpu_ratio']:g}×, ≤ {found['goals']['peak_gb']:g} GB |"
        )
    if found := load("spark"):
        rows.append(
            f"| the same SQL text on Spark, local, {found['rows'] / 1e6:g} million rows, beside DuckDB | "
            f"{found['ratio']:.0f}× DuckDB's CPU, {'the same rows' if found['same_rows'] else 'OTHER rows'} | "
            f"≥ {found['goal']:g}× |"
        )
    if found := load("rows"):
        run = found["runs"]["large"]
        same = "equal bit for bit" if all(found["same"].values()) else "NOT equal"
        rows.append(
            f"| training and evaluation from {found['gb']:.1f} GB of steps in Parquet "
            f"({run['rows'] / 1e6:.1f} million, 60 features) | "
            f"peak {run['peak_gb']:.2f} GB; weights and estimates {same} to those in memory (on a tenth of it) | "
            f"≤ {found['goals']['peak_gb']:g} GB |"
        )
    if found := load("predict"):
        for rule, row in found["rules"].items():
            rows.append(
                f"| predict, {found['rows'] / 1e6:g} million JSON lines, 2×256, {rule.replace('_', '-')} | "
                f"{row['rows_per_cpu_second']:,.0f} rows per CPU-s: {row['speedup']:.1f}× a bare loop, "
                f"{row['speedup_by_row']:.0f}× the policy row by row; peak {row['peak_mb']:.0f} MB "
                f"({row['peak_mb_of_a_thirtieth']:.0f} MB on a thirtieth) | ≥ {found['goals']['speedup']:g}× a loop |"
            )
    return rows


def _rate(row: dict[str, Any], places: int = 1) -> str:
    low, high = row["covers_limits"]
    return f"{row['covers']:.{places}%} ({low:.1%}–{high:.1%})"


def comparison_coverage() -> list[str]:
    """Intervals of the three summaries, by law and number of runs; plain percentiles behind the stroke."""
    rows = ["| returns | tasks × runs | mean | median | IQM |", "|---|---|---|---|---|"]
    cases: dict[tuple[str, int, int], dict[str, dict[str, Any]]] = {}
    for row in (load("compare") or {"coverage": []})["coverage"]:
        cases.setdefault((row["law"], row["tasks"], row["runs"]), {})[row["summary"]] = row
    for (law, tasks, runs), found in cases.items():
        told = (f"{found[name]['covers']:.1%} / {found[name]['plain']:.1%}" for name in ("mean", "median", "iqm"))
        rows.append(f"| {law} | {tasks} × {runs} | {' | '.join(told)} |")
    return rows


def comparison_claims() -> list[str]:
    """Twenty identical learners: how often anything is claimed, and the critical values of two methods."""
    rows = [
        "| returns | runs | Holm | intervals | unadjusted | max-t bootstrap | critical t: Bonferroni, max-t |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in (load("compare") or {"false_claims": []})["false_claims"]:
        low, high = row["holm_limits"]
        critical = f"{row['bonferroni_critical']:.1f}, {row['max_t_critical']:.1f}"
        rows.append(
            f"| {row['law']} | {row['runs']} | {row['holm']:.1%} ({low:.1%}–{high:.1%}) | {row['interval']:.1%} | "
            f"{row['unadjusted']:.1%} | {row['max_t']:.1%} | {critical} |"
        )
    return rows


def comparison_optimism() -> list[str]:
    """Best of twenty twins, reported in three ways: coverage with exact limits, and bias in units of the returns."""
    rows = ["| returns | choosing, fresh | reported | covers | bias |", "|---|---|---|---|---|"]
    names = {
        "fresh_iqm": "fresh seeds, IQM", "fresh_mean": "fresh seeds, mean", "naive_iqm": "the seeds that chose, IQM",
        "naive_mean": "the seeds that chose, mean", "corrected_mean": "`--same-seeds`, mean",
    }  # fmt: skip
    for row in (load("compare") or {"optimism": []})["optimism"]:
        case = f"| {row['law']} | {row['choosing']}, {row['fresh_seeds']} |"
        rows += [f"{case} {said} | {_rate(row[name])} | {row[name]['bias']:+.3f} |" for name, said in names.items()]
    return rows


def retail() -> list[str]:
    """Revenue of coupon policies in held-out shops, to random; against LinTS, LinUCB and PPO in the same shops."""
    found = (load("retail_benchmark") or {}).get("held_out")
    if not found:
        return ["not run yet"]
    rows = ["| policy | to random | mean coupon | less LinTS | less LinUCB | less PPO |", "|---|---|---|---|---|---|"]
    for name, ratio in sorted(found["ratio_to_random"].items(), key=lambda each: -each[1][0]):
        less = found["less_rivals"].get(name, {})
        cells = (_spanned(less.get(rival), "+.2f") for rival in ("lin_ts", "lin_ucb", "ppo"))
        coupon = f"{100 * found['coupon'][name]:.1f} %"
        rows.append(f"| `{name}` | {_spanned(ratio, '.3f')} | {coupon} | {' | '.join(cells)} |")
    return rows


def retail_published() -> list[str]:
    """Ratios of the published benchmark beside those of ours."""
    found = (load("retail_benchmark") or {}).get("published")
    if not found:
        return ["not run yet"]
    rows = ["| policy | to random | published | coupon, sensitive half | insensitive half |", "|---|---|---|---|---|"]
    for name, ratio in found["ratio_to_random"].items():
        sensitive, other = (f"{100 * share:.1f} %" for share in found["coupon_by_half"][name])
        said = found["published"].get(name)
        rows.append(f"| `{name}` | {_spanned(ratio, '.3f')} | {said or '–'} | {sensitive} | {other} |")
    return rows


def retail_delayed() -> list[str]:
    """Where coupons bring visits later: revenue of 50 steps, and paired differences."""
    found = (load("retail_benchmark") or {}).get("delayed")
    if not found:
        return ["not run yet"]
    rows = ["| | revenue, 50 steps | mean coupon |", "|---|---|---|"]
    rows += [f"| `{n}` | {v:.1f} | {100 * found['coupon'][n]:.1f} % |" for n, v in found["revenue"].items()]
    return rows + [f"| {pair} | {_spanned(said, '+.2f')} | |" for pair, said in found["difference"].items()]


def retail_estimates() -> list[str]:
    """Estimates from uniform logs beside the truth."""
    found = (load("retail_benchmark") or {}).get("estimates")
    if not found:
        return ["not run yet"]
    rows = ["| | estimator | intervals that cover | refused | rank correlation |", "|---|---|---|---|---|"]
    for name, e in found["one_step"].items():
        held = f"{100 * e['coverage']:.1f} % of {e['intervals']}"
        rows.append(f"| one step | `{name}` | {held} | {e['refused']} | {e['rank']:.3f} |")
    for name, e in found["twenty_steps"].items():
        held = f"{e['covered']} of {e['of'] - e['refused']}"
        rows.append(f"| 20 steps | `{name}` | {held} | {e['refused']} of {e['of']} | {e['rank']:.3f} |")
    return rows


def _spanned(said: list[float] | None, form: str) -> str:
    return f"{said[0]:{form}} ({said[1]:{form}} to {said[2]:{form}})" if said else "–"


TABLES: dict[str, Callable[[], list[str]]] = {
    "speed": speed, "demos": demos, "live": live, "gates": gates, "fresh": fresh, "guardrail": guardrail,
    "learners": learners,
    "learner_speed": learner_speed, "selection": selection, "batch": batch,
    "comparison_coverage": comparison_coverage, "comparison_claims": comparison_claims,
    "comparison_optimism": comparison_optimism,
    "retail": retail,
    "retail_published": retail_published,
    "retail_delayed": retail_delayed,
    "retail_estimates": retail_estimates,
}  # fmt: skip
PAGES = (ROOT / "README.md", *(ROOT / "docs" / f"{p}.md" for p in ("loop", "learning", "compare", "retail-benchmark")))


def filled(text: str) -> str:
    """The text with every marked table written anew."""
    for name, make in TABLES.items():
        start, end = f"<!-- table: {name} -->\n", "<!-- end -->"
        if start in text:
            before, _, rest = text.partition(start)
            _, _, after = rest.partition(end)
            text = before + start + "\n".join(make()) + "\n" + end + after
    return text


def main() -> None:
    for page in PAGES:
        before, after = page.read_text(), filled(page.read_text())
        if "--check" not in sys.argv:
            page.write_text(after)
        elif before != after:
            raise SystemExit(f"{page.relative_to(ROOT)} is stale: make docs")


if __name__ == "__main__":
    main()
