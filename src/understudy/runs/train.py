"""A learner's name and a dataset in; a policy artifact out, which carries the rows it was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from understudy import __version__
from understudy.core.errors import StoreError
from understudy.core.manifest import Manifest, Parent
from understudy.core.protocols import Progress, Trained, quiet
from understudy.core.steps import Steps, Transitions
from understudy.data.artifact import read_manifest, verify_artifact, write_artifact
from understudy.data.dataset import MemoryDataset, ParquetDataset, decision_hashes
from understudy.models.policy_file import load_policy, save_policy
from understudy.runs.home import Home
from understudy.runs.settings import learner
from understudy.runs.slices import SHARES, open_slice

ROWS = "trained_on.safetensors"


class Watched:
    """A dataset that knows whether anybody read it: a learner that reads nothing was trained on nothing."""

    def __init__(self, data: MemoryDataset | ParquetDataset) -> None:
        self.data, self.read = data, False
        self.problem, self.rules, self.fingerprint = data.problem, data.rules, data.fingerprint
        self.n_steps, self.n_episodes = data.n_steps, data.n_episodes

    def scan(self, max_steps: int = 65_536) -> Iterator[Steps]:
        """The dataset's own scan, noted."""
        self.read = True
        return self.data.scan(max_steps)

    def sample(self, size: int, rng: np.random.Generator) -> Transitions:
        """The dataset's own sample, noted."""
        self.read = True
        return self.data.sample(size, rng)


def recipe(name: str, on: str | Path, settings: Mapping[str, Any], *, seed: int, slice: str) -> Manifest:
    """The manifest of what would be trained: settings resolved, nothing run."""
    parent = read_manifest(on)
    chosen: Any = learner(name, settings)
    resolved = {"learner": name, "settings": asdict(chosen), "slice": slice, "shares": SHARES}
    return Manifest(
        kind="policy",
        problem_hash=parent.problem_hash,
        parents=(Parent(id=parent.id, kind=parent.kind),),
        config=resolved,
        seed=seed,
        code_version=__version__,
    )


def train(
    name: str,
    *,
    on: str | Path,
    to: str | Path,
    settings: Mapping[str, Any] | None = None,
    slice: str = "train",
    seed: int = 0,
    home: str | Path | None = None,
    progress: Progress = quiet,
) -> Manifest:
    """Fit a learner on one slice of a dataset and write the policy artifact ``to``.

    Args:
        name: of a learner; ``settings`` are its hyper-parameters, strict.
        on: a dataset artifact.
        slice: ``train`` unless you know better; the gate refuses a policy that has seen the rows it is judged by.
        home: whose ledger remembers the artifact; None remembers nothing.

    Returns: the artifact's manifest; the same recipe in the same folder is returned without training again.
    """

    def fill(folder: Path) -> dict[str, int]:
        data = Watched(open_slice(on, slice))
        policy = learner(name, settings or {}).fit(data, seed=seed, progress=progress)
        save_policy(policy, folder, problem=data.problem)
        rows = decision_hashes(data.data) if data.read else np.empty(0, np.uint64)
        save_file({"decisions": rows}, folder / ROWS)
        return {"decisions": len(rows)}

    manifest = write_artifact(to, recipe(name, on, settings or {}, seed=seed, slice=slice), fill)
    if home is not None:
        Home(home).record(to)
    return manifest


def open_policy(folder: str | Path) -> Trained:
    """A policy artifact with its lineage, every file as it was written: also the list of what it was trained on.

    Raises: StoreError if the folder holds another kind, or is damaged.
    """
    manifest = read_manifest(folder)
    if manifest.kind != "policy":
        raise StoreError(
            f"{folder} is a {manifest.kind}, not a policy",
            hint="Make one with: understudy train LEARNER --on DATA --to FOLDER",
            field=str(folder),
        )
    verify_artifact(folder)  # a shortened list of training rows would pass the gate's check of disjoint data
    rows = Path(folder) / ROWS
    trained_on = load_file(rows)["decisions"] if ROWS in manifest.files else None
    return Trained(Path(folder).name, load_policy(folder), manifest, trained_on)
