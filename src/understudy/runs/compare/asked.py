"""What a comparison is asked for."""

from __future__ import annotations

from dataclasses import dataclass

LOWEST = "lowest"


@dataclass(frozen=True)
class Asked:
    """What the verb was asked for.

    Args:
        metric, curve: what is compared, and whose course is drawn.
        by: the fields that make a learner; settings that share them are what it was tried with.
        select, fresh: seeds that choose, and seeds that are reported; () = all others.
        same: choose and report on the same seeds, corrected.
        failed: the score of a failed run, or "lowest" that any run of the task got.
        scales: ``TASK=LOW:HIGH``, the scores that become 0 and 1.
        against: only pairs with this learner; "" = all pairs.
        times, seed: of the bootstrap.
    """

    metric: str = "return"
    curve: str = "evaluation"
    by: tuple[str, ...] = ("learner",)
    select: tuple[int, ...] = ()
    fresh: tuple[int, ...] = ()
    same: bool = False
    statistic: str = "iqm"
    level: float = 0.95
    failed: str | float = LOWEST
    scales: tuple[str, ...] = ()
    against: str = ""
    times: int = 2000
    seed: int = 0
