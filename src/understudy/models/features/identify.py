"""What kind of number a feature is, by its distribution: the rules of batch reinforcement learning, first match wins.

| kind | if |
|---|---|
| binary | all values are 0 or 1, or all are the same |
| probability | all lie in [0, 1] |
| enum | none is negative, all are whole, and there are at most ``max_unique_enum_values`` |
| continuous, unscaled | they span less than 1e-4 |
| boxcox | λ̂ lies outside [0.9, 1.1], K² falls to a tenth or less and to at most ``quantile_k2_threshold`` |
| quantile | K² is above ``quantile_k2_threshold`` |
| continuous | otherwise |

K² is D'Agostino and Pearson's distance from the normal distribution. It grows with the number of values; the shape of
all values is therefore judged as if of the sample's size, which is also what the transformed values are judged by.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import Feature, Problem
from understudy.core.registry import unknown
from understudy.core.steps import Steps
from understudy.models.feature_map import FeatureMap
from understudy.models.features.kinds import CLAMP, VAST, FittedFeature, Kind
from understudy.models.features.profile import SAMPLE, Profile
from understudy.ops.boxcox import boxcox, boxcox_power
from understudy.ops.shape import k_squared, quantiles, shape_of

# Kinds in the order of the inputs; within a kind the order of the problem's features.
ORDER: tuple[Kind, ...] = (
    "binary", "probability", "continuous", "boxcox", "enum", "quantile", "continuous_action", "untouched", "clip_log",
    "category", "missing",
)  # fmt: skip
LEFT_OUT = "left_out"
FORCED = (*ORDER[:-2], LEFT_OUT)  # what an override may say of a number
OF_CATEGORIES = ("category", "enum", "untouched", LEFT_OUT)  # and of a category: its codes are not quantities
LEAST = 20  # values that a kind is told from
NARROW = 1e-4  # a feature that spans less is not scaled
MARGIN = 1e-4  # what Box–Cox takes in place of 0
_UNFITTED = frozenset({"binary", "probability", "clip_log", "untouched"})  # kinds without anything fitted
_BATCH = 65_536


class IdentifyOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How features are identified.

    Args:
        overrides: feature → kind, where the rules should not decide; ``left_out`` drops it.
        max_unique_enum_values: distinct values of an enum at most.
        quantile_size: pieces of equal count that a quantile feature is cut into.
        quantile_k2_threshold: K² above which a distribution is too far from normal to be scaled only.
        skip_box_cox, skip_quantiles: never choose that kind (an override still does).
        std_floor: standard deviations below this are taken as this; the reference takes 1, 0 is off.
        presence: a feature with missing values gets a second input that says where they are.
        sample: values per feature that quantiles and Box–Cox see.
        seed: another seed samples other rows.
    """

    overrides: dict[str, str] = {}
    max_unique_enum_values: int = 10
    quantile_size: int = 20
    quantile_k2_threshold: float = 1000.0
    skip_box_cox: bool = False
    skip_quantiles: bool = False
    std_floor: float = 0.0
    presence: bool = True
    sample: int = SAMPLE
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"max_unique_enum_values": 1, "quantile_size": 1, "quantile_k2_threshold": 0, "std_floor": 0,
                 "sample": LEAST, "seed": 0}  # fmt: skip
        for name, low in least.items():
            if not low <= getattr(self, name) < 2**31:
                raise ConfigError(f"{name} must be at least {low}; got {getattr(self, name)}", field=name)


@dataclass(frozen=True)
class Identified:
    """One raw feature: what it was taken for, from what, and what there is to say about it."""

    name: str
    kind: str  # or ``left_out``
    count: int
    missing: int
    low: float | None
    high: float | None
    mean: float | None
    std: float | None
    forced: bool = False
    note: str = ""


def identify_features(problem: Problem, batches: Iterable[Steps], options: IdentifyOptions | None = None) -> FeatureMap:
    """The feature map of a training slice, a kind per feature by its distribution: one pass, batch by batch.

    Raises: DataError where there are no steps, or infinite values; ConfigError on an override that names no feature.
    """
    return identify(problem, profiled(batches, options), options)[0]


def profiled(batches: Iterable[Steps], options: IdentifyOptions | None = None, start: int = 0) -> Profile:
    """The fold over batches in the order of the dataset; rows are numbered as they come, from ``start``.

    Parts that are folded apart and added need numbers of their own: ``start`` is the number of rows before a part.
    """
    options = options or IdentifyOptions()
    total: Profile | None = None
    rows = start
    for batch in batches:
        for first in range(0, batch.n, _BATCH):
            part = batch.context[first : first + _BATCH]
            numbers = np.arange(rows, rows + len(part), dtype=np.uint64)
            own = Profile.of(part, numbers, size=options.sample, seed=options.seed)
            total, rows = own if total is None else total + own, rows + len(part)
    if total is None:
        raise DataError("there are no steps to fit a feature map on", "Nothing can be learned from nothing.")
    return total


def identify(
    problem: Problem, seen: Profile, options: IdentifyOptions | None = None
) -> tuple[FeatureMap, tuple[Identified, ...]]:
    """The map that a profile implies, and what was made of each feature."""
    options = options or IdentifyOptions()
    _known(problem, options)
    if bad := [(f.name, int(n)) for f, n in zip(problem.features, seen.infinite) if n]:
        raise DataError(
            f"{len(bad)} features hold infinite values; first: {bad[0][0]!r}, {bad[0][1]} of {seen.rows} rows",
            "No mean and no scale can be fitted to infinity.",
            "Write missing values as null, and very large ones as a large number.",
            field=bad[0][0],
        )
    columns: list[FittedFeature] = []
    told: list[Identified] = []
    for i, feature in enumerate(problem.features):
        one = _Seen(i, feature, seen, options)
        fitted, note = one.category() if feature.kind == "category" else one.number()
        told.append(one.told(fitted, note))
        if fitted is not None:
            columns.append(fitted)
            if options.presence and seen.count[i] < seen.rows:
                columns.append(FittedFeature(kind="missing", source=i, name=feature.name))
    columns.sort(key=lambda column: ORDER.index(column.kind))
    notes = tuple(f"{one.name}: {one.note}" for one in told if one.note)
    return FeatureMap(tuple(columns), False, notes), tuple(told)


def _known(problem: Problem, options: IdentifyOptions) -> None:
    kinds = {feature.name: feature.kind for feature in problem.features}
    for name, kind in options.overrides.items():
        if name not in kinds:
            raise unknown("feature", name, kinds)
        allowed = OF_CATEGORIES if kinds[name] == "category" else FORCED
        if kind not in allowed:
            raise ConfigError(
                f"the {kinds[name]} {name!r} cannot be {kind!r}", hint=f"One of: {', '.join(allowed)}", field=name
            )


@dataclass(frozen=True)
class _Seen:
    """One feature with what the profile knows of it."""

    i: int
    feature: Feature
    profile: Profile
    options: IdentifyOptions

    @property
    def forced(self) -> str:
        """The kind that was asked for, "" if the rules decide."""
        return self.options.overrides.get(self.feature.name, "")

    @property
    def n(self) -> int:
        return int(self.profile.count[self.i])

    @property
    def ends(self) -> tuple[float, float]:
        return float(self.profile.low[self.i]), float(self.profile.high[self.i])

    @property
    def distinct(self) -> np.ndarray | None:
        return self.profile.distinct[self.i]

    @property
    def std(self) -> float:
        """Sample standard deviation of all values, ddof = 1."""
        return float(np.sqrt(np.asarray(self.profile.shape.m2)[self.i] / max(self.n - 1, 1)))

    @property
    def mean(self) -> float:
        return float(np.asarray(self.profile.shape.mean)[self.i])

    def made(self, kind: Kind, **fitted: Any) -> FittedFeature:
        """A feature of that kind, with its ends and the clamp that belongs to it."""
        limit = VAST if kind in ("untouched", "enum") else CLAMP
        low, high = self.ends if self.n else (None, None)
        name = self.feature.name
        return FittedFeature(kind=kind, source=self.i, name=name, limit=limit, low=low, high=high, **fitted)

    def told(self, fitted: FittedFeature | None, note: str) -> Identified:
        low, high, mean, std = (*self.ends, self.mean, self.std) if self.n else (None,) * 4
        kind = LEFT_OUT if fitted is None else fitted.kind
        forced = self.forced != "" and self.forced == kind
        return Identified(
            self.feature.name, kind, self.n, self.profile.rows - self.n, low, high, mean, std, forced, note
        )

    def category(self) -> tuple[FittedFeature | None, str]:
        """A category stays one unless it was overridden: its codes are no quantities to identify."""
        if self.forced == LEFT_OUT:
            return None, "left out, as asked"
        if self.forced in ("enum", "untouched"):
            return self.number()
        width = len(self.feature.values) + self.feature.open
        return FittedFeature(kind="category", source=self.i, name=self.feature.name, values=width), ""

    def number(self) -> tuple[FittedFeature | None, str]:
        """The fitted feature, or None, and a note where something is not as one would expect."""
        forced = self.forced or ("binary" if self.feature.kind == "boolean" else "")
        if forced == LEFT_OUT:
            return None, "left out, as asked"
        if self.n == 0:
            return None, f"left out: missing in all {self.profile.rows} rows"
        if forced in _UNFITTED:
            return self.made(forced), ""  # pyright: ignore[reportArgumentType]
        if self.n < LEAST:
            return None, f"left out: {self.n} values in {self.profile.rows} rows, and a kind is told from {LEAST}"
        low, high = self.ends
        if low == high and forced != "enum":
            asked = f", and cannot be {forced}" if forced else ""
            return self.made("binary"), f"binary, because its value is always {low:g}{asked}"
        return self.forcing(forced) if forced else self.by_rules()

    def by_rules(self) -> tuple[FittedFeature, str]:
        """First match wins."""
        low, high = self.ends
        distinct = self.distinct
        if distinct is not None and np.isin(distinct, (0.0, 1.0)).all():
            return self.made("binary"), ""
        if low >= 0 and high <= 1:
            return self.made("probability"), ""
        few = distinct is not None and len(distinct) <= self.options.max_unique_enum_values
        if few and low >= 0 and self.profile.whole[self.i]:
            return self.enum(), ""
        if high - low < NARROW:
            return self.made("continuous"), f"not scaled: its values span {high - low:.2g} (override: continuous)"
        return self.refined(), ""

    def refined(self) -> FittedFeature:
        """Box–Cox, quantiles or plain scaling, by how far from normal each leaves the values."""
        options, ordered = self.options, self.sample()
        shape, n = self.profile.shape, float(len(ordered))
        raw = k_squared(n, float(shape.skewness[self.i]), float(shape.kurtosis[self.i]))
        if not options.skip_box_cox:
            fitted, k2 = self.boxcox(ordered)
            better = raw > 10 * k2 and k2 <= options.quantile_k2_threshold
            if fitted is not None and better and not 0.9 <= fitted.power <= 1.1:
                return fitted
        if raw > options.quantile_k2_threshold and not options.skip_quantiles:
            return self.quantile(ordered)
        return self.continuous()

    def forcing(self, kind: str) -> tuple[FittedFeature | None, str]:
        """The kind that was asked for, fitted."""
        if kind == "enum":
            return self.enum(), ""
        if kind == "quantile":
            return self.quantile(self.sample()), ""
        if kind == "continuous_action":
            return self.made("continuous_action"), ""
        if kind == "boxcox":
            fitted, _ = self.boxcox(self.sample())
            if fitted is not None:
                return fitted, ""
            return self.continuous(), "continuous, because its values are too close together for boxcox"
        return self.continuous(), ""

    def sample(self) -> np.ndarray:
        return self.profile.samples[self.i].ordered()

    def continuous(self) -> FittedFeature:
        return self.made("continuous", location=self.mean, scale=max(self.std, self.options.std_floor))

    def enum(self) -> FittedFeature:
        if self.distinct is None:
            raise ConfigError(f"{self.feature.name!r} has too many values for an enum", field=self.feature.name)
        return self.made("enum", points=tuple(map(float, self.distinct)))

    def quantile(self, ordered: np.ndarray) -> FittedFeature:
        points = np.unique(quantiles(ordered, self.options.quantile_size))
        return self.made("quantile", points=tuple(map(float, points)))

    def boxcox(self, ordered: np.ndarray) -> tuple[FittedFeature | None, float]:
        """The Box–Cox fit of the sample and its K²; None where the transformed values have no usable spread."""
        shift = -self.ends[0]
        y = np.maximum(ordered + shift, MARGIN)
        if y[0] == y[-1]:
            return None, np.inf
        power = boxcox_power(y)
        shape = shape_of(boxcox(y, power))
        std = float(np.sqrt(shape.m2 / (shape.n - 1)))
        if not np.isfinite(std) or not 1e-8 < std < 1e8:
            return None, np.inf
        scale = max(std, self.options.std_floor)
        fitted = self.made("boxcox", location=float(shape.mean), scale=scale, power=power, shift=shift, margin=MARGIN)
        return fitted, k_squared(float(shape.n), float(shape.skewness), float(shape.kurtosis))
