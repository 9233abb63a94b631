"""The direct method: regress the reward on context and action, then choose by the prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from understudy.core.protocols import LoggedDataset, Progress, quiet
from understudy.models.fitting import fit_data, make
from understudy.models.policies import Explore


@dataclass(frozen=True)
class Direct:
    """Q̂(x, a) ≈ E[r | x, a] by any regressor, then a rule that turns Q̂ into probabilities.

    Args:
        model: a registered regressor: ridge, logistic, trees, forest.
        options: its hyper-parameters.
        explore: greedy, epsilon_greedy (ε = amount), softmax (λ = amount), squarecb (γ = amount), votes (ε = amount).
        amount: how much the rule explores; see ``models.policies.Explore``.

    Biased where the log's actions depend on what the regressor cannot express; low variance everywhere else.
    Source: Dudík, Langford & Li 2011, "Doubly robust policy evaluation and learning", section 2 (DM).
    """

    model: str = "ridge"
    options: Mapping[str, Any] = field(default_factory=dict)
    explore: str = "greedy"
    amount: float = 0.0

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> Explore:
        """The policy. Raises ConfigError for an unknown model, option or rule."""
        regressor = make(self.model, self.options)
        model = fit_data(regressor, data, seed=seed)
        progress("fit", {"steps": float(data.n_steps)})
        return Explore(model, self.explore, self.amount)
