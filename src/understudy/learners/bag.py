"""Bagging: several models of resampled logs vote, and disagreement is exploration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.protocols import LoggedDataset, Progress, quiet
from understudy.core.steps import concat
from understudy.models.ensembles import Bag
from understudy.models.fitting import discrete, make
from understudy.models.policies import Explore


@dataclass(frozen=True)
class Bagging:
    """Bootstrap Thompson sampling: p(a|x) = share of the models that prefer a, mixed with ε of uniform.

    Model j weighs every row by an independent Poisson(1) number, the online form of the bootstrap.
    Source: Eckles & Kaptein 2014, algorithm 1; Agarwal et al. 2014, section 3.

    Args:
        model, options: the regressor that is bagged.
        size: how many.
        epsilon: share of uniform exploration.
    """

    model: str = "ridge"
    options: Mapping[str, Any] = field(default_factory=dict)
    size: int = 10
    epsilon: float = 0.01

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> Explore:
        """The policy; the seed fixes the resampling."""
        if self.size < 1:
            raise ConfigError(f"bag: size must be at least 1; got {self.size}", field="size")
        discrete(data.problem, "bag")
        steps, regressor = concat(list(data.scan())), make(self.model, self.options)
        models = []
        for j, stream in enumerate(np.random.SeedSequence(seed).spawn(self.size)):
            weight = np.random.default_rng(stream).poisson(1.0, steps.n).astype(np.float64)
            if not weight.any():  # a handful of rows may all be left out
                weight[:] = 1.0
            models.append(regressor.fit(steps, data.problem, seed=seed + j, weight=weight))
            progress("bag", {"model": float(j + 1)})
        return Explore(Bag(tuple(models)), "votes", self.epsilon)
