"""Logged datasets: the same protocol over memory and over a Parquet folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from understudy.core.errors import DataError
from understudy.core.hashing import content_id, fractions
from understudy.core.problem import Problem
from understudy.core.protocols import JoinRules
from understudy.core.steps import Origin, Steps, Transitions


@dataclass(frozen=True)
class MemoryDataset:
    """A LoggedDataset whose steps are all in memory."""

    problem: Problem
    steps: Steps
    rules: JoinRules | None = None

    @property
    def n_steps(self) -> int:
        return self.steps.n

    @property
    def n_episodes(self) -> int:
        return self.steps.m

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the problem and of every column's bytes."""
        return content_id(self.problem.hash.encode(), *_column_bytes(self.steps))

    def scan(self, max_steps: int = 65_536) -> Iterator[Steps]:
        """All steps in order, in batches of whole episodes of at most ``max_steps`` (or one longer episode)."""
        steps = self.steps
        if steps.n <= max_steps:
            yield steps
            return
        for first, last in episode_batches(steps.starts, max_steps):
            keep = np.zeros(steps.m, bool)
            keep[first:last] = True
            yield steps.episodes(keep)

    def sample(self, size: int, rng: np.random.Generator) -> Transitions:
        """``size`` transitions drawn uniformly with replacement; a bandit's discount is 0."""
        return transitions(self.steps, rng.integers(0, self.steps.n, size), self.problem.discount)

    def where(self, keep: np.ndarray) -> MemoryDataset:
        """The episodes marked in ``keep`` bool[m]."""
        return MemoryDataset(self.problem, self.steps.episodes(keep), self.rules)

    def split(self, shares: dict[str, float], salt: int = 0) -> dict[str, MemoryDataset]:
        """Disjoint slices by unit: shares of [0, 1) in the given order, the same unit always on the same side."""
        if sum(shares.values()) > 1 + 1e-9 or any(share <= 0 for share in shares.values()):
            raise DataError(f"split shares must be positive and sum to at most 1; got {shares}")
        key, low, parts = fractions(self.steps.unit, salt), 0.0, {}
        for name, share in shares.items():
            parts[name] = self.where((key >= low) & (key < low + share))
            low += share
        return parts


def episode_batches(starts: np.ndarray, max_steps: int) -> Iterator[tuple[int, int]]:
    """Ranges [first, last) of episodes whose steps number at most ``max_steps`` each, never cutting an episode."""
    first, m = 0, len(starts) - 1
    while first < m:
        last = int(np.searchsorted(starts, starts[first] + max_steps, side="right")) - 1
        last = max(last, first + 1)
        yield first, last
        first = last


def transitions(steps: Steps, rows: np.ndarray, discount: float) -> Transitions:
    """(step, next step) pairs of the given rows. discount = γ·(1 − terminated); truncation uses ``final_context``."""
    following = np.minimum(rows + 1, steps.n - 1)
    ends = steps.terminated[rows] | steps.truncated[rows]
    next_context = np.where(ends[:, None], steps.context[rows], steps.context[following])
    cut = steps.truncated[rows]
    if cut.any():
        if steps.final_context is None:
            raise DataError(
                f"{int(cut.sum())} of {len(rows)} sampled steps are truncated and the log has no final context",
                "What would have followed is unknown, so their Bellman target is undefined.",
            )
        episode = np.searchsorted(steps.starts, rows[cut], side="right") - 1
        next_context[cut] = steps.final_context[episode]
    return Transitions(
        context=steps.context[rows],
        action=steps.action[rows],
        reward=steps.reward[rows].astype(np.float32),
        discount=(discount * ~steps.terminated[rows]).astype(np.float32),
        next_context=next_context,
        next_allowed=None if steps.allowed is None else steps.allowed[following],
        propensity=None if steps.propensity is None else steps.propensity[rows],
        weight=np.ones(len(rows), np.float32),
    )


def _column_bytes(steps: Steps) -> Iterator[bytes]:
    for field in fields(Steps):
        column = getattr(steps, field.name)
        columns = [getattr(column, f.name) for f in fields(Origin)] if isinstance(column, Origin) else [column]
        for array in columns:
            if array is not None:
                yield f"{field.name}{array.dtype}{array.shape}".encode()
                yield np.ascontiguousarray(array).tobytes()
