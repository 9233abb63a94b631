"""Vowpal Wabbit's contextual bandits behind the same door: learned by VW, kept as its bytes, checked by us."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from understudy.core.errors import ConfigError, EvidenceError
from understudy.core.problem import Problem
from understudy.core.protocols import DiscretePolicy, LoggedDataset, Progress, quiet
from understudy.core.steps import Steps, concat
from understudy.models.feature_map import FeatureMap, fit_feature_map
from understudy.models.fitting import discrete, unit_rewards
from understudy.models.policies import floored
from understudy.models.vw import EXPLORERS, MAX_BITS, VWPolicy, adf_lines, examine, line, workspace

# What ``amount`` is called in each rule of VW.
_AMOUNT = {
    "egreedy": "epsilon", "bag": "bag", "cover": "cover", "softmax": "lambda", "regcb": "mellowness",
    "regcbopt": "mellowness", "squarecb": "gamma_scale",
}  # fmt: skip
_FLAG = ("softmax", "regcb", "regcbopt", "squarecb", "synthcover")


@dataclass(frozen=True)
class VW:
    """Vowpal Wabbit reads the log in order, once or ``passes`` times, and predicts with what it then knows.

    A row is (cost, action, propensity, features): cost = (high − r)/(high − low), features = φ(x) in namespace s, and
    with ``adf`` one line per allowed action in namespace a. Fields:

        explore: greedy (VW's --cb, --cb_adf), or a rule of --cb_explore: egreedy, bag, cover, softmax, regcb,
            regcbopt, squarecb, synthcover.
        amount: that rule's epsilon, number of policies (bag, cover), lambda, mellowness or gamma_scale; 0 is VW's own.
        adf: actions as features (--cb_explore_adf); otherwise one set of weights per action.
        cb_type: mtr, dr, ips or dm: how VW learns from an action that was not always taken.
        quadratic: products of every two inputs, times the action.
        rate, power: VW's learning_rate and power_t. bits: log₂ of the number of weights.
        passes: times the log is read.
        epsilon: share of uniform exploration mixed in by us, whatever the rule.
        signed_log: add each number's signed logarithm, both clipped (heavy tails).

    There is no option to eliminate actions (--elim): VW then emits negative probabilities. Any answer that is not a
    pmf is a DataError. Source: Bietti, Agarwal & Langford 2021; options as VW 9.11 documents them.
    """

    explore: str = "squarecb"
    amount: float = 100.0
    adf: bool = True
    cb_type: str = "mtr"
    quadratic: bool = True
    rate: float = 0.5
    power: float = 0.5
    bits: int = 18
    passes: int = 1
    epsilon: float = 0.0
    signed_log: bool = False

    def __post_init__(self) -> None:
        if self.explore not in EXPLORERS:
            raise ConfigError(f"vw: explore is one of {', '.join(EXPLORERS)}; got {self.explore!r}", field="explore")
        if self.cb_type not in ("mtr", "dr", "ips", "dm"):
            raise ConfigError(f"vw: cb_type is mtr, dr, ips or dm; got {self.cb_type!r}", field="cb_type")
        if not 0 <= self.amount < 1e9 or not self.rate > 0 or not 0 <= self.power <= 1 or not 0 <= self.epsilon <= 1:
            raise ConfigError("vw: needs amount ≥ 0, rate > 0, power and epsilon in [0, 1]")
        if not 8 <= self.bits <= MAX_BITS or self.passes < 1:
            raise ConfigError(f"vw: needs bits in [8, {MAX_BITS}] and passes ≥ 1; got {self.bits}, {self.passes}")

    def fit(self, data: LoggedDataset, *, seed: int, progress: Progress = quiet) -> DiscretePolicy:
        """The policy of a log with propensities. Raises EvidenceError if it has none."""
        steps, k = concat(list(data.scan())), discrete(data.problem, "vw")
        features = fit_feature_map(data.problem, [steps], self.signed_log)
        examples = self._examples(steps, data.problem, features)
        learner = workspace(self.options(k, seed))
        for _ in range(self.passes):
            for example in examples:
                learner.learn(example)
        progress("fit", {"steps": float(steps.n)})
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model"
            learner.save(str(file))
            learner.finish()
            model = file.read_bytes()
        examine(model)
        policy = VWPolicy(features, np.frombuffer(model, np.uint8), k, self.explore, self.adf)
        return floored(policy, k, self.epsilon)

    def options(self, k: int, seed: int) -> list[str]:
        """VW's command line."""
        base = "cb" if self.explore == "greedy" else "cb_explore"
        words = [f"--{base}_adf"] if self.adf else [f"--{base}", str(k)]
        if self.explore in _FLAG:
            words.append(f"--{self.explore}")
        if self.explore in ("bag", "cover"):
            words += [f"--{self.explore}", str(int(self.amount) or 5)]
        elif self.explore in _AMOUNT and self.amount > 0:
            words += [f"--{_AMOUNT[self.explore]}", repr(float(self.amount))]
        if self.adf:
            words += ["--cb_min_cost", "0", "--cb_max_cost", "1", "-q", "sa"]
        if self.quadratic:
            words += ["--interactions", "ssa"] if self.adf else ["-q", "ss"]
        settings = {
            "cb_type": self.cb_type,
            "learning_rate": self.rate,
            "power_t": self.power,
            "bit_precision": self.bits,
        }
        words += [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        return [*words, "--random_seed", str(seed % 2**31), "--quiet"]

    def _examples(self, steps: Steps, problem: Problem, features: FeatureMap) -> list[list[str] | str]:
        if steps.propensity is None:
            raise EvidenceError("the log has no propensities, and vw weighs by them", hint="Use the direct learner.")
        cost, z = 1.0 - unit_rewards(steps, problem, "vw"), features(steps.context)
        everything = np.arange(problem.actions.k)
        examples: list[list[str] | str] = []
        for i in range(steps.n):
            action, label = int(steps.action[i]), f"{cost[i]!s}:{steps.propensity[i]!s}"
            if self.adf:
                shown = everything if steps.allowed is None else np.flatnonzero(steps.allowed[i])
                examples.append(adf_lines(z[i], shown, action, f"0:{label}"))
            else:
                examples.append(f"{action + 1}:{label} {line(z[i])}")
        return examples
