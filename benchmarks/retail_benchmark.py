"""Coupon policies against each other, in shops none of them has seen: what learning is worth, and what logs can tell.

    python benchmarks/retail_benchmark.py [--quick] [--only PART ...]

published   reference_compat, the published catalogue's law or files: ratios to random, coupons by segment
held_out    every learner of examples/retail.yaml against our own LinTS, LinUCB and PPO, paired by shop
further     IQL against LinTS and LinUCB in 60 shops more
delayed     DQN and PPO with a real discount against their myopic selves where coupons bring visits later
estimates   one-step values from a uniform log against the exact truth, shop by shop; 20-step values, refusals counted
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from understudy.core.steps import Steps, bandit_steps
from understudy.data.dataset import MemoryDataset
from understudy.envs.retail.metrics import Metrics, halves, metrics, paired_difference, paired_ratio
from understudy.envs.retail.world import Retail, from_state, retail
from understudy.envs.rollout import episodes
from understudy.models.policies import Fixed, Uniform
from understudy.ops.returns import totals
from understudy.runs.online import Growth, best_of, learn_in
from understudy.runs.settings import learner
from understudy.runs.sweep.beside import Beside, estimated

RESULT = Path(__file__).parent / "results" / "retail_benchmark.json"
REFERENCE = Path(__file__).parents[2] / "shared" / "data" / "retail-reference"
BARS = {
    "beats_random_at_least": 1.2,
    "no_coupon_interval_meets": [0.998, 1.238],
    "coverage": [0.9, 1.0],
    "rank_at_least": 0.9,
}
BANDITS: dict[str, tuple[str, dict[str, Any]]] = {
    "lin_ts": ("lin_ts", {}),
    "lin_ucb": ("lin_ucb", {}),
    "neural_boltzmann": ("neural", {"explore": "softmax", "amount": 6, "growth": 0, "loss": "squared"}),
}
OFFLINE: dict[str, tuple[str, dict[str, Any]]] = {
    "direct": ("direct", {"model": "ridge", "options": {"quadratic": True, "penalty": 10.0}}),
    "dr": ("dr", {"options": {"quadratic": True, "penalty": 10.0}, "final_options": {"quadratic": True}}),
    "dqn": ("dqn", {"updates": 4000, "scale": 0.1, "soften": 0.0, "loss": "squared"}),
    "bcq": ("bcq", {"updates": 3000, "scale": 0.1}),
    "cql": ("cql", {"updates": 3000, "scale": 0.1}),
    "iql": ("iql", {"updates": 3000, "scale": 0.1}),
}
PPO = {"rate": 0.01, "scale": 0.1, "guidance": 0.5, "trace": 0.8, "batch": 256}


def uniform_log(world: Retail, shops: int, seed: int) -> MemoryDataset:
    """One episode of each customer of these shops, every coupon alike."""
    log = episodes(world, Uniform(world.problem.actions.k), shops * world.customers, seed=seed)
    return MemoryDataset(world.problem, log)


def ppo(world: Retail, shops: int, seed: int, **settings: Any) -> Any:
    """PPO in as many training shops as the others' log has."""
    steps = shops * world.customers * world.settings.steps
    growth = Growth(steps=steps, envs=world.customers, collect=4_000, warmup_steps=2_000, eval_every=steps,
                    eval_episodes=world.customers)  # fmt: skip
    made: Any = learner("ppo", PPO | settings)
    found = list(learn_in(made, world, growth, seed=seed, judge=lambda: world))
    return found[best_of([online.point for online in found])].policy


def judged(world: Retail, policy: Any, shops: int, seed: int) -> tuple[Metrics, Steps]:
    """What a policy does in the first shops of this world; equal seeds, equal luck."""
    log = episodes(world, policy, shops * world.customers, seed=seed)
    return metrics(log, world.problem, len(world.terms.catalogue.sizes)), log


def continued(policies: dict[str, Any], shops: int, seed: int, **settings: Any) -> dict[str, Metrics]:
    """As the published protocol judges: 50 steps of random coupons, then 20 of each policy, from the same moment."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in policies}
    for number in range(shops):
        world, rng = retail(**settings, steps=70, first=number), np.random.default_rng([seed, number])
        world.reset(rng, world.customers)
        for _ in range(50):
            world.step(rng.integers(0, 11, world.customers).astype(np.int32))
        moment = world.state()
        for name, policy in policies.items():
            again, own = from_state(moment), np.random.default_rng([seed, number, 1])
            for _ in range(20):
                action, _ = policy.act(again.view().context, own)
                outcomes = again.step(action)[1].outcomes
                parts[name].append(np.column_stack([action, outcomes]))
    return {name: _metrics(np.array(rows), shops, retail(**settings, steps=20)) for name, rows in parts.items()}


def _metrics(rows: np.ndarray, shops: int, world: Retail) -> Metrics:
    """Rows [shops × 20, U, 1 + o] as episodes of 20 steps, customer by customer."""
    flat = rows.reshape(shops, 20, *rows.shape[1:]).swapaxes(1, 2).reshape(-1, rows.shape[-1])
    n = len(flat)
    log = bandit_steps(np.zeros((n, 0)), flat[:, 0].astype(np.int32), flat[:, 1], outcomes=flat[:, 1:])
    log = log.with_(
        starts=np.arange(0, n + 1, 20), unit=np.arange(n // 20, dtype=np.uint64), terminated=np.zeros(n, bool)
    )
    return metrics(log, world.problem, len(world.terms.catalogue.sizes))


def published(quick: bool) -> dict[str, Any]:
    """reference_compat with the published catalogue where it is at hand; judged in the last 20 of 70 steps."""
    shops, taught = (4, 4) if quick else (32, 20)
    files = {"catalogue": str(REFERENCE / "catalogue.npz")} if REFERENCE.exists() else {}
    common: dict[str, Any] = {"reference_compat": True, **files}
    data = uniform_log(retail(**common, steps=50), taught, 1)
    policies = {"random": Uniform(11), "no_coupon": Fixed(11, 0)}
    policies |= {name: learner(*BANDITS[name]).fit(data, seed=0) for name in ("lin_ts", "lin_ucb")}
    policies["ppo"] = ppo(retail(**common, steps=50), taught, 0)
    told = continued(policies, shops, 2, **common, split="held_out")
    half = halves(told["random"].sensitivity)
    return {
        "shops": shops, "published_catalogue": bool(files),
        "ratio_to_random": {name: _said(paired_ratio(m, told["random"], "revenue")) for name, m in told.items()},
        "coupon": {name: float(m.discount.mean()) for name, m in told.items()},
        "coupon_by_half": {name: [float(m.discount[half == h].mean()) for h in (0, 1)] for name, m in told.items()},
        "retention": {name: float(m.retention.mean()) for name, m in told.items()},
        "published": {"lin_ucb": 1.2586, "lin_ts": 1.2591, "ppo": 1.2554, "no_coupon": 1.1177,
                      "coupon_by_half": {"lin_ucb": [0.2909, 0.0565], "ppo": [0.2531, 0.0392]}},
    }  # fmt: skip


def held_out(quick: bool) -> dict[str, Any]:
    """Own catalogue; everyone learns from the same 60 shops and is judged in 20 others."""
    shops, taught, seeds = (4, 4, 1) if quick else (20, 60, 1)
    told: dict[str, list[Metrics]] = {}
    for seed in range(seeds):
        judge = retail(split="held_out", steps=20)
        for name, policy in _everyone(taught, seed, quick).items():
            told.setdefault(name, []).append(judged(judge, policy, shops, 100 + seed)[0])
            print(f"  {name}: {told[name][-1].revenue.mean():.2f}", flush=True)
    first = {name: each[0] for name, each in told.items()}
    rivals = ("lin_ts", "lin_ucb", "ppo")
    return {
        "shops": shops,
        "revenue": {name: float(m.revenue.mean()) for name, m in first.items()},
        "coupon": {name: float(m.discount.mean()) for name, m in first.items()},
        "ratio_to_random": {name: _said(paired_ratio(m, first["random"], "revenue")) for name, m in first.items()},
        "less_rivals": {
            name: {rival: _said(paired_difference(m, first[rival], "revenue")) for rival in rivals}
            for name, m in first.items() if name in OFFLINE
        },
    }  # fmt: skip


def _everyone(taught: int, seed: int, quick: bool) -> dict[str, Any]:
    teach = retail(steps=20)
    data = uniform_log(teach, taught, 10 + seed)
    fast = {"updates": 400} if quick else {}
    policies: dict[str, Any] = {"random": Uniform(11), "no_coupon": Fixed(11, 0)}
    for name, (kind, settings) in (BANDITS | OFFLINE).items():
        own = settings | (fast if "updates" in settings else {})
        policies[name] = learner(kind, own).fit(data, seed=seed)
    return policies | {"ppo": ppo(retail(steps=20), taught, seed)}


def delayed(quick: bool) -> dict[str, Any]:
    """Revenue of 50 steps where goodwill builds up over steps."""
    shops, taught, updates = (4, 4, 600) if quick else (12, 12, 6_000)
    common: dict[str, Any] = {"scenario": "delayed", "steps": 50, "discount": 0.95}
    data = uniform_log(retail(**common), taught, 1)
    settings = {"updates": updates, "scale": 0.1, "soften": 0.0, "loss": "squared", "rate": 1e-3, "lag": 0.01}
    policies: dict[str, Any] = {"random": Uniform(11), "no_coupon": Fixed(11, 0), "always_50": Fixed(11, 10)}
    policies["lin_ts"] = learner("lin_ts", {}).fit(data, seed=0)
    for name, guidance in (("dqn", 1.0), ("dqn_myopic", 0.0)):
        policies[name] = learner("dqn", settings | {"guidance": guidance}).fit(data, seed=0)
    for name, guidance in (("ppo", 1.0), ("ppo_myopic", 0.0)):
        policies[name] = ppo(retail(**common), 3 * taught, 0, guidance=guidance)
    judge = retail(**common, split="held_out")
    told = {name: judged(judge, policy, shops, 2)[0] for name, policy in policies.items()}
    pairs = [("dqn", "dqn_myopic"), ("ppo", "ppo_myopic"), ("dqn", "lin_ts"), ("ppo", "lin_ts")]
    return {
        "shops": shops,
        "revenue": {name: float(m.revenue.mean()) for name, m in told.items()},
        "coupon": {name: float(m.discount.mean()) for name, m in told.items()},
        "difference": {f"{a} - {b}": _said(paired_difference(told[a], told[b], "revenue")) for a, b in pairs},
    }


def further(quick: bool) -> dict[str, Any]:
    """IQL, chosen by the 20 shops of ``held_out``, in 60 shops that nobody has seen."""
    shops, taught = (4, 4) if quick else (60, 60)
    data = uniform_log(retail(steps=20), taught, 10)
    told: dict[str, list[np.ndarray]] = {}
    for name in ("iql", "lin_ts", "lin_ucb"):
        policy = learner(*(BANDITS | OFFLINE)[name]).fit(data, seed=0)
        for first in range(20, 20 + shops, 20):
            world = retail(split="held_out", first=first, steps=20)
            m, _ = judged(world, policy, min(20, shops), 100)
            told.setdefault(name, []).append(m.revenue.reshape(-1, world.customers).mean(1))
    by = {name: np.concatenate(parts) for name, parts in told.items()}
    return {"shops": shops, "revenue": {name: float(each.mean()) for name, each in by.items()},
            "iql_less": {name: _student(by["iql"] - by[name]) for name in ("lin_ts", "lin_ucb")}}  # fmt: skip


def _student(parts: np.ndarray) -> list[float]:
    """The mean over shops with its 95 % interval."""
    mean, n = float(parts.mean()), len(parts)
    half = float(stdtrit(n - 1, 0.975) * parts.std(ddof=1) / np.sqrt(n))
    return [mean, mean - half, mean + half]


def estimates(quick: bool) -> dict[str, Any]:
    """One-step values of policies from the uniform log of each shop; 20-step values from the log of all."""
    shops, taught = (2, 2) if quick else (8, 10)
    policies = _everyone(taught, 3, True) | {f"always_{5 * a}": Fixed(11, a) for a in range(1, 11)}
    world = retail(split="held_out", first=500, steps=50)
    rows: list[tuple[str, str, float, float, bool | None]] = []
    for shop in range(shops):
        world = retail(split="held_out", first=500 + shop, steps=50)
        log = Beside(world.problem, *world.revealed(Uniform(11), world.customers, 7))
        for name, policy in policies.items():
            truth = log.true_value(policy)
            assert truth is not None
            for e in estimated(policy, log, ("snips", "dr"), 0):
                covers = None if isinstance(e, str) or e.low is None or e.high is None else e.low <= truth <= e.high
                which, value = (e, float("nan")) if isinstance(e, str) else (e.estimator, e.value)
                rows.append((which, name, truth, value, covers))
    return {"shops": shops, "policies": len(policies), "one_step": _scored(rows, list(policies))} | _longer(
        policies, 2 if quick else 8
    )


def _scored(rows: list[tuple[str, str, float, float, bool | None]], names: list[str]) -> dict[str, Any]:
    found = {}
    for estimator in ("snips", "dr"):
        own = [row for row in rows if row[0].startswith(estimator)]
        held = [row[4] for row in own if row[4] is not None]
        mean = {n: np.mean([(row[2], row[3]) for row in own if row[1] == n], axis=0) for n in names}
        found[estimator] = {
            "coverage": float(np.mean(held)), "intervals": len(held), "refused": len(own) - len(held),
            "rank": _rank(*np.array(list(mean.values())).T),
            "mean_rank_in_a_shop": float(np.mean([_rank(*np.array([(r[2], r[3]) for r in own[i::1][: len(names)]]).T)
                                                  for i in range(0, len(own), len(names))])),
        }  # fmt: skip
    return found


def _longer(policies: dict[str, Any], shops: int) -> dict[str, Any]:
    """20-step values, undiscounted problem discount, from one uniform log of all shops."""
    world = retail(split="held_out", first=500, steps=20)
    log = Beside(world.problem, uniform_log(world, shops, 8).steps, None)
    found: dict[str, list[tuple[float, float, bool | None]]] = {}
    for policy in policies.values():
        truth = float(totals(judged(world, policy, shops, 9)[1], world.problem.discount).mean())
        for e in estimated(policy, log, ("fqe", "snmis", "drl"), 0):
            which, value = (e, float("nan")) if isinstance(e, str) else (e.estimator, e.value)
            covers = None if isinstance(e, str) or e.low is None or e.high is None else e.low <= truth <= e.high
            found.setdefault(which.partition("(")[0], []).append((truth, value, covers))
    return {"twenty_steps": {
        name: {
            "refused": sum(row[2] is None for row in rows), "of": len(rows),
            "covered": sum(bool(row[2]) for row in rows),
            "rank": _rank(*np.array([(row[0], row[1]) for row in rows]).T),
            "median_relative_error": float(np.nanmedian([abs(v / t - 1) for t, v, _ in rows])),
        } for name, rows in found.items()
    }}  # fmt: skip


def _rank(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's correlation."""
    x, y = (np.argsort(np.argsort(each)).astype(float) for each in (a, b))
    return float(np.corrcoef(x, y)[0, 1])


def _said(found: Any) -> list[float]:
    return [found.value, found.low, found.high]


PARTS = {"published": published, "held_out": held_out, "further": further, "delayed": delayed,
         "estimates": estimates}  # fmt: skip


def missed(result: dict[str, Any]) -> list[str]:
    """The bars not reached, of the parts that were run."""
    out: list[str] = []
    if p := result.get("published"):
        out += [f"{n} beats random" for n in ("lin_ts", "lin_ucb", "ppo") if p["ratio_to_random"][n][0] < 1.2]
        low, high = BARS["no_coupon_interval_meets"]
        _, a, b = p["ratio_to_random"]["no_coupon"]
        out += ["no coupon"] * (b < low or a > high)
    if "held_out" in result and "further" in result:
        less = [result["held_out"]["less_rivals"]["iql"]["ppo"], *result["further"]["iql_less"].values()]
        out += ["a learned policy beats LinTS, LinUCB and PPO"] * (min(low for _, low, _ in less) <= 0)
    for part, pair in (("delayed", "dqn - dqn_myopic"), ("delayed", "ppo - ppo_myopic")):
        out += [pair] * (part in result and result[part]["difference"][pair][1] <= 0)
    for name, found in (result.get("estimates") or {"one_step": {}})["one_step"].items():
        low, high = BARS["coverage"]
        out += [f"{name}: coverage"] * (not low <= found["coverage"] <= high)
        out += [f"{name}: rank"] * (found["rank"] < BARS["rank_at_least"])
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few shops, short trainings, nothing written")
    parser.add_argument("--only", nargs="*", choices=tuple(PARTS), default=tuple(PARTS))
    options = parser.parse_args()
    result: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() and not options.quick else {}
    for name in options.only:
        start = time.process_time()
        result[name] = PARTS[name](options.quick)
        print(f"{name} ({time.process_time() - start:.0f} CPU s): {json.dumps(result[name])}", flush=True)
        if not options.quick:
            RESULT.write_text(json.dumps(result | {"bars": BARS}, indent=1) + "\n")
    lacking = missed(result)
    raise SystemExit(f"missed: {', '.join(lacking)}" if lacking and not options.quick else 0)


if __name__ == "__main__":
    main()
