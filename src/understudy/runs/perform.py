"""The verb ``simulate``: a log of decisions from a bandit, episodes from every other world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.core.errors import ConfigError
from understudy.runs.worlds import episodic, make_env

DECISIONS = 10_000  # logged of a bandit, where nobody says how many


@dataclass(frozen=True)
class Asked:
    """What the verb was asked for; None is "nobody said"."""

    behavior: str | None = None
    decisions: int | None = None
    envs: int | None = None
    episodes: int | None = None
    max_steps: int | None = None
    gif: Path | None = None
    render: bool = False
    to: Path | None = None
    seed: int = 0


def perform(env: str, settings: Mapping[str, Any], asked: Asked) -> Any:
    """Something with ``lines()`` and ``as_dict()``.

    Raises: ConfigError where an option is for the other kind of world.
    """
    fixed = asked.behavior == "fixed"
    probs = settings.get("probs") if fixed else None
    given = {key: value for key, value in settings.items() if not (fixed and key == "probs")}
    world = make_env(env, given)
    if episodic(world):
        return _episodes(env, given, world, probs, asked)
    _refuse(asked, f"{env} is a bandit", "envs", "episodes", "max_steps", "gif", "render")
    if asked.to is None:
        raise ConfigError("missing: --to", hint="Say where the log is to lie.", field="to")
    from understudy.runs.simulate import simulate

    n = DECISIONS if asked.decisions is None else asked.decisions
    return simulate(world, {}, behavior=asked.behavior or "warm", n=n, seed=asked.seed, to=asked.to)


def _episodes(env: str, settings: Mapping[str, Any], world: Any, probs: Any, asked: Asked) -> Any:
    from understudy.runs.play import Play, actor, play, show

    _refuse(asked, f"{env} has episodes: --envs and --episodes say how many", "decisions")
    behavior = asked.behavior or "uniform"
    told = {name: getattr(asked, name) for name in ("envs", "episodes", "max_steps")}
    how = Play(seed=asked.seed, **{name: value for name, value in told.items() if value is not None})
    if asked.gif or asked.render:
        policy = actor(behavior, world.problem, probs)
        show(env, settings, policy, how=how, gif=asked.gif, window=asked.render)
    return play(world, env, behavior=behavior, probs=probs, how=how, to=asked.to)


def _refuse(asked: Asked, why: str, *names: str) -> None:
    extra = [f"--{name.replace('_', '-')}" for name in names if getattr(asked, name) not in (None, False)]
    if extra:
        raise ConfigError(f"{', '.join(extra)} cannot be given here: {why}", field=extra[0].removeprefix("--"))
