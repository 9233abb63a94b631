"""The one training loop: minibatches drawn by NumPy, updates compiled by JAX, a chunk at a time."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError
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


def run(start: Any, update: Update, draw: Draw, *, steps: int, seed: int, progress: Progress = quiet) -> Any:
    """The state after ``steps`` updates; called by learners, never inherited.

    Args:
        start: any tree of arrays.
        update: (state, batch) → (state, figures), pure, in JAX; the same function object compiles once per shape.
        draw: (rng, c) → a tree of arrays with leading axis c: that many minibatches.
        seed: every chunk of updates draws from its own stream of it, so a chunk does not depend on those before.
    """
    advance, state = _compiled(update), start
    for chunk, first in enumerate(range(0, steps, CHUNK)):
        batches = draw(np.random.default_rng([seed, chunk]), min(CHUNK, steps - first))
        state, figures = advance(state, batches)
        progress("fit", {"step": float(min(first + CHUNK, steps))} | {k: float(v) for k, v in figures.items()})
    return state


@lru_cache(maxsize=32)
def _compiled(update: Update) -> Callable[[Any, Any], tuple[Any, dict[str, Any]]]:
    """A whole chunk as one compiled call, and the mean of its figures."""
    package = jax()

    def chunk(state: Any, batches: Any) -> tuple[Any, dict[str, Any]]:
        state, figures = package.lax.scan(update, state, batches)
        return state, {name: values.mean() for name, values in figures.items()}

    return package.jit(chunk, donate_argnums=0)
