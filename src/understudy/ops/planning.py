"""How much data a proof takes: forecast from what was seen, or plan before anything is run."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.evidence import Lift
from understudy.ops.betting import BETS, DR_BOUNDS, DR_SHARES, SHARES, STAKE, growth, log_sum_exp
from understudy.ops.paired import controlled_difference, ips_difference


def further(lift: Lift, need: float, power: float = 0.8) -> int | None:
    """Further units until the e-process reaches e^need with about the given power, if what was seen goes on.

    The best bet grows by g per unit with variance about 2g, so the chance that it exceeds b after n units is
    Φ((n g − b)/√(2 n g)); b is need plus what averaging over bets costs. Solved for n:
    √(n g) = z/√2 + √(z²/2 + b).

    Args:
        lift: g is its ``growth`` where the observed lift is above the margin; else (μ − m)²/(2 σ²) at the highest
            lift μ that is still plausible (one standard error, 95 %).
        need: ln(1/α).
    Returns:
        None where not even the highest plausible lift is above the margin.
    """
    n = lift.n_units
    if n == 0 or lift.std_error is None:
        return None
    variance = lift.std_error**2 * n
    cost = math.log(2.0 / SHARES[0])
    gap = lift.mean - lift.margin
    rate = lift.growth
    if gap <= 0 or rate <= 0:
        gap = gap + 1.645 * lift.std_error
        rate = gap**2 / (2.0 * variance) if variance > 0 else 0.0
    if gap <= 0 or rate <= 0:
        return None
    total = _units(need + cost, rate, power)
    return max(1, math.ceil(total - n))


def _units(b: float, rate: float, power: float) -> float:
    from statistics import NormalDist

    z = NormalDist().inv_cdf(power)
    return (z / math.sqrt(2.0) + math.sqrt(z * z / 2.0 + b)) ** 2 / rate


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What it takes to prove a lift at one exploration rate."""

    decisions: int | None  # with the stated power; None = more than ``limit``
    matches: float | None  # how many of them explore what the candidate would do differently
    rule_of_thumb: int  # 2 ln(1/α) d q (k/ε)/gap², q what the candidate is paid: weights alone, no reward model
    power: float
    alpha: float
    epsilon: float
    gap: float
    limit: int


def plan(
    *,
    k: int,
    epsilon: float,
    gap: float,
    disagreement: float,
    reward: float,
    alpha: float = 0.05,
    power: float = 0.8,
    margin: float = 0.0,
    error: float = 0.1,
    limit: int = 1_000_000_000,
) -> Plan:
    """Decisions needed until the gate's e-process proves a lift, before any are logged.

    Plays the gate's own bets on the simplest world that has the stated numbers: the incumbent acts ε-greedily and
    makes the log, the candidate too, and their greedy actions differ in a share d of contexts; there the incumbent's
    pays q and the candidate's q + gap/(d (1 − ε)); rewards are 0 or 1, and the reward model is wrong by ``error``
    (standard deviation, per context and action). 500 simulated logs, always the same ones.

    Args:
        k: number of actions.
        epsilon: exploration rate, in (0, 1]: with this probability the action is drawn evenly.
        gap: lift to be proven, on rewards scaled to [0, 1].
        disagreement: d, share of contexts in which the two policies differ, in (0, 1].
        reward: q, what the incumbent's action pays there.
        alpha: allowance of the test; for the j-th candidate α·6/(π²j²).
        margin: as in the rules; negative for non-inferiority.
    Raises:
        ConfigError: a number is out of range, or no such world exists because a mean reward would exceed 1.

    >>> plan(k=7, epsilon=0.3, gap=0.04, disagreement=0.2, reward=0.7).rule_of_thumb
    17226
    """
    other = reward + gap / (disagreement * (1.0 - epsilon)) if 0 < disagreement <= 1 and epsilon < 1 else math.nan
    _check(k=k >= 2, epsilon=0 < epsilon < 1, disagreement=0 < disagreement <= 1, reward=0 <= reward <= 1,
           alpha=0 < alpha < 1, power=0 < power < 1, gap=gap > margin, margin=abs(margin) < 1)  # fmt: skip
    if not 0 <= other <= 1:
        raise ConfigError(
            f"a lift of {gap:g} in {disagreement:.0%} of contexts needs a mean reward of {other:.3g} there",
            "Scaled rewards end at 1, so no policy has such a lift.",
            "State a smaller gap, a larger disagreement, or a smaller reward of the incumbent.",
            field="gap",
        )
    chance, x_ips, x_dr = _world(k, epsilon, reward, other, error)
    # An agreement draws 0, which is a gain only at a negative margin.
    x_ips, x_dr = np.append(x_ips, 0.0), np.vstack([x_dr, np.zeros(len(DR_BOUNDS))])
    outcomes = [growth(x_ips, BETS, 1.0, margin), growth(x_dr, np.array([STAKE]), DR_BOUNDS, margin)]  # [R, J] each
    chance = np.append(disagreement * chance, 1.0 - disagreement)
    needed = _first_crossing(chance, np.hstack(outcomes), alpha, power, limit)
    rough = 2.0 * math.log(1.0 / alpha) * disagreement * max(reward, other) * k / epsilon / (gap - margin) ** 2
    return Plan(
        decisions=needed,
        matches=None if needed is None else needed * disagreement * epsilon / k,
        rule_of_thumb=math.ceil(rough),
        power=power,
        alpha=alpha,
        epsilon=epsilon,
        gap=gap,
        limit=limit,
    )


def _world(k: int, epsilon: float, reward: float, other: float, error: float) -> tuple[np.ndarray, ...]:
    """Where the two policies differ: (chance f64[R], ips f64[R], dr f64[R, J]) of every kind of draw.

    Action 0 is the incumbent's, 1 the candidate's; all others are alike and enter as one with their joint chance.
    The model's error takes three values per action with the first five moments of a normal.
    """
    steps = np.array([-math.sqrt(3.0), 0.0, math.sqrt(3.0)]) * error
    weight = np.array([1.0, 4.0, 1.0]) / 6.0
    rare = epsilon / k
    greedy = 1.0 - epsilon + rare
    rest = (k - 2) * rare
    size = 3 if k > 2 else 2
    old, new = np.array([greedy, rare, rest])[:size], np.array([rare, greedy, rest])[:size]
    mean = np.array([reward, other, 0.5])[:size]
    rows = [
        (old[a] * (mean[a] if r else 1.0 - mean[a]) * weight[i] * weight[j], a, r, steps[i], steps[j])
        for a in range(size)
        for r in (0.0, 1.0)
        for i in range(3)
        for j in range(3)
    ]
    chance, action, paid, e0, e1 = (np.array(column) for column in zip(*rows))
    q = np.tile(mean, (len(rows), 1))
    q[:, 0] += e0
    q[:, 1] += e1
    old, new = np.tile(old, (len(rows), 1)), np.tile(new, (len(rows), 1))
    action = action.astype(np.int64)
    w_new = (new / old)[np.arange(len(rows)), action]
    ips = ips_difference(w_new, np.ones(len(rows)), paid)
    return chance, ips, controlled_difference(new, old, old, action, paid, q.clip(0.0, 1.0), DR_BOUNDS)


def _first_crossing(chance: np.ndarray, outcomes: np.ndarray, alpha: float, power: float, limit: int) -> int | None:
    """Draws until a share ``power`` of 500 simulated e-processes has been seen above 1/α, looked at every 8 %."""
    rng, runs = np.random.default_rng(0), 500
    wealth = np.tile(np.log(np.concatenate([SHARES, DR_SHARES]) / 2.0), (runs, 1))  # [500, J]
    crossed = np.zeros(runs, bool)
    n, before = 16, 0
    last = (0, 0.0)
    while before < limit:
        wealth += rng.multinomial(n - before, chance, size=runs) @ outcomes
        crossed |= log_sum_exp(wealth) >= -math.log(alpha)
        share = float(crossed.mean())
        if share >= power:
            return math.ceil(last[0] + (n - last[0]) * (power - last[1]) / (share - last[1]))
        last, before = (n, share), n
        n = min(limit, math.ceil(n * 1.08))
    return None


_RANGES = {
    "k": "The number of actions (--actions) is 2 or more.",
    "epsilon": "Exploration (--exploration) lies strictly between 0 and 1.",
    "disagreement": "The share of contexts in which the policies differ is above 0 and at most 1.",
    "reward": "The mean reward is a share of the reward range: 0 to 1.",
    "gap": "The lift is a share of the reward range, and must exceed the margin.",
}


def _check(**passed: bool) -> None:
    for name, ok in passed.items():
        if not ok:
            raise ConfigError(f"{name} is out of range", hint=_RANGES.get(name, ""), field=name)
