"""The search: Optuna proposes, studies try, one seed after the other; interrupted, the same call goes on.

    trials.log        Optuna's journal: every trial, its parameters and values
    rounds/B-S/       the study of seed number S of the trials of batch B
    fresh/            the study of the best setting on fresh seeds
    trials.parquet    one row per trial
    best.json         the best setting, and what it is worth

A batch of trials starts together. Each is run on one seed, then, unless it is pruned, on the next: so a rung is a study
like any other, at any executor, and a trial that was interrupted is found in its folder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq

from understudy.core.errors import ConfigError
from understudy.core.registry import EXTRAS
from understudy.runs.sweep.experiment import Experiment, plan, seeds
from understudy.runs.sweep.perform import METRICS
from understudy.runs.sweep.space import Tune
from understudy.runs.sweep.study import SAY, Study, begin

JOURNAL = "trials.log"
Finish = Callable[[Study], None]


@dataclass(frozen=True)
class Search:
    """An experiment with its section ``tune``, in a folder."""

    experiment: Experiment
    folder: Path
    finish: Finish  # does every run of a study
    told: SAY = lambda line: None

    @property
    def tune(self) -> Tune:
        """The section ``tune``."""
        assert self.experiment.tune is not None
        return self.experiment.tune

    def run(self) -> Any:
        """Try until there are as many trials as asked for. Returns Optuna's study."""
        study = self._open()
        while True:
            batch = [t for t in study.get_trials(deepcopy=False) if t.state.name == "RUNNING"]
            if not batch:
                left = self.tune.trials - len(study.get_trials(deepcopy=False))
                if left <= 0:
                    return study
                batch = self._propose(study, min(left, self.tune.at_once))
            self._try(study, batch)

    def _open(self) -> Any:
        optuna = _optuna()
        self.folder.mkdir(parents=True, exist_ok=True)
        backend = optuna.storages.journal.JournalFileBackend(str(self.folder / JOURNAL))
        return optuna.create_study(
            study_name=self.experiment.name,
            storage=optuna.storages.JournalStorage(backend),
            direction="maximize" if self.tune.maximize else "minimize",
            pruner=optuna.pruners.MedianPruner() if self.tune.prune else optuna.pruners.NopPruner(),
            load_if_exists=True,
        )

    def _propose(self, study: Any, n: int) -> list[Any]:
        """The next n trials. The sampler's seed is the number of trials before: a resumed search proposes the same."""
        optuna, before = _optuna(), len(study.get_trials(deepcopy=False))
        study.sampler = optuna.samplers.TPESampler(seed=before, multivariate=True)
        space = {key: axis.distribution() for key, axis in self.tune.space.items()}
        for _ in range(n):
            study.ask(space).set_user_attr("batch", before)
        return [t for t in study.get_trials(deepcopy=False) if t.state.name == "RUNNING"]

    def _try(self, study: Any, batch: Sequence[Any]) -> None:
        """One more seed for each trial of the batch that lives; the values are told to Optuna."""
        optuna, trying = _optuna(), seeds(self.tune.seeds)
        rung = min(len(trial.intermediate_values) for trial in batch)
        due = [trial for trial in batch if len(trial.intermediate_values) == rung]
        number = batch[0].user_attrs.get("batch", due[0].number)
        self.told(f"trials {', '.join(str(trial.number) for trial in due)}: seed {trying[rung]}")
        due = [trial for trial in due if self._can(study, trial)]
        settings = [self.setting(trial.params) for trial in due]
        if not due:
            return
        tried = self._study(self.folder / "rounds" / f"{number:05d}-{rung}", settings, [trying[rung]], self.experiment)
        runs = {_key(setting): run for setting, run in zip(_different(settings), tried.plan.runs())}
        for trial, setting in zip(due, settings):
            run = runs[_key(setting)]
            if (loss := value_of(tried, run, "loss", known=False)) is not None:
                optuna.trial.Trial(study, trial._trial_id).set_user_attr("loss", loss)
            self._tell(study, trial, value_of(tried, run, self.tune.objective), rung, len(trying))

    def _can(self, study: Any, trial: Any) -> bool:
        """Whether the setting is one that a run can have; a trial of another has failed."""
        try:
            plan(msgspec.structs.replace(self.experiment, tune=None, sweep={"trial": [self.setting(trial.params)]}))
        except ConfigError as error:
            study.tell(trial.number, state=_optuna().trial.TrialState.FAIL)
            self.told(f"trial {trial.number} failed: {error}")
            return False
        return True

    def _tell(self, study: Any, frozen: Any, value: float | None, rung: int, last: int) -> None:
        optuna = _optuna()
        state, trial = optuna.trial.TrialState, optuna.trial.Trial(study, frozen._trial_id)
        if value is None or not math.isfinite(value):
            study.tell(frozen.number, state=state.FAIL)
            self.told(f"trial {frozen.number} failed")
            return
        trial.set_user_attr(f"value {rung}", value)
        values = [*(frozen.user_attrs[f"value {k}"] for k in range(rung)), value]
        mean = math.fsum(values) / len(values)
        trial.report(mean, rung)
        if rung + 1 == last:
            study.tell(frozen.number, mean)
        elif trial.should_prune():
            study.tell(frozen.number, state=state.PRUNED)

    def setting(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Dotted fields for what Optuna drew."""
        return {key: axis.value(params[key]) for key, axis in self.tune.space.items()}

    def fresh(self, setting: Mapping[str, Any]) -> Study:
        """The setting on seeds, and of a dataset on rows, that took no part in choosing it."""
        experiment = self.experiment
        if experiment.on:
            judged = {**experiment.evaluate, "slice": self.tune.report}
            experiment = msgspec.structs.replace(experiment, evaluate=judged)
        return self._study(self.folder / "fresh", [setting], seeds(self.tune.fresh), experiment)

    def _study(self, to: Path, settings: Sequence[Any], on: Sequence[int], experiment: Experiment) -> Study:
        """A study of settings, done. Two trials may have drawn one setting; its runs are then done once."""
        axis = {"trial": _different(settings)}
        study = begin(msgspec.structs.replace(experiment, tune=None, sweep=axis, seeds=list(on)), to)
        self.finish(study)
        return study


def value_of(study: Study, run: Any, metric: str, known: bool = True) -> float | None:
    """The last value of a metric of a run; None if the run failed.

    Raises: ConfigError if it has no such metric, unless it need not be ``known``.
    """
    path = study.path(run) / METRICS
    if not path.exists():
        return None
    rows = pq.read_table(path).to_pylist()
    found = [(row["step"], row["value"]) for row in rows if row["metric"] == metric]
    if not found and known:
        there = sorted({row["metric"] for row in rows})
        raise ConfigError(f"no run has a metric {metric!r}", hint=f"There are: {', '.join(there)}.", field="objective")
    return max(found)[1] if found else None


def checked(experiment: Experiment) -> Experiment:
    """Raises: ConfigError for a section ``tune`` that is missing, or whose seeds or slices overlap."""
    if experiment.tune is None:
        raise ConfigError("the experiment has no section tune", hint="tune: {space: {...}}", field="tune")
    if experiment.sweep:
        raise ConfigError("an experiment is swept or tuned", "Which of both comes first would be a guess.",
                          "Remove the section sweep, or use understudy sweep.", field="sweep")  # fmt: skip
    shared = set(seeds(experiment.tune.seeds)) & set(seeds(experiment.tune.fresh))
    if shared:
        raise ConfigError(
            f"seed {min(shared)} both chooses the best setting and reports on it",
            "The best of many trials looks better than it is on the seeds that chose it.",
            "Give disjoint seeds and fresh.", field="fresh",
        )  # fmt: skip
    judged = experiment.evaluate.get("slice", "select")
    if experiment.on and len({experiment.slice, judged, experiment.tune.report}) < 3:
        raise ConfigError(
            f"slices {experiment.slice!r}, {judged!r} and {experiment.tune.report!r} are not three",
            "One trains, one chooses, one reports; what chose a policy flatters it.", field="report",
        )  # fmt: skip
    middle = {key: axis.value(0) if axis.choices else axis.low for key, axis in experiment.tune.space.items()}
    plan(msgspec.structs.replace(experiment, tune=None, sweep={"trial": [middle]}, seeds=1))
    return experiment


def _key(setting: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(setting)


def _different(settings: Sequence[Any]) -> list[Any]:
    return list({_key(setting): setting for setting in settings}.values())


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError as error:
        hint = f'pip install "understudy[{EXTRAS["optuna"]}]"'
        raise ConfigError("tune needs the package 'optuna', which is not installed", hint=hint) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
