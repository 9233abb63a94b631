"""From one more reward to a new model live: a linear learner on 1,000,000 joined events.

    python benchmarks/fresh.py [--quick] [--shuttle FILE]

Two ways. The loop by hand: export what is new, join, train on everything joined, make live, and the service of another
process says that it acts by it. Per event: ``understudy learn`` has learned the same log and takes the reward up.
Bar: ≤ 7 s each (median of three).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from live import ALIAS, FILE, HERE, process, service

BAR = 7.0
TIMES = 3
WINDOW = "10m"


def fill(home: Path, env: Any, n: int) -> None:
    """An event log of n uniform decisions and their rewards, as a service would have written it."""
    from understudy.core.events import Outcome
    from understudy.core.service import Logged
    from understudy.data.eventlog import Record, open_event_log
    from understudy.data.events import contexts
    from understudy.runs.client import INTERVAL, START

    rng, names, k = np.random.default_rng(0), env.problem.actions.names, env.k
    told, encode, even = contexts(env.problem, env.context), msgspec.json.Encoder().encode, [1.0 / k] * k
    log = open_event_log(home / "log" / ALIAS)
    rows, actions = rng.integers(0, env.n, n), rng.integers(0, k, n)
    paid = env.means[rows, actions].tolist()
    for start in range(0, n, 20_000):
        records = []
        for i in range(start, min(start + 20_000, n)):
            id, at, row = f"d-{i}", (START + INTERVAL * i) / 1e6, told[int(rows[i])]
            logged = Logged(
                decision_id=id, time=at, context=row, action=names[int(actions[i])], propensity=1.0 / k,
                propensities=even, policy_id="uniform", application=ALIAS,
            )  # fmt: skip
            outcome = Outcome(decision_id=id, time=at + 1, value=paid[i], outcome_id=f"={paid[i]!r}")
            records.append(Record("decision", id, encode(logged)))
            records.append(Record("outcome", f"{id}/={paid[i]!r}/reward", encode(outcome)))
        log.append(records)
    log.close()


def by_hand(home: Path, env: Any, path: str, n: int) -> Callable[[Any, int], None]:
    """The steps of the loop: everything up to now done; returns what brings one more reward into service."""
    from understudy.data.times import iso
    from understudy.runs import experiment as steps
    from understudy.runs.client import INTERVAL, START
    from understudy.runs.loop_settings import settings as loop_settings

    made = loop_settings({
        "experiment": "fresh", "learner": {"name": "direct", "settings": {"model": "ridge"}}, "gate": "off",
        "loops": TIMES + 2, "size": n, "window": WINDOW, "guardrail": {"on": False},
        "client": {"env": "shuttle", "settings": {"path": path}},
    })  # fmt: skip
    steps.start(made, home=home)
    for step in (lambda: steps.join(home, "fresh", as_of=iso(START + INTERVAL * (n + 60))),
                 lambda: steps.train(home, "fresh"), lambda: steps.promote(home, "fresh")):  # fmt: skip
        step()

    def renew(client: Any, number: int) -> None:
        steps.join(home, "fresh", as_of=iso(START + INTERVAL * (number + 60)), service=client)
        steps.train(home, "fresh", service=client)
        steps.promote(home, "fresh", service=client)

    return renew


def seconds(client: Any, env: Any, n: int, renew: Callable[[Any, int], None]) -> list[float]:
    """How long each of a few rewards takes to be in the model that is live."""
    from understudy.core.service import DecideRequest, RewardRequest
    from understudy.data.events import contexts
    from understudy.runs.client import INTERVAL, START

    taken, context = [], contexts(env.problem, env.context[:1])[0]
    for turn in range(TIMES):
        number = n + 100 * (turn + 1)
        at, before = (START + INTERVAL * number) / 1e6, client.status()["version"][0]
        client.decide(DecideRequest(context=context, decision_id=f"one-{number}", time=at))
        start = time.monotonic()
        client.reward(RewardRequest(decision_id=f"one-{number}", value=1.0, time=at + 1))
        renew(client, number)
        while client.status()["version"][0] <= before:
            time.sleep(0.001)
        taken.append(time.monotonic() - start)
    return taken


def measure(path: str, *, quick: bool) -> int:
    """Measure both ways; 0 if both are within the bar."""
    from understudy.envs.shuttle import shuttle

    env, n, found = shuttle(path=path), 20_000 if quick else 1_000_000, {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        fill(home, env, n)
        start = time.monotonic()
        renew = by_hand(home, env, path, n)
        found["everything_once_s"] = time.monotonic() - start
        with service(home, env.problem) as (client, url):
            found["loop_s"] = seconds(client, env, n, renew)
            argv = ["learn", "online_linear", "quadratic=false", "--home", str(home), "--url", url]
            live = client.status()["version"][0]
            start = time.monotonic()
            with process(*argv, "--problem", str(home / "problem.yaml"), ready="ready"):
                while client.status()["version"][0] == live:
                    time.sleep(0.05)
                found["log_learned_s"] = time.monotonic() - start
                found["per_event_s"] = seconds(client, env, n + 10_000, lambda *_: None)
    result = {"decisions": n, "bar_s": BAR} | found
    met = all(np.median(result[way]) <= BAR for way in ("loop_s", "per_event_s"))
    print(json.dumps(result, indent=1))
    if not quick:
        (HERE / "results" / "fresh.json").write_text(json.dumps(result | {"met": bool(met)}, indent=1) + "\n")
    return 0 if met else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20,000 events: whether it runs")
    parser.add_argument("--shuttle", default=str(FILE))
    options = parser.parse_args()
    raise SystemExit(measure(options.shuttle, quick=options.quick))
