"""Our simulator beside the published program's figures: exact conditional means, cell by cell. Used by retail.py."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from understudy.envs.retail.shelf import next_shelf
from understudy.envs.retail.truth import Means, conditional, ratio
from understudy.envs.retail.world import Retail, retail
from understudy.models.policies import Uniform
from understudy.models.shares import Shares

REFERENCE = Path(__file__).parents[2] / "shared" / "data" / "retail-reference"
ARMS = {"arm_0": 0, "arm_5": 5, "arm_10": 10}
SKIP, STEPS = 20, 50  # as the reference: steps 20 … 69
THEIR_TRAJECTORIES = 3


@dataclass(frozen=True)
class Compared:
    """One figure of ours and of the reference, with standard errors."""

    name: str
    ours: float
    se: float
    theirs: float
    their_se: float

    @property
    def z(self) -> float:
        """The difference in combined standard errors."""
        return (self.ours - self.theirs) / float(np.hypot(self.se, self.their_se))


def world_of(seed: int) -> Retail:
    """The published environment ``seed``, again and again, each time with other noise."""
    return retail(
        catalogue=str(REFERENCE / "catalogue.npz"),
        draws=str(REFERENCE / f"env_{seed}.npz"),
        reference_compat=True,
        steps=SKIP + STEPS,
    )


def cell(seed: int, policy: str, *, trajectories: int, noise: int = 1) -> Means:
    """The exact means of one cell; the noise is the same for all policies."""
    actor = Uniform(11) if policy == "uniform_random" else Shares(tuple(np.eye(11)[ARMS[policy]].tolist()))
    return conditional(world_of(seed), actor, environments=trajectories, skip=SKIP, steps=STEPS, seed=noise)


def compare_cell(seed: int, policy: str, means: Means, expected: dict[str, Any]) -> list[Compared]:
    """Every conditional statistic of a cell that has a standard error, but for those of single customers."""
    theirs, label = expected["environments"][str(seed)]["policies"][policy], f"{seed}/{policy}"
    whole = {name: getattr(means, name).mean(2) for name in ("visit", "revenue", "lines", "units", "buys", "category")}
    pairs = {
        "revenue_per_customer_step": (whole["revenue"], None),
        "visit_rate": (whole["visit"], None),
        "basket_size": (whole["lines"], whole["visit"]),
        "units_per_purchase": (whole["units"], whole["lines"]),
        "purchase_share": (whole["buys"], None),
        "category_probability": (whole["category"], None),
    }
    found = [_one(f"{label}/{name}", ratio(*pair), theirs[name]["conditional"]) for name, pair in pairs.items()]
    weight = world_of(seed).market(0).sensitivity
    for name, rows in (("sensitive", weight < np.median(weight)), ("insensitive", weight >= np.median(weight))):
        part = ratio(means.revenue[..., rows].mean(2))
        found.append(_one(f"{label}/{name}", part, theirs["by_segment"][name]["expected_revenue"]))
    return found


def compare_single(seed: int, policy: str, means: Means, expected: dict[str, Any]) -> list[Compared]:
    """Single customers and categories.

    The reference's errors of a customer come from fifteen batches of one autocorrelated path, or are not given. Here
    both errors are ours: of batches, times one factor by which trajectories differ more than their batches say.
    """
    theirs, label = expected["environments"][str(seed)]["policies"][policy], f"{seed}/{policy}"
    found = []
    for name, ours, values in (
        ("customer revenue", means.revenue, theirs["by_customer"]["expected_revenue"]),
        ("customer visits", means.visit, theirs["by_customer"]["visit_probability"]),
        ("category", means.category, theirs["by_category"]["category_probability"]),
    ):
        mean, error = ratio(ours)
        n = ours.shape[1]
        spread = ours.mean(0).std(0, ddof=1) / np.sqrt(n)
        error = error * max(float(np.sqrt(((spread / mean) ** 2).sum() / ((error / mean) ** 2).sum())), 1.0)
        their = error * np.sqrt(n / THEIR_TRAJECTORIES)
        found += [
            Compared(f"{label}/{name} {i}", float(mean[i]), float(error[i]), value, float(their[i]))
            for i, value in enumerate(values)
        ]
    return found


def compare_ratios(seed: int, means: dict[str, Means], expected: dict[str, Any]) -> list[Compared]:
    """Revenue of fixed coupons relative to the random policy, paired on common noise."""
    theirs = expected["environments"][str(seed)]["expected_revenue_ratio_to_uniform_random"]
    random = means["uniform_random"].revenue.mean(2)
    return [
        _one(f"{seed}/{arm}/ratio", ratio(means[arm].revenue.mean(2), random), theirs[arm])
        for arm in theirs
        if arm in means
    ]


def compare_exogenous(expected: dict[str, Any], trajectories: int) -> list[Compared]:
    """Discounts, prices and features, which nobody's decisions move; both environments."""
    worlds = [(world_of(seed), k) for seed in (0, 1) for k in range(trajectories)]
    found = np.array([[_exogenous(world, k, t) for world, k in worlds] for t in range(STEPS)])
    theirs = expected["exogenous"]
    wanted = {
        "discount state": theirs["share_of_products_in_discount_state"],
        "below base": theirs["share_of_products_priced_below_base"],
        "P/P0": theirs["mean_price_over_base"],
        "P": theirs["mean_shelf_price"],
        "X": theirs["X"]["mean"],
        "X²": theirs["X"]["second_moment"],
        "X⁴": theirs["X"]["fourth_moment"],
        "W": theirs["W"]["mean"],
        "W²": theirs["W"]["second_moment"],
    }
    return [_one(f"exogenous/{name}", ratio(found[..., i]), value) for i, (name, value) in enumerate(wanted.items())]


def expected_figures() -> dict[str, Any]:
    """The reference's expected.json."""
    return json.loads((REFERENCE / "expected.json").read_text())


def _exogenous(world: Retail, k: int, t: int) -> list[float]:
    market, catalogue = world.market(0), world.terms.catalogue
    shelf = next_shelf(world.terms.law, market, catalogue, (k, 99), SKIP + t, np.zeros(catalogue.n, bool), True)
    x, relative = shelf.x.astype(np.float64), shelf.price / catalogue.price
    moments = [float((x**power).mean()) for power in (1, 2, 4)]
    push = [float((shelf.push**power).mean()) for power in (1, 2)]
    return [shelf.on.mean(), (relative < 1).mean(), relative.mean(), shelf.price.mean(), *moments, *push]


def _one(name: str, ours: tuple[np.ndarray, np.ndarray], theirs: dict[str, float]) -> Compared:
    return Compared(name, float(ours[0]), float(ours[1]), theirs["mean"], theirs["se"])
