"""A small neural network that learns from every decision as it comes, and from a few past ones with it. NumPy only."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.hashing import mix
from understudy.core.problem import Problem
from understudy.core.protocols import DiscretePolicy, LoggedDataset, Progress, State, quiet
from understudy.core.steps import Steps
from understudy.learners.memory import Memory, learn_all, same_settings
from understudy.models.fitting import discrete, unit_rewards
from understudy.models.network import Network
from understudy.models.policies import RULES, Explore, Uniform, floored
from understudy.models.state import array, nested
from understudy.ops.explore import gamma_schedule
from understudy.ops.network import gradient, start

DECAY1, DECAY2, TINY = 0.9, 0.999, 1e-8  # of Adam, as its authors recommend


@dataclass
class Replaying:
    """One network and its optimiser as flat arrays, and the decisions to replay."""

    memory: Memory
    settings: dict[str, object]
    seed: int
    sizes: tuple[int, ...]  # (d′, hidden…, k); d′ is 0 until the first feature map
    inputs: np.ndarray  # f32[kept or more, d′] φ of the decisions at hand
    weights: np.ndarray  # f32[P]
    mean: np.ndarray  # f32[P] Adam's running mean of the slope
    square: np.ndarray  # f32[P] and of its square
    turns: int = 0  # steps of Adam so far

    @property
    def seen(self) -> int:
        return self.memory.seen

    def state(self) -> State:
        parts = {} if self.memory.features is None else {"features": self.memory.features.state()}
        config = {"settings": self.settings, "seed": self.seed, "seen": self.seen, "turns": self.turns}
        own = nested("online_neural", config, parts)
        arrays = {name: getattr(self, name).copy() for name in ("weights", "mean", "square")}
        arrays["inputs"] = self.inputs[: self.memory.kept].copy()  # as they were made, to the last bit
        return State(own.kind, own.config, own.arrays | arrays | self.memory.arrays())


@dataclass(frozen=True)
class OnlineNeural:
    """The value model of ``Neural``, learned decision by decision with replay.

    Every decision brings ``updates`` steps of Adam on minibatches of ``batch`` past decisions drawn by a hash of
    (seed, number of the decision), the newest always among them. The feature map is fitted to past decisions only and
    anew whenever their number has doubled; see ``Memory``. Fields:

        hidden, rate, loss: as in ``Neural``; the rate stays as it is, so that a changing world is followed.
        explore, amount, growth, epsilon, signed_log: as in ``Neural``.
        capacity: decisions kept; the oldest make room for the newest.

    Source: Lin 1992, section 3.4 (experience replay); Kingma & Ba 2015, algorithm 1 (Adam).
    """

    hidden: tuple[int, ...] = (64, 64)
    updates: int = 2
    batch: int = 64
    rate: float = 2e-3
    loss: str = "cross_entropy"
    explore: str = "squarecb"
    amount: float = 100.0
    growth: float = 0.5
    epsilon: float = 0.0
    signed_log: bool = True
    capacity: int = 20_000

    def __post_init__(self) -> None:
        sizes = {"updates": self.updates, "batch": self.batch, "capacity": self.capacity}
        for field, value in (sizes | {"hidden": min(self.hidden or (1,))}).items():
            if value < 1:
                raise ConfigError(f"online_neural: {field} must be at least 1; got {value}", field=field)
        if self.loss not in ("cross_entropy", "squared"):
            raise ConfigError(f"online_neural: loss is cross_entropy or squared; got {self.loss!r}", field="loss")
        if not self.rate > 0 or not 0 <= self.epsilon <= 1:
            raise ConfigError("online_neural: needs rate > 0 and epsilon in [0, 1]")
        if self.explore not in RULES or self.explore in ("proportional", "votes"):
            raise ConfigError(f"online_neural: no exploration rule {self.explore!r} of one network", field="explore")

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> DiscretePolicy:
        """The policy after a whole log, decision by decision."""
        return self.policy(learn_all(self, data, seed, progress))

    def init(self, problem: Problem, *, seed: int) -> Replaying:
        """Nothing seen, nothing known."""
        k, none = discrete(problem, "online_neural"), np.zeros(0, np.float32)
        memory = Memory(problem, self.capacity, self.signed_log)
        sizes = (0, *self.hidden, k)
        return Replaying(memory, asdict(self), seed, sizes, np.zeros((0, 0), np.float32), none, none, none)

    def update(self, learning: Replaying, steps: Steps) -> Replaying:
        """More decisions, oldest first. ``learning`` is changed in place. DataError: a reward outside the range."""
        y = unit_rewards(steps, learning.memory.problem, "online_neural")
        for i in range(steps.n):
            self._take(learning, steps.context[i], int(steps.action[i]), float(y[i]))
        return learning

    def policy(self, learning: Replaying) -> DiscretePolicy:
        """The policy of what is known now."""
        features, problem = learning.memory.features, learning.memory.problem
        k = problem.actions.k
        if features is None:
            return Uniform(k)
        layers = tuple((w[None], b[None]) for w, b in _layers(learning.weights.copy(), learning.sizes))
        link = "logistic" if self.loss == "cross_entropy" else "identity"
        network = Network(features, layers, *problem.reward_range, link)
        amount = float(gamma_schedule(self.amount, learning.seen, self.growth))
        return floored(Explore(network, self.explore, amount), k, self.epsilon)

    def resume(self, problem: Problem, state: State) -> Replaying:
        """The learning that gave this state, going on bit for bit."""
        names = ("weights", "mean", "square")
        seed = same_settings("online_neural", asdict(self), state, [*names, "inputs"], ["turns"])
        learning = self.init(problem, seed=seed)
        learning.memory.restore(state)
        learning.turns, features, size = state.config["turns"], learning.memory.features, 0
        if features is not None:
            learning.sizes = (features.width, *learning.sizes[1:])
            learning.inputs = array(state, "inputs", (learning.memory.kept, features.width), np.float32).copy()
            size = _count(learning.sizes)
        for name in names:
            setattr(learning, name, array(state, name, (size,), np.float32).copy())
        return learning

    def _take(self, learning: Replaying, context: np.ndarray, action: int, y: float) -> None:
        memory = learning.memory
        if memory.add(context, action, y):
            self._inputs(learning)
            if not len(learning.weights):
                self._start(learning)
        elif memory.features is not None:
            at = (memory.seen - 1) % memory.capacity
            if at >= len(learning.inputs):
                wider = np.zeros((len(memory.reward), learning.sizes[0]), np.float32)
                wider[: len(learning.inputs)] = learning.inputs
                learning.inputs = wider
            learning.inputs[at] = memory.features(context[None])[0]
        if memory.features is not None:
            self._replay(learning)

    def _inputs(self, learning: Replaying) -> None:
        """φ of all decisions at hand, by a new feature map."""
        features = learning.memory.features
        assert features is not None
        learning.inputs = features(learning.memory.context[: learning.memory.kept])
        learning.sizes = (features.width, *learning.sizes[1:])

    def _start(self, learning: Replaying) -> None:
        layers = start(np.random.default_rng([learning.seed, 1]), learning.sizes, 1)
        learning.weights = np.concatenate([part.ravel() for layer in layers for part in layer])
        learning.mean, learning.square = np.zeros_like(learning.weights), np.zeros_like(learning.weights)

    def _replay(self, learning: Replaying) -> None:
        """``updates`` steps of Adam."""
        memory, layers = learning.memory, _layers(learning.weights, learning.sizes)
        draws = self.updates * self.batch
        ticket = np.arange(memory.seen * draws, (memory.seen + 1) * draws, dtype=np.uint64)
        rows = (mix(ticket, learning.seed) % np.uint64(memory.kept)).astype(np.int64).reshape(self.updates, -1)
        rows[:, 0] = (memory.seen - 1) % memory.capacity
        for own in rows:
            y = memory.reward[own].astype(np.float32)
            slopes = gradient(layers, learning.inputs[own], memory.action[own], y, self.loss == "cross_entropy")
            learning.turns += 1
            rate = self.rate * np.sqrt(1 - DECAY2**learning.turns) / (1 - DECAY1**learning.turns)
            _adam(learning, np.concatenate([part.ravel() for layer in slopes for part in layer]), rate)


def _adam(learning: Replaying, slope: np.ndarray, rate: float) -> None:
    """One step in place, without an array more than it needs; ``slope`` f32[P] is used up."""
    step = slope - learning.mean
    step *= 1 - DECAY1
    learning.mean += step
    slope *= slope
    slope -= learning.square
    slope *= 1 - DECAY2
    learning.square += slope
    np.sqrt(learning.square, out=step)
    step += TINY
    np.divide(learning.mean, step, out=step)
    step *= rate
    learning.weights -= step


def _count(sizes: tuple[int, ...]) -> int:
    return sum(before * after + after for before, after in pairwise(sizes))


def _layers(flat: np.ndarray, sizes: tuple[int, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Views of the flat weights: (w [in, out], b [out]) per layer."""
    layers, at = [], 0
    for before, after in pairwise(sizes):
        middle, end = at + before * after, at + before * after + after
        layers.append((flat[at:middle].reshape(before, after), flat[middle:end]))
        at = end
    return layers
