"""The layout of older tools: an agent JSON of value lists and an environment JSON, as an experiment file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec

from understudy.core.errors import ConfigError, StoreError
from understudy.core.registry import find, table, unknown

_AGENTS = {"linearac": "average_ac", "greedyac": "greedy_ac", "gaussianac": "average_ac"}
# Their names of settings, where ours differ.
_SETTINGS = {
    "batch_size": "batch", "hidden_dim": "hidden", "tau": "lag", "alpha": "temperature", "policy": "family",
    "policy_type": "family", "lr": "rate", "critic_lr": "rate",
}  # fmt: skip
# What an environment file says, and the field of an experiment it becomes; None: it is ours by another way.
_ENVIRONMENT: Mapping[str, str | None] = {
    "env_name": "env",
    "total_timesteps": "growth.steps",
    "steps_per_episode": "env_settings.steps",
    "eval_interval_timesteps": "growth.eval_every",
    "eval_episodes": "growth.eval_episodes",
    "gamma": "env_settings.discount",
    "continuous": None,
    "overwrite_rewards": None,
    "rewards": None,
    "start_state": None,
}


def import_experiment(agent: Path, environment: Path, to: Path, runs: int = 5) -> Path:
    """Write the experiment that ``{"agent_name", "parameters": {key: [values]}}`` and an environment JSON describe.

    Keys keep their order, so that an index means the same setting: the first varies fastest. Seeds do not: they count
    from 0 here.

    Raises: ConfigError for an agent or a setting that we do not have, rewards that would be overwritten, a key twice.
    """
    if to.exists():
        raise StoreError(f"{to} is there already", hint="Choose another --to.", field="to")
    described, world = _read(agent), _read(environment)
    if set(described) != {"agent_name", "parameters"}:
        raise ConfigError(
            f"{agent} holds {', '.join(described)}", hint="It needs agent_name and parameters.", field="agent"
        )
    name = _learner(described["agent_name"])
    whole = {"name": to.stem, "learner": name, "growth": {}, "env_settings": {}, **_world(world, environment)}
    whole["sweep"] = _sweep(described["parameters"], name, agent)
    whole["seeds"] = runs
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_bytes(msgspec.yaml.encode({key: value for key, value in whole.items() if value != {}}))
    return to


def _learner(agent: str) -> str:
    name = _AGENTS.get(agent.lower(), agent.lower())
    if name not in table("learners"):
        raise unknown("agent", agent, [*_AGENTS, *table("learners")])
    return name


def _sweep(parameters: Mapping[str, Any], name: str, path: Path) -> dict[str, list[Any]]:
    ours = [field.name for field in fields(find("learners", name)) if field.init]
    swept: dict[str, list[Any]] = {}
    for key, values in parameters.items():
        known = key if key in ours else _SETTINGS.get(key, key)
        if known not in ours:
            raise ConfigError(
                f"{path}: {name} has no setting {key!r}", "Left out, an index would mean another setting.",
                f"Remove it, or call it one of: {', '.join(ours)}.", field=key,
            )  # fmt: skip
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{path}: {key} is no list of values", hint="Write [value].", field=key)
        if f"settings.{known}" in swept:
            raise ConfigError(f"{path}: {key} is a second name of {known!r}", field=key)
        swept[f"settings.{known}"] = values
    return swept


def _world(given: Mapping[str, Any], path: Path) -> dict[str, Any]:
    made: dict[str, Any] = {"growth": {}, "env_settings": {}}
    for key, value in given.items():
        if key not in _ENVIRONMENT:
            raise unknown(f"key of {path}", key, list(_ENVIRONMENT))
        field = _ENVIRONMENT[key]
        if key in ("overwrite_rewards", "start_state") and value:
            raise ConfigError(f"{path}: {key} is not supported", "The world would be another one.", field=key)
        if field is None or (key == "eval_episodes" and not value):
            continue
        section, dot, last = field.partition(".")
        if dot:
            made[section][last] = value
        else:
            made[section] = value
    if "env" not in made:
        raise ConfigError(f"{path} names no environment", hint="env_name: Pendulum-v1", field="env_name")
    return made


def _read(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {str(path)!r}", field=str(path)) from error
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path}: {error}", field=str(path)) from error
