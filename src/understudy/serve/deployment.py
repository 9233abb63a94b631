"""Who acts at one moment: policies, their ids and how traffic is directed, swapped as one value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError, StoreError
from understudy.core.problem import Problem
from understudy.core.protocols import DiscretePolicy
from understudy.core.service import Mode, canary_id
from understudy.data.context import Coder
from understudy.data.home import LOGGED, Home
from understudy.data.traffic import Traffic
from understudy.models.policies import Uniform
from understudy.models.policy_file import read_policy
from understudy.models.rows import prompt, row_probs

UNIFORM = "uniform"  # the id of whoever acts while nobody is live


@dataclass(frozen=True)
class Actor:
    """A policy under its id; ``probs`` is its pmf of one row: (f32[1, d], bool[1, k] or None) → k floats."""

    id: str
    policy: DiscretePolicy
    probs: Callable[[np.ndarray, np.ndarray | None], list[float]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "probs", row_probs(self.policy))


@dataclass(frozen=True)
class Deployment:
    """Everything a decision depends on but the request; requests in flight keep the one they began with.

    Args:
        incumbent: who is live; uniform over what is allowed where nobody is.
        candidate: who is tried beside it, in canary, shadow or apprentice mode.
        version: (promotion, direction) as numbered by the ledger.
    """

    coder: Coder
    incumbent: Actor
    candidate: Actor | None = None
    mode: Mode = "live"
    share: float = 0.0
    version: tuple[int, int] = (0, 0)
    policy_id: str = field(init=False)  # of what acts: the incumbent's, or the mixture's

    def __post_init__(self) -> None:
        if self.mode == "canary" and self.candidate is not None:
            made = canary_id(self.incumbent.id, self.candidate.id, self.share)
        else:
            made = self.incumbent.id
        object.__setattr__(self, "policy_id", made)

    @property
    def problem(self) -> Problem:
        return self.coder.problem

    @cached_property
    def prompt(self) -> bool:
        """Whether nobody who is asked can take long, so that nobody has to watch."""
        return all(prompt(actor.policy) for actor in self.actors)

    @property
    def actors(self) -> tuple[Actor, ...]:
        return (self.incumbent,) if self.candidate is None else (self.incumbent, self.candidate)


def load_deployment(
    home: str | Path | Home, alias: str, problem: Problem | None = None, known: Deployment | None = None
) -> Deployment:
    """The deployment that the ledger describes at this moment.

    Args:
        problem: what is served; None takes it from ``known``, or else from the policies that act.
        known: an earlier deployment: returned if it still holds, and its policies need not be read again.
    Raises: StoreError if a policy that should act is missing, damaged or made for another problem; ConfigError if
        nobody is live and no problem is given.
    """
    place = home if isinstance(home, Home) else Home(home)
    promotion, direction = place.ledger.current(alias), Traffic(place.ledger).current(alias)
    version = (0 if promotion is None else promotion.version, direction.version)
    problem = known.problem if problem is None and known is not None else problem  # what is served stays what it is
    if known is not None and known.version == version and known.problem == problem:
        return known
    live = promotion.policy if promotion is not None and promotion.policy != LOGGED else None
    candidate = direction.candidate if direction.candidate not in (live, LOGGED) else None
    have = {actor.id: actor for actor in known.actors} if known is not None else {}
    actors: dict[str, Actor] = {}
    for id in filter(None, (live, candidate)):
        actors[id], found = (have[id], known.problem) if known is not None and id in have else _read(place, id)
        if problem is None:
            problem = found
        if found.hash != problem.hash:
            raise StoreError(
                f"policy {id} was made for problem {found.hash}; {alias!r} serves problem {problem.hash}",
                "Its features or actions may mean something else.",
                "Train it again on a dataset of the problem that is served.",
                field=id,
            )
    if problem is None:
        raise ConfigError(
            f"nobody is live under {alias!r} and no problem is given",
            "What may be decided is not known.",
            "Say --problem FILE (draft one with: understudy identify LOG --to FILE), or make a policy live first.",
            field="problem",
        )
    mode = "live" if direction.mode in ("canary", "shadow") and candidate is None else direction.mode
    return Deployment(
        known.coder if known is not None and known.problem == problem else Coder(problem),
        actors[live] if live else Actor(UNIFORM, Uniform(problem.actions.k)),
        actors[candidate] if candidate else None,
        mode,
        direction.share if mode == "canary" else 0.0,
        version,
    )


def _read(home: Home, id: str) -> tuple[Actor, Problem]:
    file = read_policy(home.kept(id))
    if not hasattr(file.policy, "probs"):
        raise StoreError(f"policy {id} gives no probabilities over named actions, so it cannot be served", field=id)
    policy: Any = file.policy
    return Actor(id, policy), file.problem


def policy_of(home: str | Path, actors: Mapping[str, Actor] | None = None) -> Callable[[str], Actor]:
    """Policies by id, each read once: for replay."""
    place, found = Home(home), dict(actors or {})

    def get(id: str) -> Actor:
        if id not in found:
            found[id] = _read(place, id)[0]
        return found[id]

    return get
