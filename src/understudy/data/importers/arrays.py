"""Episodes as arrays → a decision table and the Problem it is of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from understudy.core.errors import DataError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.data.importers.imported import Imported


@dataclass(frozen=True)
class Episode:
    """T decisions; ``context`` has T rows, or T + 1 where the state after the last decision is known."""

    context: np.ndarray  # f[T or T + 1, d]
    action: np.ndarray  # i[T], or f[T, q]
    reward: np.ndarray  # f[T]
    terminated: bool


def as_table(
    episodes: Sequence[Episode],
    *,
    names: Sequence[str] = (),
    actions: ActionSpace | None = None,
    discount: float = 0.99,
) -> Imported:
    """One row per decision; a truncated episode whose final state is known gets one more, without an action.

    Args:
        names: of the features; x0, x1, … if there are none.
        actions: the space, where the source declares it; otherwise the one that the data span.
    """
    if not episodes:
        raise DataError("there is no episode", "There is nothing to learn or estimate from.")
    space = actions or _space(np.concatenate([e.action for e in episodes]))
    names = list(names) or [f"x{j}" for j in range(episodes[0].context.shape[1])]
    rewards = np.concatenate([e.reward for e in episodes]).astype(np.float64)
    extra = np.array([not e.terminated and len(e.context) > len(e.reward) for e in episodes])
    lengths = np.array([len(e.reward) for e in episodes]) + extra
    context = np.concatenate([e.context[:n] for e, n in zip(episodes, lengths)])
    last = np.cumsum(lengths) - 1
    closing = np.zeros(len(context), bool)
    closing[last[extra]] = True
    ended = np.zeros(len(context), bool)
    ended[last] = [e.terminated for e in episodes]
    reward = np.zeros(len(context))
    reward[~closing] = rewards
    width = len(str(len(episodes)))
    ids = pa.array([f"e{i:0{width}d}" for i in range(len(episodes))])
    start = np.repeat(last + 1 - lengths, lengths)
    columns = {
        "episode_id": ids.take(pa.array(np.repeat(np.arange(len(episodes)), lengths))),
        "sequence": np.arange(len(context)) - start,
        **{f"context.{name}": np.ascontiguousarray(context[:, j]) for j, name in enumerate(names)},
        "action": _actions(episodes, space, closing),
        "outcome.reward": pa.array(reward, mask=closing),
        "terminated": ended,
    }
    low, high = min(0.0, rewards.min()), max(0.0, rewards.max())
    problem = Problem(
        features=tuple(Feature(name=name) for name in names), actions=space, discount=discount, horizon=None,
        reward_range=(float(math.floor(low)), float(math.ceil(high)) if math.ceil(high) > math.floor(low) else low + 1),
        unit="episode",
    )  # fmt: skip
    notes = (
        f"{len(episodes):,} episodes, {int((~closing).sum()):,} decisions, {int(extra.sum()):,} final states",
        f"the discount of {discount} and the reward range {list(problem.reward_range)} are guesses; declare your own",
    )
    return Imported(problem, pa.table(columns), None, notes)


def cut(context: np.ndarray, action: np.ndarray, reward: np.ndarray, ends: np.ndarray, terminated: np.ndarray,
        after: np.ndarray | None = None) -> list[Episode]:  # fmt: skip
    """Long arrays [n] cut after each row that ``ends`` bool[n] marks; ``after`` is the state that followed each row."""
    stops = np.append(np.flatnonzero(ends[:-1]), len(ends) - 1) + 1
    episodes, first = [], 0
    for stop in stops:
        seen = context[first:stop]
        if after is not None:
            seen = np.concatenate([seen, after[stop - 1 : stop]])
        episodes.append(Episode(seen, action[first:stop], reward[first:stop], bool(terminated[stop - 1])))
        first = int(stop)
    return episodes


def flat(array: np.ndarray) -> np.ndarray:
    """[n, …] → [n, d]."""
    return array.reshape(len(array), -1)


def discrete(action: np.ndarray) -> bool:
    """Whether whole numbers, one per row, stand for actions."""
    return action.dtype.kind in "iu" and (action.ndim == 1 or action.shape[1:] == (1,))


def _space(action: np.ndarray) -> ActionSpace:
    if discrete(action):
        return ActionSpace(names=tuple(map(str, range(int(action.max()) + 1))))
    low, high = flat(action).min(0).astype(float), flat(action).max(0).astype(float)
    return ActionSpace(low=tuple(low.tolist()), high=tuple(np.where(high > low, high, low + 1).tolist()))


def _actions(episodes: Sequence[Episode], space: ActionSpace, closing: np.ndarray) -> pa.Array:
    taken = np.concatenate([e.action for e in episodes])
    if space.discrete:
        codes = np.zeros(len(closing), np.int64)
        codes[~closing] = taken.reshape(-1)
        return pa.array(codes, mask=closing)
    vectors = np.zeros((len(closing), space.dims))
    vectors[~closing] = flat(taken)
    offsets = np.concatenate([[0], np.cumsum(~closing) * space.dims]).astype(np.int32)
    values = pa.array(vectors[~closing].reshape(-1))
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(closing))
