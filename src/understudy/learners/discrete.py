"""What gradient learners of named actions share: a training state, one step of it, policies, and a start from one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from understudy.core.errors import ConfigError
from understudy.core.problem import Problem
from understudy.core.protocols import DiscretePolicy, LoggedDataset, Policy, Progress
from understudy.learners import gradient
from understudy.learners.gradient import adam, descend, follow, plain
from understudy.learners.loop import jax
from understudy.models.feature_map import FeatureMap
from understudy.models.filtered import Filtered
from understudy.models.policies import Explore, Mixture, floored
from understudy.models.q_network import QNetwork

Update = Callable[[Any, Any], tuple[Any, dict[str, Any]]]
SOFTEN = 0.5  # ε of a bootstrap over named actions, unless told otherwise
Objective = Callable[..., tuple[Any, dict[str, Any]]]  # (layers, lagged, fixed, batch) → (loss, figures)


class Training(NamedTuple):
    """Layers, their lagged copy, Adam's memory, and arrays that learning leaves as they are."""

    layers: Any
    lagged: Any
    memory: Any
    fixed: Any = None


def begin(learner: Any, own: Any, fixed: Any = None) -> Training:
    """The training before the first update of these layers."""
    return Training(own, jax().tree.map(lambda leaf: leaf.copy(), own), adam(learner).init(own), fixed)


def stepping(learner: Any, objective: Objective) -> Update:
    """One step of Adam down the objective, and of the lagged copy."""
    optimiser = adam(learner)

    def update(state: Training, batch: Any) -> tuple[Training, dict[str, Any]]:
        net, memory, (value, figures) = descend(
            optimiser, objective, state.layers, state.memory, state.lagged, state.fixed, batch
        )
        lagged = follow(state.lagged, net, learner.lag)
        return Training(net, lagged, memory, state.fixed), {"loss": value} | figures

    return update


def within(settings: Any, low: float, high: float, *fields: str) -> None:
    """Refuses settings outside [low, high]."""
    who = type(settings).__name__
    for field in fields:
        value = getattr(settings, field)
        if not low <= value <= high:
            raise ConfigError(f"{who}: {field} must lie in [{low:g}, {high:g}]; got {value}", field=field)


def one_of(settings: Any, field: str, *known: str) -> None:
    """Refuses a word nobody knows."""
    if getattr(settings, field) not in known:
        words = f"{', '.join(known[:-1])} or {known[-1]}"
        raise ConfigError(
            f"{type(settings).__name__}: {field} is {words}; got {getattr(settings, field)!r}", field=field
        )


def only_in_a_box(settings: Any, *fields: str) -> None:
    """Refuses what only learning of continuous actions reads, where actions have names."""
    for field in fields:
        if getattr(settings, field) != type(settings).__dataclass_fields__[field].default:
            raise ConfigError(
                f"{type(settings).__name__}: {field} is about continuous actions; these have names",
                hint="Leave it out.",
                field=field,
            )


def by_action(who: str, field: str, numbers: dict[str, Any], problem: Problem) -> list[Any]:
    """What a setting says of each action, in the problem's order; None where it says nothing."""
    unknown = sorted(set(numbers) - set(problem.actions.names))
    if unknown:
        raise ConfigError(f"{who}: {field} names {unknown[0]!r}, which is not an action of this problem", field=field)
    return [numbers.get(name) for name in problem.actions.names]


def drawing(layers: Any, features: FeatureMap, k: int, *, sample: bool, explore: float) -> DiscretePolicy:
    """π ∝ exp(s_a(x)) of an actor's scores, or its likeliest action only; ``explore`` of it uniform."""
    network = QNetwork(features, plain(layers), k)
    return floored(Explore(network, "softmax", 1.0) if sample else Explore(network), k, explore)


def fit_from(
    learner: Any, data: LoggedDataset, *, seed: int, progress: Progress, start: Policy | None
) -> DiscretePolicy:
    """The policy of a whole training; from the networks of an earlier policy of ours where ``start`` is given.

    The earlier policy's feature map stays: its networks know no other.
    """
    if start is None:
        return gradient.fit(learner, data, seed=seed, progress=progress)  # type: ignore[return-value]
    features, theirs, scale = networks_of(start)
    fresh = learner.init(data.problem, features, seed=seed)
    xp, wanted = jax().numpy, [w.shape for w, _ in fresh.layers]
    if [w.shape for w, _ in theirs] != wanted or abs(scale * learner.scale - 1) > 1e-9:
        raise ConfigError(
            f"the policy to start from has layers {[w.shape for w, _ in theirs]} and scale {1 / scale:g}; "
            f"this learner makes {wanted} and {learner.scale:g}",
            hint="Use the settings it was trained with, or start afresh.",
            field="start",
        )
    state = begin(learner, [(xp.array(w), xp.array(b)) for w, b in theirs], fresh.fixed)
    made = gradient.fit(learner, data, seed=seed, progress=progress, start=state, features=features)
    return made  # type: ignore[return-value]


def networks_of(policy: Any) -> tuple[FeatureMap, list[tuple[Any, Any]], float]:
    """(feature map, layers, scale) inside a policy of ours; a filtered policy's two heads on their one trunk.

    Raises: ConfigError for any other policy.
    """
    import numpy as np

    if isinstance(policy, Mixture):
        return networks_of(policy.policies[0])
    if isinstance(policy, Filtered):
        features, own, scale = networks_of(policy.policy)
        if not isinstance(getattr(policy.imitation, "model", None), QNetwork):
            return features, own, scale
        _, other, _ = networks_of(policy.imitation)
        if not all(np.array_equal(a, b) for mine, theirs in zip(own[:-1], other[:-1]) for a, b in zip(mine, theirs)):
            raise ConfigError("the policy to start from has two trunks; train it again", field="start")
        head = tuple(np.concatenate(parts, axis=-1) for parts in zip(own[-1], other[-1]))
        return features, [*own[:-1], head], scale  # type: ignore
    model = policy.model if isinstance(policy, Explore) else None
    if not isinstance(model, QNetwork):
        raise ConfigError("the policy to start from holds no network of action values", field="start")
    return model.features, list(model.layers), model.scale
