"""What a comparison draws: learning curves, performance profiles, and the metric against each setting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from understudy.ops.bootstrap import interval, summary
from understudy.ops.improvement import profile, profile_band
from understudy.report.compare_model import Line, Panel
from understudy.runs.compare.asked import Asked
from understudy.runs.compare.choose import Chosen, Group, Seeds
from understudy.runs.compare.records import Record
from understudy.runs.compare.tables import Table

POINTS = 60  # of a curve or profile, at most
TIMES = 500  # resamples behind each point of a band


def curves(chosen: Sequence[Chosen], asked: Asked) -> Iterator[Panel]:
    """Each task's learning curves: the statistic over seeds at every step, with a pointwise interval.

    A run that failed counts with the lowest value of any curve of the task, or the score of failures where that is
    lower, from the beginning: a curve of survivors alone would rise as runs are lost.
    """
    for task in dict.fromkeys(each.group.task for each in chosen):
        mine = [each for each in chosen if each.group.task == task]
        seen = [run.curve[1] for each in mine for run in _runs(each)]
        lines = [_curve(each, min(float(v.min()) for v in seen) if seen else 0.0, asked) for each in mine]
        if any(lines):
            yield Panel(task, tuple(line for line in lines if line))


def _runs(each: Chosen) -> list[Record]:
    """The runs reported on that have a curve."""
    runs = [each.group.settings[each.setting][seed] for seed in each.seeds]
    return [run for run in runs if run.state == "done" and len(run.curve[0])]


def _curve(each: Chosen, lowest: float, asked: Asked) -> Line | None:
    courses = [run.curve for run in _runs(each)]
    if not courses:
        return None
    grid = np.unique(np.concatenate([at for at, _ in courses]))
    grid = grid[grid >= max(at[0] for at, _ in courses)]
    grid = grid[np.unique(np.linspace(0, len(grid) - 1, min(POINTS, len(grid))).round().astype(int))]
    table = np.array([values[np.searchsorted(at, grid, "right") - 1] for at, values in courses])  # [runs, points]
    if each.failed:
        floor = min(lowest, each.group.floor) if asked.curve in ("evaluation", asked.metric) else lowest
        table = np.vstack([table, np.full((len(each.failed), len(grid)), floor)])
    return _line(each.group.arm, grid, [[column] for column in table.T], asked)


def _line(name: str, at: Sequence[float] | np.ndarray, strata: Sequence[Any], asked: Asked) -> Line:
    """The statistic of the scores at each point, and its interval where every point has one."""
    value = [summary(asked.statistic, scores) for scores in strata]
    ends = [
        interval(scores, [asked.statistic], level=asked.level, times=TIMES, seed=asked.seed)[asked.statistic]
        for scores in strata
    ]
    low, high = np.array(ends).T
    sound = bool(np.isfinite(low).all())
    return Line(name, _floats(at), _floats(value), _floats(low) if sound else (), _floats(high) if sound else ())


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def profiles(tables: Sequence[Table], asked: Asked) -> Iterator[Panel]:
    """The share of runs above every score, per table of learners."""
    for table in tables:
        scores = {arm: table.scores(arm) for arm in sorted(table.strata)}
        every = np.concatenate([part for strata in scores.values() for part in strata])
        at = np.unique(every)
        if len(at) > POINTS:
            at = np.linspace(at[0], at[-1], POINTS)
        at = np.concatenate([[at[0] - 0.04 * (at[-1] - at[0] or 1.0)], at])
        lines = []
        for arm, strata in scores.items():
            low, high = profile_band(strata, at, asked.level)
            lines.append(Line(arm, _floats(at), _floats(profile(strata, at)), _floats(low), _floats(high)))
        yield Panel(table.task, tuple(lines))


def sensitivity(chosen: Sequence[Chosen], seeds: Seeds, asked: Asked) -> Iterator[Panel]:
    """The metric against each field that was swept: a line with the others as chosen, a dot for every setting.

    All runs of the seeds that chose, or of all seeds where nothing was chosen: only there has every setting runs.
    """
    used = seeds.select or seeds.fresh
    tasks = list(dict.fromkeys(each.group.task for each in chosen))
    for task in tasks:
        mine = [each for each in chosen if each.group.task == task]
        for field in dict.fromkeys(name for each in mine for name in each.group.varied()):
            title = field if len(tasks) == 1 else f"{field} on {task}"
            panel = _panel(title, field, [each for each in mine if field in each.group.varied()], used, asked)
            if panel.lines:
                yield panel


def _panel(title: str, field: str, chosen: Sequence[Chosen], seeds: Sequence[int], asked: Asked) -> Panel:
    values = {_value(each.group, name, field) for each in chosen for name in each.group.settings}
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    ordered = sorted(values) if numeric else sorted(values, key=str)
    place = {value: float(value if numeric else i) for i, value in enumerate(ordered)}
    lines, dots = [], []
    for each in chosen:
        group, varied = each.group, [name for name in each.group.varied() if name != field]
        own = _others(group, each.setting, varied)
        along = {}
        for name in group.settings:
            scores = group.scores(name, seeds)
            scores, at = scores[np.isfinite(scores)], place[_value(group, name, field)]
            if len(scores):
                dots.append((at, summary(asked.statistic, [scores])))
                if _others(group, name, varied) == own:
                    along[at] = scores
        if len(along) > 1:
            at = sorted(along)
            lines.append(_line(group.arm, at, [[along[x]] for x in at], asked))
    log = numeric and min(place.values()) > 0 and max(place.values()) >= 10 * min(place.values())
    labels = () if numeric else tuple(map(str, ordered))
    return Panel(title, tuple(lines), labels=labels, dots=tuple(sorted(dots)), log=log)


def _value(group: Group, setting: str, field: str) -> Any:
    """A field of a setting, as something that can be sorted: lists and mappings by how they are written."""
    value = next(iter(group.settings[setting].values())).fields.get(field)
    return value if isinstance(value, int | float | str) and not isinstance(value, bool) else str(value)


def _others(group: Group, setting: str, names: Sequence[str]) -> list[str]:
    fields = next(iter(group.settings[setting].values())).fields
    return [str(fields.get(name)) for name in names]
