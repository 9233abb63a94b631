"""The order of propensities, told from the log itself: never one that a row contradicts."""

import numpy as np
import pandas as pd

from understudy.data.identify import draft
from understudy.data.ingest import ingest


def log(greedy: list[str], order: tuple[str, ...], n: int = 400) -> pd.DataFrame:
    """ε-greedy with ε = 0.4 over actions listed in ``order``, whose greedy action is drawn from ``greedy``."""
    rng = np.random.default_rng(0)
    k, rows = len(order), []
    for i in range(n):
        p = np.full(k, 0.4 / k)
        p[order.index(greedy[i % len(greedy)])] += 0.6
        a = rng.choice(k, p=p)
        rows.append({"decision_id": f"d{i}", "time": float(i), "x": float(i % 3), "action": order[a],
                     "propensity": p[a], "propensities": p.tolist()})  # fmt: skip
    return pd.DataFrame(rows)


def test_an_order_is_found_even_where_some_actions_never_differ() -> None:
    """Only "d" and "b" are ever greedy, so "a" and "c" cannot be told apart; no row contradicts the draft."""
    frame = log(["d", "b"], ("d", "c", "b", "a"))
    problem, notes = draft(frame)
    assert problem.actions.names[0] == "d" and problem.actions.names[2] == "b"
    assert any("a, c" in note for note in notes["actions"])
    assert ingest(frame, problem=problem).counts["quarantined"] == 0


def test_the_true_order_is_found_where_rows_tell() -> None:
    """Every action is greedy at some time: the order is that of the log, and there is nothing to warn of."""
    problem, notes = draft(log(["d", "c", "b", "a"], ("d", "c", "b", "a")))
    assert problem.actions.names == ("d", "c", "b", "a")
    assert not any("guess" in note for note in notes.get("actions", []))
