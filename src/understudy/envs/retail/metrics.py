"""What a coupon policy did: revenue, demand, retention, reach, spend; per customer, per step, paired by environment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.core.errors import DataError
from understudy.core.problem import Problem
from understudy.core.steps import Steps

RECENT = 3  # steps: who bought within the last three has stayed


@dataclass(frozen=True)
class Metrics:
    """Of m episodes, each one customer in one environment; f64[m] but for the shares."""

    revenue: np.ndarray  # money paid, after coupons
    demand: np.ndarray  # units
    retention: np.ndarray  # 1 where something was bought in the last three steps, and the customer is still there
    penetration: np.ndarray  # share of categories bought at least once
    coupon_spend: np.ndarray  # money coupons took off
    discount: np.ndarray  # mean coupon offered
    redeemed: np.ndarray  # share of the shelf price of what was bought that coupons took off; NaN: nothing bought
    share: np.ndarray  # f64[m, k] how often each coupon was offered
    environment: np.ndarray  # i64[m]
    sensitivity: np.ndarray  # f64[m] the customer's mean price coefficient; no policy sees it


@dataclass(frozen=True)
class Paired:
    """A comparison over the same environments, with Student's interval."""

    value: float
    low: float
    high: float
    environments: int


NAMES = ("revenue", "demand", "retention", "penetration", "coupon_spend", "discount", "redeemed")


def metrics(steps: Steps, problem: Problem, categories: int) -> Metrics:
    """Per episode, from a log of the retail world. Raises: DataError if the log is of another."""
    columns = outcomes(steps, problem)
    begins, last = steps.starts[:-1], steps.starts[1:] - 1
    total = {name: np.add.reduceat(column, begins) for name, column in columns.items()}
    offered = np.zeros((steps.m, problem.actions.k))
    episode = np.repeat(np.arange(steps.m), np.diff(steps.starts))
    np.add.at(offered, (episode, steps.action), 1)
    share = offered / np.diff(steps.starts)[:, None]
    recent = steps.starts[1:][episode] - np.arange(steps.n) <= RECENT
    bought = np.add.reduceat((columns["units"] > 0) & recent, begins) > 0
    shelf = total["revenue"] + total["coupon_spend"]
    return Metrics(
        revenue=total["revenue"],
        demand=total["units"],
        retention=(bought & ~steps.terminated[last]).astype(np.float64),
        penetration=total["new_categories"] / categories,
        coupon_spend=total["coupon_spend"],
        discount=share @ depths(problem),
        redeemed=np.divide(total["coupon_spend"], shelf, out=np.full(steps.m, np.nan), where=shelf > 0),
        share=share,
        environment=columns["environment"][begins].astype(np.int64),
        sensitivity=columns["sensitivity"][begins],
    )


def per_step(steps: Steps, problem: Problem, name: str) -> np.ndarray:
    """f64[T, E] the mean of an outcome over the customers of each environment that are still there; NaN: none is.

    Also ``discount``, the mean coupon offered. Environments in order of their numbers.
    """
    columns = outcomes(steps, problem) | {"discount": depths(problem)[steps.action]}
    age = np.arange(steps.n) - np.repeat(steps.starts[:-1], np.diff(steps.starts))
    numbers, environment = np.unique(columns["environment"], return_inverse=True)
    sums = np.zeros((2, int(age.max()) + 1, len(numbers)))
    np.add.at(sums[0], (age, environment), columns[name])
    np.add.at(sums[1], (age, environment), 1)
    return np.divide(sums[0], sums[1], out=np.full(sums.shape[1:], np.nan), where=sums[1] > 0)


def share_per_step(steps: Steps, problem: Problem) -> np.ndarray:
    """f64[T, k] how often each coupon was offered in each step of an episode."""
    age = np.arange(steps.n) - np.repeat(steps.starts[:-1], np.diff(steps.starts))
    count = np.zeros((int(age.max()) + 1, problem.actions.k))
    np.add.at(count, (age, steps.action), 1)
    return count / count.sum(1, keepdims=True)


def by_environment(values: np.ndarray, environment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(numbers i64[E], means f64[E]) of one number per episode; NaN left out."""
    known = ~np.isnan(values)
    numbers, place = np.unique(environment[known], return_inverse=True)
    return numbers, np.bincount(place, values[known]) / np.bincount(place)


def paired_difference(a: Metrics, b: Metrics, name: str, level: float = 0.95) -> Paired:
    """The mean over environments of a − b, with Student's interval: environments, not customers, are independent.

    Raises: DataError unless both were seen in the same two or more environments.
    """
    left, right = _same(a, b, name)
    return _student(float((left - right).mean()), left - right, level)


def paired_ratio(a: Metrics, b: Metrics, name: str, level: float = 0.95) -> Paired:
    """R = Σ a / Σ b over the same environments; the interval of the residuals a − R b, divided by the mean of b."""
    left, right = _same(a, b, name)
    ratio = float(left.mean() / right.mean())
    return _student(ratio, (left - ratio * right) / right.mean(), level)


def halves(sensitivity: np.ndarray) -> np.ndarray:
    """i64[m] 0: more sensitive to prices than the median of all, 1: less. More negative is more sensitive."""
    return (sensitivity >= np.median(sensitivity)).astype(np.int64)


def depths(problem: Problem) -> np.ndarray:
    """f64[k] how much of the price each coupon takes off, by its name: ``25%``, ``c03:25%``, ``none``."""
    words = [name.rpartition(":")[2] for name in problem.actions.names]
    return np.array([0.0 if word == "none" else float(word.rstrip("%")) / 100 for word in words])


def outcomes(steps: Steps, problem: Problem) -> dict[str, np.ndarray]:
    """f64[n] by name."""
    missing = {"revenue", "units", "environment"} - set(problem.outcome_names)
    if steps.outcomes is None or missing:
        raise DataError(f"this is no log of the retail world: it lacks {', '.join(sorted(missing)) or 'outcomes'}")
    return dict(zip(problem.outcome_names, steps.outcomes.T))


def _same(a: Metrics, b: Metrics, name: str) -> tuple[np.ndarray, np.ndarray]:
    (numbers, left), (others, right) = (by_environment(getattr(each, name), each.environment) for each in (a, b))
    if len(numbers) < 2 or not np.array_equal(numbers, others):
        raise DataError(f"pairs need the same two or more environments; got {len(numbers)} and {len(others)}")
    return left, right


def _student(value: float, parts: np.ndarray, level: float) -> Paired:
    from scipy.special import stdtrit

    n = len(parts)
    half = float(stdtrit(n - 1, (1 + level) / 2) * parts.std(ddof=1) / np.sqrt(n))
    return Paired(value, value - half, value + half, n)
