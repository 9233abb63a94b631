"""understudy: turn a log of past decisions into a better policy, and prove it before it goes live.

The front door. Nothing is imported until a name is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors; at run time __getattr__ below does the same
    from understudy.core.errors import UnderstudyError
    from understudy.core.problem import Problem
    from understudy.core.registry import find
    from understudy.core.steps import Steps
    from understudy.data.dataset import MemoryDataset, open_dataset
    from understudy.data.identify import identify
    from understudy.data.ingest import ingest
    from understudy.data.join import join
    from understudy.gate import gate
    from understudy.ope.audit import audit
    from understudy.ope.evaluate import evaluate
    from understudy.runs.train import open_policy
    from understudy.serve.client import Client
    from understudy.serve.local import LocalService

__version__ = "0.1.0"

_DOOR = {
    "Problem": "understudy.core.problem:Problem",
    "Steps": "understudy.core.steps:Steps",
    "UnderstudyError": "understudy.core.errors:UnderstudyError",
    "MemoryDataset": "understudy.data.dataset:MemoryDataset",
    "open_dataset": "understudy.data.dataset:open_dataset",
    "identify": "understudy.data.identify:identify",
    "ingest": "understudy.data.ingest:ingest",
    "join": "understudy.data.join:join",
    "find": "understudy.core.registry:find",
    "open_policy": "understudy.runs.train:open_policy",
    "evaluate": "understudy.ope.evaluate:evaluate",
    "audit": "understudy.ope.audit:audit",
    "gate": "understudy.gate:gate",
    "LocalService": "understudy.serve.local:LocalService",
    "Client": "understudy.serve.client:Client",
}

__all__ = [
    "Client",
    "LocalService",
    "MemoryDataset",
    "Problem",
    "Steps",
    "UnderstudyError",
    "__version__",
    "audit",
    "evaluate",
    "find",
    "gate",
    "identify",
    "ingest",
    "join",
    "open_dataset",
    "open_policy",
]


def __getattr__(name: str) -> Any:
    if name not in _DOOR:
        raise AttributeError(f"understudy has no {name!r}; it has: {', '.join(_DOOR)}")
    module, attribute = _DOOR[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
