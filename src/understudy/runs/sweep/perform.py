"""One run: a config and a seed in; a policy, its figures and its episodes out. The same bytes wherever it runs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from understudy import __version__
from understudy.core.evidence import Estimate
from understudy.core.hashing import canonical
from understudy.core.manifest import Manifest, Parent
from understudy.core.problem import Problem
from understudy.core.protocols import Telling
from understudy.core.steps import Steps
from understudy.data.artifact import read_manifest
from understudy.data.dataset import decision_hashes
from understudy.data.places import here
from understudy.envs.rollout import episodes, played, rollout
from understudy.models.policies import floored
from understudy.models.policy_file import save_policy
from understudy.ope.evaluate import evaluate
from understudy.ops.returns import totals
from understudy.runs.example import logged_in
from understudy.runs.online import best_of, learn_in
from understudy.runs.play import ENDLESS
from understudy.runs.settings import learner
from understudy.runs.slices import open_slice
from understudy.runs.sweep.beside import TRUE_RETURN, estimated, truths, uniform_log
from understudy.runs.sweep.experiment import Run, growth
from understudy.runs.train import ROWS
from understudy.runs.worlds import make_env

METRICS, EPISODES, TRACE = "metrics.parquet", "episodes.parquet", "trace.parquet"
CONFIG, COMMAND = "config.yaml", "command.txt"
METRIC_SCHEMA = pa.schema([("step", pa.int64()), ("metric", pa.string()), ("value", pa.float64())])
EPISODE_SCHEMA = pa.schema([("phase", pa.string()), ("step", pa.int64()), ("episode", pa.int64()),
                            ("return", pa.float64()), ("steps", pa.int64())])  # fmt: skip
FINAL, EVALUATION, TRAINING = "final", "evaluation", "training"  # phases of a run that episodes belong to
RETURN = "return"  # the metric of the policy's own mean return, or mean reward of a bandit, in episodes of its own
JUDGE = 1_000_000  # added to a run's seed: the episodes that judge a policy are none it was trained or chosen on


@dataclass
class Notes:
    """What a run has to tell: figures by step, episodes by phase and step (returns, lengths), seconds."""

    rows: dict[tuple[int, str], float] = field(default_factory=dict)
    episodes: list[tuple[str, int, np.ndarray, np.ndarray]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    step: int = 0
    trace: pa.Table | None = None

    def note(self, step: int, figures: Mapping[str, float]) -> None:
        """Figures at a step; the same figure noted twice at a step stays as it was noted last."""
        self.step = max(self.step, step)
        self.rows.update({(step, name): float(value) for name, value in figures.items() if name != "step"})

    def progress(self, stage: str, figures: Mapping[str, float]) -> None:
        """A learner's own report of a chunk of updates."""
        if "step" in figures:
            self.note(int(figures["step"]), figures)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Wall and CPU seconds of a stage."""
        wall, cpu = time.monotonic(), time.process_time()
        yield
        self.seconds |= {f"{name}_wall": time.monotonic() - wall, f"{name}_cpu": time.process_time() - cpu}

    def write(self, folder: Path) -> None:
        """``metrics.parquet`` and ``episodes.parquet``, in an order of their own."""
        rows = sorted((name, step, value) for (step, name), value in self.rows.items())
        columns = [[row[1] for row in rows], [row[0] for row in rows], [row[2] for row in rows]]
        pq.write_table(pa.Table.from_arrays([pa.array(c, f.type) for c, f in zip(columns, METRIC_SCHEMA)],
                                            schema=METRIC_SCHEMA), folder / METRICS)  # fmt: skip
        told = [
            pa.table([[phase] * len(returns), np.full(len(returns), step), np.arange(len(returns)), returns, lengths],
                     schema=EPISODE_SCHEMA)
            for phase, step, returns, lengths in self.episodes
        ]  # fmt: skip
        pq.write_table(pa.concat_tables([EPISODE_SCHEMA.empty_table(), *told]).combine_chunks(), folder / EPISODES)


def manifest_of(run: Run) -> Manifest:
    """What would be made: a policy artifact whose recipe is the run's config and seed, wherever its dataset lies."""
    config, parents = run.config, ()
    if config.on:
        parent = read_manifest(here(config.on))
        parents, problem = (Parent(id=parent.id, kind=parent.kind),), parent.problem_hash
    else:
        problem = make_env(config.env, config.env_settings).problem.hash
    told = msgspec.to_builtins(msgspec.structs.replace(config, on=""))
    return Manifest(
        kind="policy", problem_hash=problem, parents=parents, config={"run": told},
        seed=run.seed, code_version=__version__,
    )  # fmt: skip


def perform(run: Run, folder: Path) -> Notes:
    """Train, judge, and write the policy and its figures into ``folder``. Returns the figures, with the seconds.

    Raises: whatever stopped it, such as DataError where a loss is no number any more.
    """
    notes = Notes()
    with notes.timed("run"):
        policy, problem, rows = _LEARN[run.config.way](run, notes)
        policy = floored(policy, problem.actions.k, run.config.explore) if run.config.explore else policy
        _judge(run, policy, notes)
    save_policy(policy, folder, problem=problem)
    save_file({"decisions": rows, "judged": rows[:0]}, folder / ROWS)
    notes.write(folder)
    if notes.trace is not None:
        pq.write_table(notes.trace, folder / TRACE)
    (folder / CONFIG).write_bytes(as_experiment(run))
    (folder / COMMAND).write_text(f"understudy run {CONFIG} --to STUDY  # makes STUDY/runs/{run.id}, the same bytes\n")
    return notes


def as_experiment(run: Run) -> bytes:
    """An experiment file of this one run."""
    fields = {
        key: value
        for key, value in msgspec.to_builtins(run.config).items()
        if value not in (None, "", {}) and key != "data"
    }
    return msgspec.yaml.encode({"name": run.id, **fields, "seeds": [run.seed]})


def _from_dataset(run: Run, notes: Notes) -> tuple[Any, Problem, np.ndarray]:
    data = open_slice(here(run.config.on), run.config.slice)
    return _fitted(run, data, notes), data.problem, decision_hashes(data)


def _from_log(run: Run, notes: Notes) -> tuple[Any, Problem, np.ndarray]:
    world = make_env(run.config.env, run.config.env_settings)
    with notes.timed("collect"):
        data = _collected(run, world)
    return _fitted(run, data, notes), data.problem, decision_hashes(data)


_KEPT: dict[bytes, Any] = {}  # the last log that was collected: the runs of one worker often learn from the same


def _collected(run: Run, world: Any) -> Any:
    config = run.config
    assert config.log is not None
    recipe = canonical([config.env, config.env_settings, config.log, run.seed])
    if recipe not in _KEPT:
        _KEPT.clear()
        _KEPT[recipe] = logged_in(world, config.log, run.seed)
    return _KEPT[recipe]


def _fitted(run: Run, data: Any, notes: Notes) -> Any:
    made: Any = learner(run.config.learner, run.config.settings)
    with notes.timed("train"):
        policy = made.fit(data, seed=run.seed, progress=notes.progress)
    notes.step = max(notes.step, int(getattr(made, "updates", 0)))
    return policy


def _in_world(run: Run, notes: Notes) -> tuple[Any, Problem, np.ndarray]:
    made: Any = learner(run.config.learner, run.config.settings)

    def world() -> Any:
        return make_env(run.config.env, run.config.env_settings)

    with notes.timed("train"):
        found = list(learn_in(made, world(), growth(run.config), seed=run.seed, judge=world))
    for online in found:
        told = dict(online.point.figures)
        step = int(told.pop("decisions"))
        notes.note(step, told | {"evaluation": online.point.truth or 0.0})
        notes.episodes += [(TRAINING, step, *online.trained), (EVALUATION, step, *online.judged)]
    best = found[best_of([online.point for online in found])]
    return best.policy, world().problem, np.empty(0, np.uint64)


_LEARN = {"dataset": _from_dataset, "log": _from_log, "world": _in_world}


def _judge(run: Run, policy: Any, notes: Notes) -> None:
    """Episodes in the world where there is one, and estimates where they are asked for."""
    config = run.config
    with notes.timed("evaluate"):
        if config.env:
            _played(run, policy, notes)
        if config.evaluate.by and config.on:
            data = open_slice(here(config.on), config.evaluate.slice)
            _noted(notes, evaluate(data, {"policy": policy}, config.evaluate.by, seed=run.seed))
        elif config.evaluate.by:
            log = uniform_log(config, run.seed)
            _noted(notes, estimated(policy, log, config.evaluate.by, run.seed))
            notes.note(notes.step, truths(config, policy, log))


def _played(run: Run, policy: Any, notes: Notes) -> None:
    """Episodes in the world that judges: returns, whatever else it tells of them, and their steps where asked for."""
    config, seed = run.config, JUDGE + run.seed
    world: Any = make_env(config.env, config.judging)
    told, beside = isinstance(world, Telling), bool(config.evaluate.by and not config.on)
    if world.problem.bandit or told or beside or config.evaluate.trace:
        steps = _steps(world, policy, config.evaluate.episodes, seed)
        returns, lengths = totals(steps, 1.0), np.diff(steps.starts)
        if told:
            notes.note(notes.step, world.figures(steps))
        notes.trace = _trace(steps, world.problem, config.evaluate.trace) if config.evaluate.trace else None
        discounted = None if world.problem.bandit else totals(steps, world.problem.discount)
    else:
        limit = None if world.problem.horizon else ENDLESS
        returns, lengths = played(world, policy, config.evaluate.episodes, seed, max_steps=limit)  # type: ignore
        discounted = None
    notes.episodes.append((FINAL, notes.step, returns, lengths))
    notes.note(notes.step, _mean(RETURN, returns))
    if discounted is not None and beside:
        notes.note(notes.step, _mean(TRUE_RETURN, discounted))


def _mean(name: str, values: np.ndarray) -> dict[str, float]:
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return {name: float(values.mean()), f"{name}_std_error": float(error)}


def _steps(world: Any, policy: Any, n: int, seed: int) -> Steps:
    if world.problem.bandit:
        return rollout(world, policy, n, seed=seed)
    return episodes(world, policy, n, seed=seed, max_steps=None if world.problem.horizon else ENDLESS)


def _trace(steps: Steps, problem: Problem, most: int) -> pa.Table:
    """The first of these steps: episode, step, every feature, action, propensity, reward, outcomes."""
    n, lengths = min(most, steps.n), np.diff(steps.starts)
    actions = steps.action.reshape(steps.n, -1)
    columns: dict[str, Any] = {
        "episode": np.repeat(np.arange(len(lengths)), lengths)[:n],
        "step": (np.arange(steps.n) - np.repeat(steps.starts[:-1], lengths))[:n],
        **{f.name: steps.context[:n, j] for j, f in enumerate(problem.features)},
        **{f"action_{j}" if actions.shape[1] > 1 else "action": actions[:n, j] for j in range(actions.shape[1])},
        "propensity": steps.propensity[:n] if steps.propensity is not None else np.full(n, np.nan),
        "reward": steps.reward[:n],
    }
    if steps.outcomes is not None:
        columns |= {f"outcome.{name}": steps.outcomes[:n, j] for j, name in enumerate(problem.outcome_names)}
    return pa.table(columns)


def _noted(notes: Notes, estimates: Iterable[Estimate | str]) -> None:
    """Estimates with their intervals; where one is refused, NaN."""
    for e in estimates:
        if isinstance(e, str):
            notes.note(notes.step, dict.fromkeys((e, f"{e}_low", f"{e}_high"), np.nan))
            continue
        low, high = (np.nan if bound is None else bound for bound in (e.low, e.high))
        notes.note(notes.step, {e.estimator: e.value, f"{e.estimator}_low": low, f"{e.estimator}_high": high})
