"""The experiment file: what one run does, which fields are swept, on which seeds. Checked whole before any run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from dataclasses import fields as fields_of
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from understudy.core.errors import ConfigError
from understudy.core.hashing import canonical, content_id
from understudy.core.jobs import Resources
from understudy.core.problem import ActionSpace
from understudy.core.protocols import by_epochs
from understudy.core.registry import unknown
from understudy.data.artifact import read_manifest
from understudy.data.places import here
from understudy.runs.example import Log
from understudy.runs.online import Growth
from understudy.runs.settings import learner, read_yaml
from understudy.runs.sweep.radix import Grid
from understudy.runs.sweep.reporters import check
from understudy.runs.sweep.space import Tune
from understudy.runs.worlds import episodic, make_env

# How a command line may write the two open sections; in the file they are called what they are.
_SHORT = {"learner.": "settings.", "env.": "env_settings."}


class Judged(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"by": "with"}):
    """How the policy of a run is judged: ``episodes`` in the world, and estimators on ``slice`` of a log.

    ``env_settings``: of the world that judges, where they differ from those of the world that taught. ``trace``: of
    the judging episodes so many steps are kept, with their contexts, actions and outcomes; none by default. ``log``:
    without a dataset, estimators read that many episodes of uniform actions in the world that judges.
    """

    episodes: int = 100
    env_settings: dict[str, Any] = {}
    trace: int = 0
    by: tuple[str, ...] = ()
    slice: str = "select"
    log: int = 100


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run but for its seed: ``learner`` with ``settings`` learns

    from a dataset (``on``), from a log that is made in a world (``env`` and ``log``), or in the world (``env`` and
    ``growth``).
    """

    learner: str
    env: str = ""
    env_settings: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    on: str = ""
    data: str = ""  # the id of the dataset ``on``: a run is named by what it read, wherever that lay
    slice: str = "train"
    log: Log | None = None
    growth: dict[str, Any] | None = None
    explore: float = 0.0
    evaluate: Judged = Judged()

    @property
    def judging(self) -> dict[str, Any]:
        """Settings of the world that judges."""
        return {**self.env_settings, **self.evaluate.env_settings}

    @property
    def way(self) -> str:
        """How it learns: "log", "world" or "dataset"."""
        return "dataset" if self.on else "world" if self.growth is not None else "log"

    def run_id(self, seed: int) -> str:
        """The name of a run: the hash of everything that decides its result."""
        return content_id(canonical([msgspec.structs.replace(self, on=""), seed]))[:16]


class Experiment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An experiment file: a ``Config``, and which of its fields are swept.

    ``sweep``: dotted field → values, or any name → mappings of dotted fields, which then change together. ``seeds``: a
    number of them, ``first:last`` (the last not included), or a list. ``group``: runs per job, one after the other.
    ``tune``: what ``understudy tune`` searches, in place of a sweep. ``report``: the page that is made of the whole
    study when its last run is done.
    """

    name: str
    learner: str = ""
    env: str = ""
    env_settings: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    on: str = ""
    slice: str = "train"
    log: dict[str, Any] | None = None
    growth: dict[str, Any] | None = None
    explore: float = 0.0
    evaluate: dict[str, Any] = {}
    sweep: dict[str, list[Any]] = {}
    seeds: int | str | list[int] = 5
    tune: Tune | None = None
    resources: Resources = Resources()
    group: int = 1
    report: str = ""


@dataclass(frozen=True)
class Run:
    """One (setting, seed) pair. ``index`` is its number in the mixed radix of the sweep."""

    index: int
    setting: int
    seed: int
    config: Config

    @cached_property
    def id(self) -> str:
        """The run's name: equal configs and seeds have one name, in whatever study they stand."""
        return self.config.run_id(self.seed)


@dataclass(frozen=True)
class Plan:
    """An experiment resolved: every setting as a checked config, and the seeds."""

    experiment: Experiment
    grid: Grid
    configs: tuple[Config, ...]
    seeds: tuple[int, ...]

    @cached_property
    def id(self) -> str:
        """Hash of all that decides the results."""
        return content_id(canonical([self.experiment.name, self.configs, self.seeds]))[:16]

    @property
    def total(self) -> int:
        """Settings times seeds."""
        return len(self.configs) * len(self.seeds)

    def run(self, index: int) -> Run:
        """The run of an index: setting = index mod total, the same seed for every setting of a round."""
        setting, number = self.grid.place(index)
        return Run(index, setting, self._seed(index, number), self.configs[setting])

    def runs(self, indices: Sequence[int] | None = None) -> Iterator[Run]:
        """The runs of these indices, all of the plan if None."""
        return (self.run(index) for index in (range(self.total) if indices is None else indices))

    def within(self, indices: Sequence[int]) -> None:
        """Raises: ConfigError for an index that means a further round of the settings than there are seeds."""
        beyond = [index for index in indices if index >= self.total]
        if beyond:
            raise ConfigError(
                f"index {beyond[0]} is out of range: there are {self.total} runs, 0 to {self.total - 1}",
                "With --no-wrap an index never means a further round of the settings.", field="index",
            )  # fmt: skip

    def _seed(self, index: int, number: int) -> int:
        if number < len(self.seeds):
            return self.seeds[number]
        if isinstance(self.experiment.seeds, list):
            raise ConfigError(
                f"index {index} is round {number} of the settings, and there are {len(self.seeds)} seeds",
                "Its seed would be a guess.", f"Indices end at {self.total - 1}; or list more seeds.", field="index",
            )  # fmt: skip
        return self.seeds[0] + number


def read_experiment(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment in a YAML file. Overrides are dotted fields; a list of values sweeps the field, ``seed`` seeds."""
    experiment: Experiment = read_yaml(path, Experiment)
    return overridden(experiment, overrides or {})


def overridden(experiment: Experiment, overrides: Mapping[str, Any]) -> Experiment:
    """The experiment with fields replaced; a list of values makes an axis of the sweep."""
    fields, sweep = msgspec.to_builtins(experiment), dict(experiment.sweep)
    fields["sweep"] = sweep
    for key, value in overrides.items():
        key = _long(key)
        if key in ("seed", "seeds"):
            fields["seeds"] = [value] if key == "seed" and isinstance(value, int) else value
        elif key == "sweep":  # the axes anew; those that are named after it are added
            sweep = fields["sweep"] = dict(value)
        elif key in sweep or (isinstance(value, list) and not key.startswith("tune.")):
            sweep[key] = value if isinstance(value, list) else [value]
        else:
            _put(fields, key, value)
    return _convert(fields, Experiment)


def plan(experiment: Experiment, runs: int | None = None) -> Plan:
    """Every setting resolved and checked. ``runs``: the number of seeds, in place of the file's.

    Raises: ConfigError for an unknown key, an empty axis, a value of the wrong type, a learner or world that is not.
    """
    axes = {_long(key): values for key, values in experiment.sweep.items()}
    for key, values in axes.items():
        if not values:
            raise ConfigError(f"sweep: {key} has no values", "The product of all axes would be empty.", field=key)
        if len({canonical(value) for value in values}) < len(values):
            raise ConfigError(f"sweep: {key} lists a value twice", "The same run would stand twice.", field=key)
    grid = Grid(axes)
    base = {name: value for name, value in msgspec.to_builtins(experiment).items() if name in Config.__struct_fields__}
    configs = tuple(checked(base, grid.setting(number)) for number in range(grid.total))
    if runs is not None and runs < 1:
        raise ConfigError(f"there must be at least one run of each setting; got {runs}", field="runs")
    check(experiment.report)
    if experiment.group < 1:
        raise ConfigError(f"group is the number of runs per job, at least 1; got {experiment.group}", field="group")
    found = seeds(experiment.seeds)
    if runs is not None:
        found = found[:runs] if len(found) >= runs else tuple(range(found[0], found[0] + runs))
    return Plan(experiment, grid, configs, found)


def seeds(given: int | str | Sequence[int]) -> tuple[int, ...]:
    """``5`` → 0 to 4, ``"100:105"`` → 100 to 104, a list as it stands."""
    if isinstance(given, int):
        found = tuple(range(given))
    elif isinstance(given, str):
        match = re.fullmatch(r"(\d+):(\d+)", given.strip())
        if match is None:
            raise ConfigError(f"seeds {given!r} cannot be read", hint="Write 5, 100:105, or [1, 2, 3].", field="seeds")
        found = tuple(range(int(match[1]), int(match[2])))
    else:
        found = tuple(given)
    if not found or len(set(found)) < len(found) or min(found) < 0:
        raise ConfigError(f"seeds {given!r} are not one or more different numbers from 0", field="seeds")
    return found


def checked(base: Mapping[str, Any], setting: Mapping[str, Any]) -> Config:
    """One setting applied, looked at as a whole, and resolved: what it names exists, all defaults are written out."""
    fields = {**base, "settings": dict(base["settings"]), "env_settings": dict(base["env_settings"])}
    for key, value in setting.items():
        for path, each in ({_long(k): v for k, v in value.items()} if _linked(key, value) else {key: value}).items():
            _put(fields, path, each)
    config = _convert(fields, Config)
    if not config.learner:
        raise ConfigError("no learner is named", hint="Write learner: NAME, or sweep it.", field="learner")
    if bool(config.on) + (config.log is not None) + (config.growth is not None) != 1:
        raise ConfigError(
            "an experiment learns from one of: on (a dataset), log (made in env), growth (in env)",
            hint="Give exactly one of them.", field="on",
        )  # fmt: skip
    made: Any = learner(config.learner, config.settings)
    if config.way != "dataset":
        _check_world(config, made)
    elif not config.evaluate.by and not config.env:
        raise ConfigError("nothing judges the policies", hint="Give evaluate: {with: [...]}, or env.", field="evaluate")
    return msgspec.structs.replace(
        config,
        settings=msgspec.to_builtins(asdict(made)),
        growth=None if config.growth is None else asdict(growth(config)),
        data=read_manifest(here(config.on)).id if config.on else "",
    )


@lru_cache(maxsize=256)
def _world(env: str, settings: bytes) -> tuple[ActionSpace, bool]:
    """(actions, whether it has episodes) of a world; most settings of a sweep stand in the same few."""
    world = make_env(env, msgspec.json.decode(settings))
    return world.problem.actions, episodic(world)


def _check_world(config: Config, made: Any) -> None:
    if not config.env:
        raise ConfigError("no world is named", hint="Write env: NAME.", field="env")
    actions, has_episodes = _world(config.env, canonical(config.env_settings))
    if _world(config.env, canonical(config.judging))[0] != actions:
        raise ConfigError("the world that judges has other actions", field="evaluate.env_settings")
    if config.growth is None:
        return
    if not by_epochs(made) and not hasattr(made, "told") and not hasattr(made, "take"):
        raise ConfigError(f"{config.learner} learns from a log, not in a world", field="learner")
    if not has_episodes:
        raise ConfigError(f"{config.env} is a bandit", hint="understudy loop learns in those.", field="env")
    growth(config)


def growth(config: Config) -> Growth:
    """How the log of a run in a world grows."""
    given = dict(config.growth or {})
    known = {field.name for field in fields_of(Growth)}
    for key in given:
        if key not in known:
            raise unknown("setting of growth:", key, sorted(known))
    return _convert(given, Growth)


def _linked(key: str, value: Any) -> bool:
    """Whether an axis changes several fields together: its name is no field and its values are mappings."""
    return isinstance(value, dict) and key.partition(".")[0] not in Config.__struct_fields__


def _long(key: str) -> str:
    for short, long in _SHORT.items():
        if key.startswith(short):
            return long + key.removeprefix(short)
    return key


def _put(fields: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted field in a tree of mappings that is ours to change."""
    *outer, last = key.split(".")
    inside = fields
    for name in outer:
        inner = inside.get(name)
        inside[name] = dict(inner) if isinstance(inner, dict) else {}
        inside = inside[name]
    if inside is fields and last not in fields:
        raise unknown("field of an experiment", last, sorted(fields))
    inside[last] = value


def _convert(fields: Mapping[str, Any], kind: type) -> Any:
    try:
        return msgspec.convert(dict(fields), kind)
    except (msgspec.ValidationError, ValueError) as error:
        text = str(error)
        key = text.partition("unknown field `")[2].partition("`")[0]
        near = unknown("field", key, list(get_type_hints(kind))).hint if key else ""
        raise ConfigError(f"the experiment is not valid: {text}", hint=near, field=key) from error
