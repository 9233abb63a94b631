"""Logged datasets: the same protocol over memory and over a Parquet folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from understudy.core.errors import DataError, EvidenceError
from understudy.core.hashing import canonical, content_id, fractions
from understudy.core.manifest import Manifest
from understudy.core.problem import Problem
from understudy.core.protocols import JoinRules
from understudy.core.steps import Origin, Steps, Transitions, concat
from understudy.data.log import expect, read_problem
from understudy.data.parquet import STEPS, read_steps, read_units
from understudy.data.rows import RowFile
from understudy.ops.transitions import transitions

HELD = 1 << 26  # numbers of a slice that are held in memory to draw from


@dataclass(frozen=True)
class Slice:
    """A named share of the units: those whose fraction under ``salt`` lies in [low, high)."""

    name: str
    low: float
    high: float
    salt: int

    def keep(self, units: np.ndarray) -> np.ndarray:
        """bool[m] of units u64[m]."""
        key = fractions(units, self.salt)
        return (key >= self.low) & (key < self.high)


def slices(shares: dict[str, float], salt: int) -> list[Slice]:
    """Consecutive shares of [0, 1) in the given order; DataError unless positive and at most 1 in sum."""
    if sum(shares.values()) > 1 + 1e-9 or any(share <= 0 for share in shares.values()):
        raise DataError(f"split shares must be positive and sum to at most 1; got {shares}")
    low, made = 0.0, []
    for name, share in shares.items():
        made.append(Slice(name, low, low + share, salt))
        low += share
    return made


@dataclass(frozen=True)
class MemoryDataset:
    """A LoggedDataset whose steps are all in memory. ``root`` and ``slices`` say what it was cut from."""

    problem: Problem
    steps: Steps
    rules: JoinRules | None = None
    root: str = ""
    slices: tuple[Slice, ...] = ()

    @property
    def n_steps(self) -> int:
        return self.steps.n

    @property
    def n_episodes(self) -> int:
        return self.steps.m

    @property
    def fingerprint(self) -> str:
        """Hash of the problem and of every column's bytes."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return content_id(self.problem.hash.encode(), *_column_bytes(self.steps))

    def scan(self, max_steps: int = 65_536) -> Iterator[Steps]:
        """All steps in order, in batches of whole episodes of at most ``max_steps`` (or one longer episode)."""
        yield from cut(self.steps, max_steps)

    def sample(self, size: int, rng: np.random.Generator, n: int = 1, discount: float | None = None) -> Transitions:
        """``size`` transitions drawn uniformly with replacement; a bandit's discount is 0."""
        gamma = self.problem.discount if discount is None else discount
        return transitions(self.steps, rng.integers(0, self.steps.n, size), gamma, n)

    def where(self, keep: np.ndarray) -> MemoryDataset:
        """The episodes marked in ``keep`` bool[m]."""
        return replace(self, steps=self.steps.episodes(keep))

    def split(self, shares: dict[str, float], salt: int = 0) -> dict[str, MemoryDataset]:
        """Disjoint slices by unit: shares of [0, 1) in the given order, the same unit always on the same side."""
        return {
            part.name: replace(self.where(part.keep(self.steps.unit)), slices=(*self.slices, part))
            for part in slices(shares, salt)
        }


@dataclass(frozen=True)
class ParquetDataset:
    """A LoggedDataset in a folder that ``join`` or ``timeline`` wrote, or a slice of one; read in batches."""

    folder: Path
    manifest: Manifest
    slices: tuple[Slice, ...] = ()

    @property
    def problem(self) -> Problem:
        return self._problem

    @cached_property
    def _problem(self) -> Problem:
        return read_problem(self.folder)

    @property
    def rules(self) -> JoinRules | None:
        """How outcomes were joined; None of a timeline, whose rows came with theirs."""
        config = self.manifest.config
        if "as_of" not in config:
            return None
        return JoinRules(window=config["window"], backward=config["backward"], as_of=config["as_of"])

    @property
    def root(self) -> str:
        """Id of the whole dataset this is (a slice of)."""
        return self.manifest.id

    @property
    def fingerprint(self) -> str:
        """The manifest's id; for a slice, the hash of that id and of the cuts that lead to it."""
        if not self.slices:
            return self.root
        return content_id(self.root.encode(), *(canonical([s.low, s.high, s.salt]) for s in self.slices))

    @property
    def n_steps(self) -> int:
        return self._size[0]

    @property
    def n_episodes(self) -> int:
        return self._size[1]

    @property
    def counts(self) -> dict[str, int]:
        """What was counted when it was made, for the dataset as a whole."""
        return self.manifest.counts

    @property
    def _optional(self) -> list[str]:
        """The optional columns that every row has."""
        config, counts = self.manifest.config, self.manifest.counts
        names = ("allowed", "propensities", "propensity")
        return config.get("columns") or [n for n in names if counts.get(f"with_{n}", 0) == counts["steps"]]

    @cached_property
    def _size(self) -> tuple[int, int]:
        if not self.slices:
            return self.manifest.counts["steps"], self.manifest.counts["episodes"]
        steps = episodes = 0
        for unit, ends in read_units(self.folder / STEPS, self.problem):
            keep = self._keep(unit)
            steps += int(keep.sum())
            episodes += int((keep & ends).sum())
        return steps, episodes

    def _keep(self, units: np.ndarray) -> np.ndarray:
        keep = np.ones(len(units), bool)
        for part in self.slices:
            keep &= part.keep(units)
        return keep

    def scan(self, max_steps: int = 65_536) -> Iterator[Steps]:
        """All steps in order, in batches of whole episodes of at most ``max_steps`` (or one longer episode)."""
        for steps in read_steps(self.folder / STEPS, self.problem, self._optional, max_steps):
            part = steps.episodes(self._keep(steps.unit)) if self.slices else steps
            if part.n:
                yield from cut(part, max_steps)

    def sample(self, size: int, rng: np.random.Generator, n: int = 1, discount: float | None = None) -> Transitions:
        """``size`` transitions drawn uniformly with replacement: from memory where the slice is small, else from disk.

        The first call reads the slice once. The same rows are drawn either way.
        """
        if self.n_steps * (len(self.problem.features) + self.problem.actions.k + 8) <= HELD:
            return self._loaded.sample(size, rng, n, discount)
        gamma = self.problem.discount if discount is None else discount
        return self._rows.transitions(rng.integers(0, self.n_steps, size), gamma, n)

    @cached_property
    def _rows(self) -> RowFile:
        return RowFile.spill(self.scan())

    @cached_property
    def _loaded(self) -> MemoryDataset:
        return self.load()

    def load(self) -> MemoryDataset:
        """The same steps in memory, with the same lineage."""
        return MemoryDataset(self.problem, concat(list(self.scan(1 << 20))), self.rules, self.root, self.slices)

    def split(self, shares: dict[str, float], salt: int = 0) -> dict[str, ParquetDataset]:
        """Disjoint slices by unit, the same as ``MemoryDataset.split`` makes; nothing is copied."""
        return {part.name: replace(self, slices=(*self.slices, part)) for part in slices(shares, salt)}


def open_dataset(folder: str | Path) -> ParquetDataset:
    """The dataset in a folder; StoreError if the folder holds something else."""
    return ParquetDataset(Path(folder), expect(folder, "dataset", "understudy join LOG --window 1h --to FOLDER"))


def decision_hashes(dataset: MemoryDataset | ParquetDataset) -> np.ndarray:
    """Which decisions a dataset rests on: sorted u64[n] hashes of their ids.

    Raises:
        EvidenceError: the steps carry no origin, so nobody can tell.
    """
    found = []
    for steps in dataset.scan():
        if steps.origin is None:
            raise EvidenceError(
                "these steps do not know which decisions they came from",
                "Whether training and test data overlap could not be proven.",
                "Take them from a dataset that join made.",
            )
        found.append(steps.origin.decision)
    return np.sort(np.concatenate(found)) if found else np.zeros(0, np.uint64)


def overlap(a: MemoryDataset | ParquetDataset, b: MemoryDataset | ParquetDataset) -> int:
    """How many decisions stand in both datasets."""
    return len(np.intersect1d(decision_hashes(a), decision_hashes(b)))


def cut(steps: Steps, max_steps: int) -> Iterator[Steps]:
    """Batches of whole episodes of at most ``max_steps`` steps (or one longer episode)."""
    if steps.n <= max_steps:
        yield steps
        return
    for first, last in episode_batches(steps.starts, max_steps):
        keep = np.zeros(steps.m, bool)
        keep[first:last] = True
        yield steps.episodes(keep)


def episode_batches(starts: np.ndarray, max_steps: int) -> Iterator[tuple[int, int]]:
    """Ranges [first, last) of episodes whose steps number at most ``max_steps`` each, never cutting an episode."""
    first, m = 0, len(starts) - 1
    while first < m:
        last = int(np.searchsorted(starts, starts[first] + max_steps, side="right")) - 1
        last = max(last, first + 1)
        yield first, last
        first = last


def _column_bytes(steps: Steps) -> Iterator[bytes]:
    for field in fields(Steps):
        column = getattr(steps, field.name)
        columns = [getattr(column, f.name) for f in fields(Origin)] if isinstance(column, Origin) else [column]
        for array in columns:
            if array is not None:
                yield f"{field.name}{array.dtype}{array.shape}".encode()
                yield np.ascontiguousarray(array).tobytes()
