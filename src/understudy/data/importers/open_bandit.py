"""The Open Bandit layout: ``<campaign>.csv`` (or .gz) beside ``item_context.csv``.

Source: Saito, Aihara, Matsutani & Narita 2021, "Open Bandit Dataset and Pipeline". Three items are shown at a time;
each position is its own row with its own propensity, so a row is one decision and ``position`` is a feature of it.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from understudy.core.errors import DataError
from understudy.core.problem import ActionSpace, Feature, OutcomeSpec, Problem
from understudy.data.importers.imported import Imported

NEEDED = ("timestamp", "item_id", "position", "click", "propensity_score")


def open_bandit(path: str | Path, *, campaign: str | None = None, affinities: bool = False) -> Imported:
    """A campaign of the Open Bandit Dataset as decisions (one per position shown) and clicks.

    Args:
        path: the campaign's folder, or its CSV file.
        campaign: name of the file, where the folder has several.
        affinities: also take the user-item affinity columns (as many as there are items) as features.
    """
    import pyarrow.csv as arrow_csv

    file = _campaign_file(Path(path), campaign)
    table = arrow_csv.read_csv(file)
    missing = [name for name in NEEDED if name not in table.column_names]
    if missing:
        raise DataError(f"{file} is not in the Open Bandit layout: it lacks {', '.join(missing)}")
    users = sorted(name for name in table.column_names if name.startswith("user_feature_"))
    near = [name for name in table.column_names if affinities and name.startswith("user-item_affinity_")]
    features = (
        Feature(name="position", kind="category", values=_values(table["position"])),
        *(Feature(name=name, kind="category", values=_values(table[name])) for name in users),
        *(Feature(name=name) for name in near),
    )
    items = _items(file.parent / "item_context.csv", table["item_id"])
    problem = Problem(
        features=features, actions=ActionSpace(names=items), outcomes=(OutcomeSpec(name="click"),), reward="click"
    )
    name = file.name.partition(".")[0]
    ids = pa.array([f"{name}-{i:07d}" for i in range(table.num_rows)])
    time = table["timestamp"]
    if pa.types.is_string(time.type):
        time = time.cast(pa.timestamp("us", "UTC"))
    decisions = pa.table(
        {
            "decision_id": ids, "time": time, "action": table["item_id"].cast(pa.string()),
            "propensity": table["propensity_score"].cast(pa.float64()),
            "context.position": table["position"].cast(pa.string()),
        }
        | {f"context.{column}": table[column] for column in [*users, *near]}
    )  # fmt: skip
    clicks = pa.table({"decision_id": ids, "time": time, "name": ["click"] * len(ids), "value": table["click"]})
    return Imported(problem, decisions, clicks, ("a row is one position of a page of three; position is a feature",))


def _campaign_file(path: Path, campaign: str | None) -> Path:
    if path.is_file():
        return path
    found = [
        file for file in sorted(path.glob("*.csv*"))
        if file.name.endswith((".csv", ".csv.gz")) and file.name != "item_context.csv"
        and campaign in (None, file.name.partition(".")[0])
    ]  # fmt: skip
    if len(found) != 1:
        raise DataError(
            f"{path} holds {len(found)} campaign files, not one",
            hint="Point at a folder such as bts/women, or name the campaign.",
        )
    return found[0]


def _values(column: pa.ChunkedArray) -> tuple[str, ...]:
    return tuple(sorted(str(value) for value in column.unique().to_pylist() if value is not None))


def _items(path: Path, shown: pa.ChunkedArray) -> tuple[str, ...]:
    """Every item that could be shown, not only those that were."""
    import pyarrow.csv as arrow_csv

    ids = set(shown.unique().to_pylist())
    if path.exists():
        ids |= set(arrow_csv.read_csv(path)["item_id"].to_pylist())
    return tuple(str(item) for item in sorted(ids))
