"""What a search found: its log, one row per trial; the best setting; and how much of its value was luck."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from understudy.core.errors import ConfigError, EvidenceError, StoreError
from understudy.data.mirror import mirror_of
from understudy.runs.executors.build import make_executor, remember
from understudy.runs.sweep.drive import finish
from understudy.runs.sweep.experiment import overridden, read_experiment, seeds
from understudy.runs.sweep.study import SAY, Study
from understudy.runs.tuning.search import Search, checked, value_of

BEST, TRIALS = "best.json", "trials.parquet"
_OPEN = ("settings.", "growth.", "env_settings.")


class Best(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The best setting of a search.

    ``tuned``: its mean objective on the seeds that chose it, of ``trials`` trials. ``fresh``: the mean on seeds that
    did not, with the standard error; ``optimism`` = tuned − fresh, in the objective's own direction.
    """

    learner: str
    setting: dict[str, Any]
    objective: str
    trials: int
    failed: int
    pruned: int
    tuned: float
    fresh: float
    fresh_std_error: float | None  # of one fresh seed there is none
    fresh_seeds: int
    fresh_failed: int
    optimism: float

    def lines(self) -> list[str]:
        """For a person."""
        chosen = "  ".join(f"{key}={value}" for key, value in self.setting.items())
        error = "" if self.fresh_std_error is None else f" +- {self.fresh_std_error:.2g}"
        return [
            f"{self.trials} trials: {self.failed} failed, {self.pruned} pruned",
            f"best: {chosen}",
            f"{self.objective} {self.tuned:.4g} on the seeds that chose it, {self.fresh:.4g}{error} on "
            f"{self.fresh_seeds} fresh ones: optimism {self.optimism:.2g}",
        ]  # fmt: skip


def tune(
    file: Path, to: Path, overrides: Mapping[str, Any], at: str, cluster: Path | None = None, told: SAY = lambda s: None
) -> Best:
    """Search, run the best again on fresh seeds, and write ``trials.parquet`` and ``best.json`` into ``to``.

    Raises: ConfigError before any trial; EvidenceError if no trial ended well.
    """
    experiment = checked(overridden(read_experiment(file), overrides))

    def finished(study: Study) -> None:
        executor = make_executor(at, study.folder, cluster)
        remember(at, study.folder, cluster)
        if lost := finish(study, at, executor):
            raise StoreError(f"{len(lost)} runs of {study.folder} were lost with their workers",
                             hint="Run the same line again; what is done is kept.")  # fmt: skip

    return found(Search(experiment, to, finished, told))


def found(search: Search) -> Best:
    """Search to the end; leaves ``trials.parquet`` and ``best.json``."""
    trials = search.run().get_trials(deepcopy=False)
    pq.write_table(_log(search, trials), search.folder / TRIALS)
    best = _best(search, trials)
    (search.folder / BEST).write_bytes(msgspec.json.format(msgspec.json.encode(best), indent=1))
    if away := mirror_of(search.folder):
        away.put(TRIALS, (search.folder / TRIALS).read_bytes())
        if not away.put(BEST, (search.folder / BEST).read_bytes()):
            raise StoreError(f"{away.url} holds what another search found, or this one with fewer trials",
                             "What lies in a bucket never changes.", "Give another --to.", field="to")  # fmt: skip
    return best


def best_of(folder: str | Path, learner: str) -> dict[str, Any]:
    """The best setting of a search as settings of ``train``: a learner's own, ``env.x``, and how a log grows.

    Raises: ConfigError if it was a search for another learner, or over fields that ``train`` does not take.
    """
    path = Path(folder) / BEST
    try:
        best = msgspec.json.decode(path.read_bytes(), type=Best)
    except FileNotFoundError:
        raise StoreError(f"{folder} holds no finished search: it has no {BEST}", hint="understudy tune makes one.",
                         field="best-of") from None  # fmt: skip
    if best.learner != learner:
        raise ConfigError(f"{folder} searched for settings of {best.learner!r}, not of {learner!r}", field="best-of")
    settings = {}
    for key, value in best.setting.items():
        section = next((each for each in _OPEN if key.startswith(each)), None)
        if section is None:
            raise ConfigError(f"train takes no {key!r}, which {folder} searched", field=key)
        name = key.removeprefix(section)
        settings[f"env.{name}" if section == "env_settings." else name] = value
    return settings


def _best(search: Search, trials: list[Any]) -> Best:
    ended = [trial for trial in trials if trial.state.name == "COMPLETE"]
    states = [trial.state.name for trial in trials]
    if not ended:
        raise EvidenceError(
            f"none of {len(trials)} trials ended well: {states.count('FAIL')} failed",
            "There is nothing to choose from.", "understudy logs on a folder below rounds/ says why.",
        )  # fmt: skip
    sign = 1.0 if search.tune.maximize else -1.0
    top = max(ended, key=lambda trial: (sign * trial.value, -trial.number))
    setting = search.setting(top.params)
    study = search.fresh(setting)
    values = [value_of(study, run, search.tune.objective) for run in study.plan.runs()]
    good = np.array([value for value in values if value is not None and math.isfinite(value)])
    if not len(good):
        raise EvidenceError(f"the best setting failed on all {len(values)} fresh seeds", hint="See fresh/failures.")
    error = float(good.std(ddof=1) / math.sqrt(len(good))) if len(good) > 1 else None
    return Best(
        learner=study.plan.configs[0].learner, setting=setting, objective=search.tune.objective, trials=len(trials),
        failed=states.count("FAIL"), pruned=states.count("PRUNED"), tuned=top.value, fresh=float(good.mean()),
        fresh_std_error=error, fresh_seeds=len(values), fresh_failed=len(values) - len(good),
        optimism=sign * (top.value - float(good.mean())),
    )  # fmt: skip


def _log(search: Search, trials: list[Any]) -> pa.Table:
    """One row per trial: number, state, mean and standard deviation over its seeds, last loss, and its parameters."""
    n, rows = len(seeds(search.tune.seeds)), []
    for trial in trials:
        values = [trial.user_attrs[f"value {k}"] for k in range(n) if f"value {k}" in trial.user_attrs]
        setting = search.setting(trial.params)
        rows.append({
            "trial": trial.number, "state": trial.state.name.lower(), "seeds": len(values),
            "mean": float(np.mean(values)) if values else None,
            "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
            "loss": trial.user_attrs.get("loss"),
            **{key: value if isinstance(value, int | float | str | bool) else json.dumps(value)
               for key, value in setting.items()},
        })  # fmt: skip
    return pa.Table.from_pylist(rows)
