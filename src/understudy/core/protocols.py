"""The seams: what a dataset, a policy, a learner, an estimator, an environment and a store must offer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol, runtime_checkable

import numpy as np

from understudy.core.evidence import Evidence
from understudy.core.manifest import Manifest
from understudy.core.problem import Problem
from understudy.core.steps import Steps, Transitions


@dataclass(frozen=True)
class State:
    """A policy or model at rest: its registered name, plain JSON, and named arrays. ``models.load`` inverts it."""

    kind: str
    config: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def nest(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays under ``prefix.``, for a state that holds another."""
        return {f"{prefix}.{name}": array for name, array in self.arrays.items()}


@dataclass(frozen=True)
class JoinRules:
    """When outcomes count, as the join applied it. Times in seconds; ``as_of`` is microseconds since 1970 UTC."""

    window: float
    backward: float
    as_of: int


@runtime_checkable
class LoggedDataset(Protocol):
    """Logged decisions behind a protocol; may be larger than memory."""

    @property
    def problem(self) -> Problem: ...

    @property
    def fingerprint(self) -> str:
        """Hash of content."""
        ...

    @property
    def n_steps(self) -> int: ...

    @property
    def n_episodes(self) -> int: ...

    @property
    def rules(self) -> JoinRules | None:
        """How outcomes were joined; None if that is not known."""
        ...

    def scan(self, max_steps: int = 65_536) -> Iterator[Steps]:
        """All steps in order, in batches that never cut an episode."""
        ...

    def sample(self, size: int, rng: np.random.Generator, n: int = 1, discount: float | None = None) -> Transitions:
        """``size`` transitions over ``n`` steps each, drawn uniformly with replacement. γ is the problem's if None."""
        ...


@runtime_checkable
class Policy(Protocol):
    """A rule for acting, with its probabilities. Stateless: randomness is an argument. NumPy only."""

    def prob(self, context: np.ndarray, action: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        """π(a|x) of given actions. context f32[n, d], action i32[n] or f32[n, q] → f64[n]."""
        ...

    def act(
        self, context: np.ndarray, rng: np.random.Generator, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw an action per row. → (action i32[n] or f32[n, q], its π(a|x) f64[n])."""
        ...

    def state(self) -> State:
        """Everything ``models.load`` needs to make this policy again."""
        ...


@dataclass(frozen=True)
class Trained:
    """A policy with its name, its lineage, and the decisions it was fitted to: so that nobody judges it on those."""

    name: str
    policy: Policy
    manifest: Manifest
    trained_on: np.ndarray | None  # u64[n] sorted hashes of decisions; None = nobody knows


@runtime_checkable
class DiscretePolicy(Policy, Protocol):
    """A policy over k named actions."""

    def probs(self, context: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        """π(·|x): f32[n, d] → f64[n, k]; rows sum to 1, and are 0 where ``allowed`` bool[n, k] is False."""
        ...


Progress = Callable[[str, Mapping[str, float]], None]


def quiet(stage: str, figures: Mapping[str, float]) -> None:
    """The Progress that says nothing."""


@runtime_checkable
class Learner(Protocol):
    """Data → Policy. A frozen dataclass whose fields are its hyper-parameters."""

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> Policy: ...


@runtime_checkable
class GradientLearner(Learner, Protocol):
    """A learner of pure functions, so that one compiled loop serves all: offline, from files, and online.

    A *training state* is any tree of arrays. ``fit`` is ``learners.gradient.fit`` around the other three.
    """

    @property
    def updates(self) -> int:
        """Minibatch updates of a whole training."""
        ...

    @property
    def batch(self) -> int:
        """Transitions in a minibatch."""
        ...

    def init(self, problem: Problem, features: Any, *, seed: int) -> Any:
        """The training state before the first update; ``features`` is the FeatureMap, fitted."""
        ...

    @property
    def update(self) -> Callable[[Any, Any], tuple[Any, dict[str, Any]]]:
        """(state, minibatch) → (state, figures), in JAX; the same function for equal settings."""
        ...

    def policy(self, state: Any, problem: Problem, features: Any) -> Policy:
        """The policy of a training state: plain arrays."""
        ...


def by_epochs(learner: Any) -> bool:
    """Whether a learner trains by minibatches of a log, so that its training can be watched, interrupted and resumed.

    Online learners and those of their own actions (``told``) have functions of the same names, for other minibatches.
    """
    return isinstance(learner, GradientLearner) and not hasattr(learner, "resume") and not hasattr(learner, "told")


class Learning(Protocol):
    """What an online learner knows after n decisions: arrays that change in place, and JSON."""

    @property
    def seen(self) -> int:
        """n, the decisions learned from."""
        ...

    def state(self) -> State:
        """Everything ``resume`` needs to go on from here, bit for bit; arrays are copies."""
        ...


@runtime_checkable
class OnlineLearner(Protocol):
    """A learner that takes decisions as they come: ``learning = update(learning, steps)``, ``policy(learning)``.

    What is known after n decisions depends on those decisions in their order, the settings and the seed, and not on
    how they were cut into updates, nor on how often the learner was stopped, saved and resumed in between.
    """

    def init(self, problem: Problem, *, seed: int) -> Any:
        """A Learning that has seen nothing; its policy is uniform."""
        ...

    def update(self, learning: Any, steps: Steps) -> Any:
        """More decisions, oldest first. The Learning passed in is used up."""
        ...

    def policy(self, learning: Any) -> Policy:
        """The policy of what is known now, with numbers of its own: later updates do not change it."""
        ...

    def resume(self, problem: Problem, state: State) -> Any:
        """The Learning that gave this state. Raises StoreError if it is not one, or of other settings."""
        ...


@runtime_checkable
class Estimator(Protocol):
    """A formula: terms per episode, and a smooth value of their means. A frozen dataclass of hyper-parameters."""

    @property
    def needs(self) -> frozenset[str]:
        """⊆ {"propensity", "q", "match", "density_ratio"}."""
        ...

    def terms(self, e: Evidence) -> np.ndarray:
        """f64[m, p], one row per episode."""
        ...

    def value(self, mean: np.ndarray) -> float | np.ndarray:
        """[..., p] → [...]: the estimate, smooth in its input; broadcasts over leading axes."""
        ...


@dataclass(frozen=True)
class View:
    """What an environment shows before acting: context f32[w, d] and allowed bool[w, k] (None = all)."""

    context: np.ndarray
    allowed: np.ndarray | None = None


@dataclass(frozen=True)
class Feedback:
    """What an environment gives back after acting, for w parallel episodes."""

    outcomes: np.ndarray  # f64[w, o]
    reward: np.ndarray  # f64[w]
    terminated: np.ndarray  # bool[w]
    truncated: np.ndarray  # bool[w]


@runtime_checkable
class Environment(Protocol):
    """A world to act in, vectorised over w parallel episodes. ``true_value(policy)`` where it is known."""

    @property
    def problem(self) -> Problem: ...

    def reset(self, rng: np.random.Generator, w: int) -> View: ...

    def step(self, action: np.ndarray) -> tuple[View, Feedback]: ...


@runtime_checkable
class EpisodicEnvironment(Environment, Protocol):
    """A world whose episodes are longer than a decision. ``step`` shows what truly follows, also after an end."""

    def renew(self, ended: np.ndarray) -> View:
        """Begin the episodes marked in bool[w] anew; the view of all w, the others as they stand."""
        ...


@runtime_checkable
class Telling(Protocol):
    """A world that can say more of what a policy did than the rewards it earned."""

    def figures(self, steps: Steps) -> Mapping[str, float]:
        """Figures by name, of whole episodes in this world."""
        ...


@runtime_checkable
class Revealing(Protocol):
    """A world that knows what every action would have paid on average, in the states that a walk passed through."""

    def revealed(self, policy: Policy, episodes: int, seed: int, width: int | None = None) -> tuple[Steps, np.ndarray]:
        """(the log of a policy, E[r|state, a] f64[n, k] of its n steps); equal arguments, equal logs."""
        ...


class Store(Protocol):
    """Moves bytes by key; knows nothing of what they mean. Keys are relative paths with ``/``.

    Safe for concurrent writers: ``put`` is atomic and never overwrites (StoreError if the key is taken).
    """

    def open(self, key: str) -> BinaryIO: ...

    def put(self, key: str, body: BinaryIO) -> None: ...

    def list(self, prefix: str) -> Iterator[str]: ...


@runtime_checkable
class ValueModel(Protocol):
    """A fitted Q̂: context → expected reward of every action. NumPy only; arrays and JSON at rest."""

    def values(self, context: np.ndarray) -> np.ndarray:
        """f32[n, d] → f64[n, k]."""
        ...

    def state(self) -> State: ...


@runtime_checkable
class Regressor(Protocol):
    """Steps → ValueModel. A frozen dataclass of hyper-parameters; used for Q̂ in evaluation and by direct learners."""

    def fit(self, steps: Steps, problem: Problem, *, seed: int, weight: np.ndarray | None = None) -> ValueModel: ...
