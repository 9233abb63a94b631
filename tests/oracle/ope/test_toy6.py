"""TOY6: three episodes of length 2, 3 and 1, every sum written out in the reference (batch-rl.md, D0)."""

import numpy as np
import pytest

from understudy.core.evidence import Evidence
from understudy.core.steps import Steps
from understudy.ope.evidence import from_arrays, point_values
from understudy.ope.naming import named
from understudy.ops import returns, weights

P = np.array([0.5, 0.25, 0.8, 0.5, 0.4, 0.5])
R = np.array([1.0, 2.0, 0.0, 1.0, 3.0, 2.0])
A = np.array([0, 1, 1, 0, 1, 0])
PI = np.array([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9], [0.5, 0.5], [0.2, 0.8], [1.0, 0.0]])
RHAT = np.array([[1.0, 0.5], [0.5, 1.5], [0.2, 0.1], [0.8, 0.6], [1.0, 2.5], [1.5, 0.5]])
Q = np.array([[2.5, 1.0], [1.0, 2.0], [2.0, 3.0], [3.0, 2.5], [1.0, 2.5], [1.8, 0.4]])
STARTS = np.array([0, 2, 5, 6])
ROWS = np.arange(6)


def toy(discount: float) -> Evidence:
    ended = np.isin(ROWS, STARTS[1:] - 1)
    steps = Steps(
        starts=STARTS, unit=np.arange(3, dtype=np.uint64), time=ROWS, context=np.zeros((6, 1), np.float32),
        action=A.astype(np.int32), reward=R, terminated=ended, truncated=np.zeros(6, bool), propensity=P,
    )  # fmt: skip
    return Evidence(steps, discount, PI[ROWS, A] / P, q=Q[ROWS, A], v=(PI * Q).sum(1))


# estimator → (row of the reference, γ = 1, γ = .9)
ROWS_OF_D0 = {
    "sdr": (5, 2.7862500, 2.4554583),
    "wdr(alive=True)": (6, 2.8573495, 2.5897943),
    "pdis": (7, 6.6650000, 5.9760000),
    "cwpdis(alive=True)": (8, 5.9425340, 5.1976177),
    "cwpdis": (8.5, 3.2900757, 3.0005760),
    "tis": (9, 7.6933333, 6.9668333),
    "wis": (10, 3.0328515, 2.7464520),
}


@pytest.mark.parametrize(("text", "expected"), ROWS_OF_D0.items())
def test_sequential_estimators_match_the_reference(text: str, expected: tuple[float, float, float]) -> None:
    """The figures of the reference, to the digits it gives."""
    for discount, wanted in zip((1.0, 0.9), expected[1:]):
        got = point_values(toy(discount), dict(named([text])))
        assert list(got.values()) == pytest.approx([wanted], abs=5e-8)


@pytest.mark.parametrize("g", [1.0, 0.9])
def test_the_sums_written_out(g: float) -> None:
    """The same values from the numbers of the table alone, to 1e-9."""
    w = np.array([1.4, 1.4 * 2.4, 1.125, 1.125, 2.25, 2.0])
    got = point_values(toy(g), dict(named(["tis", "wis", "pdis", "cwpdis", "sdr", "wdr", "wdr(alive=True)", "fqe"])))
    total = np.array([1 + 2 * g, g + 3 * g * g, 2.0])
    last = np.array([3.36, 2.25, 2.0])
    assert got["tis"] == pytest.approx(last @ total / 3, abs=1e-9)
    assert got["wis"] == pytest.approx(last @ total / last.sum(), abs=1e-9)
    assert got["pdis"] == pytest.approx((w * R) @ np.array([1, g, 1, g, g * g, 1]) / 3, abs=1e-9)
    keep = np.array([[1.4, 3.36, 3.36], [1.125, 1.125, 2.25], [2.0, 2.0, 2.0]])
    earned = np.array([[1.4, 3.36 * 2 * g, 0], [0, 1.125 * g, 2.25 * 3 * g * g], [4.0, 0, 0]])
    assert got["cwpdis"] == pytest.approx((earned.sum(0) / keep.sum(0)).sum(), abs=1e-9)
    v = (PI * Q).sum(1)
    rho = PI[ROWS, A] / P
    d1 = v[1] + rho[1] * (2 - 2.0)
    d0 = v[0] + rho[0] * (1 + g * d1 - 2.5)
    d4 = v[4] + rho[4] * (3 - 2.5)
    d3 = v[3] + rho[3] * (1 + g * d4 - 3.0)
    d2 = v[2] + rho[2] * (0 + g * d3 - 3.0)
    d5 = v[5] + rho[5] * (2 - 1.8)
    assert got["sdr"] == pytest.approx((d0 + d2 + d5) / 3, abs=1e-9)
    if g == 1.0:
        assert [d0, d2, d5] == pytest.approx([2.19, 3.96875, 2.2], abs=1e-9)
    residual = R - Q[ROWS, A]
    top = np.array([1.4 * residual[0] + 1.125 * residual[2] + 2 * residual[5],
                    (3.36 * residual[1] + 1.125 * residual[3]) * g, 2.25 * residual[4] * g * g])  # fmt: skip
    promise = np.array([(1.4 * v[1] + 1.125 * v[3]) * g, 1.125 * v[4] * g * g])
    alive = np.array([4.525, 4.485, 2.25])
    first = (v[0] + v[2] + v[5]) / 3
    assert got["wdr(alive=True)"] == pytest.approx(first + (top / alive).sum() + (promise / alive[:2]).sum(), abs=1e-9)
    bottom = keep.sum(0)
    assert got["wdr"] == pytest.approx(first + (top / bottom).sum() + (promise / bottom[:2]).sum(), abs=1e-9)
    assert got["fqe"] == pytest.approx(2.25, abs=1e-9)  # mean V(s_0): defect 4 of the reference gives 4.4333


def test_one_step_rows_of_the_table() -> None:
    """Rows 1–4: the six decisions, each its own episode."""
    e = from_arrays(A, R, P, PI, RHAT)
    np.testing.assert_allclose(e.ratio, [1.4, 2.4, 1.125, 1, 2, 2], rtol=1e-12)
    got = point_values(e, dict(named(["ips", "dm", "dr"])))
    assert [got["ips"], got["dm"], got["dr"]] == pytest.approx([2.8666667, 1.0766667, 1.6245833], abs=5e-8)


def test_returns_of_the_log() -> None:
    """Rows 10–12: weights, returns, returns-to-go, mean return."""
    e = toy(0.9)
    np.testing.assert_allclose(weights.final(weights.cumulative(e.ratio, STARTS), STARTS), [3.36, 2.25, 2.0])
    np.testing.assert_allclose(returns.totals(e.steps, 0.9), [2.8, 3.33, 2.0])
    np.testing.assert_allclose(returns.to_go(e.steps, 0.9), [2.8, 2, 3.33, 3.7, 3, 2])
    assert returns.totals(e.steps, 1.0).mean() == 3.0
    assert returns.totals(e.steps, 0.9).mean() == pytest.approx(2.71)


def test_what_other_libraries_get_wrong_is_not_matched() -> None:
    """Defects 2, 3 and 7: divided by the wrong count, or with the last step of the longest episode dropped."""
    got = point_values(toy(1.0), dict(named(["pdis", "wis"])))
    assert got["pdis"] != pytest.approx(12.4725, abs=1e-3)
    assert 2.0 <= got["wis"] <= 4.0  # within the returns seen
