"""What defines a retail world: every option, its default, and what it may be."""

from __future__ import annotations

from dataclasses import dataclass

from understudy.core.errors import ConfigError
from understudy.core.problem import ActionSpace, Feature, OutcomeSpec, Problem
from understudy.envs.retail.law import LAWS
from understudy.envs.retail.observe import FEATURES
from understudy.envs.retail.shop import OUTCOMES

SPLITS = ("train", "tune", "held_out")  # ranges of environments that share none
REWARDS = {"revenue": "revenue", "margin": "revenue - cost"}
MOST = 200.0  # of revenue per customer and step; see docs/retail.md
LEVELS = tuple(level / 100 for level in range(0, 55, 5))


@dataclass(frozen=True)
class Settings:
    """All that defines a world; ``retail`` says what each means."""

    scenario: str = "no_marketing"
    split: str = "train"
    first: int = 0
    customers: int = 100
    steps: int = 50
    discount: float = 0.9
    reward: str = "revenue"
    coupon: str = "store"
    levels: tuple[float, ...] = LEVELS
    cost: float = 0.5
    churn: float = 0.0
    products: int | None = None
    catalogue: str | None = None
    draws: str | None = None
    reference_compat: bool = False

    def __post_init__(self) -> None:
        for name, known in (("scenario", LAWS), ("split", SPLITS), ("reward", REWARDS)):
            if getattr(self, name) not in known:
                said = f"retail: unknown {name} {getattr(self, name)!r}"
                raise ConfigError(said, hint=f"One of: {', '.join(known)}", field=name)
        for name, least in (("first", 0), ("customers", 1), ("steps", 1), ("products", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"retail: {name} must be at least {least}; got {value}", field=name)
        for name in ("discount", "cost", "churn"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"retail: {name} must lie in [0, 1]; got {getattr(self, name)}", field=name)
        if self.catalogue is not None and self.products is not None:
            raise ConfigError("retail: a catalogue from a file has its own products", field="products")


def problem_of(settings: Settings, names: tuple[str, ...]) -> Problem:
    """Features, coupons by name, outcomes, reward."""
    low = -MOST if settings.reward == "margin" else 0.0
    return Problem(
        features=tuple(Feature(name=name) for name in FEATURES),
        actions=ActionSpace(names=names),
        outcomes=tuple(OutcomeSpec(name=name) for name in OUTCOMES),
        reward=REWARDS[settings.reward],
        reward_range=(low, MOST),
        discount=settings.discount,
        horizon=settings.steps,
        unit="episode",
    )
