"""The peer's side of sequential.py: six trajectory estimators of scope-rl 0.2.1, without this package.

    python benchmarks/peers_scope_rl.py FILE        answers every line it reads with CPU seconds and values

``scope_rl.ope`` imports torch, d3rlpy and gym for learners that are not measured here; empty stand-ins take their
places. It runs on the interpreter that ope.py makes for obp, whose needs are the same.
"""

from __future__ import annotations

import importlib.machinery
import json
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np

PEER = Path(__file__).resolve().parent / ".peers" / "scope_rl"
ABSENT = ("torch", "d3rlpy", "gym", "gymnasium", "pytorch_revgrad", "obp")
SIX = {
    "tis": "TrajectoryWiseImportanceSampling", "wis": "SelfNormalizedTIS", "pdis": "PerDecisionImportanceSampling",
    "cwpdis": "SelfNormalizedPDIS", "sdr": "DoublyRobust", "wdr": "SelfNormalizedDR",
}  # fmt: skip


class StandIns:
    """Finds what is absent: modules in which every name is an empty class."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        """A package without files."""
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if name.split(".")[0] in ABSENT else None

    def create_module(self, spec: Any) -> types.ModuleType:
        """The module."""

        class Empty(types.ModuleType):
            __path__: list[str] = []

            def __getattr__(self, name: str) -> type:
                if name.startswith("__"):
                    raise AttributeError(name)
                return type(name, (), {})

        return Empty(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing."""


def main(data: Path) -> None:
    """Six point values on request."""
    sys.path.insert(0, str(PEER))
    sys.meta_path.insert(0, StandIns())  # type: ignore[arg-type]
    from scope_rl.ope.discrete import basic_estimators  # pyright: ignore[reportMissingImports]

    with np.load(data) as held:
        inputs = {name: held[name] for name in held.files if name not in ("length", "gamma")}
        inputs |= {"step_per_trajectory": int(held["length"]), "gamma": float(held["gamma"])}
    estimators = {name: getattr(basic_estimators, kind)() for name, kind in SIX.items()}
    for _ in sys.stdin:
        start = time.process_time()
        values = {name: float(e.estimate_policy_value(**inputs)) for name, e in estimators.items()}
        print(json.dumps({"cpu": time.process_time() - start, "values": values}), flush=True)


def peer_python() -> Path:
    """The interpreter to run this with; scope-rl is laid beside it on first use."""
    from ope import peer_python as obp_python

    python = obp_python()
    if not (PEER / ".ready").exists():
        pip = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(PEER)]
        subprocess.run([*pip, "scope-rl==0.2.1"], check=True)
        (PEER / ".ready").touch()
    return python


if __name__ == "__main__":
    main(Path(sys.argv[1]))
