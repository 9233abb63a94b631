"""A training watched epoch by epoch: checkpoints that outlive a crash, curves on rows it never saw, and a choice."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from understudy.core.curves import Curves, Point
from understudy.core.errors import ConfigError, DataError, StoreError
from understudy.core.evidence import Estimate
from understudy.core.problem import ActionSpace
from understudy.core.protocols import GradientLearner, LoggedDataset, Policy, Progress, State, quiet
from understudy.models.policies import floored
from understudy.models.policy_file import load_policy, read_file, save_policy, write_file
from understudy.models.state_file import read_state, write_state
from understudy.ope.evaluate import evaluate
from understudy.ope.naming import named
from understudy.ope.selection import POINTS, Selection, select
from understudy.ope.tally import LOGGED

EPOCHS, CURVES, CHECKPOINT = "epochs", "curves.json", "checkpoint.state"
SEQUENTIAL, ONE_STEP = ("drl", "wdr", "cwpdis", "fqe"), ("dr", "snips")
TARGET = "policy"
NEAR = 0.1  # of what an epoch is worth more than the log: differences that a value without an interval cannot tell

Show = Callable[[Point], None]


@dataclass(frozen=True)
class Watch:
    """How a training is watched.

    epochs: parts of about equal length. slice: rows the curves are drawn from, none of which train.
    estimators: of each epoch's policy; the first with intervals for half of the epochs chooses. Empty: by the problem.
    choose: ``best`` lower bound (where nothing has one, value), or ``last``.
    patience: epochs without a better one before it stops; 0 = never.
    """

    epochs: int = 10
    slice: str = "select"
    estimators: tuple[str, ...] = ()
    choose: str = "best"
    patience: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.patience < 0:
            raise ConfigError(f"epochs must be at least 1, patience at least 0; got {self.epochs}, {self.patience}")
        if self.choose not in ("best", "last"):
            raise ConfigError(f"choose is best or last; got {self.choose!r}", field="choose")


@dataclass(frozen=True)
class Training:
    """One training in a working folder, ``work``, that the caller holds alone. Killed, it goes on from there."""

    learner: GradientLearner
    data: LoggedDataset
    held: LoggedDataset  # for the curves
    watch: Watch
    work: Path
    recipe: str
    seed: int
    explore: float = 0.0  # uniform exploration in every epoch's policy: what is judged is what would be served

    def run(self, *, show: Show = lambda point: None, progress: Progress = quiet, start: Any = None) -> Curves:
        """Train to the end, or until patience is lost. ``start``: a training state to begin from.

        Raises:
            DataError: a loss stopped being a number; the checkpoints written before stay in ``work``.
            StoreError: the checkpoint to go on from is damaged.
        """
        points, done, state = self._resume(start)
        for point in points:
            show(point)
        if self._lost(points):
            return self._conclude(points)
        for epoch in self._epochs(state, done, progress):
            made = self._ready.policy(epoch.state, self.data.problem, epoch.features)
            policy = exploring(made, self.data.problem.actions, self.explore)
            point = Point(
                epoch=epoch.number, updates=epoch.updates, figures=dict(epoch.figures),
                estimates=self._estimates(policy),
            )  # fmt: skip
            self._keep(point, policy, epoch.state)
            points.append(point)
            show(point)
            if self._lost(points):
                break
        return self._conclude(points)

    def _lost(self, points: list[Point]) -> bool:
        """Whether patience is: nothing better came for too long."""
        best = highest(points) if self.watch.patience else None
        return best is not None and points[-1].epoch - int(best.chosen) >= self.watch.patience

    def policy_of(self, epoch: int) -> Policy:
        """The policy after an epoch, as it was written."""
        return load_policy(self.folder(epoch))

    def folder(self, epoch: int) -> Path:
        """Where an epoch's policy lies."""
        return self.work / EPOCHS / f"{epoch:04d}"

    @cached_property
    def _ready(self) -> GradientLearner:
        """The learner with what it must know of the log."""
        from understudy.learners.gradient import prepared

        return prepared(self.learner, self.data, self.seed)

    def _epochs(self, state: Any, done: int, progress: Progress) -> Iterator[Any]:
        from understudy.learners.gradient import epochs

        try:
            yield from epochs(
                self._ready, self.data, seed=self.seed, count=self.watch.epochs, progress=progress, start=state,
                done=done,
            )  # fmt: skip
        except DataError as error:
            last = sorted((self.work / EPOCHS).glob("[0-9]*"))
            where = f" The last good checkpoint is {last[-1]}." if last else " There is no checkpoint before that."
            raise DataError(error.what, error.why + where, error.hint, field=error.field) from error

    def _resume(self, start: Any) -> tuple[list[Point], int, Any]:
        """The epochs done, the updates done and the state to go on from; whatever another recipe left is removed."""
        from understudy.learners.gradient import feature_map, thaw

        path = self.work / CHECKPOINT
        if not path.exists():
            shutil.rmtree(self.work / EPOCHS, ignore_errors=True)
            return [], 0, start
        saved, extra = _checkpoint(path)
        if extra["recipe"] != self.recipe:
            shutil.rmtree(self.work / EPOCHS, ignore_errors=True)
            path.unlink()
            return [], 0, start
        like = self._ready.init(self.data.problem, feature_map(self.learner, self.data), seed=self.seed)
        points = [
            msgspec.json.decode(read_file(self.folder(epoch) / "point.json"), type=Point)
            for epoch in range(1, extra["epoch"] + 1)
        ]
        return points, points[-1].updates, thaw(like, saved.arrays)

    def _keep(self, point: Point, policy: Policy, state: Any) -> None:
        """The epoch's policy and figures, then the checkpoint: so that a checkpoint's epochs are all there."""
        from understudy.learners.gradient import freeze

        save_policy(policy, self.folder(point.epoch), problem=self.data.problem)
        write_file(self.folder(point.epoch) / "point.json", msgspec.json.encode(point))
        write_state(
            self.work / CHECKPOINT,
            State("training", {}, freeze(state)),
            {"recipe": self.recipe, "epoch": point.epoch},
        )

    def _estimates(self, policy: Policy) -> tuple[Estimate, ...]:
        names = self.watch.estimators or self._usual
        return evaluate(self.held, {TARGET: policy, LOGGED: None}, names, seed=self.seed) if names else ()

    @cached_property
    def _usual(self) -> tuple[str, ...]:
        """The estimators where nobody says which: those of them that these rows and actions can carry."""
        problem, lacking = self.held.problem, set()
        if not problem.actions.discrete:
            lacking.add("q")  # in a box Q̂ can be had by name; as what chooses epochs it is not tried
        if any(steps.propensity is None for steps in self.held.scan()):
            lacking |= {"propensity", "density_ratio"}
        usual = (*ONE_STEP, "dm") if problem.bandit and lacking else ONE_STEP if problem.bandit else SEQUENTIAL
        return tuple(name for name, estimator in named(usual) if not estimator.needs & lacking)

    def _conclude(self, points: list[Point]) -> Curves:
        found = chosen(points) if self.watch.choose == "best" else None
        epoch = points[-1].epoch if found is None else int(found.chosen)
        if found is not None:
            best = "has the best lower bound"
            if found.rule != "lower bound":
                best = "is the latest with about the best value (there is no interval: it proves nothing)"
            why = f"epoch {epoch} of {len(points)} {best} of {found.estimator} on slice {self.watch.slice}"
        elif self.watch.choose == "last":
            why = f"the last of {len(points)} epochs, as asked"
        else:
            why = f"the last of {len(points)} epochs: no estimator can judge half of them"
        if points[-1].updates != self.learner.updates:
            why += f"; stopped after epoch {points[-1].epoch}"
        return Curves(
            points=tuple(points), chosen=epoch, chosen_by="" if found is None else found.estimator, why=why,
            slice=self.watch.slice, baseline=LOGGED,
            rewards="reward" if self.data.problem.bandit else "discounted return",
        )  # fmt: skip


def exploring(policy: Any, actions: ActionSpace, epsilon: float) -> Any:
    """The policy with ε of uniform exploration mixed in. Raises: ConfigError where actions have no names."""
    if epsilon and not actions.discrete:
        raise ConfigError("explore mixes in named actions; a continuous policy has its own noise", field="explore")
    return policy if not epsilon else floored(policy, actions.k, epsilon)


def chosen(points: list[Point]) -> Selection | None:
    """The choice among epochs, named by their numbers; None where nothing can be chosen by.

    That of ``highest``, where it has an interval. Values without one cannot tell near-equals apart, so by them the
    choice is the latest epoch that has all but a tenth of what the highest is worth more than the log.
    """
    found = highest(points)
    if found is None or found.rule == "lower bound":
        return found
    values = {str(p.epoch): e.value for p in points for e in p.estimates if _told(e, TARGET, found.estimator)}
    logged = [e.value for p in points for e in p.estimates if _told(e, LOGGED, found.estimator)]
    least = found.value - NEAR * max(found.value - logged[0], 0.0) if logged else found.value
    latest = max((name for name in found.ranking if values[name] >= least), key=int)
    ranking = (latest, *(name for name in found.ranking if name != latest))
    return msgspec.structs.replace(found, chosen=latest, value=values[latest], ranking=ranking)


def _told(e: Estimate, target: str, estimator: str) -> bool:
    return e.target == target and e.estimator == estimator and not e.segment and math.isfinite(e.value)


def highest(points: list[Point]) -> Selection | None:
    """The choice of ``ope.selection`` among epochs.

    By the first estimator with an interval in at least half of the epochs: what has intervals for the timid epochs only
    would choose one of those. Where there is none, by the value of one that ranks without weights.
    """
    own = [
        msgspec.structs.replace(e, target=str(point.epoch))
        for point in points
        for e in point.estimates
        if e.target == TARGET and not e.segment and math.isfinite(e.value)
    ]
    for name in dict.fromkeys(e.estimator for e in own):
        mine = [e for e in own if e.estimator == name]
        if 2 * sum(not e.refused for e in mine) >= len(points):
            return select(mine, estimator=name)
    ranked = [e for e in own if e.estimator in POINTS]
    return select(ranked) if 2 * len(ranked) >= len(points) > 0 else None


def at_epoch(run: str | Path) -> tuple[Path, int | None]:
    """``runs/a@7`` → (``runs/a``, 7); without an epoch, None.

    Raises: StoreError where the run has no such epoch.
    """
    base, at, epoch = str(run).rpartition("@")
    if not at or not epoch.isdigit() or Path(run).exists():
        return Path(run), None
    epoch_folder(base, int(epoch))
    return Path(base), int(epoch)


def epoch_folder(run: str | Path, epoch: int) -> Path:
    """Where a run keeps the policy of an epoch. Raises: StoreError where it keeps none."""
    folder = Path(run) / EPOCHS / f"{epoch:04d}"
    if not folder.is_dir():
        kept = sorted(int(path.name) for path in (Path(run) / EPOCHS).glob("[0-9]*"))
        there = f"It has epochs {kept[0]} to {kept[-1]}." if kept else "It was not trained by epochs."
        raise StoreError(f"{run} has no epoch {epoch}", there, "Train with --epochs 20 to keep every epoch.")
    return folder


def watching(
    epochs: int, shares: tuple[float, float], slice: str, estimators: tuple[str, ...], choose: str, patience: int
) -> tuple[str, Watch | None]:
    """What ``train`` was asked for: the slice that trains, and how the training is watched (None: in one go).

    ``shares``: percent of the units, by hash, that train and that the curves are drawn from; 0 is the usual slice.

    Raises: ConfigError where the two overlap, or curves are asked for without epochs.
    """
    train, held = shares
    if not 0 <= train <= 100 or not 0 <= held < 100 or train + held > 100:
        raise ConfigError(
            f"train_share {train:g} and eval_share {held:g} are no disjoint percentages",
            "Estimates on rows a policy was trained on are too good.", "For example 80 and 20.", field="train_share",
        )  # fmt: skip
    slice = "all" if train == 100 else f"train@{train / 100:g}" if train else slice
    if epochs == 0:
        if held or patience or estimators:
            raise ConfigError("curves need epochs", hint="Add --epochs 20.", field="epochs")
        return slice, None
    judged = f"last@{held / 100:g}" if held else "select"
    return slice, Watch(epochs, judged, estimators, choose, patience)


def point_line(point: Point) -> str:
    """An epoch in a line, for a terminal."""
    figures = "  ".join(f"{name} {value:.4g}" for name, value in point.figures.items() if name != "step")
    told = "  ".join(
        f"{e.estimator} {e.value:.3f} " + ("(refused)" if e.low is None else f"[{e.low:.3f}, {e.high:.3f}]")
        for e in point.estimates
        if e.target == TARGET
    )
    truth = "" if point.truth is None else f"  return {truth_text(point)}"
    return f"epoch {point.epoch:3d}  {point.updates} updates{truth}  {figures}  {told}".rstrip()


def truth_text(point: Point) -> str:
    """What a policy earned, ± its standard error where that is known."""
    error = point.truth_error
    return f"{point.truth:.2f}" if error is None else f"{point.truth:.2f} ± {error:.2f}"


def write_curves(curves: Curves, folder: Path) -> None:
    """``curves.json`` into an artifact."""
    (folder / CURVES).write_bytes(msgspec.json.format(msgspec.json.encode(curves), indent=1))


def read_curves(folder: str | Path) -> Curves:
    """The curves of a policy artifact. Raises: StoreError if it was not trained by epochs."""
    path = Path(folder) / CURVES
    if not path.exists():
        raise StoreError(
            f"{folder} has no curves", "It was trained in one go.", "Train with --epochs 20 to watch it as it learns."
        )
    return msgspec.json.decode(read_file(path), type=Curves)


def _checkpoint(path: Path) -> tuple[State, dict[str, Any]]:
    try:
        return read_state(path)
    except StoreError as error:
        raise StoreError(
            f"the checkpoint {path} is damaged: {error.what}",
            "The training cannot go on exactly where it stopped.",
            f"Delete {path.parent} to train from the beginning.",
            field=str(path),
        ) from error
