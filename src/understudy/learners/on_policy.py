"""What learners of their own actions share: a table of decisions with advantages, and a policy with a value beside it.

Their minibatches come from decisions of the policy being trained, or of one close to it, and are used a few times over.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from understudy.core.errors import DataError
from understudy.core.problem import Problem
from understudy.core.protocols import GradientLearner, LoggedDataset, Policy, Progress
from understudy.core.steps import Steps, concat
from understudy.learners.gradient import feature_map, plain
from understudy.learners.loop import run
from understudy.models.actor import Actor, gaussian, log_density
from understudy.models.feature_map import FeatureMap
from understudy.models.policies import Explore
from understudy.models.q_network import QNetwork
from understudy.ops import bellman
from understudy.ops.network import forward
from understudy.ops.returns import advantages

NODES, SHARES = np.polynomial.hermite_e.hermegauss(20)
SHARES = SHARES / np.sqrt(2 * np.pi)  # of a standard normal


class Told(NamedTuple):
    """One minibatch of decisions, or several with one more leading axis."""

    x: Any  # f32[b, d′]
    action: Any  # i32[b], or f32[b, q] before squashing
    advantage: Any  # f32[b]
    target: Any  # f32[b] what the value should have said
    log_prob: Any  # f32[b] of the policy that acted
    allowed: Any = None  # bool[b, k]


class OnPolicyLearner(GradientLearner, Protocol):
    """A gradient learner whose minibatches are made anew from every collection of steps."""

    @property
    def passes(self) -> int:
        """How often each decision of a collection is used."""
        ...

    def told(self, state: Any, steps: Steps, problem: Problem, features: FeatureMap) -> Told:
        """The table of a collection, n rows, under the training state before it is learned from."""
        ...


def fit(learner: OnPolicyLearner, data: LoggedDataset, seed: int, progress: Progress) -> Policy:
    """The policy of a log that this policy, or one close to it, has made: one collection, used over and over.

    Raises: DataError where the log has no propensities: nobody can tell how close the policies are.
    """
    steps, features = concat(list(data.scan())), feature_map(learner, data)
    state = learner.init(data.problem, features, seed=seed)
    table = learner.told(state, steps, data.problem, features)
    state = run(
        state, learner.update, lambda rng, c: drawn(table, rng, c, learner.batch), steps=learner.updates, seed=seed,
        progress=progress,
    )  # fmt: skip
    return learner.policy(state, data.problem, features)


def drawn(table: Told, rng: np.random.Generator, updates: int, batch: int) -> Told:
    """``updates`` minibatches: every row once before any comes again."""
    n, size = len(table.x), updates * batch
    rows = np.concatenate([rng.permutation(n) for _ in range(-(-size // n))])[:size]
    return Told(*(None if c is None else c[rows].reshape(updates, batch, *c.shape[1:]) for c in table))


def told(learner: Any, state: Any, steps: Steps, problem: Problem, features: FeatureMap) -> Told:
    """The table of a collection, of ppo and of reinforce: by their own value network, guidance and trace."""
    discount = problem.discount * learner.guidance
    return tell(steps, problem, features, plain(state.value), learner.scale, discount, learner.trace)


def tell(
    steps: Steps, problem: Problem, features: FeatureMap, layers: Any, scale: float, discount: float, trace: float
) -> Told:
    """The table of some steps under a value network (``layers``, NumPy): generalised advantages, standardised.

    After a truncated episode the value of its final context stands for what it would still have earned.

    Raises: DataError where the steps have no propensities, or a truncated episode has no final context.
    """
    _sound(steps)
    x = features(steps.context)
    value = forward(np, layers, x)[0][:, 0].astype(np.float64)
    final = steps.final_context
    beyond = np.zeros(steps.m) if final is None else np.nan_to_num(forward(np, layers, features(final))[0][:, 0])
    gain = advantages(steps, value, beyond, discount, trace, scale)
    standard = (gain - gain.mean()) / (gain.std() + 1e-8)
    action, log_prob = steps.action, np.log(np.asarray(steps.propensity))
    if not problem.actions.discrete:
        low, high = np.asarray(problem.actions.low), np.asarray(problem.actions.high)
        half = (high - low) / 2
        y = np.clip((action - (low + high) / 2) / half, -1 + 1e-6, 1 - 1e-6)
        action, log_prob = np.arctanh(y).astype(np.float32), log_prob + np.log(half).sum()
    f32 = np.float32
    return Told(x, action, standard.astype(f32), (gain + value).astype(f32), log_prob.astype(f32), steps.allowed)


def _sound(steps: Steps) -> None:
    if steps.propensity is None:
        raise DataError(
            "this log has no propensities", "A policy gradient weighs every decision by how likely it was.",
            "Log them, or train a learner that needs none, such as iql.", field="propensity",
        )  # fmt: skip
    cut, final = steps.truncated[steps.starts[1:] - 1], steps.final_context
    unknown = cut if final is None else cut & np.isnan(final).all(1) & (final.shape[1] > 0)
    if unknown.any():
        raise DataError(
            f"{int(unknown.sum())} of {steps.m} episodes are truncated and the log does not say where they stood then; "
            f"first: episode {int(unknown.argmax())}",
            "What they would still have earned would count as nothing, as if being cut short were a failure.",
            "Log the context after their last step (a closing row of the timeline), or mark as terminated what ended.",
            field="final_context",
        )  # fmt: skip


def log_probs(xp: Any, scores: Any, batch: Told) -> tuple[Any, Any]:
    """(log π(a|x) f[b], entropy f[b]) from the last layer's outputs: softmax if actions are named, else a Gaussian."""
    if batch.action.ndim == 1:
        log_p = bellman.log_softmax(xp, scores, batch.allowed)
        p = xp.exp(log_p)
        return bellman.taken(xp, log_p, batch.action), -(p * xp.maximum(log_p, -50.0)).sum(-1)
    mean, log_std = gaussian(xp, scores, batch.action.shape[-1])
    return log_density(xp, batch.action, mean, log_std), spread(xp, mean, log_std)


def spread(xp: Any, mean: Any, log_std: Any) -> Any:
    """Entropy of y = tanh(μ + σz): Σ_j ½ log 2πe + log σ + E log(1 − tanh²(μ + σz)), f[b, q] → f[b].

    The last term by Gauss-Hermite quadrature. −log π of the actions taken has the same mean, but its slope does not:
    under the policy that took them the mean of ∇ log π is 0.
    """
    raw = mean[..., None] + xp.exp(log_std)[..., None] * NODES
    squash = 2.0 * (np.log(2.0) - raw - xp.logaddexp(0.0, -2.0 * raw))
    return (0.5 * np.log(2 * np.pi * np.e) + log_std + (squash * SHARES).sum(-1)).sum(-1)


def policy(layers: Any, problem: Problem, features: FeatureMap) -> Policy:
    """The policy of actor layers on the device: a softmax over named actions, or a squashed Gaussian."""
    actions, layers = problem.actions, plain(layers)
    if actions.discrete:
        return Explore(QNetwork(features, layers, actions.k), "softmax", 1.0)
    return Actor(features, layers, np.asarray(actions.low, np.float64), np.asarray(actions.high, np.float64))


def outputs(problem: Problem) -> int:
    """Outputs of the actor's last layer."""
    return problem.actions.k if problem.actions.discrete else 2 * problem.actions.dims
