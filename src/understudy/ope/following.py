"""What follows each logged step, as a model of values or of visits sees it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np

from understudy.core.errors import EvidenceError
from understudy.core.problem import Feature, Problem
from understudy.core.protocols import Policy
from understudy.core.steps import Steps
from understudy.ops import returns

CLOCK = "step of the episode"


@dataclass(frozen=True)
class Following:
    """Per row: the context after it, what was allowed there, and γ^{span}, or 0 where nothing follows."""

    context: np.ndarray  # f32[n, d]
    allowed: np.ndarray | None  # bool[n, k]
    discount: np.ndarray  # f64[n]
    next_row: np.ndarray  # i64[n] the row that follows; where the episode was cut, the row itself


def ended(steps: Steps, horizon: int | None) -> np.ndarray:
    """bool[m]: nothing follows the episode, because the world ended it or because it reached the horizon."""
    over = steps.terminated[steps.starts[1:] - 1]
    return over if horizon is None else over | (returns.lengths(steps.starts) >= horizon)


def following(steps: Steps, problem: Problem) -> Following:
    """The successor of every row. Raises: EvidenceError if episodes were cut and nobody knows what came after."""
    last, over = steps.starts[1:] - 1, ended(steps, problem.horizon)
    next_row = np.arange(1, steps.n + 1)
    next_row[last] = last
    context = steps.context[next_row]
    cut = np.flatnonzero(~over)
    if len(cut):
        unknown = steps.final_context is None
        if unknown:
            raise EvidenceError(
                f"{len(cut)} of {steps.m} episodes were cut before their end, and the log does not say what came after",
                "Q̂ would have to take the last step of such an episode for its end.",
                "Give the context after the last step of a cut episode (columns final.<feature>).",
                field="final_context",
            )
        context[last[cut]] = steps.final_context[cut]  # pyright: ignore[reportOptionalSubscript]
    discount = returns.hops(steps, problem.discount)
    discount[last[over]] = 0.0
    allowed = None if steps.allowed is None else steps.allowed[next_row]
    if allowed is not None:  # a mask that nobody logged is none: what was allowed one step earlier says nothing
        allowed[last[cut]] = True if steps.final_allowed is None else steps.final_allowed[cut]
    return Following(context, allowed, discount, next_row)


def next_probs(policy: Policy, steps: Steps, probs: np.ndarray, after: Following) -> np.ndarray:
    """π(·|x') of each row [n, k]; the policy is asked only about contexts that were not logged."""
    out = probs[after.next_row]
    cut = np.flatnonzero((after.next_row == np.arange(steps.n)) & (after.discount > 0))
    if len(cut):
        allowed = None if after.allowed is None else after.allowed[cut]
        out[cut] = policy.probs(after.context[cut], allowed)  # type: ignore[attr-defined]
    return out


def clocked(problem: Problem, steps: Steps) -> bool:
    """Whether values depend on the time left: some episode of several steps reached the horizon."""
    most = returns.longest(steps.starts)
    return problem.horizon is not None and problem.horizon > 1 and most >= problem.horizon


def with_clock(problem: Problem) -> Problem:
    """The problem whose last feature is the step of the episode."""
    if CLOCK in problem.feature_names or problem.horizon is None:
        return problem
    times = tuple(str(t) for t in range(problem.horizon + 1))
    plain = all(feature.kind != "number" for feature in problem.features)
    clock = Feature(name=CLOCK, kind="category", values=times) if plain else Feature(name=CLOCK)
    return msgspec.structs.replace(problem, features=(*problem.features, clock))


def tell_time(steps: Steps, after: Following | None = None) -> tuple[Steps, Following | None]:
    """Steps, and what follows them, with t as their last column."""
    t = returns.places(steps.starts).astype(np.float32)
    told = steps.with_(context=np.column_stack([steps.context, t]), final_context=None, final_allowed=None)
    if after is None:
        return told, None
    return told, replace(after, context=np.column_stack([after.context, t + 1]))
