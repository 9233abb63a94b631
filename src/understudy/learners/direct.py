"""The direct method: regress the reward on context and action, then choose by the prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from understudy.core.protocols import LoggedDataset, Progress, quiet
from understudy.models.fitting import discrete, fit_data, make
from understudy.models.policies import Explore
from understudy.ops.explore import gamma_schedule


@dataclass(frozen=True)
class Direct:
    """Q̂(x, a) ≈ E[r | x, a] by any regressor, then a rule that turns Q̂ into probabilities.

    Args:
        model: a registered regressor: ridge, logistic, trees, forest.
        options: its hyper-parameters.
        explore: greedy, epsilon_greedy (ε = amount), softmax (λ = amount), squarecb (γ = amount), votes (ε = amount).
        amount: how much the rule explores; see ``models.policies.Explore``.
        growth: ρ; the rule's amount is ``amount · n^ρ``, n the decisions learned from. SquareCB settles with ρ = .5,
            ε-greedy with a negative ρ; 0 keeps the amount as it is.

    Biased where the log's actions depend on what the regressor cannot express; low variance everywhere else.
    Source: Dudík, Langford & Li 2011, "Doubly robust policy evaluation and learning", section 2 (DM).
    """

    model: str = "ridge"
    options: Mapping[str, Any] = field(default_factory=dict)
    explore: str = "greedy"
    amount: float = 0.0
    growth: float = 0.0

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> Explore:
        """The policy. Raises ConfigError for an unknown model, option or rule."""
        discrete(data.problem, "direct")
        model = fit_data(make(self.model, self.options), data, seed=seed)
        progress("fit", {"steps": float(data.n_steps)})
        amount = float(gamma_schedule(self.amount, data.n_steps, self.growth))
        return Explore(model, self.explore, amount)
