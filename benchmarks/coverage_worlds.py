"""Bandit logs with known truth: contexts, actions and rewards of the coverage benchmark."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Eight contexts, five actions: mean rewards, and what the behavior policy (LIKED) and a far target (WANTED) like best.
WEIGHT = np.array([0.22, 0.18, 0.15, 0.13, 0.11, 0.09, 0.07, 0.05])
MEANS = np.random.default_rng(20).uniform(0.15, 0.85, (8, 5))
LIKED = np.array([0, 1, 2, 3, 4, 0, 1, 2])
WANTED = np.array([0, 1, 2, 3, 4, 1, 3, 4])
MODEL = np.clip(MEANS + np.random.default_rng(21).normal(0, 0.15, MEANS.shape), 0, 1)  # an imperfect reward model


@dataclass(frozen=True)
class World:
    """One way of logging and of rewarding. ``behavior``: probabilities of five actions in eight contexts."""

    name: str
    behavior: np.ndarray  # f64[8, 5]
    reward: str
    users: str = "one event"  # "one event", "ten events", "geometric", and "geometric, ignored" (blocks by event)
    tail: float = 0.0  # > 0: exploration probabilities 1/W with W Pareto of this index; one action, see ``draw``

    def targets(self) -> dict[str, np.ndarray]:
        if self.tail:
            return {"always": self.behavior}
        near = self.behavior * np.exp(1.5 * MEANS)
        hedged = 0.9 * self.behavior + 0.1 / 5  # few, heavy weights: often none of them is in the log
        found = {"near": near / near.sum(1, keepdims=True), "hedged": hedged, "far": np.eye(5)[WANTED]}
        return {name: target for name, target in found.items() if not np.allclose(target, self.behavior)}

    def worth(self, delta: np.ndarray) -> float:
        """Expected ESS of one event, (E |ρ|)² / E ρ² by enumeration; ``delta`` is π, or π − b of a difference."""
        if self.tail:
            return (self.tail - 1) / self.tail if self.tail > 1 else 0.0
        first, second = WEIGHT @ np.abs(delta).sum(1), WEIGHT @ (delta**2 / self.behavior).sum(1)
        return float(first**2 / second)

    def truth(self, target: np.ndarray) -> float:
        """E r = Σ_x P(x) Σ_a π(a|x) E[r|x, a], by enumeration."""
        return float(WEIGHT @ (target * reward_means(self.reward)).sum(1))


def reward_means(kind: str) -> np.ndarray:
    """E[r | context, action], exactly."""
    if kind == "lognormal":  # r = min(1, exp(m + s z)):  E r = e^{m + s²/2} Φ(−m/s − s) + Φ(m/s)
        from scipy.special import ndtr

        m, s = np.log(0.2 * MEANS), 1.5
        return np.exp(m + s * s / 2) * ndtr(-m / s - s) + ndtr(m / s)
    return {"binary": MEANS, "beta": MEANS, "spiky": 0.2 * MEANS, "rare": 0.002 * MEANS}[kind]


def draw_reward(kind: str, cell: np.ndarray, shift: np.ndarray | float, rng: np.random.Generator) -> np.ndarray:
    """Rewards in [0, 1] with mean ``reward_means`` (+ shift, binary only). cell i64[...] = 5·context + action."""
    mean = reward_means(kind).ravel()
    if kind in ("binary", "rare"):
        return (rng.random(cell.shape) < mean[cell] + shift).astype(np.float64)
    if kind == "lognormal":
        return np.minimum(1.0, np.exp(np.log(0.2 * MEANS.ravel())[cell] + 1.5 * rng.standard_normal(cell.shape)))
    size = {"beta": 3.0, "spiky": 0.5}[kind]  # spiky: most rewards are next to 0, a few next to 1
    return rng.beta((size * mean)[cell], (size * (1 - mean))[cell])


def epsilon_greedy(epsilon: float) -> np.ndarray:
    return (1 - epsilon) * np.eye(5)[LIKED] + epsilon / 5


def worlds() -> list[World]:
    softmax = np.exp(2.0 * np.random.default_rng(22).standard_normal((8, 5)) / 2)
    behaviors = {f"epsilon {e}": epsilon_greedy(e) for e in (0.001, 0.02, 0.1, 0.3)}
    behaviors |= {"uniform": np.full((8, 5), 0.2), "softmax": softmax / softmax.sum(1, keepdims=True)}
    few = ("epsilon 0.001", "epsilon 0.1", "uniform")
    plain = [World(name, table, kind) for kind in ("binary", "spiky", "beta", "lognormal", "rare")
             for name, table in behaviors.items() if kind in ("binary", "spiky") or name in few]  # fmt: skip
    users = [World(n, behaviors[n], "binary", users=u) for n in ("epsilon 0.3", "uniform")
             for u in ("ten events", "geometric", "geometric, ignored")]  # fmt: skip
    heavy = [World(f"Pareto {tail}", np.eye(5)[LIKED], kind, tail=tail)
             for tail in (0.8, 1.5, 3.0) for kind in ("binary", "spiky")]  # fmt: skip
    return plain + users + heavy


@dataclass(frozen=True)
class Logs:
    """L logs of n events, flat: log i is rows [i n, (i+1) n)."""

    shape: tuple[int, int]
    context: np.ndarray  # i64[L n]
    action: np.ndarray  # i64[L n]
    reward: np.ndarray  # f64[L n]
    propensity: np.ndarray  # f64[L n]
    unit: np.ndarray  # u64[L n]
    observed: np.ndarray | None = None  # bool[L n] Pareto worlds: the one action was taken

    def first(self, n: int) -> Logs:
        """The same logs, cut after n events."""
        take = lambda a: None if a is None else a.reshape(self.shape)[:, :n].ravel()
        columns = (self.context, self.action, self.reward, self.propensity, self.unit, self.observed)
        return Logs((self.shape[0], n), *(take(column) for column in columns))  # type: ignore[arg-type]


def draw(world: World, logs: int, n: int, rng: np.random.Generator) -> Logs:
    """Contexts, actions, rewards. Users share a context and a taste (± 0.12) over their events.

    Pareto worlds: an event takes the target's only action with probability 1/W, W ~ Pareto(tail), else it does
    something of reward 0; the weight is W or 0, of mean 1 and, for tail ≤ 1, of infinite variance.
    """
    size = logs * n
    user = np.arange(size, dtype=np.int64)
    if world.users == "ten events":
        user //= 10
    elif world.users.startswith("geometric"):
        new = rng.random((logs, n)) < 0.1
        new[:, 0] = True
        user = np.cumsum(new.ravel()) - 1
    people = int(user[-1]) + 1
    x = np.searchsorted(np.cumsum(WEIGHT)[:-1], rng.random(people), side="right")[user]
    if world.tail:
        action, w = LIKED[x], (1 - rng.random(size)) ** (-1 / world.tail)
        taken = rng.random(size) < 1 / w
        reward = np.where(taken, draw_reward(world.reward, 5 * x + action, 0.0, rng), 0.0)
        return Logs((logs, n), x, action, reward, 1 / w, user.astype(np.uint64), taken)
    cumulative = np.cumsum(world.behavior, 1)[:, :-1]
    action = (cumulative[x] < rng.random(size)[:, None]).sum(1)
    shift = 0.0 if people == size else np.where(rng.random(people) < 0.5, -0.12, 0.12)[user]
    reward = draw_reward(world.reward, 5 * x + action, shift, rng)
    ignored = world.users.endswith("ignored")
    unit = np.arange(size) if ignored else user
    return Logs((logs, n), x, action, reward, world.behavior[x, action], unit.astype(np.uint64))


def expected_weights(world: World, logs: Logs, delta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over each log of Σ_a δ²/b and Σ_a δ⁴/b³, f64[L]: what a log with all propensities knows."""
    if world.tail:
        w = (1 / logs.propensity).reshape(logs.shape)
        return w.mean(1), (w**3).mean(1)
    second, fourth = (delta**2 / world.behavior).sum(1), (delta**4 / world.behavior**3).sum(1)
    context = logs.context.reshape(logs.shape)
    return second[context].mean(1), fourth[context].mean(1)
