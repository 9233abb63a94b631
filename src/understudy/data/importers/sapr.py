"""Tables of ``<state, action, action probability, reward>``, one row per decision."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from understudy.core.errors import DataError
from understudy.core.registry import unknown
from understudy.data.identify import draft
from understudy.data.importers.imported import Imported

PROBABILITIES = ("action_probability", "action probability", "action_prob", "probability", "propensity", "prob",
                 "pscore")  # fmt: skip


def sapr(
    path: str | Path | pa.Table, *, state: Sequence[str] | None = None, action: str = "action",
    probability: str | None = None, reward: str = "reward", time: str | None = None, unit: str | None = None,
) -> Imported:  # fmt: skip
    """A CSV or Parquet table of states, actions, their probabilities and rewards.

    Args:
        path: the file, or an Arrow table.
        state: names of the state's columns; None takes all that are nothing else.
        action, probability, reward: column names; a probability column of a usual name is found by itself.
        time: column of ISO 8601 text or seconds; without it, rows are one second apart.
        unit: column that says who is independent of whom.
    """
    table = _table(path)
    names = table.column_names
    if probability is None:
        probability = next((name for name in PROBABILITIES if name in names), "action_probability")
    used = [action, probability, reward, *(name for name in (time, unit) if name)]
    for name in [*used, *(state or ())]:
        if name not in names:
            raise unknown("column", name, names)
    kept = list(state) if state is not None else [name for name in names if name not in used and name]
    n = table.num_rows
    columns: dict[str, Any] = {
        "decision_id": [f"row-{i:07d}" for i in range(n)],
        "time": table[time] if time else [float(i) for i in range(n)],
        "action": table[action],
        "propensity": table[probability],
    }
    if unit:
        columns["unit_id"] = table[unit]
    decisions = pa.table(columns | {f"context.{name}": table[name] for name in kept})
    measured = table[reward].is_valid().combine_chunks()
    outcomes = pa.table({
        "decision_id": columns["decision_id"], "time": columns["time"], "name": ["reward"] * n, "value": table[reward],
    }).filter(measured)  # fmt: skip
    problem, notes = draft([decisions, outcomes], sample=n)
    said = tuple(note for section in notes.values() for note in section)
    return Imported(problem, decisions, outcomes, said)


def _table(path: Any) -> pa.Table:
    if isinstance(path, pa.Table):
        return path
    path = Path(path)
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet as parquet

            return parquet.read_table(path)
        import pyarrow.csv as arrow_csv

        return arrow_csv.read_csv(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
