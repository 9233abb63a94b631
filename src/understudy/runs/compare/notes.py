"""What the reader of a comparison must know beside its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from understudy.runs.compare.choose import Chosen, Seeds, spans

FEW = 10  # runs; with fewer a comparison is called preliminary


def notes(
    chosen: Sequence[Chosen], seeds: Seeds, tasks: Sequence[str], whole: bool, arms: Sequence[str]
) -> Iterator[str]:
    """Sentences, the gravest first."""
    if seeds.mode == "same":
        yield (
            "Settings were chosen and reported on the same seeds. Values are corrected by leaving out each seed when "
            "choosing for it; the interval of the mean holds for all settings at once; differences are not claimed."
        )
    for each in chosen:
        yield from _of(each, seeds, len(tasks) > 1)
    least = min(len(each.seeds) for each in chosen)
    if least < FEW:
        yield f"Preliminary: as few as {least} runs speak for a learner, fewer than {FEW}."
    if not whole:
        yield (
            "There is no table over all tasks: returns of different tasks have no common scale. "
            "Give one for each: --scale TASK=LOW:HIGH."
        )
    elif len(tasks) > 1:
        for arm in arms:
            done = {each.group.task for each in chosen if each.group.arm == arm}
            if absent := sorted(set(tasks) - done):
                yield f"{arm} is not in the table over all tasks: it has no runs on {', '.join(absent)}."


def _of(each: Chosen, seeds: Seeds, named: bool) -> Iterator[str]:
    who = f"{each.group.arm} on {each.group.task}" if named else each.group.arm
    if each.failed:
        first = each.group.settings[each.setting][each.failed[0]].error
        yield (
            f"{who}: {len(each.failed)} of {len(each.seeds)} runs failed (seed {spans(each.failed)}; {first}) "
            f"and count with a score of {_figure(each.group.floor)}."
        )
    if each.missing:
        yield f"{who}: the runs of seed {spans(each.missing)} are missing, which may flatter it."
    if seeds.mode != "single":
        scores = [each.group.scores(name, seeds.select) for name in each.group.settings]
        if short := sum(not np.isfinite(found).all() for found in scores):
            yield (
                f"{who}: {short} of {len(scores)} settings could not be chosen, because runs of theirs are missing "
                "on the seeds that choose."
            )
        lost = sum(
            record.state == "failed" for runs in each.group.settings.values() for s, record in runs.items()
            if s in seeds.select
        )  # fmt: skip
        if lost:
            floor = _figure(each.group.floor)
            yield f"{who}: {lost} runs failed on the seeds that choose, and count with a score of {floor}."


def _figure(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")
