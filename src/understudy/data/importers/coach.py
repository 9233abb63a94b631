"""Coach's CSV layout: one row per decision, the order of rows in the file is their order in time."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa

from understudy.core.errors import DataError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.data.importers.imported import Imported

NEEDED = ("action", "all_action_probabilities", "episode_id", "reward")
PREFIX = "state_feature_"


def coach(path: str | Path, *, discount: float = 0.99) -> Imported:
    """``action``, ``all_action_probabilities``, ``episode_id``, ``reward`` and every ``state_feature_*``.

    The last row of an episode is a decision like any other and keeps its reward. ``transition_number`` gives the order
    where it is there; ``episode_name`` and other columns are left out.

    Raises:
        DataError: a column is missing or its values are not numbers.
    """
    import pyarrow.csv as arrow_csv

    try:
        table = arrow_csv.read_csv(path, convert_options=arrow_csv.ConvertOptions(
            column_types={"all_action_probabilities": pa.string(), "episode_id": pa.string()}
        ))  # fmt: skip
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    states = [name for name in table.column_names if name.startswith(PREFIX)]
    missing = [name for name in NEEDED if name not in table.column_names] + ([] if states else [f"{PREFIX}0"])
    if missing:
        raise DataError(f"{path} is not in Coach's layout: it lacks {', '.join(missing)}", field=missing[0])
    if not pa.types.is_integer(table["action"].type):
        raise DataError(f"{path}: action is {table['action'].type}, not a whole number", field="action")
    first = str(table["all_action_probabilities"][0].as_py())
    space = ActionSpace(names=tuple(map(str, range(first.count(",") + 1))))
    rewards = table["reward"].cast(pa.float64()).to_numpy()
    low, high = math.floor(min(0.0, rewards.min())), math.ceil(max(0.0, rewards.max()))
    problem = Problem(
        features=tuple(Feature(name=name) for name in states), actions=space, discount=discount, horizon=None,
        reward_range=(float(low), float(high if high > low else low + 1)), unit="episode",
    )  # fmt: skip
    columns = {"episode_id": table["episode_id"], "sequence": _order(table), "action": table["action"],
               "propensities": _vectors(table["all_action_probabilities"]), "outcome.reward": rewards}  # fmt: skip
    columns |= {f"context.{name}": table[name].cast(pa.float64()) for name in states}
    notes = (f"the discount of {discount} and the reward range [{low}, {high}] are guesses; declare your own",)
    return Imported(problem, pa.table(columns), None, notes)


def _order(table: pa.Table) -> np.ndarray:
    """Place of each row in its episode: as numbered, or as the rows stand in the file."""
    if "transition_number" in table.column_names:
        return table["transition_number"].to_numpy()
    codes = table["episode_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(codes[order]) != 0])
    place = np.empty(len(codes), np.int64)
    place[order] = np.arange(len(codes)) - np.repeat(starts, np.diff(np.append(starts, len(codes))))
    return place


def _vectors(column: pa.ChunkedArray) -> pa.Array:
    """``[0.5, 0.5]``, also as NumPy 2 writes it: ``[np.float64(0.5), np.float64(0.5)]``."""
    encoded = column.combine_chunks().dictionary_encode()
    rows = []
    for said in encoded.dictionary.to_pylist():
        plain = said.replace("np.float64(", "").replace("np.float32(", "").replace(")", "").strip("[] ")
        try:
            rows.append([float(part) for part in plain.replace(",", " ").split()])
        except ValueError:
            raise DataError(
                f"all_action_probabilities {said[:60]!r} is not a list of numbers", field="all_action_probabilities"
            ) from None
    return pa.array(rows, pa.list_(pa.float64())).take(encoded.indices)
