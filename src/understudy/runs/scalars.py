"""Epochs as TensorBoard scalars, for those who watch there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from understudy.core.curves import Point
from understudy.core.errors import ConfigError
from understudy.runs.epochs import Show


@contextmanager
def scalars(folder: Path | None) -> Iterator[Show]:
    """A Show that writes ``figures/NAME`` and ``TARGET/ESTIMATOR`` with its ``/low`` and ``/high``, by updates done.

    What the policy earned in a world, where it was tried there, is ``return``.
    An interval the data could not carry leaves a gap: it is not drawn as a number. Without a folder it does nothing.
    """
    if folder is None:
        yield lambda point: None
        return
    writer = _writer(folder)

    def show(point: Point) -> None:
        for name, value in point.figures.items():
            writer.add_scalar(f"figures/{name}", value, point.updates)
        if point.truth is not None:
            writer.add_scalar("return", point.truth, point.updates)
        if point.truth_error is not None:
            writer.add_scalar("return_error", point.truth_error, point.updates)
        for e in point.estimates:
            sides = {"": e.value, "/low": e.low, "/high": e.high}
            for side, value in sides.items():
                if value is not None:
                    writer.add_scalar(f"{e.target}/{e.estimator}{side}", value, point.updates)
        writer.flush()

    try:
        yield show
    finally:
        writer.close()


def _writer(folder: Path) -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ModuleNotFoundError as error:
        raise ConfigError(
            "TensorBoard scalars need the package tensorboardX, which is not installed",
            hint='pip install "understudy[tensorboard]"',
        ) from error
    return SummaryWriter(str(folder))
