"""A learner's name and a dataset in; a policy artifact out, which carries the rows it was trained on."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from understudy import __version__
from understudy.core.errors import ConfigError, StoreError
from understudy.core.hashing import canonical, content_id
from understudy.core.manifest import Manifest, Parent
from understudy.core.protocols import Progress, Trained, by_epochs, quiet
from understudy.core.steps import Steps, Transitions
from understudy.data.artifact import read_manifest, verify_artifact, write_artifact
from understudy.data.dataset import MemoryDataset, ParquetDataset, decision_hashes
from understudy.data.log import read_problem
from understudy.models.feature_map import FeatureMap
from understudy.models.policy_file import load_policy, save_policy
from understudy.report.curves import write_curves_page
from understudy.runs.epochs import EPOCHS, Show, Training, Watch, at_epoch, epoch_folder, exploring, write_curves
from understudy.runs.first_layer import read_map
from understudy.runs.home import Home
from understudy.runs.settings import learner
from understudy.runs.slices import SHARES, open_slice
from understudy.runs.workplace import alone, workplace

ROWS = "trained_on.safetensors"


class Watched:
    """A dataset that knows whether anybody read it: a learner that reads nothing was trained on nothing.

    ``feature_map`` is what gradient learners take as their first layer instead of fitting one.
    """

    def __init__(self, data: MemoryDataset | ParquetDataset, feature_map: FeatureMap | None = None) -> None:
        self.data, self.feature_map, self.read = data, feature_map, False
        self.problem, self.rules, self.fingerprint = data.problem, data.rules, data.fingerprint
        self.n_steps, self.n_episodes = data.n_steps, data.n_episodes

    def scan(self, max_steps: int = 65_536) -> Iterator[Steps]:
        """The dataset's own scan, noted."""
        self.read = True
        return self.data.scan(max_steps)

    def sample(self, size: int, rng: np.random.Generator, n: int = 1, discount: float | None = None) -> Transitions:
        """The dataset's own sample, noted."""
        self.read = True
        return self.data.sample(size, rng, n, discount)


def recipe(
    name: str,
    on: str | Path,
    settings: Mapping[str, Any],
    *,
    seed: int,
    slice: str,
    explore: float = 0.0,
    start: str | Path | None = None,
    watch: Watch | None = None,
    features: str | Path | None = None,
) -> Manifest:
    """The manifest of what would be trained: settings resolved, nothing run."""
    parent = read_manifest(on)
    chosen: Any = learner(name, settings)
    resolved = {"learner": name, "settings": asdict(chosen), "slice": slice, "shares": SHARES}
    parents = [Parent(id=parent.id, kind=parent.kind)]
    if explore:
        resolved["explore"] = explore
    if watch is not None:
        resolved["watch"] = asdict(watch)
    if features is not None:
        if start is not None:
            raise ConfigError("a policy that is gone on from keeps its own feature map", field="features")
        if not hasattr(chosen, "features"):
            raise ConfigError(
                f"{name} takes no feature map", "It would be ignored.",
                "Learners with the setting features take one, such as dqn and sac.", field="features",
            )  # fmt: skip
        resolved["feature_map"] = content_id(canonical(read_map(features, read_problem(on)).state().config))
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
    watch: Watch | None = None,
    features: str | Path | None = None,
    home: str | Path | None = None,
    progress: Progress = quiet,
    show: Show = lambda point: None,
) -> Manifest:
    """Fit a learner on one slice of a dataset and write the policy artifact ``to``.

    Args:
        name: of a learner; ``settings`` are its hyper-parameters, strict.
        on: a dataset artifact.
        slice: ``train`` unless you know better; the gate refuses a policy that has seen the rows it is judged by.
        explore: ε of uniform exploration mixed into what was learned, so that every action keeps a chance.
        start: a policy artifact to go on from, for learners that can; it becomes a parent, its rows are inherited.
        watch: train by epochs, with curves; the policies lie in ``to/epochs/0001`` and so on, the curves in
            ``curves.json``. Interrupted, the same call goes on from the last epoch.
        features: a normalization JSON, as ``understudy features`` writes it: the first layer of a gradient learner, in
            place of one fitted to the slice. Its hash is part of the recipe, and the map lies in the policy.
        home: whose ledger remembers the artifact; None remembers nothing.
        progress: told of every chunk of updates. show: told of every epoch.

    Returns: the artifact's manifest; the same recipe in the same folder is returned without training again.
    Raises: StoreError where another process is training the same artifact, or another one lies there.
    """

    made = recipe(
        name, on, settings or {}, seed=seed, slice=slice, explore=explore, start=start, watch=watch, features=features
    )
    work, held_alone = workplace(to), ExitStack()

    def fill(folder: Path) -> dict[str, int]:
        held_alone.enter_context(alone(work))
        part, chosen = open_slice(on, slice), learner(name, settings or {})
        data = Watched(part, None if features is None else read_map(features, part.problem))
        if watch is None:
            made_of, fitted = _in_one_go(chosen, data, seed, progress, start)
            policy = exploring(made_of, data.problem.actions, explore)
            judged = fitted[:0]
        else:
            if start is not None:
                raise ConfigError("a training that is watched starts afresh", field="start")
            held = open_slice(on, watch.slice)
            policy, fitted, judged = _by_epochs(
                chosen,
                data,
                held,
                folder,
                show,
                progress=progress,
                watch=watch,
                work=work,
                recipe=made.recipe,
                seed=seed,
                explore=explore,
            )
        save_policy(policy, folder, problem=data.problem)
        save_file({"decisions": fitted, "judged": judged}, folder / ROWS)
        return {"decisions": len(fitted), "judged": len(judged)}

    with held_alone:
        manifest = write_artifact(to, made, fill)
    if home is not None:
        Home(home).record(to)
    return manifest


def _in_one_go(chosen: Any, data: Watched, seed: int, progress: Progress, start: str | Path | None) -> Any:
    """The policy, and the decisions it was fitted to."""
    older = None if start is None else open_policy(start)
    more = {} if older is None else {"start": learned(older)}
    policy = chosen.fit(data, seed=seed, progress=progress, **more)
    rows = decision_hashes(data.data) if data.read else np.empty(0, np.uint64)
    if older is not None and older.trained_on is not None:
        rows = np.union1d(rows, older.trained_on)
    return policy, rows


def _by_epochs(
    chosen: Any, data: Watched, held: Any, folder: Path, show: Show, *, progress: Progress, watch: Watch, **where: Any
) -> Any:
    """The chosen epoch's policy, the decisions it was fitted to, and those that chose it, which flatter it too."""
    if not by_epochs(chosen):
        raise ConfigError(f"{type(chosen).__name__} learns in one go: it has no epochs", field="epochs")
    fitted, judged = decision_hashes(data.data), decision_hashes(held)
    shared = np.intersect1d(fitted, judged)
    if len(shared):
        raise ConfigError(
            f"{len(shared)} decisions lie both in the slice that trains and in slice {watch.slice!r} of the curves",
            "Estimates on rows a policy was trained on are too good.", "Choose disjoint slices.", field="slice",
        )  # fmt: skip
    training = Training(chosen, data, held, watch, **where)
    curves = training.run(show=show, progress=progress)
    shutil.copytree(training.work / EPOCHS, folder / EPOCHS, ignore=shutil.ignore_patterns("point.json"))
    write_curves(curves, folder)
    write_curves_page(curves, folder, where["work"].name.removeprefix(".").removesuffix(".training"))
    picks = watch.choose == "best" or watch.patience
    return training.policy_of(curves.chosen), fitted, judged if picks else judged[:0]


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

    ``runs/a@7`` is the policy after its epoch 7, called ``a@7``: not chosen, so the rows of the curves may judge it.

    Raises: StoreError if the folder holds another kind, or is damaged, or has no such epoch.
    """
    folder, epoch = at_epoch(folder)
    manifest = read_manifest(folder)
    if manifest.kind != "policy":
        raise StoreError(
            f"{folder} is a {manifest.kind}, not a policy",
            hint="Make one with: understudy train LEARNER --on DATA --to FOLDER",
            field=str(folder),
        )
    verify_artifact(folder)  # a shortened list of training rows would pass the gate's check of disjoint data
    rows = load_file(folder / ROWS) if ROWS in manifest.files else {}
    fitted = rows.get("decisions")
    if epoch is not None:
        return Trained(f"{folder.name}@{epoch}", load_policy(epoch_folder(folder, epoch)), manifest, fitted)
    judged = rows.get("judged")
    known = fitted if fitted is None or judged is None else np.union1d(fitted, judged)
    return Trained(folder.name, load_policy(folder), manifest, known)


def expand(runs: Sequence[str | Path]) -> list[str]:
    """``runs/a@all`` as one name for each of its epochs; others as they are."""
    names: list[str] = []
    for run in runs:
        base, at, epoch = str(run).rpartition("@")
        if at and epoch == "all":
            names += [f"{base}@{int(path.name)}" for path in sorted((Path(base) / EPOCHS).glob("[0-9]*"))]
        else:
            names.append(str(run))
    return names
