"""Policies of Vowpal Wabbit: its own model bytes, examined before it may load them, and every pmf checked."""

from __future__ import annotations

import re
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError, DataError
from understudy.core.protocols import State
from understudy.models.feature_map import FeatureMap
from understudy.models.policies import Discrete
from understudy.models.state import array, bad, choice, nested, only, part, whole
from understudy.ops import explore

EXPLORERS = ("greedy", "egreedy", "bag", "cover", "softmax", "regcb", "regcbopt", "squarecb", "synthcover")
MAX_MODEL, MAX_BITS = 64 << 20, 24
SLACK = 1e-4  # how far from 1 the sum of a pmf in float32 may be
# What a model's header may ask of VW: how to learn and to explore, and nothing that reads or writes a file.
_FLAGS = frozenset({"cb_adf", "cb_explore_adf", "csoaa_rank", "regcb", "regcbopt", "softmax", "squarecb", "synthcover"})
_VALUED = frozenset({
    "bag", "cb", "cb_explore", "cb_max_cost", "cb_min_cost", "cb_type", "cover", "csoaa_ldf", "epsilon", "gamma_scale",
    "interactions", "lambda", "learning_rate", "mellowness", "power_t", "quadratic", "random_seed",
})  # fmt: skip


@dataclass(frozen=True)
class VWPolicy(Discrete):
    """π(·|x) as Vowpal Wabbit predicts it from φ(x), one row at a time; where ``greedy``, its best action.

    With ``adf`` only allowed actions are shown to it; otherwise its pmf over all k is restricted to them. VW's float32
    pmf is divided by its sum. ``regcbopt`` gives 1 to every tied best action, which share after the division.
    """

    features: FeatureMap
    model: np.ndarray  # u8[bytes]
    k: int
    rule: str
    adf: bool

    def probs(self, context: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        """π(·|x), f64[n, k]. Raises DataError where VW's answer is not a pmf."""
        ok = explore.mask((len(context), self.k), allowed)
        p: list[np.ndarray] = []
        known: dict[bytes, np.ndarray] = {}  # equal rows are asked about once
        for z, mask in zip(self.features(context), ok):
            key = z.tobytes() + mask.tobytes()
            if key not in known:
                known[key] = self._row(z, mask)
            p.append(known[key])
        return explore.by_weight(np.array(p, np.float64).reshape(-1, self.k), ok)

    def _row(self, z: np.ndarray, ok: np.ndarray) -> np.ndarray:
        shown = np.flatnonzero(ok) if self.adf else np.arange(self.k)
        workspace, lock = self._loaded
        with lock:
            said = workspace.predict(adf_lines(z, shown) if self.adf else line(z))
        p = np.zeros(self.k)
        if self.rule != "greedy":
            p[shown] = sound_pmf(said, len(shown), shared=self.rule == "regcbopt")
        elif self.adf:
            p[shown] = explore.greedy(-np.asarray(said, np.float64)[None])[0]
        else:
            p[int(said) - 1] = 1.0
        return p

    @cached_property
    def _loaded(self) -> tuple[Any, Lock]:
        """VW with this model, for predictions only, one at a time: it is not made for threads."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model"
            file.write_bytes(self.model.tobytes())
            return workspace(["--quiet", "--testonly", "--initial_regressor", str(file)]), Lock()

    def state(self) -> State:
        own = nested("vw", {"k": self.k, "rule": self.rule, "adf": self.adf}, {"features": self.features.state()})
        return State(own.kind, own.config, own.arrays | {"model": self.model})

    @classmethod
    def from_state(cls, state: State) -> VWPolicy:
        only(state, ["k", "rule", "adf"], ["model"], ["features"])
        model, adf = array(state, "model", (None,), np.uint8), state.config["adf"]
        if not isinstance(adf, bool):
            raise bad(f"vw: adf is true or false; got {adf!r}")
        examine(model.tobytes())
        features = FeatureMap.from_state(part(state, "features"))
        return cls(features, model, whole(state, "k", 1, 2**16), choice(state, "rule", EXPLORERS), adf)


def workspace(options: Sequence[str]) -> Any:
    """A VW with these options. Raises ConfigError where the package is not installed."""
    try:
        from vowpalwabbit import Workspace
    except ModuleNotFoundError as error:
        raise ConfigError(
            "this policy needs the package 'vowpalwabbit', which is not installed",
            hint='pip install "understudy[vw]"',
        ) from error
    return Workspace(arg_list=list(options))


def line(z: np.ndarray) -> str:
    """The features of one row in namespace s; a float32 is written so that the same float32 is read."""
    return "|s " + " ".join(f"{i}:{value!r}" for i, value in enumerate(z.tolist()) if value)


def adf_lines(z: np.ndarray, actions: np.ndarray, taken: int = -1, label: str = "") -> list[str]:
    """One shared line, and one per action that may be taken; ``label`` stands before the action that was."""
    own = [f"{label} |a {a}" if a == taken else f"|a {a}" for a in actions.tolist()]
    return ["shared " + line(z), *own]


def sound_pmf(said: Any, k: int, *, shared: bool = False) -> np.ndarray:
    """VW's answer as f64[k] summing to 1. Raises DataError if it is not a pmf (``shared``: its sum may exceed 1)."""
    p = np.asarray(said, np.float64)
    total = p.sum() if p.shape == (k,) else np.nan
    if not (np.isfinite(total) and (p >= 0).all() and (abs(total - 1) <= SLACK or (shared and total > 1))):
        raise DataError(
            f"Vowpal Wabbit answers {p.tolist()}, which is not {k} probabilities",
            "A propensity drawn from such a row would be wrong, and every estimate made from it.",
            "Use another exploration; some of VW's options (squarecb with elim) do this.",
            field="propensities",
        )
    return p / total


def examine(model: bytes) -> None:
    """Refuse model bytes whose header asks VW for anything but learning and exploring. Raises StoreError.

    Layout: u32 length, version; u32 length, id; "m"; f32 least and greatest label; u32 bits, lda, n-grams, skips;
    u32 length, options as text. Source: VW 9.11, parse_regressor.cc.
    """
    try:
        at = 4 + struct.unpack_from("<I", model)[0]
        at += 4 + struct.unpack_from("<I", model, at)[0]
        mark, bits, *unused, size = struct.unpack_from("<c8xIIIII", model, at)
        text = model[at + 29 : at + 29 + size].decode("ascii").strip("\0")
    except (struct.error, UnicodeDecodeError) as error:
        raise bad(f"vw: the model's header is not readable: {error}") from error
    if mark != b"m" or bits > MAX_BITS or any(unused) or len(model) > MAX_MODEL or len(text) > 4096:
        raise bad("vw: the model's header is not one that we write")
    words = iter(text.split())
    for word in words:
        name = word.removeprefix("--") if word.startswith("--") else ""
        value = next(words, "") if name in _VALUED else "1"  # a word that is no option's value names a file
        if name not in _FLAGS | _VALUED or not re.fullmatch(r"[A-Za-z0-9.][A-Za-z0-9.+-]*", value):
            raise bad(f"vw: the model asks for {word!r} {value!r}, which a policy may not")
