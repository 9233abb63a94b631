"""Arrays in HDF5: the flat layout of D4RL and d3rlpy's first version, and the one array per episode of its second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from understudy.core.errors import DataError
from understudy.data.importers.arrays import Episode, as_table, cut, discrete, flat
from understudy.data.importers.imported import Imported

ENDS = ("timeouts", "episode_terminals", "episode_terminate", "truncations", "truncateds")
TERMINALS = ("terminals", "terminations", "terminated")


def d3rlpy(path: str | Path, *, discount: float = 0.99) -> Imported:
    """``observations``, ``actions``, ``rewards``, ``terminals`` and where episodes were cut, in one HDF5 file.

    A row in ``terminals`` ended by itself; one in ``timeouts`` (or ``episode_terminals``) only was cut. The state after
    a cut is known where the file has ``next_observations``.

    Raises:
        DataError: the file is no HDF5, or lacks an array, or arrays differ in length.
    """
    with open_hdf5(path) as file:
        if any(name.startswith("observations_") for name in file):
            return as_table(_by_episode(file, path), discount=discount)
        return as_table(_flat_layout(file, path), discount=discount)


def open_hdf5(path: str | Path) -> Any:
    """The file, open to read. Raises: DataError if it is none."""
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path} cannot be read as HDF5: {error}", hint="Check the path and the layout.") from error


def _flat_layout(file: Any, path: str | Path) -> list[Episode]:
    terminals = next((name for name in TERMINALS if name in file), "terminals")
    arrays = {name: _array(file, name, path) for name in ("observations", "actions", "rewards", terminals)}
    ends = next((name for name in ENDS if name in file), None)
    if ends is not None:
        arrays[ends] = _array(file, ends, path)
    after = file.get("next_observations")
    n = len(arrays["observations"])
    for name, array in arrays.items():
        if len(array) != n:
            raise DataError(f"{path}: {name} has {len(array):,} rows and observations has {n:,}", field=name)
    terminated = arrays[terminals].reshape(-1) != 0
    cut_off = arrays[ends].reshape(-1) != 0 if ends is not None else np.zeros(n, bool)
    return cut(
        flat(arrays["observations"]), _action(arrays["actions"], file), arrays["rewards"].reshape(-1),
        terminated | cut_off, terminated, None if after is None else flat(after[()]),
    )  # fmt: skip


def _by_episode(file: Any, path: str | Path) -> list[Episode]:
    numbers = sorted(int(name.rpartition("_")[2]) for name in file if name.startswith("observations_"))
    episodes = []
    for i in numbers:
        context = flat(_array(file, f"observations_{i}", path))
        action, reward = (_array(file, f"{name}_{i}", path) for name in ("actions", "rewards"))
        ended = bool(np.any(_array(file, f"terminated_{i}", path)))
        episodes.append(Episode(context, _action(action, file), reward.reshape(-1), ended))
    return episodes


def _array(file: Any, name: str, path: str | Path) -> np.ndarray:
    if name not in file:
        raise DataError(
            f"{path} has no array {name!r}; it has {', '.join(list(file)[:12])}",
            hint="Needed are observations, actions, rewards and terminals.",
            field=name,
        )
    return file[name][()]


def _action(action: np.ndarray, file: Any) -> np.ndarray:
    """Whole numbers [n] where they stand for actions; d3rlpy's first version says so in ``discrete_action``."""
    said = "discrete_action" in file and bool(file["discrete_action"][()])
    if discrete(action) or said:
        return action.reshape(-1).astype(np.int64)
    return flat(action)
