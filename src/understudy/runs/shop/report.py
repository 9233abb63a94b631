"""The page of a coupon benchmark, written into its study."""

from __future__ import annotations

from pathlib import Path

from understudy.report.retail import write_shop
from understudy.runs.shop.story import shop
from understudy.runs.sweep.study import Study


def write_report(study: Study, folder: Path) -> Path:
    """``report.html``, ``report.md``, ``report.json`` and pictures; returns the page."""
    return write_shop(shop(study), folder)
