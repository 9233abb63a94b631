"""How a dataset is cut: by unit, the same for everybody, so that training, selection and proof never share a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from understudy.core.errors import DataError
from understudy.core.registry import unknown
from understudy.data.dataset import open_dataset

# Shares of [0, 1) by unit hash, in order. docs/adr/0002 says why they are fixed.
SHARES = {"train": 0.5, "select": 0.2, "gate": 0.3}


def open_slice(path: str | Path, name: str) -> Any:
    """The slice ``train``, ``select``, ``gate`` or ``all`` of the dataset at ``path``: a LoggedDataset.

    ``train@0.8`` and ``eval@0.8`` are the two sides of a cut at another share: of the units, by hash, the same always.
    ``last@0.1`` is the last tenth: disjoint from ``train@0.9`` and less.

    Raises: ConfigError on another name; DataError if the slice holds nothing.
    """
    data = open_dataset(path)
    if name == "all":
        return data
    side, at, share = name.partition("@")
    if at and side in ("train", "eval") and _is_share(share):
        part = data.split({"train": float(share), "eval": 1.0 - float(share)})[side]
    elif at and side == "last" and _is_share(share):
        part = data.split({"first": 1.0 - float(share), "last": float(share)})[side]
    elif name in SHARES:
        part = data.split(SHARES)[name]
    else:
        raise unknown("slice", name, [*SHARES, "all", "train@0.8", "eval@0.8", "last@0.2"])
    if part.n_steps == 0:
        raise DataError(
            f"slice {name!r} of {path} is empty: the dataset has {data.n_steps} decisions",
            "Nothing can be learned or estimated from nothing.",
            "Join more of the log, or use --slice all and another dataset for the other steps.",
        )
    return part


def _is_share(text: str) -> bool:
    try:
        return 0 < float(text) < 1
    except ValueError:
        return False
