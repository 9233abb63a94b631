"""The pages that can be made of a whole study, by name."""

from __future__ import annotations

from understudy.core.registry import unknown

REPORTS = {"retail": "understudy.runs.shop.report:write_report"}


def check(name: str) -> None:
    """Raises: ConfigError for a report nobody knows."""
    if name and name not in REPORTS:
        raise unknown("report", name, REPORTS)
