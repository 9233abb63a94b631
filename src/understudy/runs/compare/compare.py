"""From runs to a comparison: each learner's best setting, its scores on fresh seeds, and what the differences prove."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from understudy import __version__
from understudy.core.errors import ConfigError
from understudy.core.registry import unknown
from understudy.ops.bootstrap import SUMMARIES, interval, summary
from understudy.ops.improvement import improvement, improvement_interval
from understudy.ops.multiple import PairedMean, best_interval, left_out, paired_mean, simultaneous
from understudy.report.compare_model import Comparison, Number, Pair, Result
from understudy.runs.compare.asked import LOWEST, Asked
from understudy.runs.compare.choose import choose, divided, grouped
from understudy.runs.compare.lines import curves, profiles, sensitivity
from understudy.runs.compare.notes import notes
from understudy.runs.compare.records import Record, read_records
from understudy.runs.compare.tables import Table, overall, read_scales


def compare(studies: Sequence[Path], asked: Asked, generated: int, commands: Sequence[str] = ()) -> Comparison:
    """Compare the learners of one or several studies.

    Raises: ConfigError, StoreError, EvidenceError; see ``choose`` and ``records``.
    """
    title = ", ".join(dict.fromkeys(Path(study).resolve().name for study in studies))
    return compared(read_records(studies, asked), asked, title, generated, commands)


def compared(records: Sequence[Record], asked: Asked, title: str, generated: int, commands=()) -> Comparison:
    """The comparison of these runs. Pure: the order of the runs does not matter."""
    _check(asked)
    groups = grouped(records, asked.failed)
    seeds = divided(groups, asked.select, asked.fresh, asked.same)
    chosen = [choose(group, seeds) for group in groups]
    tasks, arms = (tuple(sorted({getattr(group, name) for group in groups})) for name in ("task", "arm"))
    scales = read_scales(asked.scales, tasks)
    each = [Table(task, {c.group.arm: (c,) for c in chosen if c.group.task == task}, {}) for task in tasks]
    whole = overall(each, arms, tasks, scales)
    family = [whole] if whole else each
    pairs = () if seeds.mode == "same" else tuple(_pairs(family, asked))
    results = tuple(row for table in each for row in _ranked(table, asked))
    failures = "the lowest score of any run of its task" if asked.failed == LOWEST else f"{asked.failed:g}"
    return Comparison(
        title=title, metric=asked.metric, statistic=asked.statistic, mode=seeds.mode,  # type: ignore[arg-type]
        level=asked.level, tasks=tasks, arms=arms, select=seeds.select, fresh=seeds.fresh, failures=failures,
        results=results, overall=() if whole is None else tuple(_ranked(whole, asked)),
        pairs=pairs, claims=tuple(_claims(pairs, asked.level)),
        curves=tuple(curves(chosen, asked)), profiles=tuple(profiles(family, asked)),
        sensitivity=tuple(sensitivity(chosen, seeds, asked)),
        scales=tuple((task, *ends) for task, ends in sorted(scales.items())),
        notes=tuple(notes(chosen, seeds, tasks, whole is not None, arms)), generated=generated,
        code_version=__version__, commands=tuple(commands), curve=asked.curve,
    )  # fmt: skip


def _check(asked: Asked) -> None:
    if asked.statistic not in SUMMARIES:
        raise unknown("statistic", asked.statistic, SUMMARIES)
    if not 0.5 <= asked.level < 1.0:
        raise ConfigError(f"a level is a share from 0.5 to below 1, such as 0.95; got {asked.level}", field="level")
    if not isinstance(asked.failed, str) and not np.isfinite(asked.failed):
        raise ConfigError("the score of a failed run is a number", field="failed")


def _ranked(table: Table, asked: Asked) -> list[Result]:
    """A row per learner, the best first."""
    rows = [_row(table, arm, asked) for arm in table.strata]
    return sorted(rows, key=lambda row: (-getattr(row, asked.statistic).value, row.arm))


def _row(table: Table, arm: str, asked: Asked) -> Result:
    chosen = table.strata[arm]
    scores, one = table.scores(arm), chosen[0] if len(chosen) == 1 else None
    tried = [table.scaled(c.group.task, c.tried) for c in chosen if c.tried is not None]
    if tried:
        corrected = [left_out(each)[1] for each in tried]
        numbers = {name: Number(summary(name, corrected)) for name in SUMMARIES}
        if one:
            numbers["mean"] = number(numbers["mean"].value, *best_interval(tried[0], asked.level))
    else:
        ends = interval(scores, tuple(SUMMARIES), level=asked.level, times=asked.times, seed=asked.seed)
        numbers = {name: number(summary(name, scores), *ends[name]) for name in SUMMARIES}
    at = None
    if one and one.chosen_at is not None and len(one.group.settings) > 1:
        at = float(table.scaled(one.group.task, np.array(one.chosen_at)))
    return Result(
        arm=arm, task=table.task, setting=one.group.label(one.setting) if one else "",
        settings=max(len(c.group.settings) for c in chosen),
        seeds=tuple(seed for c in chosen for seed in c.seeds), scores=tuple(float(x) for s in scores for x in s),
        failed=tuple(seed for c in chosen for seed in c.failed),
        missing=tuple(seed for c in chosen for seed in c.missing),
        chosen_at=at, optimism=None if at is None else at - numbers["mean"].value, **numbers,
    )  # fmt: skip


def number(value: float, low: float, high: float) -> Number:
    """A value with its interval, if it has one."""
    return Number(value, float(low), float(high)) if np.isfinite(low) and np.isfinite(high) else Number(value)


def _pairs(family: Sequence[Table], asked: Asked) -> Iterator[Pair]:
    """All pairs of learners, the higher in rank first, or each with the one asked for: one family over all tasks."""
    drafts: list[tuple[Pair, PairedMean | None]] = []
    for table in family:
        arms = [row.arm for row in _ranked(table, asked)]
        if asked.against and asked.against not in arms:
            raise unknown("learner of these studies:", asked.against, sorted(arms))
        for a, b in combinations(arms, 2):
            if asked.against and asked.against not in (a, b):
                continue
            drafts.append(_pair(table, *((b, a) if asked.against == a else (a, b)), asked))
    measured = [found for _, found in drafts if found is not None]
    limits = iter(zip(*simultaneous(measured, asked.level)))
    for pair, found in drafts:
        if found is None:
            yield pair
            continue
        adjusted, low, high = next(limits)
        note = "" if found.std_error else "nothing varies, so nothing says how sure one can be"
        yield replace(pair, difference=number(found.value, low, high), p=found.p, adjusted=float(adjusted), note=note)


def _pair(table: Table, a: str, b: str, asked: Asked) -> tuple[Pair, PairedMean | None]:
    x, y = table.scores(a), table.scores(b)
    better = number(improvement(x, y), *improvement_interval(x, y, asked.level))
    differences, shared = [], 0
    for (first, of_a), (second, of_b) in zip(zip(table.strata[a], x), zip(table.strata[b], y)):
        common = sorted(set(first.seeds) & set(second.seeds))
        by_a, by_b = dict(zip(first.seeds, of_a)), dict(zip(second.seeds, of_b))
        differences.append(np.array([by_a[seed] - by_b[seed] for seed in common]))
        shared += len(common)
    least = min(map(len, differences))
    if least < 2:
        return Pair(
            a, b, table.task, shared, better=better, note=f"they share {least} of the seeds, two are needed"
        ), None
    return Pair(a, b, table.task, shared, better=better), paired_mean(differences)


def _claims(pairs: Sequence[Pair], level: float) -> Iterator[tuple[str, str, str]]:
    for pair in pairs:
        if pair.difference and pair.adjusted is not None and pair.adjusted <= 1 - level + 1e-12:
            up = pair.difference.value > 0
            yield (pair.a, pair.b, pair.task) if up else (pair.b, pair.a, pair.task)
