"""The one training loop: minibatches drawn by NumPy, updates compiled by JAX, a chunk at a time."""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError, DataError
from understudy.core.hashing import derived
from understudy.core.protocols import Progress, quiet

Draw = Callable[[np.random.Generator, int], Any]
Update = Callable[[Any, Any], tuple[Any, dict[str, Any]]]
CHUNK = 100  # updates per compiled call

# One thread: nets of this size gain nothing from a second, and busy cores lose (DESIGN, section 11).
_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def jax() -> Any:
    """The package jax, set to one CPU thread unless it is loaded already or XLA_FLAGS says otherwise.

    Raises: ConfigError where it is not installed.
    """
    if "jax" not in sys.modules:
        os.environ.setdefault("XLA_FLAGS", _ONE_THREAD)
    return needed("jax")


def needed(package: str) -> Any:
    """An optional package of the extra ``learn``."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"this learner needs the package {package!r}, which is not installed",
            hint='pip install "understudy[learn]"',
        ) from error


def run(
    start: Any, update: Update, draw: Draw, *, steps: int, seed: int, progress: Progress = quiet, done: int = 0
) -> Any:
    """The state after ``steps`` updates; called by learners, never inherited.

    Args:
        start: any tree of arrays.
        update: (state, batch) → (state, figures), pure, in JAX; the same function object compiles once per shape.
        draw: (rng, c) → a tree of arrays with leading axis c: that many minibatches.
        seed: every chunk of updates draws from its own stream of it, told by the updates before the chunk: so a chunk
            does not depend on how those before were drawn.
        done: updates that ``start`` has behind it already.

    Raises: DataError where a figure stops being finite; what was learned before is lost to this call.
    """
    advance, state = _compiled(update), start
    for first in range(done, steps, CHUNK):
        batches = draw(np.random.default_rng(derived(seed, "minibatches", first)), min(CHUNK, steps - first))
        state, figures = advance(state, batches)
        told = {name: float(value) for name, value in figures.items()}
        _refuse_nonsense(told, first, min(first + CHUNK, steps))
        progress("fit", {"step": float(min(first + CHUNK, steps))} | told)
    return state


def _refuse_nonsense(figures: dict[str, float], first: int, last: int) -> None:
    for name, value in figures.items():
        if not math.isfinite(value):
            raise DataError(
                f"{name} is {value} between updates {first + 1} and {last}",
                "From here on every weight of the network is no number, so the training has stopped.",
                "Lower the rate, scale the rewards (scale=0.1), or look at the log for absurd numbers.",
                field=name,
            )


@lru_cache(maxsize=32)
def _compiled(update: Update) -> Callable[[Any, Any], tuple[Any, dict[str, Any]]]:
    """A whole chunk as one compiled call, and the mean of its figures."""
    package = jax()

    def chunk(state: Any, batches: Any) -> tuple[Any, dict[str, Any]]:
        state, figures = package.lax.scan(update, state, batches)
        return state, {name: values.mean() for name, values in figures.items()}

    return package.jit(chunk, donate_argnums=0)
