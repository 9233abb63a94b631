"""What a loop is told: one strict YAML file, defaults < file < key=value, resolved once and kept with the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from understudy.core import yaml
from understudy.core.errors import ConfigError
from understudy.core.hashing import canonical, content_id
from understudy.core.problem import Problem
from understudy.core.protocols import Environment
from understudy.core.registry import unknown
from understudy.data.identify import load_problem
from understudy.data.times import duration
from understudy.gate import GateRules
from understudy.runs.client import Delivery
from understudy.runs.settings import learner, parse_overrides
from understudy.runs.worlds import make_env

FILE = "loop.yaml"  # read where no other file is named

# The bet is a proof at any effective sample size; the larger defaults of a gate on its own would refuse a first batch.
RULES = {"min_ess": 5.0, "min_matched": 5}


class LearnerSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A registered learner and its hyper-parameters."""

    name: str = "direct"
    settings: dict[str, Any] = {}


class ClientSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A simulated application in place of live traffic.

    Args:
        env: a registered environment, made with ``settings``.
        delivery: how outcomes find their way back; see ``runs.client.Delivery``.
        batch: decisions per request.
        seed: of contexts and rewards; None is the loop's own.
        client_times: stamp events with simulated time, which the service must accept; otherwise the clock counts, and
            each turn waits until the windows of its decisions have closed.
    """

    env: str
    settings: dict[str, Any] = {}
    delivery: dict[str, Any] = {}
    batch: int = 1
    seed: int | None = None
    client_times: bool = True


class Guardrail(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a promotion is undone without asking anybody; see ``runs.guard``.

    Args:
        on: whether anybody watches.
        margin: how much worse than the policy before it the live one may be, in units of reward.
        alpha: chance that a policy which is not worse by more than that is ever rolled back.
        share: of the traffic that the previous policy keeps during the turn after a promotion of a prospective loop.
            The next candidate waits for that turn. 0 relies on exploration and on what candidates try.
        every: decisions between readings within a turn; 0 reads only when a turn is joined.
    """

    on: bool = True
    margin: float = 0.0
    alpha: float = 0.05
    share: float = 0.3
    every: int = 1_000

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 0.5 or not 0 <= self.share < 1 or not self.margin >= 0 or self.every < 0:
            raise ValueError("a guardrail needs alpha in (0, 0.5), share in [0, 1), margin ≥ 0 and every ≥ 0")


class LoopSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One loop: whom it trains, how candidates are tried, and what it takes to go live.

    Args:
        experiment: its id; "" makes one of the settings, so that the same file names the same experiment.
        alias: under which the service acts.
        problem: problem file; "" takes the simulated client's.
        learner: who makes each candidate. explore: ε of uniform exploration mixed into every candidate.
        loops, size: turns, and decisions in each; the first turn's are those of the first policy.
        window, backward: of the join.
        design: ``prospective`` tries a fresh candidate on a ``canary`` share of the next turn's traffic and judges it
            on all events of that turn; ``holdout`` keeps 1 − ``train_share`` of each turn for the judgement. The first
            turn of a prospective loop, which has no candidate yet, is judged by hold-out too.
        gate: ``rules``, or ``off``: every candidate goes live, by an override that the history shows.
        alpha: chance that any candidate of the loop is promoted though it is no better; rules: further gate rules.
        seed: of everything random.
        warm_start: a log (or dataset) artifact of historical decisions to train the first policy on; "" starts with
            the uniform policy.
        train_from: who a learner that goes on from an older policy goes on from.
        guardrail: when a promotion is undone.
        client: a simulated application; None is live traffic.
        log: folder or URL of the event log; "" is the home's.
    """

    experiment: str = ""
    alias: str = "production"
    problem: str = ""
    learner: LearnerSpec = msgspec.field(default_factory=LearnerSpec)  # never one for all: it holds a dict
    explore: float = 0.02
    loops: int = 15
    size: int = 500
    window: str = "10m"
    backward: str = "2m"
    design: Literal["prospective", "holdout"] = "prospective"
    canary: float = 0.2
    train_share: float = 0.8
    gate: Literal["rules", "off"] = "rules"
    alpha: float = 0.05
    rules: dict[str, Any] = msgspec.field(default_factory=lambda: dict(RULES))
    seed: int = 0
    warm_start: str = ""
    train_from: Literal["promoted", "trained"] = "promoted"
    guardrail: Guardrail = Guardrail()
    client: ClientSpec | None = None
    log: str = ""

    def __post_init__(self) -> None:
        for name in ("canary", "train_share"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is a share inside (0, 1); got {getattr(self, name)}")
        if not 0 <= self.explore < 1:
            raise ValueError(f"explore is a share in [0, 1); got {self.explore}")
        if self.loops < 1 or self.size < 1:
            raise ValueError(f"a loop needs at least one turn of one decision; got {self.loops} × {self.size}")

    @property
    def id(self) -> str:
        """The experiment's id: as given, or of the settings themselves; never of the moment."""
        return self.experiment or f"loop-{content_id(canonical(self))[:10]}"

    @property
    def gate_rules(self) -> dict[str, Any]:
        """What the gate is told besides its own defaults."""
        return {**self.rules, "alpha": self.alpha}


def read_settings(words: Sequence[str] = ()) -> LoopSettings:
    """Defaults < file < ``key=value``, where a dotted key reaches inside: ``learner.settings.model=forest``.

    Args:
        words: the settings file first, if there is one (else loop.yaml, if that exists), then settings.
    Raises: ConfigError names the file and the nearest key that exists.
    """
    named = [word for word in words[:1] if "=" not in word]
    path = Path(named[0]) if named else Path(FILE) if Path(FILE).exists() else None
    found = {} if path is None else _read(path)
    for key, value in parse_overrides(words[len(named) :]).items():
        at, *rest = key.split(".")
        _put(found, [at, *rest], value)
    return settings(found, where=str(path or "these settings"))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = yaml.decode(path.read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {str(path)!r}", field=str(path)) from error
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path} is not YAML: {error}", field=str(path)) from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} holds no settings", hint="It is a mapping such as: loops: 15", field=str(path))
    return found


def settings(given: Mapping[str, Any], where: str = "these settings") -> LoopSettings:
    """LoopSettings of a mapping, every name in it checked. Raises: ConfigError."""
    names = [field.name for field in msgspec.structs.fields(LoopSettings)]
    for key in given:
        if key not in names:
            raise unknown("setting of a loop:", str(key), names)
    try:
        made = msgspec.convert(dict(given), LoopSettings)
        GateRules(**made.gate_rules)
    except (msgspec.ValidationError, ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {error}", field=where) from error
    _check(made)
    return made


def _check(made: LoopSettings) -> None:
    """What would otherwise only be found wrong in the middle of the first turn."""
    learner(made.learner.name, made.learner.settings)
    duration(made.window)
    duration(made.backward, field="backward")
    if made.client is None and not made.problem:
        raise ConfigError("a loop on live traffic needs a problem", hint="problem: problem.yaml", field="problem")
    if made.client is not None:
        Delivery(**made.client.delivery)


def environment(made: LoopSettings) -> Environment | None:
    """The simulated client's world; None on live traffic."""
    return None if made.client is None else make_env(made.client.env, made.client.settings)


def problem_of(made: LoopSettings) -> Problem:
    """The problem that is served: the file's, or the simulated world's."""
    if made.problem:
        return load_problem(made.problem)
    world = environment(made)
    assert world is not None  # settings() asked for one of the two
    return world.problem


def _put(into: dict[str, Any], path: list[str], value: Any) -> None:
    at, *rest = path
    if not rest:
        into[at] = value
        return
    inner = into.setdefault(at, {})
    if not isinstance(inner, dict):
        raise ConfigError(f"{at!r} holds no settings that {'.'.join(rest)!r} could be one of", field=at)
    _put(inner, rest, value)


def resolved_lines(made: LoopSettings) -> list[str]:
    """Every setting as it would count, for a person."""
    return [f"experiment: {made.id}"] + [
        f"{name}: {value}" for name, value in msgspec.to_builtins(made).items() if name != "experiment"
    ]
