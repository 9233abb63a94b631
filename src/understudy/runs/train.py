"""A learner's name and a dataset in; a policy artifact out, which carries the rows it was trained on."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from understudy import __version__
from understudy.core.errors import StoreError
from understudy.core.hashing import canonical
from understudy.core.manifest import Manifest, Parent
from understudy.core.protocols import Progress, Trained, quiet
from understudy.core.steps import Steps, Transitions
from understudy.data.artifact import read_manifest, verify_artifact, write_artifact
from understudy.data.dataset import MemoryDataset, ParquetDataset, decision_hashes
from understudy.models.policies import floored
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

    def sample(self, size: int, rng: np.random.Generator, n: int = 1) -> Transitions:
        """The dataset's own sample, noted."""
        self.read = True
        return self.data.sample(size, rng, n)


def recipe(
    name: str,
    on: str | Path,
    settings: Mapping[str, Any],
    *,
    seed: int,
    slice: str,
    explore: float = 0.0,
    start: str | Path | None = None,
) -> Manifest:
    """The manifest of what would be trained: settings resolved, nothing run."""
    parent = read_manifest(on)
    chosen: Any = learner(name, settings)
    resolved = {"learner": name, "settings": asdict(chosen), "slice": slice, "shares": SHARES}
    parents = [Parent(id=parent.id, kind=parent.kind)]
    if explore:
        resolved["explore"] = explore
    if start is not None:
        parents.append(Parent(id=read_manifest(start).id, kind="policy"))
    return Manifest(
        kind="policy",
        problem_hash=parent.problem_hash,
        parents=tuple(parents),
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
    explore: float = 0.0,
    start: str | Path | None = None,
    home: str | Path | None = None,
    progress: Progress = quiet,
) -> Manifest:
    """Fit a learner on one slice of a dataset and write the policy artifact ``to``.

    Args:
        name: of a learner; ``settings`` are its hyper-parameters, strict.
        on: a dataset artifact.
        slice: ``train`` unless you know better; the gate refuses a policy that has seen the rows it is judged by.
        explore: ε of uniform exploration mixed into what was learned, so that every action keeps a chance.
        start: a policy artifact to go on from, for learners that can; it becomes a parent, its rows are inherited.
        home: whose ledger remembers the artifact; None remembers nothing.

    Returns: the artifact's manifest; the same recipe in the same folder is returned without training again.
    """

    def fill(folder: Path) -> dict[str, int]:
        data, older = Watched(open_slice(on, slice)), None if start is None else open_policy(start)
        more = {} if older is None else {"start": learned(older)}
        policy: Any = learner(name, settings or {}).fit(data, seed=seed, progress=progress, **more)
        save_policy(floored(policy, data.problem.actions.k, explore), folder, problem=data.problem)
        rows = decision_hashes(data.data) if data.read else np.empty(0, np.uint64)
        if older is not None and older.trained_on is not None:
            rows = np.union1d(rows, older.trained_on)
        save_file({"decisions": rows}, folder / ROWS)
        return {"decisions": len(rows)}

    made = recipe(name, on, settings or {}, seed=seed, slice=slice, explore=explore, start=start)
    manifest = write_artifact(to, made, fill)
    if home is not None:
        Home(home).record(to)
    return manifest


def learned(policy: Trained) -> Any:
    """What the learner itself made: without the exploration that ``train`` mixed into it."""
    inner: Any = policy.policy
    return inner.policies[0] if policy.manifest.config.get("explore") else inner


def goes_on(name: str, settings: Mapping[str, Any], start: Trained) -> bool:
    """Whether the learner can go on from this policy: it takes a start, and the policy is its own work."""
    made: Any = learner(name, settings)
    if "start" not in inspect.signature(made.fit).parameters:
        return False
    theirs = start.manifest.config
    return canonical([theirs.get("learner"), theirs.get("settings")]) == canonical([name, asdict(made)])


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
