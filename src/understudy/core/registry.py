"""Names to things: a literal table per room, then entry points of other packages.

No decorators and no import side effects: a table maps a name to ``"module:attribute"``, and nothing is imported
before the name is asked for.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from understudy.core.errors import ConfigError

# Where each kind of thing keeps its table: "module:TABLE".
TABLES: Mapping[str, str] = {
    "learners": "understudy.learners:LEARNERS",
    "estimators": "understudy.ope.estimators:ESTIMATORS",
    "envs": "understudy.envs:ENVS",
    "models": "understudy.models:MODELS",
    "classifiers": "understudy.models:CLASSIFIERS",
    "states": "understudy.models:STATES",
    "families": "understudy.models.families:FAMILIES",
    "importers": "understudy.data.importers:IMPORTERS",
    "tables": "understudy.data.importers:TABLES",
    "executors": "understudy.runs.executors:EXECUTORS",
    "audits": "understudy.ope.audit:AUDITS",
    "stores": "understudy.data.store:STORES",
}

# Optional packages and the extra that brings each.
EXTRAS: Mapping[str, str] = {
    "jax": "learn", "optax": "learn", "equinox": "learn", "gymnasium": "gym", "mujoco": "mujoco", "optuna": "tune",
    "onnx": "onnx", "onnxruntime": "onnx", "pyspark": "spark", "vowpalwabbit": "vw", "h5py": "hdf5", "boto3": "aws",
    "obstore": "aws", "botocore": "aws", "psycopg": "postgres",
}  # fmt: skip


def table(kind: str) -> dict[str, str]:
    """All names of a kind: the room's own table, then entry points ``understudy.<kind>``. A clash is an error."""
    if kind not in TABLES:
        raise unknown("kind of thing", kind, TABLES)
    module, attribute = TABLES[kind].split(":")
    found = dict(getattr(importlib.import_module(module), attribute))
    for point in _points(f"understudy.{kind}", entry_points):
        if point.name in found:
            raise ConfigError(
                f"two {kind} are called {point.name!r}: {found[point.name]} and {point.value}",
                "Which one a config means would depend on the order of installation.",
                "Rename the entry point of the third-party package, or uninstall it.",
                field=point.name,
            )
        found[point.name] = point.value
    return found


@cache
def _points(group: str, lookup: Callable[..., Iterable[EntryPoint]]) -> tuple[EntryPoint, ...]:
    """Entry points of a group, looked up once: reading every installed package's metadata takes 15 ms."""
    return tuple(lookup(group=group))


def find(kind: str, name: str) -> Any:
    """The thing of that kind and name, imported now. Unknown names list the nearest; missing extras say the cure."""
    entries = table(kind)
    if name not in entries:
        raise unknown(kind.rstrip("s"), name, entries)
    module, attribute = entries[name].split(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        raise ConfigError(
            f"{kind.rstrip('s')} {name!r} needs the package {package!r}, which is not installed",
            hint=f'pip install "understudy[{EXTRAS[package]}]"',
            field=name,
        ) from error


def unknown(what: str, name: str, known: Mapping[str, Any] | list[str] | tuple[str, ...]) -> ConfigError:
    """The error for a name nobody knows, with the nearest names that somebody does."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or names[:12]
    hint = f"Did you mean: {', '.join(near)}?" if near else "There is none."
    return ConfigError(f"unknown {what} {name!r}", hint=hint, field=name)
