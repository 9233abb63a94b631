"""Thompson sampling with a forest: every decision is that of one tree, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

from understudy.core.errors import ConfigError
from understudy.core.protocols import DiscretePolicy, LoggedDataset, Progress, quiet
from understudy.core.steps import concat
from understudy.models.fitting import discrete, make
from understudy.models.policies import Explore, floored


@dataclass(frozen=True)
class ForestTS:
    """π(a|x) = share of the trees whose best action is a (ties share), mixed with ε of uniform.

    A forest on context and one-hot action, each tree grown on its own bootstrap of the log, is a draw from the
    posterior in all but name; drawing one tree per decision and acting on it takes action a with exactly that share
    of probability, so the propensity is exact and nothing random is left in the policy.

    Args:
        trees: how many; the resolution of a probability is 1/trees.
        min_leaf: decisions a leaf must hold. max_features: share of the inputs tried at a split.
        pooled: one forest on context and action; otherwise one per action.
        epsilon: share of uniform exploration.

    Source: Elmachtoub, McNellis, Oh & Petrik 2017, "A practical method for solving contextual bandit problems using
    decision trees". Deviation: a forest's bootstraps instead of one bootstrapped tree per decision.
    """

    trees: int = 20
    min_leaf: int = 1
    max_features: float = 1.0
    pooled: bool = True
    epsilon: float = 0.0

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> DiscretePolicy:
        """The policy of a log; the seed fixes the bootstraps."""
        if not 0 <= self.epsilon <= 1:
            raise ConfigError(f"forest_ts: epsilon must lie in [0, 1]; got {self.epsilon}", field="epsilon")
        k = discrete(data.problem, "forest_ts")
        names = ("trees", "min_leaf", "max_features", "pooled")
        forest = make("forest", {name: getattr(self, name) for name in names})
        model = forest.fit(concat(list(data.scan())), data.problem, seed=seed)
        progress("fit", {"steps": float(data.n_steps)})
        return floored(Explore(model, "votes", 0.0), k, self.epsilon)
