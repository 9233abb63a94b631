"""The space that is searched, as the experiment file says it."""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.core.errors import ConfigError


class Axis(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One hyper-parameter: ``choices``, or numbers from ``low`` to ``high``, whole ones if both are, ``log`` scaled."""

    low: float | int | None = None
    high: float | int | None = None
    log: bool = False
    choices: list[Any] | None = None

    def __post_init__(self) -> None:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log or not self.choices:
                raise ConfigError("an axis has choices, or low and high", field="space")
        elif self.low is None or self.high is None or not self.low < self.high:
            raise ConfigError(f"an axis needs low < high; got {self.low} and {self.high}", field="space")
        elif self.log and self.low <= 0:
            raise ConfigError(f"a log scale begins above 0; got {self.low}", field="space")

    def distribution(self) -> Any:
        """As Optuna has it. Choices are drawn by their number: it knows no lists."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices is not None:
            return CategoricalDistribution(list(range(len(self.choices))))
        assert self.low is not None and self.high is not None
        if isinstance(self.low, int) and isinstance(self.high, int):
            return IntDistribution(self.low, self.high, log=self.log)
        return FloatDistribution(float(self.low), float(self.high), log=self.log)

    def value(self, drawn: Any) -> Any:
        """What the experiment is given for what Optuna drew."""
        return drawn if self.choices is None else self.choices[drawn]


class Tune(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to search: the section ``tune`` of an experiment file.

    space: dotted field → axis. trials: in all; ``at_once`` of them side by side. objective: a metric of a run, as
    ``return``, an estimator's name, or its lower bound, ``snips_low``; the mean over ``seeds``, to be ``maximize``-d.
    seeds: of trials. fresh: seeds on which the best is run again; none is a seed of trials. prune: a trial that is
    below the median of others after some of its seeds gets no more. report: the slice of a dataset on which the best
    is estimated again; ``evaluate.slice`` chose it.
    """

    space: dict[str, Axis]
    trials: int = 50
    at_once: int = 4
    objective: str = "return"
    maximize: bool = True
    seeds: int | str | list[int] = "1000:1003"
    fresh: int | str | list[int] = "2000:2010"
    prune: bool = True
    report: str = "gate"

    def __post_init__(self) -> None:
        if not self.space:
            raise ConfigError("tune: the space is empty", hint="space: {settings.rate: {low: ..., high: ...}}")
        for name in ("trials", "at_once"):
            if getattr(self, name) < 1:
                raise ConfigError(f"tune: {name} must be at least 1; got {getattr(self, name)}", field=name)
