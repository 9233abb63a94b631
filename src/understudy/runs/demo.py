"""The whole chain on data whose truth is known: from a log to a proven policy, with pictures."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.evidence import Estimate, Verdict
from understudy.core.protocols import Environment
from understudy.report import write_report
from understudy.runs.assess import Assessment
from understudy.runs.bring import bring, bring_together, draft
from understudy.runs.demo_episodes import Second, second_act
from understudy.runs.describe import describe
from understudy.runs.gather import gather
from understudy.runs.prove import Proof, promote, prove
from understudy.runs.simulate import simulate
from understudy.runs.train import open_policy, train
from understudy.runs.worlds import make_env

GOOD, MIDDLE, BAD = "forest", "ridge", "constant"
WINDOW = "2h"
FEWEST = 5_000  # decisions below which not even the demo's large lifts can be shown
SPOILT = 50  # rows of each kind of damage done to the log


@dataclass(frozen=True)
class Shown:
    """What the demo found; ``truths`` are exact, for checking the estimates and the verdicts against."""

    report: Path
    estimates: tuple[Estimate, ...]
    verdicts: dict[str, Verdict]
    truths: dict[str, float]
    second: Second | None = None  # the act on episodes, where it was played

    def as_dict(self) -> dict[str, Any]:
        """For a machine."""
        return {"report": str(self.report), "estimates": self.estimates, "verdicts": self.verdicts,
                "truths": self.truths, "episodes": self.second and self.second.as_dict()}  # fmt: skip


def demo(
    *,
    to: str | Path = "demo-output",
    shuttle: str | Path | None = None,
    decisions: int = 20_000,
    seed: int = 0,
    episodes: bool = True,
    say: Callable[[str], None] | None = print,
) -> Shown:
    """Log, ingest, join, audit, train, evaluate, gate, promote, report; all below ``to``, which is made anew.

    Args:
        shuttle: path of ``shuttle.trn``; None uses the digits that ship with scikit-learn.
        episodes: play the second act too, on logs of episodes; it needs the extra ``learn``.
        say: is told each step; None keeps quiet.

    Raises: ConfigError if ``to`` holds something a demo did not make.
    """
    if decisions < FEWEST:
        raise ConfigError(f"{decisions} decisions prove nothing; the demo wants at least {FEWEST}", field="decisions")
    tell, place = say or (lambda _: None), _fresh(Path(to))
    env = make_env("digits", {}) if shuttle is None else make_env("shuttle", {"path": str(shuttle)})
    title = "digits" if shuttle is None else "Statlog Shuttle"
    home = place / "home"
    tell(f"1. A first version of a policy acts on {title} and logs {decisions} decisions.")
    made = simulate(env, {}, behavior="warm", n=decisions, seed=seed, to=place / "raw")
    _spoil(place / "raw", np.random.default_rng(seed))
    for line in _ingested(place, home, env):
        tell(line)
    told = describe(place / "data", target=None, behavior=None, home=home)
    tell("3. The log is put on trial before anything is learned from it.")
    tell("\n".join(f"   {line}" for line in told.lines if line.startswith(("audit", "  "))))
    runs = _trained(place, env, seed)
    tell(f"4. Candidates trained on half of the units: {', '.join(run.name for run in runs)}.")
    truths = {run.name: env.true_value(open_policy(run).policy) for run in runs}  # pyright: ignore
    truths["logged"] = float(made.truth or 0.0)
    verdicts = {}
    tell("5. The gate proves them, one after the other, on units that nobody has learned from.")
    for run in runs:
        verdicts[run.name], _ = prove(run, on=place / "data", how=Proof(against="logged", seed=seed), home=home)
        tell(f"   {run.name}: {verdicts[run.name].outcome.replace('_', ' ')}. {verdicts[run.name].reason}")
    shipped = [run for run in runs if verdicts[run.name].outcome == "ship"]
    if shipped:
        best = promote(shipped[0], alias="production", home=home)
        tell(f"6. {shipped[0].name} is promoted: production is now {best['path']}.")
    how = Assessment(("ips", "snips", "dr"), "logged", slice="select", seed=seed)
    report = gather(
        runs, on=place / "data", how=how, home=home, title=f"Better than the first version? ({title})", truths=truths,
        subtitle="A demonstration on labelled data, so that the truth stands beside every estimate.",
        commands=(f"understudy demo --seed {seed}" + (f" --shuttle {shuttle}" if shuttle else ""),), seed=seed,
    )  # fmt: skip
    page = write_report(report, place / "report")
    tell(f"7. Everything above is on one page; open it in a browser: {page}")
    estimates = tuple(e for candidate in report.candidates for e in candidate.estimates)
    second = _second(place / "episodes", seed, tell) if episodes else None
    return Shown(page, estimates, verdicts, truths, second)


def _second(place: Path, seed: int, tell: Callable[[str], None]) -> Second | None:
    if find_spec("jax") is None:
        tell('8. Logs of episodes need the extra "learn": pip install "understudy[learn]"')
        return None
    second = second_act(place, seed=seed, say=tell)
    tell(f"11. How it learned, epoch by epoch: {second.page}")
    return second


def _fresh(place: Path) -> Path:
    """An empty folder; an earlier demo in it is removed, anything else is left alone."""
    mark = place / ".understudy-demo"
    if place.exists() and any(place.iterdir()) and not mark.exists():
        raise ConfigError(
            f"{place} holds files that no demo made", "The demo starts from an empty folder.", "Give another --to."
        )
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    mark.touch()
    return place


def _spoil(raw: Path, rng: np.random.Generator) -> None:
    """What happens to real logs: rows sent twice, rewards sent twice, a cut line, a propensity that is none."""
    decisions, outcomes = raw / "decisions.jsonl", raw / "outcomes.jsonl"
    lines, rewards = decisions.read_text().splitlines(), outcomes.read_text().splitlines()
    again = [lines[i] for i in rng.integers(0, len(lines), SPOILT)]
    wrong = [line.replace('"propensity":', '"propensity":-', 1).replace('"decision_id":"', '"decision_id":"x', 1)
             for line in again]  # fmt: skip
    decisions.write_text("\n".join([*lines, *again, *wrong, lines[0][:60]]) + "\n")
    outcomes.write_text("\n".join([*rewards, *(rewards[i] for i in rng.integers(0, len(rewards), SPOILT))]) + "\n")


def _ingested(place: Path, home: Path, env: Environment) -> Iterator[str]:
    raw = [place / "raw" / "decisions.jsonl", place / "raw" / "outcomes.jsonl"]
    problem = place / "problem.yaml"
    draft(raw, problem)
    yield "2. The problem is drafted from the log; the log is validated, and outcomes are joined to decisions."
    brought = bring(raw, layout="events", problem=problem, options={}, to=place / "logs", home=home)
    joined = bring_together(place / "logs", window=WINDOW, backward="2m", as_of=None, to=place / "data", home=home)
    yield "\n".join(f"   {line}" for line in [*brought.lines, *joined.lines])


def _trained(place: Path, env: Environment, seed: int) -> list[Path]:
    """Three candidates: a good one, a middling one, and one that always does the same."""
    first = env.problem.actions.names[-1]
    recipes: dict[str, tuple[str, dict[str, Any]]] = {
        GOOD: ("direct", {"model": "forest", "explore": "epsilon_greedy", "amount": 0.05}),
        MIDDLE: ("direct", {"model": "ridge", "explore": "epsilon_greedy", "amount": 0.05}),
        BAD: ("fixed", {"action": first}),
    }
    runs = []
    for name, (learner, settings) in recipes.items():
        run = place / "runs" / name
        train(learner, on=place / "data", to=run, settings=settings, seed=seed, home=place / "home")
        runs.append(run)
    return runs
