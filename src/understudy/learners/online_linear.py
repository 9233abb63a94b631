"""Exact ridge regression, one decision at a time: linear or quadratic, by SquareCB or Thompson sampling."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.problem import Problem
from understudy.core.protocols import DiscretePolicy, LoggedDataset, Progress, State, quiet
from understudy.core.steps import Steps
from understudy.learners.memory import Memory, learn_all, same_settings
from understudy.models.ensembles import LinearEnsemble
from understudy.models.fitting import discrete
from understudy.models.policies import RULES, Explore, Uniform, floored
from understudy.models.ridge import LinearModel
from understudy.models.state import array, nested
from understudy.ops.explore import gamma_schedule


@dataclass
class Regressing:
    """Per action the inverse precision, and coefficients: first the ridge solution, then ``draws`` perturbed ones."""

    memory: Memory
    settings: dict[str, object]
    seed: int
    inverse: np.ndarray  # f64[k, p, p]
    theta: np.ndarray  # f64[k, p, 1 + draws]

    @property
    def seen(self) -> int:
        return self.memory.seen

    def state(self) -> State:
        parts = {} if self.memory.features is None else {"features": self.memory.features.state()}
        config = {"settings": self.settings, "seed": self.seed, "seen": self.seen}
        own = nested("online_linear", config, parts)
        arrays = {"inverse": self.inverse.copy(), "theta": self.theta.copy()}
        return State(own.kind, own.config, own.arrays | arrays | self.memory.arrays())


@dataclass(frozen=True)
class OnlineLinear:
    """θ_a = argmin Σ_{i: a_i = a} (r_i − z_i·θ)² + penalty·‖θ‖², z = (φ(x), 1), exact after every decision.

    A⁻¹ ← A⁻¹ − u uᵀ/(1 + z·u), u = A⁻¹z; θ ← θ + u (r − z·θ)/(1 + z·u). The feature map is fitted to past decisions,
    anew whenever their number has doubled (see ``Memory``), and θ and A⁻¹ are then made again from them. Fields:

        penalty: prior precision of every coefficient, the intercept's too.
        quadratic, signed_log: see ``feature_map.fit_feature_map``.
        explore, amount, growth: the rule, its amount · n^growth; see ``Direct``.
        draws, scale: with ``votes``, v = scale: member j regresses r_i + v·N(0, 1) from a start of its own in
            N(0, v²/penalty), so that its θ is an exact draw of the posterior N(θ, v² A⁻¹).
        epsilon: share of uniform exploration mixed in, whatever the rule (for votes: ``amount`` 0).
        capacity: decisions kept for refitting; the map stays once their number has passed it.

    Source: Sherman & Morrison 1950, equation 2; Lu & Van Roy 2017, section 3 (ensemble sampling);
    Foster & Rakhlin 2020 (SquareCB).
    """

    penalty: float = 1.0
    quadratic: bool = True
    signed_log: bool = True
    explore: str = "squarecb"
    amount: float = 30.0
    growth: float = 0.5
    draws: int = 50
    scale: float = 0.1
    epsilon: float = 0.0
    capacity: int = 20_000

    def __post_init__(self) -> None:
        if not self.penalty > 0 or not self.scale >= 0 or not 0 <= self.epsilon <= 1:
            raise ConfigError("online_linear: needs penalty > 0, scale ≥ 0 and epsilon in [0, 1]")
        if self.draws < 1 or self.capacity < 1:
            raise ConfigError(f"online_linear: draws and capacity must be ≥ 1; got {self.draws}, {self.capacity}")
        if self.explore not in RULES or self.explore == "proportional":
            raise ConfigError(f"online_linear: unknown exploration rule {self.explore!r}", field="explore")

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> DiscretePolicy:
        """The policy after a whole log, decision by decision."""
        return self.policy(learn_all(self, data, seed, progress))

    def init(self, problem: Problem, *, seed: int) -> Regressing:
        """Nothing seen, nothing known."""
        k = discrete(problem, "online_linear")
        memory = Memory(problem, self.capacity, self.signed_log, self.quadratic)
        return Regressing(memory, asdict(self), seed, np.zeros((k, 0, 0)), np.zeros((k, 0, self._columns)))

    def update(self, learning: Regressing, steps: Steps) -> Regressing:
        """More decisions, oldest first. ``learning`` is changed in place."""
        for i in range(steps.n):
            self._take(learning, steps.context[i], int(steps.action[i]), float(steps.reward[i]))
        return learning

    def policy(self, learning: Regressing) -> DiscretePolicy:
        """The policy of what is known now."""
        features, theta = learning.memory.features, learning.theta
        k = len(theta)
        if features is None:
            return Uniform(k)
        if self.explore == "votes":
            model = LinearEnsemble(features, np.ascontiguousarray(theta[:, :, 1:].transpose(2, 0, 1)))
        else:
            model = LinearModel(features, theta[:, :-1, 0].copy(), theta[:, -1, 0].copy())
        amount = float(gamma_schedule(self.amount, learning.seen, self.growth))
        return floored(Explore(model, self.explore, amount), k, self.epsilon)

    def resume(self, problem: Problem, state: State) -> Regressing:
        """The learning that gave this state, going on bit for bit."""
        seed = same_settings("online_linear", asdict(self), state, ["inverse", "theta"])
        learning = self.init(problem, seed=seed)
        learning.memory.restore(state)
        features, k = learning.memory.features, problem.actions.k
        p = 0 if features is None else features.width + 1
        learning.inverse = array(state, "inverse", (k, p, p)).copy()
        learning.theta = array(state, "theta", (k, p, self._columns)).copy()
        return learning

    @property
    def _columns(self) -> int:
        return 1 + (self.draws if self.explore == "votes" else 0)

    def _take(self, learning: Regressing, context: np.ndarray, action: int, reward: float) -> None:
        memory = learning.memory
        if memory.add(context, action, reward):
            self._again(learning)
        elif memory.features is not None:
            z = np.append(memory.features(context[None])[0].astype(np.float64), 1.0)
            inverse, theta = learning.inverse[action], learning.theta[action]
            u = inverse @ z
            gain = u / (1.0 + z @ u)
            target = np.full(self._columns, reward)
            if self._columns > 1:
                target[1:] += self.scale * _rng(learning).standard_normal(self.draws)
            theta += np.outer(gain, target - z @ theta)
            inverse -= np.outer(gain, u)

    def _again(self, learning: Regressing) -> None:
        """Everything from the decisions at hand, with the new feature map."""
        memory, steps, rng = learning.memory, learning.memory.steps(), _rng(learning)
        assert memory.features is not None
        z = np.column_stack([memory.features(steps.context), np.ones(steps.n)]).astype(np.float64)
        k, p = len(learning.theta), z.shape[1]
        noise = np.zeros((steps.n, self._columns))
        start = np.zeros((k, p, self._columns))
        if self._columns > 1:
            noise[:, 1:] = self.scale * rng.standard_normal((steps.n, self.draws))
            start[:, :, 1:] = self.scale * np.sqrt(self.penalty) * rng.standard_normal((k, p, self.draws))
        target = steps.reward[:, None] + noise
        learning.inverse = np.empty((k, p, p))
        for a in range(k):
            own = z[steps.action == a]
            learning.inverse[a] = np.linalg.inv(own.T @ own + self.penalty * np.eye(p))
            start[a] = learning.inverse[a] @ (own.T @ target[steps.action == a] + start[a])
        learning.theta = start


def _rng(learning: Regressing) -> np.random.Generator:
    """A stream per decision, so that a resumed learner draws what it would have drawn."""
    return np.random.default_rng([learning.seed, learning.seen])
