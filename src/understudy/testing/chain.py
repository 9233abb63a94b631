"""Three states in a row, two actions, and an end: small enough that every value is known exactly, by two ways."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.protocols import State
from understudy.core.steps import Steps

# P(s' | s, a) over the three states and the end; "on" leads right, "stay" lingers.
NEXT = np.array(
    [
        [[0.7, 0.2, 0.0, 0.1], [0.1, 0.8, 0.0, 0.1]],
        [[0.3, 0.5, 0.1, 0.1], [0.0, 0.1, 0.8, 0.1]],
        [[0.0, 0.3, 0.5, 0.2], [0.0, 0.0, 0.5, 0.5]],
    ]
)
REWARD = np.array([[0.2, 0.0], [0.1, 0.3], [0.5, 1.0]])  # mean of r given (s, a), whatever follows
START = np.array([0.6, 0.3, 0.1])
END = 3


def chain_problem(discount: float = 0.9, horizon: int | None = None) -> Problem:
    """The chain as a problem; its one feature is the state."""
    return Problem(
        features=(Feature(name="place", kind="category", values=("left", "middle", "right")),),
        actions=ActionSpace(names=("stay", "on")),
        discount=discount,
        horizon=horizon,
        reward_range=(-3.0, 4.0),
        unit="episode",
    )


@dataclass(frozen=True)
class ChainPolicy:
    """P(on | state), the same at every step."""

    on: tuple[float, float, float]

    def probs(self, context: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        p = np.asarray(self.on)[context[:, 0].astype(int)]
        return np.column_stack([1 - p, p])

    def prob(self, context: np.ndarray, action: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        return np.take_along_axis(self.probs(context), action[:, None].astype(int), 1)[:, 0]

    def act(
        self, context: np.ndarray, rng: np.random.Generator, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        action = (rng.random(len(context)) < self.probs(context)[:, 1]).astype(np.int32)
        return action, self.prob(context, action)

    def state(self) -> State:
        return State("chain", {"on": list(self.on)})


def exact_q(policy: ChainPolicy, discount: float = 0.9) -> np.ndarray:
    """Q(s, a) of episodes without a horizon: Q = R + γ P Π Q, solved. → f64[3, 2]"""
    pi = _table(policy)  # [3, 2]
    step = (NEXT[:, :, :END, None] * pi).reshape(6, 6)  # from (s, a) to (s', a')
    return np.linalg.solve(np.eye(6) - discount * step, REWARD.ravel()).reshape(3, 2)


def exact_value(policy: ChainPolicy, discount: float = 0.9, horizon: int | None = None) -> float:
    """E Σ_t γ^t r_t: by the fixed point, or step by step up to the horizon."""
    pi = _table(policy)
    if horizon is None:
        return float(START @ (pi * exact_q(policy, discount)).sum(1))
    value = np.zeros(3)
    for _ in range(horizon):
        value = (pi * (REWARD + discount * NEXT[:, :, :END] @ value)).sum(1)
    return float(START @ value)


def tiny_chain(
    behavior: ChainPolicy, m: int, seed: int, *, horizon: int = 200, noise: float = 0.3, cut: bool = False
) -> Steps:
    """m episodes of the chain. At ``horizon`` steps they stop, as truncated; ``cut`` keeps the context after it."""
    rng = np.random.default_rng(seed)
    place = rng.choice(3, m, p=START)
    columns: list[tuple[np.ndarray, ...]] = []
    alive, end = np.arange(m), np.full(m, END)
    for t in range(horizon):
        context = place[:, None].astype(np.float32)
        action, propensity = behavior.act(context, rng)
        reward = REWARD[place, action] + noise * rng.normal(size=len(alive))
        after = (NEXT[place, action].cumsum(1) < rng.random(len(alive))[:, None]).sum(1)
        columns.append((alive, np.full(len(alive), t), place, action, propensity, reward, after == END))
        going = after != END
        end[alive[going]] = after[going]
        end[alive[~going]] = END
        alive, place = alive[going], after[going]
        if not len(alive):
            break
    return _steps(columns, m, end if cut else None)


def chain_paths(behavior: ChainPolicy, horizon: int) -> tuple[Steps, np.ndarray]:
    """Every episode of at most ``horizon`` steps there can be, with mean rewards; and the probability of each."""
    pi = _table(behavior)
    open_ = [(START[s], [(s, a)]) for s in range(3) for a in range(2)]
    open_ = [(p * pi[path[-1]], path) for p, path in open_]
    done = []
    for t in range(horizon):
        longer = []
        for p, path in open_:
            s, a = path[-1]
            done.append((p * NEXT[s, a, END], path, True))
            for after in range(3):
                if NEXT[s, a, after] > 0:
                    where = p * NEXT[s, a, after]
                    if t + 1 == horizon:
                        done.append((where, path, False))
                    else:
                        longer += [(where * pi[after, b], [*path, (after, b)]) for b in range(2)]
        open_ = longer
    return _paths(done, pi), np.array([p for p, _, _ in done])


def _paths(done: list, pi: np.ndarray) -> Steps:
    place, action = (np.array([step[i] for _, path, _ in done for step in path]) for i in range(2))
    starts = np.concatenate([[0], np.cumsum([len(path) for _, path, _ in done])])
    over = np.zeros(len(place), bool)
    over[starts[1:] - 1] = True
    ended = np.repeat([end for _, _, end in done], np.diff(starts))
    return Steps(
        starts=starts, unit=np.arange(len(done), dtype=np.uint64), time=np.arange(len(place)),
        context=place[:, None].astype(np.float32), action=action.astype(np.int32), reward=REWARD[place, action],
        terminated=over & ended, truncated=over & ~ended, propensity=pi[place, action],
    )  # fmt: skip


def _steps(columns: list[tuple[np.ndarray, ...]], m: int, end: np.ndarray | None) -> Steps:
    episode, t, place, action, propensity, reward, over = (np.concatenate(part) for part in zip(*columns))
    order = np.lexsort((t, episode))
    starts = np.concatenate([[0], np.cumsum(np.bincount(episode, minlength=m))])
    last = np.zeros(len(order), bool)
    last[starts[1:] - 1] = True
    final = None
    if end is not None:
        final = np.where(end == END, np.nan, end)[:, None].astype(np.float32)
    return Steps(
        starts=starts, unit=np.arange(m, dtype=np.uint64), time=np.arange(len(order)),
        context=place[order][:, None].astype(np.float32), action=action[order].astype(np.int32),
        reward=reward[order], terminated=over[order], truncated=last & ~over[order], propensity=propensity[order],
        final_context=final,
    )  # fmt: skip


def _table(policy: ChainPolicy) -> np.ndarray:
    return policy.probs(np.arange(3)[:, None])
