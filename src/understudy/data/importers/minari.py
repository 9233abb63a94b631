"""Minari datasets as they lie on disk: ``data/main_data.hdf5`` and ``metadata.json``. minari itself is not needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from understudy.core.errors import DataError
from understudy.core.problem import ActionSpace
from understudy.data.importers.arrays import Episode, as_table, discrete, flat
from understudy.data.importers.hdf5 import open_hdf5
from understudy.data.importers.imported import Imported

FILE, METADATA = "main_data.hdf5", "metadata.json"


def minari(path: str | Path, *, discount: float = 0.99) -> Imported:
    """A Minari dataset: its folder, the ``data`` folder in it, or the HDF5 file.

    Observations hold one state more than there are actions, so a truncated episode's final state is known.

    Raises:
        DataError: there is no such file, or an episode lacks an array.
    """
    file = _file(Path(path))
    with open_hdf5(file) as data:
        names = sorted((name for name in data if name.startswith("episode_")), key=lambda name: int(name[8:]))
        episodes = [_episode(data[name], name, file) for name in names]
        features = _leaves(data[names[0]]["observations"]) if names else []
    labels = [label for label, _ in features]
    return as_table(episodes, names=_spread(labels, features), actions=_space(file, episodes), discount=discount)


def _file(path: Path) -> Path:
    for found in (path, path / FILE, path / "data" / FILE):
        if found.is_file():
            return found
    raise DataError(
        f"{path} is no Minari dataset: it has no {FILE}",
        hint="Give the folder that lies below ~/.minari/datasets, or the HDF5 file.",
    )


def _episode(group: Any, name: str, path: Path) -> Episode:
    for needed in ("observations", "actions", "rewards", "terminations"):
        if needed not in group:
            raise DataError(f"{path}: {name} has no {needed}", field=needed)
    context = np.column_stack([flat(array) for _, array in _leaves(group["observations"])])
    action = np.column_stack([flat(array) for _, array in _leaves(group["actions"])])
    action = action.reshape(-1) if discrete(action) else action
    terminated = bool(np.any(group["terminations"][()]))
    return Episode(context, action, group["rewards"][()].reshape(-1), terminated)


def _leaves(node: Any, label: str = "x") -> list[tuple[str, np.ndarray]]:
    """The arrays of a space, in the order of their names; a dictionary's are called by their keys."""
    if hasattr(node, "keys"):
        prefix = "" if label == "x" else f"{label}."
        return [leaf for key in sorted(node.keys()) for leaf in _leaves(node[key], f"{prefix}{key}")]
    return [(label, node[()])]


def _spread(labels: list[str], leaves: list[tuple[str, np.ndarray]]) -> list[str]:
    names = []
    for label, array in zip(labels, (array for _, array in leaves)):
        width = flat(array).shape[1]
        names += [f"{label}{j}" if label == "x" else f"{label}.{j}" if width > 1 else label for j in range(width)]
    return names


def _space(file: Path, episodes: list[Episode]) -> ActionSpace | None:
    """The declared action space, where it is one that we have and is bounded."""
    try:
        said = json.loads((file.parent / METADATA).read_text()).get("action_space")
        space = json.loads(said) if isinstance(said, str) else said or {}
    except (OSError, json.JSONDecodeError):
        return None
    if space.get("type") == "Discrete" and not space.get("start"):
        return ActionSpace(names=tuple(map(str, range(int(space["n"])))))
    if space.get("type") == "Box" and episodes:
        dims = flat(episodes[0].action).shape[1]
        low, high = (np.broadcast_to(np.ravel(space[side]).astype(float), dims) for side in ("low", "high"))
        if np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all():
            return ActionSpace(low=tuple(low.tolist()), high=tuple(high.tolist()))
    return None
