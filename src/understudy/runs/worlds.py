"""A world by its name: one of ours, one of another package, or any id of Gymnasium."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from understudy.core.errors import ConfigError
from understudy.core.protocols import Environment, EpisodicEnvironment
from understudy.core.registry import find, table, unknown

FILMED = {"cartpole": "CartPole-v1", "pendulum": "Pendulum-v1"}  # where Gymnasium's original is drawn


def make_env(name: str, settings: Mapping[str, Any]) -> Environment:
    """An environment with these settings. Raises: ConfigError for an unknown one, or unknown settings."""
    if name not in table("envs"):
        return _gymnasium(name, settings)
    build = find("envs", name)
    known = inspect.signature(build).parameters
    for key in settings:
        if key not in known and not any(each.kind is each.VAR_KEYWORD for each in known.values()):
            raise unknown(f"setting of environment {name!r}:", key, sorted(known))
    try:
        return build(**settings)
    except TypeError as error:
        raise ConfigError(f"environment {name!r} does not take these settings: {error}", field=name) from error


def make_drawn(name: str, settings: Mapping[str, Any], render: str) -> Any:
    """The world to take pictures of: Gymnasium's own, also where the name is that of our copy."""
    if name in table("envs") and name not in FILMED:
        raise ConfigError(
            f"environment {name!r} cannot be drawn",
            hint=f"These can: {', '.join(FILMED)}, and Gymnasium's own ids.",
            field="render",
        )
    return _gymnasium(FILMED.get(name, name), {**_originals(name, settings), "render": render})


def episodic(world: Environment) -> bool:
    """Whether its episodes are longer than one decision."""
    return not world.problem.bandit and isinstance(world, EpisodicEnvironment)


def _originals(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Our copy's settings as Gymnasium's original calls them."""
    if name not in FILMED:
        return dict(settings)
    limit = make_env(name, settings).problem.horizon
    return {"g" if key == "gravity" else key: value for key, value in settings.items()} | {"steps": limit}


def _gymnasium(name: str, settings: Mapping[str, Any]) -> Environment:
    from understudy.envs.gym import gym, ids

    if name not in ids() and "-v" not in name:
        raise unknown("environment", name, [*table("envs"), *ids()])
    try:
        return gym(name, **settings)
    except TypeError as error:
        raise ConfigError(f"environment {name!r} does not take these settings: {error}", field=name) from error
