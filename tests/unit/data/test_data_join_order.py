"""The join's own check that rows stand in order, and what it does when they do not."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from understudy.data import join as join_module
from understudy.data.events import write_events
from understudy.data.ingest import ingest
from understudy.data.join import join
from understudy.testing.cast import TINY, Table, tiny_bandit


@pytest.mark.parametrize("rows, expected", [
    (np.arange(1000), True),
    (np.arange(0, 3000, 3), True),
    (np.arange(1000)[::-1], False),
    (np.r_[np.arange(0, 1000, 2), np.arange(1, 1000, 2)], False),  # unmatched rows behind the matched ones
    (np.r_[1, 0, np.arange(2, 1000)], False),
    (np.zeros(0, np.int64), True),
])  # fmt: skip
def test_order_is_checked_from_footer_and_rows(tmp_path, rows, expected):
    """Ordered files pass; reversed, appended and swapped rows do not; an empty file is in order."""
    path = tmp_path / "steps.parquet"
    pq.write_table(pa.table({"log_row": rows.astype(np.int64)}), path, row_group_size=100)
    assert join_module._in_order(path) is expected


def test_lost_order_is_restored_by_sorting(tmp_path, monkeypatch):
    """Were the engine to lose the order, the join sorts: the same steps come out."""
    steps = tiny_bandit(Table(((0.5, 0.3, 0.2), (0.2, 0.3, 0.5))), 500, 0)
    log = ingest(list(write_events(steps, TINY, tmp_path)), problem=TINY, complete=True)
    kept = join(log, window=10).load().steps
    monkeypatch.setattr(join_module, "_in_order", lambda path: False)
    sorted_again = join(log, window=10).load().steps
    assert np.array_equal(kept.time, sorted_again.time) and np.array_equal(kept.reward, sorted_again.reward)
    assert (np.diff(sorted_again.time) >= 0).all()
