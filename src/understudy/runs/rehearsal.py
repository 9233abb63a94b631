"""``train LEARNER --in WORLD``: a policy artifact from a training in a world, and the curve of what it earned."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors.numpy import save_file

from understudy import __version__
from understudy.core.curves import Curves, Point
from understudy.core.errors import ConfigError, DataError
from understudy.core.manifest import Manifest
from understudy.core.protocols import Policy, by_epochs
from understudy.data.artifact import write_artifact
from understudy.models.policy_file import save_policy
from understudy.report.curves import write_curves_page
from understudy.runs.epochs import EPOCHS, Show, truth_text, write_curves
from understudy.runs.home import Home
from understudy.runs.online import Growth, Online, best_of, learn_in
from understudy.runs.settings import learner
from understudy.runs.train import ROWS
from understudy.runs.workplace import alone, clear, workplace
from understudy.runs.worlds import episodic, make_env

WORLD = "env."


@dataclass(frozen=True)
class Rehearsal:
    """What was asked for: a learner in a world, and how the log grows there."""

    learner: str
    settings: dict[str, Any]
    env: str
    env_settings: dict[str, Any]
    growth: Growth
    choose: str = "best"
    seed: int = 0


def asked(name: str, env: str, given: Mapping[str, Any], *, choose: str, seed: int) -> Rehearsal:
    """Settings sorted by whose they are: ``env.NAME`` the world's, those of ``Growth``, and the learner's.

    Raises: ConfigError for a setting nobody knows, a learner that cannot, or a world without episodes.
    """
    if choose not in ("best", "last"):
        raise ConfigError(f"choose is best or last; got {choose!r}", field="choose")
    grown = {field.name for field in fields(Growth)}
    world = {key.removeprefix(WORLD): value for key, value in given.items() if key.startswith(WORLD)}
    growth = {key: value for key, value in given.items() if key in grown}
    own = {key: value for key, value in given.items() if key not in growth and not key.startswith(WORLD)}
    made = learner(name, own)
    if not by_epochs(made) and not hasattr(made, "told") and not hasattr(made, "take"):
        raise ConfigError(
            f"{name} learns from a log, not in a world", hint="For example dqn, sac, td3, ppo.", field="learner"
        )
    if not episodic(make_env(env, world)):
        raise ConfigError(f"{env} is a bandit", hint="understudy loop learns in those.", field="in")
    try:
        how = msgspec.convert(growth, Growth)
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigError(f"how the log grows: {error}") from error
    return Rehearsal(name, own, env, world, how, choose, seed)


def rehearse(
    what: Rehearsal, *, to: str | Path, home: str | Path | None = None, show: Show = lambda point: None,
    film: Callable[[Policy, int], None] = lambda policy, decisions: None,
) -> Manifest:  # fmt: skip
    """Train in the world and write the policy artifact ``to``: each evaluation is an epoch, all are in ``curves.json``.

    The policy is that of the best evaluation, or the last. No logged decision was seen, so any log may judge it.
    ``film`` is told the policy and the decisions so far at each evaluation.

    Raises:
        DataError: a loss stopped being a number; the epochs before it stay in ``.NAME.training`` beside ``to``.
        StoreError: another process is training the same artifact, or another one lies there.
    """
    chosen: Any = learner(what.learner, what.settings)

    def world() -> Any:
        return make_env(what.env, what.env_settings)

    problem = world().problem

    work, held_alone = workplace(to), ExitStack()

    def fill(folder: Path) -> dict[str, int]:
        points: list[Point] = []
        held_alone.enter_context(alone(work))
        clear(work)
        for online in _watched(learn_in(chosen, world(), what.growth, seed=what.seed, judge=world), work):
            point = msgspec.structs.replace(online.point, epoch=len(points) + 1)
            points.append(point)
            save_policy(online.policy, _epoch(work, point.epoch), problem=problem)
            show(point)
            film(online.policy, int(point.figures["decisions"]))
        best = points[best_of(points) if what.choose == "best" else -1]
        shutil.copytree(_epoch(work, best.epoch), folder, dirs_exist_ok=True)
        shutil.copytree(work / EPOCHS, folder / EPOCHS)
        curves = _curves(points, best, what)
        write_curves(curves, folder)
        write_curves_page(curves, folder, f"{what.learner} in {what.env}")
        save_file({"decisions": np.empty(0, np.uint64)}, folder / ROWS)
        return {"decisions": int(points[-1].figures["decisions"]), "epochs": len(points)}

    config = {"learner": what.learner, "settings": asdict(chosen), "env": what.env, "env_settings": what.env_settings,
              "growth": dataclasses.asdict(what.growth), "choose": what.choose}  # fmt: skip
    made = Manifest(kind="policy", problem_hash=problem.hash, config=config, seed=what.seed, code_version=__version__)
    with held_alone:
        manifest = write_artifact(to, made, fill)
    if home is not None:
        Home(home).record(to)
    return manifest


def _watched(training: Iterator[Online], work: Path) -> Iterator[Online]:
    """The same; where a loss stops being a number, with the place of what was learned before."""
    try:
        yield from training
    except DataError as error:
        last = sorted((work / EPOCHS).glob("[0-9]*"))
        where = f" The last good checkpoint is {last[-1]}." if last else " There is no checkpoint before that."
        raise DataError(error.what, error.why + where, error.hint, field=error.field) from error


def _epoch(folder: Path, number: int) -> Path:
    return folder / EPOCHS / f"{number:04d}"


def _curves(points: list[Point], best: Point, what: Rehearsal) -> Curves:
    episodes = what.growth.eval_episodes
    earned = f"it earned {truth_text(best)} (mean ± standard error of {episodes} episodes)"
    if what.choose == "last":
        why = f"the last of {len(points)} evaluations, as asked: {earned}"
    elif len(points) == 1:
        why = f"the only evaluation: {earned}"
    else:
        why = f"{earned}, the most of {len(points)} evaluations: the best of {len(points)} is flattered by luck"
    return Curves(
        points=tuple(points), chosen=best.epoch, chosen_by="", slice=what.env, baseline="", rewards="return",
        why=why,
    )  # fmt: skip


def filming(what: Rehearsal, gif: Path | None, window: bool, after: int) -> Callable[[Policy, int], None]:
    """Shows the policy at every evaluation from ``after`` decisions on: in a window, or as ``NAME-DECISIONS.gif``."""
    from understudy.runs.play import Play, show

    def film(policy: Policy, decisions: int) -> None:
        if decisions >= after and (gif or window):
            file = gif and gif.with_name(f"{gif.stem}-{decisions}{gif.suffix}")
            show(what.env, what.env_settings, policy, how=Play(envs=1, seed=what.seed), gif=file, window=window)

    return film
