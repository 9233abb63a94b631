"""From logged decisions and a target's probabilities to Evidence, and from Evidence to point values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace

import numpy as np

from understudy.core.errors import DataError, EvidenceError
from understudy.core.evidence import Evidence, Totals
from understudy.core.protocols import Estimator
from understudy.core.steps import Steps
from understudy.ops import returns
from understudy.ops.blocks import BLOCKS, totals

CHUNK = 32_768  # rows whose columns stay in a core's cache together
SHORT = 16_384  # rows whose k-column tables do
_HEAP = 1 << 21  # numbers in one block, see point_values
SLACK = 1e-5  # how far a row of probabilities may be from 1: single precision reaches 5e-6 with 80 actions


def from_arrays(
    action: np.ndarray,
    reward: np.ndarray,
    propensity: np.ndarray | None,
    probs: np.ndarray,
    q: np.ndarray | None = None,
    *,
    unit: np.ndarray | None = None,
    match: bool = True,
) -> Evidence:
    """Evidence about one target from plain arrays; every row is a one-step episode.

    Args:
        action: logged action, index in [0, k) [n].
        reward: [n].
        propensity: behavior probability of the logged action, in (0, 1] [n]; None if the log has none.
        probs: π(·|x) of the target [n, k]; rows sum to 1.
        q: q̂(x, ·) [n, k], out-of-fold; None if no estimator needs it.
        unit: who is independent of whom [n]; None = every row.
        match: also find out where log and target agree; replay and intervals need it, point values do not.
    Raises:
        DataError: shapes differ, an action is no index in [0, k), probabilities are no probabilities, a reward or a
            model's value is not finite.
    """
    n, action = len(reward), np.asarray(action)
    if action.dtype.kind not in "iu":
        raise DataError(f"actions must be whole numbers; got {action.dtype}", field="action")
    shapes = {"action": np.shape(action), "propensity": np.shape(propensity) if propensity is not None else (n,)}
    for name, shape in shapes.items():
        if shape != (n,):
            raise DataError(f"{name} has shape {shape}, but there are {n} rewards", field=name)
    starts = np.arange(n + 1)
    steps = Steps(
        starts=starts,
        unit=starts[:-1].view(np.uint64) if unit is None else np.asarray(unit).astype(np.uint64),
        time=np.broadcast_to(np.int64(0), n),  # columns nobody reads take no memory
        context=np.empty((n, 0), np.float32),
        action=action,
        reward=_finite(np.asarray(reward, np.float64), "reward"),
        terminated=np.broadcast_to(np.True_, n),
        truncated=np.broadcast_to(np.False_, n),
        propensity=None if propensity is None else np.asarray(propensity, np.float64),
    )
    _check_propensity(steps.propensity)
    return weigh(steps, np.asarray(probs, np.float64), None if q is None else np.asarray(q, np.float64), match=match)


def stream(
    action: np.ndarray,
    reward: np.ndarray,
    propensity: np.ndarray | None,
    probs: np.ndarray,
    q: np.ndarray | None = None,
    *,
    match: bool = True,
) -> Iterator[Evidence]:
    """The evidence of ``from_arrays`` piece by piece, so that no column of all rows is ever made."""
    for at in range(0, len(reward), CHUNK):
        part = slice(at, at + CHUNK)
        b, model = (None if column is None else column[part] for column in (propensity, q))
        unit = np.arange(at, at + len(reward[part]), dtype=np.uint64)
        yield from_arrays(action[part], reward[part], b, probs[part], model, unit=unit, match=match)


def weigh(
    steps: Steps, probs: np.ndarray, values: np.ndarray | None = None, discount: float = 1.0, *, match: bool = True
) -> Evidence:
    """ρ = π(a|x)/b(a|x), q̂(x, a), v̂ = Σ_a π(a|x) q̂(x, a) and whether log and target agree, of a discrete target.

    Args:
        steps: logged decisions; without propensities ρ is NaN, and only estimators that need none may be used.
        probs: π(·|x) [n, k].
        values: q̂(x, ·) [n, k], or None.
    Raises:
        DataError: rows of ``probs`` are no probabilities, an action is outside [0, k), a weight is not finite.
    """
    n, k = steps.n, _width(steps, probs, values)
    chance, agree = np.empty(n), np.empty(n, bool) if match else None
    q, v = (None, None) if values is None else (np.empty(n), np.empty(n))
    ones, first_of_row = np.ones(k), np.arange(min(n, SHORT)) * k
    product = np.empty((0 if values is None else min(n, SHORT), k))
    for first in range(0, n, SHORT):
        part = slice(first, min(first + SHORT, n))
        pi = np.ascontiguousarray(probs[part])
        _check_probs(pi, ones, first)
        index = first_of_row[: len(pi)] + steps.action[part]
        np.take(pi, index, out=chance[part], mode="clip")
        if agree is not None:
            agree[part] = _is_most(chance[part], pi)
        if values is not None and q is not None and v is not None:
            model = np.ascontiguousarray(values[part])
            np.take(model, index, out=q[part], mode="clip")
            np.dot(np.multiply(pi, model, out=product[: len(pi)]), ones, out=v[part])
    if q is not None and v is not None:
        _finite(v, "value of the model")
        _finite(q, "value of the model")
    return Evidence(steps, discount, _ratio(chance, steps), q, v, agree)


def as_logged(steps: Steps, discount: float = 1.0) -> Evidence:
    """Evidence about the behavior policy itself: every estimate is the mean return of the log.

    ρ = 1, and q̂ = v̂ = what the episode still brought from there on (in a bandit, the reward); visits are its own.
    """
    ones = np.ones(steps.n)
    if steps.m == steps.n:
        return Evidence(steps, discount, ones, steps.reward, steps.reward, np.ones(steps.n, bool), ones)
    rest = returns.to_go(steps, discount)
    return Evidence(steps, discount, ones, rest, rest, np.ones(steps.n, bool), returns.factors(steps, discount))


def densities(steps: Steps, density: np.ndarray, discount: float = 1.0) -> Evidence:
    """Evidence about a target of which only π(a|x) of the logged action is known [n], such as a continuous one."""
    return Evidence(steps, discount, _ratio(np.asarray(density, np.float64), steps))


def rows(e: Evidence, part: slice) -> Evidence:
    """A range of one-step episodes, as views."""
    steps = e.steps
    per_row = {f.name: getattr(steps, f.name)[part] for f in fields(Steps) if _sliceable(steps, f.name)}
    starts = np.arange(len(per_row["reward"]) + 1)
    whole = dict.fromkeys(("origin", "final_context", "final_allowed"))
    short = replace(steps, **{**per_row, **whole, "starts": starts})
    columns = {name: getattr(e, name) for name in ("ratio", "q", "v", "match", "density_ratio")}
    return replace(e, steps=short, **{k: None if c is None else c[part] for k, c in columns.items()})


def point_values(
    evidence: Evidence | Iterable[Evidence], estimators: Mapping[str, Estimator], width: float = 1.0
) -> dict[str, float]:
    """Estimates without intervals, in one pass.

    Args:
        evidence: about one target, whole or in pieces (``stream``).
        estimators: name → estimator.
        width: highest minus lowest possible reward; read by estimators that choose a threshold.
    Raises:
        EvidenceError: no episode, no overlap, or an estimator cannot read longer episodes.
    """
    np.empty(_HEAP)  # never touched; once freed, glibc keeps columns of all pieces instead of giving each back
    sums: dict[str, np.ndarray] = {}
    blocks: dict[str, Totals] = {}
    episodes = 0
    for piece in _pieces(evidence) if isinstance(evidence, Evidence) else evidence:
        episodes += piece.steps.m
        for name, estimator in estimators.items():
            terms = estimator.terms(piece)
            part = terms.sum(0)
            sums[name] = sums[name] + part if name in sums else part
            if hasattr(estimator, "settle"):
                more = totals(terms, piece.steps.unit, BLOCKS)
                blocks[name] = blocks[name] + more if name in blocks else more
    if not episodes:
        raise EvidenceError("there is no episode to estimate from", "Nothing can be estimated from nothing.")
    answer: dict[str, float] = {}
    for name, estimator in estimators.items():
        settled = estimator.settle(blocks[name], width) if name in blocks else estimator  # type: ignore[attr-defined]
        answer[name] = float(settled.value(sums[name] / episodes))
        if not np.isfinite(answer[name]):
            raise no_overlap(name)
    return answer


def _pieces(e: Evidence) -> Iterator[Evidence]:
    if e.steps.m != e.steps.n or e.steps.n <= CHUNK:
        yield e
        return
    for at in range(0, e.steps.n, CHUNK):
        yield rows(e, slice(at, at + CHUNK))


def no_overlap(name: str, target: str = "the target") -> EvidenceError:
    """The error for an estimate that does not exist because log and target share no action."""
    return EvidenceError(
        f"{name}: {target} would have taken none of the logged actions",
        "The log says nothing about what would have happened, so there is no estimate.",
        "Log some decisions with a policy that explores what the target does.",
        field="targets",
    )


def check_needs(estimators: Sequence[tuple[str, Estimator]], e: Evidence) -> None:
    """EvidenceError naming the first estimator whose needs the evidence does not meet."""
    has = {
        "propensity": not bool(np.isnan(e.ratio[:1]).any()),
        "q": e.q is not None,
        "match": e.match is not None,
        "density_ratio": e.density_ratio is not None or e.steps.m == e.steps.n,
    }
    for name, estimator in estimators:
        for need in sorted(estimator.needs):
            if not has.get(need, False):
                raise EvidenceError(f"{name} needs {need}, and the evidence has none", hint=_CURE.get(need, ""))


_CURE = {
    "propensity": 'Log propensities, or allow estimated ones: propensity="estimate" (--propensity estimate).',
    "q": 'Give q: the name of a regressor ("ridge"), a Regressor, or a fitted ValueModel.',
    "match": "Replay needs a target over named actions.",
}


def _width(steps: Steps, probs: np.ndarray, values: np.ndarray | None) -> int:
    if probs.ndim != 2 or len(probs) != steps.n or probs.shape[1] == 0:
        raise DataError(f"probs has shape {probs.shape}, but there are {steps.n} decisions", field="probs")
    if values is not None and values.shape != probs.shape:
        raise DataError(f"q has shape {values.shape}, but probs has {probs.shape}", field="q")
    k = probs.shape[1]
    if steps.action.ndim != 1 or (steps.n and (steps.action.min() < 0 or steps.action.max() >= k)):
        raise DataError(f"logged actions must be indices in [0, {k})", field="action")
    return k


def _check_probs(pi: np.ndarray, ones: np.ndarray, first: int) -> None:
    total = pi @ ones
    if total.min() >= 1 - SLACK and total.max() <= 1 + SLACK and pi.min() >= 0:
        return
    bad = ~((np.abs(total - 1) <= SLACK) & (pi >= 0).all(1))
    at = int(np.flatnonzero(bad)[0])
    raise DataError(
        f"{int(bad.sum())} of {len(pi)} rows of the target's probabilities are no probabilities; "
        f"first: row {first + at}, sum {total[at]:.6g}, smallest {pi[at].min():.6g}",
        "Weights made from them would estimate the value of no policy.",
        "Fix the policy's probs: every row at least 0 and summing to 1.",
        field="probs",
    )


def _finite(column: np.ndarray, name: str) -> np.ndarray:
    """The column itself; DataError if an entry is not finite. A sum sees that in one pass, and is looked into if so."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(column.sum()):
            return column
    bad = ~np.isfinite(column)
    if bad.any():
        at = int(bad.argmax())
        raise DataError(
            f"{int(bad.sum())} of {len(column)} rows have no finite {name}; first: row {at}, {column[at]}",
            "One such row makes every estimate that reads it no number.",
            field=name.split(" ")[0],
        )
    return column


def _check_propensity(b: np.ndarray | None) -> None:
    if b is None or not len(b) or (b.min() > 0 and b.max() <= 1 + SLACK):
        return
    bad = ~((b > 0) & (b <= 1 + SLACK))
    at = int(bad.argmax())
    raise DataError(
        f"{int(bad.sum())} of {len(b)} propensities are not in (0, 1]; first: row {at}, propensity {b[at]}",
        "A weight made from such a number is undefined, or of the wrong size.",
        field="propensity",
    )


def _is_most(chance: np.ndarray, pi: np.ndarray) -> np.ndarray:
    """Whether chance[i] is the largest of pi[i], ties included.

    The largest of k probabilities is at least 1/k, and whatever exceeds 1/2 is the largest: only rows between need a
    look, column by column, because a reduction over a short last axis is slow.
    """
    most = chance > 0.5
    unclear = np.flatnonzero((chance > (1 - SLACK) / pi.shape[1] - 1e-12) & ~most)
    if len(unclear):
        rest = pi if len(unclear) > 0.6 * len(pi) else pi[unclear]
        top = rest[:, 0].copy()
        for j in range(1, pi.shape[1]):
            np.maximum(top, rest[:, j], out=top)
        most[unclear] = chance[unclear] >= (top if rest is not pi else top[unclear]) * (1 - 1e-9)
    return most


def _ratio(chance: np.ndarray, steps: Steps) -> np.ndarray:
    if steps.propensity is None:
        return np.full(len(chance), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.divide(chance, steps.propensity, out=chance)
    if len(ratio) and not (np.isfinite(ratio.max()) and ratio.min() >= 0):
        bad = ~(np.isfinite(ratio) & (ratio >= 0))
        at = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"{int(bad.sum())} of {len(ratio)} importance weights are undefined; first: row {at}, "
            f"propensity {steps.propensity[at]}",
            "A propensity must lie in (0, 1]; a density must be above 0.",
            "Set such rows aside with: understudy ingest",
            field="propensity",
        )
    return ratio


def _sliceable(steps: Steps, name: str) -> bool:
    whole = ("starts", "origin", "final_context", "final_allowed")
    return name not in whole and getattr(steps, name) is not None
