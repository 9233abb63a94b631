"""Walks of the coupon simulator against the published program's conditional figures: a fast part of
benchmarks/retail.py, through the same functions.

A figure agrees within 3.5 combined standard errors. There are 26 here, many of them all but one number (the same noise
stands behind both policies); for sound ones the chance that any goes beyond is about 1 %, and the seed is fixed.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
BEYOND = 3.5
pytestmark = pytest.mark.skipif(
    not (ROOT.parent / "shared" / "data" / "retail-reference").exists(), reason="no reference figures"
)


@pytest.fixture(scope="module")
def cells() -> ModuleType:
    """benchmarks/retail_cells.py."""
    spec = importlib.util.spec_from_file_location("retail_cells", ROOT / "benchmarks" / "retail_cells.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def means(cells: ModuleType) -> dict:
    """No coupon and random coupons, environment 1, three trajectories."""
    return {policy: cells.cell(1, policy, trajectories=3) for policy in ("arm_0", "uniform_random")}


@pytest.mark.statistical
def test_two_cells_of_an_environment_agree(cells: ModuleType, means: dict) -> None:
    """Means, segments, and their ratio."""
    expected = cells.expected_figures()
    found = [each for policy in means for each in cells.compare_cell(1, policy, means[policy], expected)]
    found += cells.compare_ratios(1, means, expected)
    assert len(found) == 17
    beyond = [(each.name, round(each.z, 2)) for each in found if not abs(each.z) <= BEYOND]
    assert not beyond, f"beyond {BEYOND} combined standard errors: {beyond}"


@pytest.mark.statistical
def test_nobodys_decisions_move_the_shelf(cells: ModuleType) -> None:
    """Discounts, prices, and the moments of both features."""
    found = cells.compare_exogenous(cells.expected_figures(), 1)
    assert max(abs(each.z) for each in found) <= BEYOND, [(each.name, round(each.z, 2)) for each in found]


@pytest.mark.statistical
def test_the_comparison_sees_four_percent(cells: ModuleType, means: dict) -> None:
    """Revenue four percent too high would be seen: the tests above can fail."""
    wrong = replace(means["arm_0"], revenue=means["arm_0"].revenue * 1.04)
    found = {each.name: each for each in cells.compare_cell(1, "arm_0", wrong, cells.expected_figures())}
    assert abs(found["1/arm_0/revenue_per_customer_step"].z) > BEYOND
