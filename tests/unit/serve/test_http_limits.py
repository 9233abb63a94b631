"""Rates, admission and figures, with time as an argument."""

import re

import pytest

from understudy.serve.limits import Buckets
from understudy.serve.metrics import BOUNDS, PLAIN, WIDTH, Board, render


def test_a_bucket_keeps_the_rate() -> None:
    """Ten a second: ten at once, then one each 0.1 s, whoever else asks."""
    buckets = Buckets(10)
    assert [buckets.take("a", 0.0) for _ in range(10)] == [0.0] * 10
    assert buckets.take("a", 0.0) == pytest.approx(0.1)
    assert buckets.take("b", 0.0) == 0.0
    assert buckets.take("a", 0.1) == 0.0 and buckets.take("a", 0.1) > 0
    passed = sum(buckets.take("a", 0.1 + i / 1_000) == 0.0 for i in range(1, 10_001))
    assert 99 <= passed <= 101  # 10 s at 10 a second


def test_a_batch_is_paid_for() -> None:
    """A batch larger than the bucket passes a full one, and its caller waits until it is paid back."""
    buckets = Buckets(10)
    assert buckets.take("a", 0.0, 50) == 0.0
    assert buckets.take("a", 3.0) > 0 and buckets.take("a", 4.2) == 0.0


def test_the_memory_of_buckets_is_bounded() -> None:
    """A flood of names forgets those that are full again, and at worst everybody."""
    buckets = Buckets(1)
    for i in range(50_000):
        buckets.take(f"caller-{i}", i * 1e-6)
    assert len(buckets._tokens) <= 10_000


def test_figures_are_what_prometheus_reads() -> None:
    """Every sample has its HELP and TYPE before it; the histogram is cumulative; workers add up."""
    cells = memoryview(bytearray(8 * WIDTH * 2)).cast("d")
    boards = [Board(cells, worker) for worker in range(2)]
    for i, seconds in enumerate((0.0005, 0.003, 0.003, 9.0)):
        boards[i % 2].answered("/decide", 200, seconds)
    boards[1].answered("/no/such", 418, 0.1)  # neither path nor status is one that is counted by name
    boards[0].add("decisions", 3)
    boards[1].add("decisions", 1)
    text = render(boards[0].totals(), version=(3, 4), share=0.25, ready=True).decode()
    assert text.endswith("\n")
    typed: dict[str, str] = {}
    samples: dict[str, float] = {}
    for line in text.splitlines():
        if found := re.fullmatch(r"# TYPE (\w+) (counter|gauge|histogram)", line):
            typed[found[1]] = found[2]
        elif not line.startswith("# HELP "):
            name, value = re.fullmatch(r'(\w+(?:\{\w+="[^"]*"(?:,\w+="[^"]*")*\})?) (\S+)', line).groups()  # type: ignore[union-attr]
            base = name.partition("{")[0]
            assert base in typed or re.sub(r"_(bucket|sum|count)$", "", base) in typed, line
            samples[name] = float(value)
    assert samples["understudy_decisions_total"] == 4
    assert samples['understudy_requests_total{path="/decide",status="200"}'] == 4
    assert samples['understudy_requests_total{path="other",status="500"}'] == 1
    buckets = [samples[f'understudy_request_seconds_bucket{{le="{bound}"}}'] for bound in (*BOUNDS, "+Inf")]
    assert buckets == sorted(buckets) and buckets[0] == 1 and buckets[2] == 3 and buckets[-1] == 4
    assert samples["understudy_request_seconds_count"] == 4
    assert samples["understudy_request_seconds_sum"] == pytest.approx(9.0065)
    assert samples["understudy_promotion_version"] == 3 and samples["understudy_canary_share"] == 0.25
    assert {f"understudy_{name}_total" for name, (kind, _) in PLAIN.items() if kind == "counter"} <= set(samples)
    assert all(name.endswith("_total") for name, kind in typed.items() if kind == "counter")


def test_a_worker_that_comes_back_keeps_its_counts_and_drops_its_gauges() -> None:
    """The board outlives the worker: what it was in the middle of does not."""
    board = Board(memoryview(bytearray(8 * WIDTH)).cast("d"))
    board.add("decisions", 5)
    board.set("in_flight", 7)
    board.clear()
    text = render(board.totals(), version=(0, 0), share=0.0, ready=True)
    assert b"understudy_decisions_total 5\n" in text and b"understudy_in_flight 0\n" in text
