"""A policy plays episodes: how much it earns, and the log it leaves. Needs nothing of what trained it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError, StoreError
from understudy.core.hashing import text_hash
from understudy.core.problem import Problem
from understudy.core.protocols import EpisodicEnvironment, Policy
from understudy.core.steps import Steps
from understudy.envs.rollout import episodes, mean_return
from understudy.models.box import UniformBox
from understudy.models.policies import Uniform
from understudy.models.policy_file import read_policy, save_policy
from understudy.models.shares import Shares
from understudy.ops.returns import totals
from understudy.runs.client import INTERVAL, START
from understudy.runs.epochs import at_epoch, epoch_folder
from understudy.runs.worlds import make_drawn

ENDLESS = 1_000  # steps after which an episode is cut in a world that knows no limit
TABLE, PROBLEM = "decisions.parquet", "problem.yaml"


@dataclass(frozen=True)
class Play:
    """How much is played: ``episodes`` in each of ``envs`` worlds side by side; the same seed, the same play."""

    envs: int = 100
    episodes: int = 1
    max_steps: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("envs", "episodes", "max_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1; got {value}", field=name)

    @property
    def total(self) -> int:
        return self.envs * self.episodes


@dataclass(frozen=True)
class Played:
    """What n episodes earned; with the log, where one was kept."""

    returns: np.ndarray  # f64[n] undiscounted
    cut: int | None  # steps after which episodes were cut, where neither the world nor the user set a limit
    steps: Steps | None = None
    discounted: np.ndarray | None = None  # f64[n]

    def lines(self) -> list[str]:
        """For a person."""
        low, high = self.returns.min(), self.returns.max()
        lines = [f"{len(self.returns)} episodes, mean return {_pm(self.returns)} (from {low:g} to {high:g})"]
        if self.discounted is not None and self.steps is not None:
            lines.append(f"{self.steps.n} steps, mean discounted return {_pm(self.discounted)}")
        if self.cut is not None:
            lines.append(f"this world knows no limit: episodes were cut after {self.cut} steps (--max-steps)")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """For a machine."""
        mean, error = mean_and_error(self.returns)
        told: dict[str, Any] = {"episodes": len(self.returns), "mean_return": mean, "std_error": error}
        told |= {"lowest": float(self.returns.min()), "highest": float(self.returns.max())}
        if self.discounted is not None and self.steps is not None:
            mean, error = mean_and_error(self.discounted)
            told |= {"steps": self.steps.n, "discounted_return": mean, "discounted_std_error": error}
        return told


def play(
    env: EpisodicEnvironment, name: str, *, behavior: str, probs: Any = None, how: Play, to: str | Path | None = None
) -> Played:
    """Play, and with ``to`` leave the log: a table by its ending (.csv, .parquet, .jsonl), else a folder.

    A folder holds ``decisions.parquet``, ``problem.yaml`` and the policy that acted; a table has its problem beside it.
    ``name``: of the world, for the ids of episodes. Raises: StoreError if another log lies there.
    """
    policy = actor(behavior, env.problem, probs)
    cut = ENDLESS if env.problem.horizon is None and how.max_steps is None else None
    limits: dict[str, Any] = {"max_steps": how.max_steps or cut, "width": how.envs}
    if to is None:
        return Played(mean_return(env, policy, how.total, how.seed, **limits), cut)
    label = f"{behavior}-{how.seed}"
    log = episodes(
        env, policy, how.total, seed=how.seed, start_time=START, interval=INTERVAL, policy_id=label, **limits
    )
    said = f"{name}\0{behavior}\0{probs}\0{how.seed}"
    _leave(log, env.problem, policy, Path(to), f"{text_hash(said):016x}"[:8], label)
    return Played(totals(log, 1.0), cut, log, totals(log, env.problem.discount))


def actor(behavior: str, problem: Problem, probs: Any = None) -> Policy:
    """Who acts: ``uniform``; ``fixed`` with its probabilities; or a policy's folder, with ``@7`` that of epoch 7.

    Raises: ConfigError if it was made for other features or actions.
    """
    space = problem.actions
    if probs is not None and behavior != "fixed":
        raise ConfigError("probs are for --with fixed", field="probs")
    if behavior == "uniform":
        return Uniform(space.k) if space.discrete else UniformBox(space.low, space.high)
    if behavior == "fixed":
        return _shares(probs, space.names)
    if behavior == "warm":
        raise ConfigError("warm is for bandits", hint="Who acts is uniform, fixed, or a policy's folder.", field="with")
    folder, epoch = at_epoch(behavior)
    found = read_policy(folder if epoch is None else epoch_folder(folder, epoch))
    if found.problem.actions != space:
        raise ConfigError(f"the policy {behavior} has other actions than this environment", field="with")
    if _columns(found.problem) != _columns(problem):
        raise ConfigError(
            f"the policy {behavior} has other features than this environment",
            f"It reads {', '.join(found.problem.feature_names)}; here are {', '.join(problem.feature_names)}.",
            field="with",
        )
    return found.policy


def show(
    name: str, settings: Mapping[str, Any], policy: Policy, *, how: Play, gif: str | Path | None, window: bool
) -> Path | None:
    """One episode as a GIF, or ``how.episodes`` in a window, in Gymnasium's own drawing."""
    from understudy.envs.film import RATE, film, write_gif

    if window:
        env = make_drawn(name, settings, "human")
        for _ in film(env, policy, how.episodes, seed=how.seed, max_steps=how.max_steps or ENDLESS):
            pass
        env.close()
    if gif is None:
        return None
    env = make_drawn(name, settings, "rgb_array")
    frames = [f for f in film(env, policy, seed=how.seed, max_steps=how.max_steps or ENDLESS) if f is not None]
    rate = env.rate or RATE
    env.close()
    return write_gif(frames, gif, rate)


def mean_and_error(values: np.ndarray) -> tuple[float, float | None]:
    """The mean, and its standard error; one value has none."""
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return float(values.mean()), error


def _columns(problem: Problem) -> list[tuple[Any, ...]]:
    return [(feature.name, feature.kind, feature.values) for feature in problem.features]


def _pm(values: np.ndarray) -> str:
    mean, error = mean_and_error(values)
    return f"{mean:.2f}" if error is None else f"{mean:.2f} ± {error:.2f}"


def _shares(probs: Any, names: tuple[str, ...]) -> Shares:
    if not names:
        raise ConfigError("fixed probabilities need actions with names; these are continuous", field="probs")
    if probs is None:
        raise ConfigError("--with fixed needs the probabilities", hint="For example: probs=.5,.5", field="probs")
    try:
        shares = tuple(float(word) for word in (probs if isinstance(probs, list) else str(probs).split(",")))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"probs must be numbers with commas between; got {probs!r}", field="probs") from error
    if len(shares) != len(names):
        raise ConfigError(f"{len(shares)} probs for {len(names)} actions: {', '.join(names)}", field="probs")
    return Shares(shares)


def _leave(log: Steps, problem: Problem, policy: Policy, to: Path, prefix: str, label: str) -> None:
    """Write next to where it belongs, then move: nothing half-written, and no other log replaced."""
    from understudy.data.decision_table import FORMATS, decision_table, write_table
    from understudy.data.identify import draft_yaml

    yaml = draft_yaml(problem).replace(draft_yaml(problem).splitlines()[0], "# As the world is that made this log.")
    table = decision_table(log, problem, prefix=prefix, policy_id=label)
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=f".{to.name}.") as partial:
        part = Path(partial)
        if to.suffix in FORMATS:
            write_table(table, part / to.name)
            (part / f"{to.stem}.{PROBLEM}").write_text(yaml)
            _move(part, to.parent, to.name)
        else:
            write_table(table, part / TABLE)
            (part / PROBLEM).write_text(yaml)
            save_policy(policy, part / "behavior", problem=problem)
            _move(part, to, TABLE)


def _move(part: Path, folder: Path, main: str) -> None:
    import filecmp
    import shutil

    if (folder / main).exists() and not filecmp.cmp(folder / main, part / main, shallow=False):
        raise StoreError(
            f"{folder / main} is another log", "A log is what everything else is made from.",
            "Give another place, or delete this one first.", field="to",
        )  # fmt: skip
    shutil.copytree(part, folder, dirs_exist_ok=True)
