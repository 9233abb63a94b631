"""What the timeline does where a log leaves a choice."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from understudy.core.errors import ConfigError
from understudy.core.registry import unknown

Terminal = Literal["keep", "drop", "drop_truncated"]
CHOICES: dict[str, tuple[str, ...]] = {
    "terminal": ("keep", "drop", "drop_truncated"),
    "lost_reward": ("refuse", "add", "discard"),
    "duplicates": ("refuse", "identical", "first", "last"),
    "null_states": ("refuse", "drop"),
    "faulty": ("refuse", "aside"),
    "discount_per": ("step", "sequence", "time"),
}


@dataclass(frozen=True)
class Rules:
    """Choices, each with the default that hides nothing.

    Args:
        terminal: the last row of an episode is a step (``keep``); or it only shows where the step before it led
            (``drop``), in every episode or in those flagged as truncated (``drop_truncated``).
        lost_reward: a reward that stands on such a row: refuse, ``add`` it to the step before, or ``discard`` it.
        duplicates: two rows of one (episode, sequence): refuse, keep one if they are ``identical``, or the ``first``
            or ``last`` by time; copies of one time must be identical.
        null_states: a row without any feature: refuse, or ``drop`` it before neighbors are looked up. A last row
            without an action is no decision and stays. Where what is dropped was the end of an episode, its rewards
            are subject to ``lost_reward``, and the step before it is truncated.
        faulty: rows that break a rule: refuse the table, or set their whole episodes ``aside``.
        ds: first and last partition that counts, both inclusive. Rows of others vanish before neighbors are looked
            up, but for what follows an episode's last row in the range: the episode is truncated by it.
        within: most that ``sequence`` may lie behind the episode's first, inclusive; likewise.
        longest: most rows of an episode; the timeline finds it from a percentile.
        discount_per: γ counts steps, differences of sequence numbers, or elapsed time.
        per: sequence numbers, or seconds, that count as one exponent of γ.
    """

    terminal: Terminal = "keep"
    lost_reward: Literal["refuse", "add", "discard"] = "refuse"
    duplicates: Literal["refuse", "identical", "first", "last"] = "refuse"
    null_states: Literal["refuse", "drop"] = "refuse"
    faulty: Literal["refuse", "aside"] = "refuse"
    ds: tuple[str | None, str | None] = (None, None)
    within: int | None = None
    longest: float | None = None
    discount_per: Literal["step", "sequence", "time"] = "step"
    per: float = 1.0

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise unknown(name.replace("_", " "), str(getattr(self, name)), known)
        first, last = self.ds
        if first is not None and last is not None and first > last:
            raise ConfigError(f"ds runs from {first!r} to {last!r}, which is backwards", field="ds")
        if self.within is not None and self.within < 0:
            raise ConfigError(f"within is {self.within}; no row lies before the first", field="within")
        if not 0 < self.per < float("inf"):
            raise ConfigError(f"per is {self.per}; the unit of γ's exponent must be above 0", field="per")

    @property
    def config(self) -> dict[str, Any]:
        return asdict(self) | {"ds": list(self.ds)}
