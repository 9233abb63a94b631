"""Statlog Shuttle as a bandit: nine sensors, seven actions, heavy tails, one class in four of five rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from understudy.core.errors import DataError, StoreError
from understudy.envs.classification import classification
from understudy.envs.population import Population

NAMES = ("rad_flow", "fpv_close", "fpv_open", "high", "bypass", "bpv_close", "bpv_open")
RARE = 0.0005  # classes with a smaller share are dropped; their actions stay and never pay


def shuttle(*, path: str | Path | None = None, noise: float = 0.0, cache: str | Path | None = None) -> Population:
    """The 43,500 training rows of Statlog Shuttle by the rule of the SageMaker example: 43,483 rows remain.

    Classes with a share below 0.0005 are dropped (6 and 7), every sensor is z-scored over the rows kept, all seven
    actions stay. Always naming class 1 is worth exactly 34,108 / 43,483.

    Args:
        path: the file ``shuttle.trn`` (space-separated integers, class last). Without it: the cache, else a download.
        noise: probability that a reward is flipped.
        cache: where a download is kept; default ``~/.cache/understudy``.

    Raises: DataError if the file is not that layout, StoreError if there is no file and no network.
    Source: UCI Machine Learning Repository, "Statlog (Shuttle)", CC BY 4.0.
    """
    if path is not None:
        file = Path(path)
        if not file.is_file():
            raise StoreError(f"{file} is not a file", hint="Give the path of shuttle.trn.")
    else:
        from understudy.envs.download import shuttle_file

        file = shuttle_file(Path(cache) if cache is not None else Path.home() / ".cache" / "understudy")
    x, y = read(file)
    share = np.bincount(y, minlength=len(NAMES)) / len(y)
    keep = share[y] >= RARE
    x, y = x[keep], y[keep]
    spread = x.std(0)
    z = (x - x.mean(0)) / np.where(spread > 0, spread, 1.0)
    return classification(z, y, actions=NAMES, features=[f"a{i}" for i in range(1, 10)], noise=noise)


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(sensors f64[N, 9], class i64[N] from 0) of a file of ten space-separated whole numbers per row."""
    if path.stat().st_size == 0:
        raise _not_shuttle(path, "it is empty")
    try:
        table = np.loadtxt(path, dtype=np.int64, ndmin=2)
    except (ValueError, UnicodeDecodeError) as error:
        raise _not_shuttle(path, str(error)) from error
    if table.size == 0 or table.shape[1] != 10:
        raise _not_shuttle(path, f"it has shape {table.shape}, expected ten columns")
    label = table[:, 9] - 1
    wrong = (label < 0) | (label >= len(NAMES))
    if wrong.any():
        raise _not_shuttle(path, f"{int(wrong.sum())} classes are not in 1…7; first: row {int(wrong.argmax()) + 1}")
    return table[:, :9].astype(np.float64), label


def _not_shuttle(path: Path, fault: str) -> DataError:
    return DataError(f"{path} is not Statlog Shuttle: {fault}", hint="Rows are: nine sensors, then the class 1…7.")
