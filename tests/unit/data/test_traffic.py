"""Directions of traffic: numbered, append-only, and never half meant."""

from __future__ import annotations

import multiprocessing as mp

import pytest

from understudy.core.errors import ConfigError
from understudy.data.ledger import Ledger
from understudy.data.traffic import Direction, Traffic


def test_nothing_said_is_live(url):
    """Without a direction the live policy acts; that is version 0."""
    assert Traffic(Ledger(url)).current("shop") == Direction(alias="shop", version=0, mode="live")


def test_the_latest_direction_is_in_force(url):
    """Each alias counts on its own; another connection sees it at once; the history keeps all of it."""
    traffic = Traffic(Ledger(url))
    said = [
        Direction(alias="shop", mode="canary", candidate="c", share=0.1, time=1, reason="a look"),
        Direction(alias="other", mode="logging", time=2, reason="quiet"),
        Direction(alias="shop", mode="shadow", candidate="d", time=3, reason="another"),
        Direction(alias="shop", time=4, reason="enough"),
    ]
    made = [traffic.direct(direction) for direction in said]
    assert [direction.version for direction in made] == [1, 1, 2, 3]
    again = Traffic(Ledger(url))
    assert again.current("shop") == made[-1] and again.current("other") == made[1]
    assert again.history("shop") == (made[0], made[2], made[3])


@pytest.mark.parametrize(
    "wrong",
    [{"mode": "canary", "share": 0.1}, {"mode": "shadow"}, {"mode": "live", "share": 0.2}]
    + [{"mode": "canary", "candidate": "c", "share": share} for share in (0.0, 1.0, -0.1, float("nan"))],
)
def test_a_direction_that_contradicts_itself_is_refused(wrong):
    """A canary without candidate or share, a share without a canary: said where it is made."""
    with pytest.raises(ConfigError):
        Direction(alias="shop", **wrong)


def _direct(url: str, number: int, gate, results) -> None:
    traffic = Traffic(Ledger(url))
    gate.wait()
    results.put(traffic.direct(Direction(alias="shop", time=number, reason=f"by {number}")).version)


def test_eight_at_once_are_numbered_one_to_eight(url):
    """Eight processes direct at one moment: none is lost, no number is given twice."""
    Ledger(url)
    context = mp.get_context("fork")
    gate, results = context.Barrier(8), context.Queue()
    writers = [context.Process(target=_direct, args=(url, i, gate, results)) for i in range(8)]
    for writer in writers:
        writer.start()
    seen = [results.get(timeout=60) for _ in writers]
    for writer in writers:
        writer.join()
    assert sorted(seen) == list(range(1, 9))
    assert [item.version for item in Traffic(Ledger(url)).history("shop")] == list(range(1, 9))
