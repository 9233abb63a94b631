"""Clean logs of several kinds, as production writes them, with the truth beside each: what audits must not flag.

Times, users, categories, missing values, masks, retraining, delayed and lost outcomes are all in, because a test that
is only tried on textbook logs cries wolf on real ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from understudy.core.hashing import mix
from understudy.core.problem import ActionSpace, Feature, OutcomeSpec, Problem
from understudy.core.protocols import JoinRules
from understudy.core.steps import Origin, Steps, bandit_steps

K = 5
DAY = 86_400.0
START = 1_700_000_000.0  # seconds since 1970
SPAN = 20 * DAY
WINDOW = DAY

FEATURES = (
    Feature(name="age"),
    Feature(name="spend"),
    Feature(name="recency", optional=True),
    Feature(name="taste"),
    Feature(name="channel", kind="category", values=("web", "app", "mail", "shop")),
    Feature(name="member", kind="boolean"),
)
ACTIONS = ("bread", "butter", "jam", "tea", "salt")


@dataclass(frozen=True)
class Kind:
    """What sort of log: how the behavior policy draws, and how outcomes arrive."""

    rule: str = "linear"  # the policy's best action: "linear" in the context, a "tree", or "soft" (a softmax)
    epsilon: float = 0.2
    versions: int = 1  # the policy is retrained this many times less one
    masked: bool = False
    repeats: int = 1  # decisions per user
    reward: str = "binary"  # "binary", "continuous", "events" (silence is 0), "counts" (several events add up)
    lost: float = 0.02  # outcomes that never arrive, whatever was done
    slow: float = 1.0  # how many times longer outcomes take that come by mail


KINDS: dict[str, Kind] = {
    "epsilon_greedy": Kind(),
    "softmax": Kind(rule="soft", epsilon=0.1, reward="continuous", lost=0.03, slow=2.0),
    "retrained": Kind(epsilon=0.1, versions=4, reward="events", lost=0.0, slow=1.5),
    "masked": Kind(rule="soft", epsilon=0.1, masked=True, repeats=10, lost=0.05),
    "tree": Kind(rule="tree", epsilon=0.3, versions=2, masked=True, reward="counts", lost=0.0),
}


@dataclass(frozen=True)
class World:
    """A log and what is true of it."""

    kind: Kind
    problem: Problem
    steps: Steps
    rules: JoinRules
    pmf: np.ndarray  # f64[n, k] what the actions were drawn with
    unmasked: np.ndarray  # f64[n, k] the same before the mask
    previous: np.ndarray  # f64[n, k] what the version before would have drawn with
    base: np.ndarray  # f64[n, k] the policy before exploration, masked
    means: np.ndarray  # f64[n, k] expected reward of every action

    def with_(self, **columns: object) -> World:
        """A copy with some columns of the steps replaced."""
        return replace(self, steps=self.steps.with_(**columns))

    def chosen_only(self) -> World:
        """The same log with the propensity of the taken action only, as most logs are."""
        return self.with_(propensities=None)


@dataclass(frozen=True)
class Twist:
    """What a fault changes in the making of a world, rather than in its log.

    Args:
        without: an action that the behavior policy never takes although it is allowed.
        drift: shift of two features, in standard deviations, from the middle of the log on.
        override: share of decisions in which something downstream puts another action in place of the drawn one,
            while the log keeps the propensity of the drawn one.
        promoted: the action it puts there, where that is allowed; None is any other allowed one at random.
    """

    without: int | None = None
    drift: float = 0.0
    override: float = 0.0
    promoted: int | None = None


def world(kind: Kind, n: int, seed: int, twist: Twist = Twist()) -> World:
    """A log of n decisions over 20 days, and its truth."""
    rng = np.random.default_rng(seed)
    rows = np.arange(n)
    time = START + np.sort(rng.random(n)) * SPAN
    user = rng.integers(0, n // kind.repeats, n) if kind.repeats > 1 else rows
    encoded, context = _context(rng, user, np.where(rows >= n // 2, twist.drift, 0.0))
    allowed = _mask(rng, n) if kind.masked else None
    scores, means = _models(rng, encoded, kind)
    version = rows * kind.versions // n
    now, before = scores[version + 1, rows], scores[version, rows]  # [n, k]
    base = masked(_base(kind, now), allowed)
    pmf = _explore(base, kind.epsilon, allowed, twist.without)
    drawn = draw(rng, pmf)
    action = _overridden(rng, drawn, allowed, twist)
    steps = bandit_steps(
        context,
        action,
        np.zeros(n),
        pmf[rows, drawn],
        time=(time * 1e6).astype(np.int64),
        unit=mix(user.astype(np.uint64), seed),
        allowed=allowed,
        propensities=pmf,
    )
    return World(
        kind=kind,
        problem=problem_of(kind),
        steps=_outcomes(rng, steps, means[rows, action], kind, version),
        rules=JoinRules(window=WINDOW, backward=0.0, as_of=int((START + SPAN + 2 * WINDOW) * 1e6)),
        pmf=pmf,
        unmasked=_explore(_base(kind, now), kind.epsilon, None, twist.without),
        previous=_explore(masked(_base(kind, before), allowed), kind.epsilon, allowed, twist.without),
        base=base,
        means=means,
    )


def problem_of(kind: Kind) -> Problem:
    """The Problem that a log of this kind answers to."""
    return Problem(
        features=FEATURES,
        actions=ActionSpace(names=ACTIONS),
        outcomes=(OutcomeSpec(name="reward", aggregate="sum", default=0.0),),
        reward_range=(0.0, 50.0),
        unit="unit" if kind.repeats > 1 else "decision",
    )


def draw(rng: np.random.Generator, pmf: np.ndarray) -> np.ndarray:
    """An action per row. f64[n, k] → i32[n]."""
    return (pmf.cumsum(1) < rng.random(len(pmf))[:, None] * pmf.sum(1, keepdims=True)).sum(1).astype(np.int32)


def masked(pmf: np.ndarray, allowed: np.ndarray | None) -> np.ndarray:
    """Probabilities renormalised over what is allowed."""
    if allowed is None:
        return pmf
    kept = np.where(allowed, pmf + 1e-12, 0.0)
    return kept / kept.sum(1, keepdims=True)


def _context(rng: np.random.Generator, user: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the world knows f64[n, 9], and what the log says of it f32[n, d]: half of it belongs to the user."""
    n, users = len(user), int(user.max()) + 1
    age, member = rng.normal(size=users)[user], (rng.random(users) < 0.4)[user]
    spend = rng.exponential(size=n) * (1 + shift)
    taste = rng.normal(size=n) + shift
    recency = rng.normal(size=n)
    channel = rng.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
    gone = rng.random(n) < 0.05
    encoded = np.column_stack([age, spend - 1, np.where(gone, 0, recency), taste, np.eye(4)[channel], member - 0.4])
    raw = [age, spend, np.where(gone, np.nan, recency), taste, channel, member]
    return encoded, np.column_stack(raw).astype(np.float32)


def _mask(rng: np.random.Generator, n: int) -> np.ndarray:
    """bool[n, k]: each action is in stock on 8 rows of 10, and at least two always are."""
    allowed = rng.random((n, K)) < 0.8
    few = allowed.sum(1) < 2
    allowed[few, :2] = True
    return allowed


def _models(rng: np.random.Generator, encoded: np.ndarray, kind: Kind) -> tuple[np.ndarray, np.ndarray]:
    """Scores of every policy version f64[versions + 1, n, k], and the true means f64[n, k]."""
    truth = rng.normal(size=(encoded.shape[1], K)) * 0.5
    means = 1 / (1 + np.exp(-(encoded @ truth + rng.normal(size=K) * 0.3 - 0.3)))
    scores = []
    for version in range(kind.versions + 1):
        if kind.rule == "tree":
            leaf = (encoded[:, 0] > 0) * 8 + (encoded[:, 3] > 0.5) * 4 + encoded[:, 4:8].argmax(1)
            scores.append(rng.normal(size=(16, K))[leaf])
        else:
            scores.append(encoded @ (truth + rng.normal(size=truth.shape) * (0.2 + 0.6 / (1 + version))))
    return np.array(scores), means


def _base(kind: Kind, scores: np.ndarray) -> np.ndarray:
    """The policy before exploration and mask: a softmax of the scores, or their argmax."""
    if kind.rule != "soft":
        scores = scores * 1e3
    p = np.exp(np.clip(scores - scores.max(1, keepdims=True), -700, 0))
    return p / p.sum(1, keepdims=True)


def _explore(base: np.ndarray, epsilon: float, allowed: np.ndarray | None, without: int | None) -> np.ndarray:
    """(1 − ε) base + ε uniform over what may be explored."""
    open_ = np.ones(base.shape, bool) if allowed is None else allowed.copy()
    if without is not None:
        open_[:, without] = False
        open_[~open_.any(1), (without + 1) % K] = True
        base = masked(base, open_)
    return (1 - epsilon) * base + epsilon * open_ / open_.sum(1, keepdims=True)


def _overridden(rng: np.random.Generator, drawn: np.ndarray, allowed: np.ndarray | None, twist: Twist) -> np.ndarray:
    if twist.override <= 0:
        return drawn
    others = np.ones((len(drawn), K)) if allowed is None else allowed.astype(np.float64)
    if twist.promoted is not None:
        others[:, np.arange(K) != twist.promoted] = 0
    others[np.arange(len(drawn)), drawn] = 0
    able = np.flatnonzero(others.sum(1) > 0)
    hit = rng.choice(able, min(int(twist.override * len(drawn)), len(able)), replace=False)
    action = drawn.copy()
    action[hit] = draw(rng, others[hit])
    return action


def _outcomes(rng: np.random.Generator, steps: Steps, mean: np.ndarray, kind: Kind, version: np.ndarray) -> Steps:
    """Rewards as the join would give them: late, sometimes lost, sometimes several."""
    n = steps.n
    if kind.reward == "continuous":
        value = rng.beta(4 * mean, 4 * (1 - mean))
    elif kind.reward == "counts":
        value = rng.poisson(mean).astype(np.float64)
    else:
        value = (rng.random(n) < mean).astype(np.float64)
    arrived = np.ones(n, np.int32)
    if kind.reward == "events" or kind.reward == "counts":
        arrived = value.astype(np.int32)
    by_mail = steps.context[:, 4] == FEATURES[4].values.index("mail")
    delay = rng.exponential(WINDOW / 8, n) * np.where(by_mail, kind.slow, 1.0)
    arrived[(rng.random(n) < kind.lost) | (delay > WINDOW)] = 0
    return arrivals(steps, np.where(arrived > 0, value, 0.0), np.where(arrived > 0, delay, np.nan), arrived, version)


def arrivals(
    steps: Steps, value: np.ndarray, delay: np.ndarray, arrived: np.ndarray, version: np.ndarray | None = None
) -> Steps:
    """Steps with these outcomes; where none arrived the default 0 stands in as the reward."""
    old = steps.origin
    policy = old.policy if old is not None else mix(np.asarray(version).astype(np.uint64), 7)
    decision = old.decision if old is not None else mix(np.arange(steps.n, dtype=np.uint64), 11)
    return steps.with_(
        reward=np.where(arrived > 0, value, 0.0),
        outcomes=np.where(arrived > 0, value, np.nan)[:, None],
        origin=Origin(decision=decision, policy=policy, delay=delay, arrived=arrived.astype(np.int32)),
    )
