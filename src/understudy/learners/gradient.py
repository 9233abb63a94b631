"""What all gradient learners share: settings, and the way from a log to a policy. Called, or read; never overridden."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError, StoreError
from understudy.core.hashing import derived
from understudy.core.protocols import GradientLearner, LoggedDataset, Policy, Progress, quiet
from understudy.learners.loop import CHUNK, jax, needed, run
from understudy.learners.replay import Replay
from understudy.models.feature_map import FeatureMap, fit_feature_map
from understudy.ops.bellman import lag
from understudy.ops.network import start as first_layers


@dataclass(frozen=True)
class GradientSettings:
    """Hyper-parameters every gradient learner has; a learner overrides the defaults that do not suit it.

    updates, batch: minibatch updates, and transitions in each.
    rate: first step size of Adam; it falls to 0 along half a cosine. decay: decoupled weight decay, per unit of rate.
    hidden: units of each hidden layer.
    lag: τ of the exponential moving average that is bootstrapped from.
    guidance: g, factor on the discount γ while learning; below 1 it shortens the planning horizon, which regularises
        (Jiang, Kulesza, Singh & Lewis 2015). What lies h ahead counts (gγ)^h: also where a transition spans several
        steps or a stretch of time. The value itself is always meant with the problem's own discount.
    n: steps of a transition. scale: factor on rewards while learning.
    features: ``standard`` (standardise numbers) or ``identify`` (detect each feature's type).
    """

    updates: int = 5_000
    batch: int = 128
    rate: float = 1e-3
    decay: float = 0.0
    hidden: tuple[int, ...] = (64, 64)
    lag: float = 0.005
    guidance: float = 1.0
    n: int = 1
    scale: float = 1.0
    features: str = "standard"

    def __post_init__(self) -> None:
        for field in ("updates", "batch", "n"):
            if getattr(self, field) < 1:
                raise ConfigError(f"{field} must be at least 1; got {getattr(self, field)}", field=field)
        if min(self.hidden, default=1) < 1:
            raise ConfigError(f"hidden layers need at least one unit; got {self.hidden}", field="hidden")
        for field, low, high in (("lag", 0.0, 1.0), ("guidance", 0.0, 1.0), ("decay", 0.0, 1e3), ("rate", 1e-12, 1e3)):
            if not low <= getattr(self, field) <= high:
                raise ConfigError(f"{field} must lie in [{low}, {high}]; got {getattr(self, field)}", field=field)
        if not 0 < self.scale < 1e12:
            raise ConfigError(f"scale must be above 0; got {self.scale}", field="scale")
        if self.features not in ("standard", "identify"):
            raise ConfigError(f"features is standard or identify; got {self.features!r}", field="features")


@dataclass(frozen=True)
class Epoch:
    """A training between two chunks of updates. ``state`` is used up when the next epoch is asked for."""

    number: int  # from 1; 0 is the untrained start
    updates: int  # done so far
    state: Any
    features: FeatureMap
    figures: dict[str, float]  # means over the epoch's last chunk


def fit(
    learner: GradientLearner,
    data: LoggedDataset,
    *,
    seed: int,
    progress: Progress = quiet,
    start: Any = None,
    features: FeatureMap | None = None,
) -> Policy:
    """The policy of a whole training. ``start``: a training state to begin from, instead of a fresh one."""
    last, learner = None, prepared(learner, data, seed)
    for epoch in epochs(learner, data, seed=seed, progress=progress, start=start, features=features):
        last = epoch
    assert last is not None
    return learner.policy(last.state, data.problem, last.features)


def epochs(
    learner: GradientLearner,
    data: LoggedDataset,
    *,
    seed: int,
    count: int = 1,
    progress: Progress = quiet,
    start: Any = None,
    done: int = 0,
    features: FeatureMap | None = None,
) -> Iterator[Epoch]:
    """The training in ``count`` parts of about equal length, which end between two chunks of updates.

    Where it is cut changes nothing: minibatches depend on the seed and the place of their chunk only. So a training
    that goes on from the state (``start``) after ``done`` updates ends where the uninterrupted one does, bit for bit.
    ``features``: the first layer; fitted to the log unless given.

    Raises: DataError where a loss stops being a number; ConfigError where ``done`` is not between two chunks.
    """
    if done % CHUNK and done != learner.updates:
        raise ConfigError(f"a training goes on after a multiple of {CHUNK} updates; got {done}", field="done")
    learner = prepared(learner, data, seed)
    features = features or feature_map(learner, data)
    limit, guidance = getattr(learner, "limit", None), getattr(learner, "guidance", 1.0)
    replay = Replay(data, features, getattr(learner, "n", 1), limit=limit, guidance=guidance)
    state = learner.init(data.problem, features, seed=seed) if start is None else start
    for number, end in enumerate(ends(learner.updates, count), 1):
        if end <= done:
            continue
        figures: dict[str, float] = {}

        def note(stage: str, told: Any, figures: dict[str, float] = figures) -> None:
            figures.update(told)
            progress(stage, told)

        state = run(
            state,
            learner.update,
            lambda rng, c: replay.draw(rng, c, learner.batch),
            steps=end,
            done=done,
            seed=seed,
            progress=note,
        )
        done = end
        yield Epoch(number, end, state, features, figures)


def ends(updates: int, count: int) -> list[int]:
    """Where ``count`` epochs end: multiples of a chunk, the last one at ``updates``.

    >>> ends(1000, 4)
    [200, 500, 800, 1000]
    """
    cuts = {round(updates * i / count / CHUNK) * CHUNK for i in range(1, count)}
    return [*sorted(cut for cut in cuts if 0 < cut < updates), updates]


def prepared(learner: Any, data: LoggedDataset, seed: int) -> Any:
    """The learner with what it must know of the log before the first update (``prepared``); most need nothing."""
    prepare = getattr(learner, "prepared", None)
    return learner if prepare is None else prepare(data, seed)


def feature_map(learner: GradientLearner, data: LoggedDataset) -> FeatureMap:
    """The first layer: the one the log was given (``data.feature_map``), or fitted to the log."""
    given = getattr(data, "feature_map", None)
    return given or fit_feature_map(data.problem, data.scan(), kinds=getattr(learner, "features", "standard"))


def layers(sizes: tuple[int, ...], members: int, seed: list[int]) -> Any:
    """Layers to begin with, on the device: M networks side by side. ``seed``: of the training, and which layers."""
    xp, rng = jax().numpy, np.random.default_rng(derived(seed[0], "layers", *seed[1:]))
    return [(xp.array(w), xp.array(b)) for w, b in first_layers(rng, sizes, members)]


def adam(settings: GradientSettings, rate: float = 0.0) -> Any:
    """Adam with decoupled weight decay, its step falling to 0 along half a cosine. Source: Loshchilov & Hutter 2019."""
    optax = needed("optax")
    schedule = optax.cosine_decay_schedule(rate or settings.rate, settings.updates)
    return optax.adamw(schedule, weight_decay=settings.decay) if settings.decay else optax.adam(schedule)


def descend(optimiser: Any, loss: Callable[..., Any], parameters: Any, memory: Any, *rest: Any) -> tuple[Any, Any, Any]:
    """One step down ``loss(parameters, *rest) -> (value, aside)``: new parameters, new memory, (value, aside)."""
    found, slope = jax().value_and_grad(loss, has_aux=True)(parameters, *rest)
    change, memory = optimiser.update(slope, memory, parameters)
    return needed("optax").apply_updates(parameters, change), memory, found


def follow(slow: Any, fast: Any, rate: float) -> Any:
    """The lagged copy of a tree of arrays, one step on."""
    package = jax()
    return package.tree.map(lambda s, f: lag(package.numpy, s, f, rate), slow, fast)


def plain(tree: Any) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Layers as NumPy arrays, for a policy."""
    return tuple((np.array(w), np.array(b)) for w, b in tree)


def freeze(state: Any) -> dict[str, np.ndarray]:
    """A training state as named arrays, in the order of its leaves: what a checkpoint holds."""
    return {f"leaf{i}": np.array(leaf) for i, leaf in enumerate(jax().tree.leaves(state))}


def thaw(like: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The training state of ``freeze``; ``like`` is a fresh one of the same settings.

    Raises: StoreError if the arrays are not those of such a state.
    """
    package = jax()
    leaves, shape = package.tree.flatten(like)
    names = [f"leaf{i}" for i in range(len(leaves))]
    fits = set(arrays) == set(names) and all(
        arrays[name].shape == leaf.shape and arrays[name].dtype == leaf.dtype for name, leaf in zip(names, leaves)
    )
    if not fits:
        raise StoreError(
            "the checkpoint is not one of this learner with these settings",
            "Going on from it would not be the training that was interrupted.",
            "Resume with the settings it was written with, or train again.",
        )
    return package.tree.unflatten(shape, [package.numpy.array(arrays[name]) for name in names])
