"""Which setting speaks for a learner: chosen on some seeds, heard on others. Failures have a score; none is dropped."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from understudy.core.errors import ConfigError, EvidenceError
from understudy.report.compare_model import Mode
from understudy.runs.compare.asked import LOWEST
from understudy.runs.compare.records import Record


@dataclass(frozen=True)
class Seeds:
    """Which seeds choose and which report; none that chooses: nothing is left to choose, or ``same``."""

    mode: Mode
    select: tuple[int, ...]
    fresh: tuple[int, ...]


@dataclass(frozen=True)
class Group:
    """The runs of one learner on one task, by setting and seed, with the scores that failures were given."""

    arm: str
    task: str
    settings: Mapping[str, Mapping[int, Record]]
    floor: float

    def score(self, setting: str, seed: int) -> float:
        """Of a run that is done or has failed; NaN if it is missing."""
        record = self.settings[setting].get(seed)
        if record is None or record.state == "missing":
            return float("nan")
        return record.score if record.state == "done" else self.floor

    def scores(self, setting: str, seeds: Sequence[int]) -> np.ndarray:
        """f64[seeds], NaN where missing."""
        return np.array([self.score(setting, seed) for seed in seeds])

    def varied(self) -> list[str]:
        """Fields in which its settings differ, in order."""
        fields = [next(iter(runs.values())).fields for runs in self.settings.values()]
        names = dict.fromkeys(name for each in fields for name in each)
        return [name for name in names if len({json.dumps(each.get(name)) for each in fields}) > 1]

    def label(self, setting: str) -> str:
        """The setting in words: what sets it apart from the others."""
        fields = next(iter(self.settings[setting].values())).fields
        pairs = ((name.rpartition(".")[2], fields.get(name)) for name in self.varied())
        return ", ".join(f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in pairs)


@dataclass(frozen=True)
class Chosen:
    """A group's spokesman. ``tried``: by mode "same", the scores of all settings it was chosen from."""

    group: Group
    setting: str
    seeds: tuple[int, ...]
    scores: np.ndarray
    failed: tuple[int, ...]
    missing: tuple[int, ...]
    chosen_at: float | None = None
    tried: np.ndarray | None = None


def grouped(records: Sequence[Record], failed: str | float) -> list[Group]:
    """Records by learner and task. ``failed``: the score of a failed run, or "lowest" that any run of the task got."""
    found: dict[tuple[str, str], dict[str, dict[int, Record]]] = {}
    for record in records:
        found.setdefault((record.task, record.arm), {}).setdefault(record.setting, {})[record.seed] = record
    floors = {task: _floor(task, records, failed) for task in {record.task for record in records}}
    ordered = {key: dict(sorted(settings.items())) for key, settings in sorted(found.items())}
    return [Group(arm, task, settings, floors[task]) for (task, arm), settings in ordered.items()]


def _floor(task: str, records: Sequence[Record], failed: str | float) -> float:
    if failed != LOWEST:
        return float(failed)
    scores = [record.score for record in records if record.task == task and record.state == "done"]
    if not scores:
        raise EvidenceError(f"{task}: no run is done, so there is no lowest score for those that failed",
                            hint="Say what a failure scores: --failed 0.", field="failed")  # fmt: skip
    return min(scores)


def divided(groups: Sequence[Group], select: Sequence[int], fresh: Sequence[int], same: bool) -> Seeds:
    """Selection seeds and reporting seeds, checked to be disjoint.

    Raises: ConfigError where they overlap or name seeds that no run has; EvidenceError where a choice is to be made and
        reported on the same seeds.
    """
    known = {seed for group in groups for runs in group.settings.values() for seed in runs}
    for name, given in (("select", select), ("fresh", fresh)):
        if strange := sorted(set(given) - known):
            raise ConfigError(f"--{name}: no run has seed {strange[0]}; there are {spans(known)}", field=name)
    if both := sorted(set(select) & set(fresh)):
        why = "The best of several would be reported by the luck that made it best."
        raise ConfigError(f"seed {both[0]} is to choose and to report", why, field="fresh")
    choices = max(len(group.settings) for group in groups)
    if same and select:
        raise ConfigError("--same-seeds and --select contradict each other", hint="Give one of them.", field="select")
    if choices == 1 and not select:
        return Seeds("single", (), tuple(fresh or sorted(known)))
    if same:
        return Seeds("same", tuple(sorted(known)), tuple(sorted(known)))
    half = sorted(known)[: max(1, len(known) // 2)]
    if not select:
        raise EvidenceError(
            f"a best of {choices} settings would be chosen and reported on the same seeds",
            "The best of several identical settings looks better than it is.",
            f"Choose on some seeds and report the others: --select {spans(half)}; or run fresh seeds; "
            "or --same-seeds, to have it corrected.", field="select",
        )  # fmt: skip
    rest = tuple(fresh or sorted(known - set(select)))
    if not rest:
        raise EvidenceError("no seed is left to report on", "All seeds choose.", "Sweep fresh seeds.", field="select")
    return Seeds("fresh", tuple(select), rest)


def choose(group: Group, seeds: Seeds) -> Chosen:
    """The setting with the highest mean on the selection seeds, and its scores on the fresh ones.

    A setting with a missing selection run cannot be chosen while another is complete. Ties go to the setting
    with the smaller name, which is a hash: the order of runs decides nothing.

    Raises: EvidenceError where no setting can be chosen, or the chosen one has no run to report.
    """
    if seeds.mode == "single":
        return _heard(group, next(iter(group.settings)), seeds.fresh)
    tried = {name: group.scores(name, seeds.select) for name in group.settings}
    complete = {name: scores for name, scores in tried.items() if np.isfinite(scores).all()}
    if not complete:
        raise EvidenceError(f"{group.arm} on {group.task}: no setting has all its runs on the seeds that choose",
                            "What is missing may be what is slow or bad.", "understudy sweep does what is missing.",
                            field="select")  # fmt: skip
    best = max(complete, key=lambda name: float(complete[name].mean()))
    heard = _heard(group, best, seeds.fresh, float(complete[best].mean()))
    if seeds.mode == "same":
        return replace(heard, tried=np.stack(list(complete.values())))
    return heard


def _heard(group: Group, setting: str, seeds: Sequence[int], chosen_at: float | None = None) -> Chosen:
    runs = group.settings[setting]
    planned = [seed for seed in seeds if seed in runs]
    there = tuple(seed for seed in planned if runs[seed].state != "missing")
    if not there:
        raise EvidenceError(
            f"{group.arm} on {group.task}: its setting {group.label(setting) or setting} has no run on the seeds "
            f"reported, {spans(seeds)}", "Its score there is unknown.",
            "Sweep it on those seeds, and give both studies.", field="select",
        )  # fmt: skip
    return Chosen(
        group, setting, there, group.scores(setting, there),
        failed=tuple(seed for seed in there if runs[seed].state == "failed"),
        missing=tuple(seed for seed in planned if seed not in there), chosen_at=chosen_at,
    )  # fmt: skip


def spans(seeds: Collection[int]) -> str:
    """{0, 1, 2, 7} → "0:3,7": as options are written."""
    parts: list[list[int]] = []
    for seed in sorted(seeds):
        if parts and seed == parts[-1][1]:
            parts[-1][1] += 1
        else:
            parts.append([seed, seed + 1])
    return ",".join(f"{a}" if b == a + 1 else f"{a}:{b}" for a, b in parts)
