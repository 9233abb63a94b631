"""Exploration rules: sound for every score and mask, and the checks name who offends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from understudy.core.errors import ConfigError, DataError
from understudy.ops import explore

RULES = {
    "uniform": lambda s, ok: explore.uniform(s.shape, ok),
    "greedy": explore.greedy,
    "epsilon_greedy": lambda s, ok: explore.epsilon_greedy(s, 0.3, ok),
    "softmax": lambda s, ok: explore.softmax(s, 2.0, ok),
    "squarecb": lambda s, ok: explore.squarecb(s, 15.0, ok),
    "fastcb": lambda s, ok: explore.fastcb(np.abs(s), 15.0, ok),
    "by_rank": lambda s, ok: explore.by_rank(s, 0.5, ok),
    "by_weight": lambda s, ok: explore.by_weight(np.abs(s), ok),
    "member_votes": lambda s, ok: explore.member_votes(np.stack([s, -s, s * 0]), ok),
}
SCORES = arrays(np.float64, (4, 5), elements=st.floats(-1e6, 1e6, allow_subnormal=False))
MASKS = arrays(bool, (4, 5)).filter(lambda m: m.any(1).all())


@pytest.mark.parametrize("name", RULES)
@given(scores=SCORES, allowed=MASKS)
@settings(max_examples=40, deadline=None)
def test_every_rule_gives_a_pmf_on_the_allowed_actions(name: str, scores: np.ndarray, allowed: np.ndarray) -> None:
    """Whatever the scores: finite, ≥ 0, sums to 1, exactly 0 where not allowed."""
    explore.check_pmf(RULES[name](scores, allowed), allowed)


@pytest.mark.parametrize("name", RULES)
@given(scores=SCORES, allowed=MASKS, order=st.permutations(range(5)))
@settings(max_examples=25, deadline=None)
def test_the_order_of_actions_does_not_matter(name: str, scores: np.ndarray, allowed: np.ndarray, order: list) -> None:
    """Renaming the actions renames the probabilities (by_weight of nothing is the named exception)."""
    if name == "by_weight":
        scores = np.abs(scores) + 1.0
    p = RULES[name](scores, allowed)
    np.testing.assert_allclose(RULES[name](scores[:, order], allowed[:, order]), p[:, order], atol=1e-9)


def test_a_better_score_never_has_less_probability() -> None:
    """Monotone rules keep the order of the scores."""
    scores = np.random.default_rng(0).standard_normal((50, 6))
    for name in ("epsilon_greedy", "softmax", "squarecb", "by_rank"):
        p = RULES[name](scores, None)
        order = np.argsort(scores, 1)
        assert (np.diff(np.take_along_axis(p, order, 1), axis=1) >= -1e-12).all(), name


def test_squarecb_ties_share_what_is_left() -> None:
    """Two best of three at γ 10, gap .5: 1/(3+5) for the other, the rest in halves."""
    np.testing.assert_allclose(explore.squarecb(np.array([[1.0, 1.0, 0.5]]), 10.0), [[7 / 16, 7 / 16, 1 / 8]])


def test_fastcb_by_hand() -> None:
    """c = .2 .5, γ 10, K 2: .2/(2·.2 + 10·.3) = 1/17; a best cost of 0 explores nothing."""
    np.testing.assert_allclose(explore.fastcb(np.array([[0.2, 0.5]]), 10.0), [[16 / 17, 1 / 17]])
    np.testing.assert_allclose(explore.fastcb(np.array([[0.0, 0.5]]), 10.0), [[1.0, 0.0]])


def test_ranks_by_hand() -> None:
    """decay ½ over three ranks: 4/7 2/7 1/7; two tied at the top have ranks 0 and 1, on average ½ each."""
    np.testing.assert_allclose(explore.by_rank(np.array([[5.0, 1.0, 3.0]]), 0.5), [[4 / 7, 1 / 7, 2 / 7]])
    top, last = 0.5**0.5, 0.25
    total = 2 * top + last
    np.testing.assert_allclose(
        explore.by_rank(np.array([[5.0, 5.0, 3.0]]), 0.5), [[top / total, top / total, last / total]]
    )


@given(
    p=arrays(np.float64, (3, 4), elements=st.floats(0, 1)).filter(lambda p: (p.sum(1) > 1e-3).all()),
    u=arrays(np.float64, 3, elements=st.floats(0, 1, exclude_max=True)),
)
def test_draw_never_takes_what_has_no_probability(p: np.ndarray, u: np.ndarray) -> None:
    """Not at u = 0, not at the largest u below 1, not with zeros at either end."""
    p = p / p.sum(1, keepdims=True)
    action = explore.draw(p, u)
    assert (np.take_along_axis(p, action[:, None].astype(int), 1) > 0).all()


def test_draw_is_the_inverse_of_the_cdf() -> None:
    """u in [0, .2) → 0, [.2, .7) → 2, [.7, 1) → 3; action 1 has no probability."""
    p = np.tile([0.2, 0.0, 0.5, 0.3], (6, 1))
    edge = np.nextafter(1.0, 0.0)
    assert explore.draw(p, np.array([0.0, 0.19999, 0.2, 0.69999, 0.7000001, edge])).tolist() == [0, 0, 2, 2, 3, 3]


def test_check_pmf_names_the_first_offender() -> None:
    """Each fault is told apart, with the number of rows and the first of them."""
    good = np.full((3, 2), 0.5)
    cases = {
        "do not sum to 1": np.array([[0.5, 0.5], [0.5, 0.4], [0.1, 0.1]]),
        "negative": np.array([[0.5, 0.5], [1.5, -0.5], [0.5, 0.5]]),
        "not finite": np.array([[0.5, 0.5], [np.nan, 0.5], [0.5, 0.5]]),
    }
    assert explore.check_pmf(good) is good
    for fault, p in cases.items():
        with pytest.raises(DataError, match=f"{fault}.*first: row 1"):
            explore.check_pmf(p)
    allowed = np.array([[True, True], [True, True], [True, False]])
    with pytest.raises(DataError, match=r"1 of 3 rows .* not allowed; first: row 2"):
        explore.check_pmf(good, allowed)


def test_a_row_that_allows_nothing_is_refused() -> None:
    """A policy has to do something."""
    with pytest.raises(DataError, match="1 of 2 rows allow no action; first: row 1"):
        explore.greedy(np.zeros((2, 2)), np.array([[True, False], [False, False]]))


@pytest.mark.parametrize("weights", [[0.5, 0.6], [1.5, -0.5], [1.0]])
def test_a_mixture_needs_weights_that_sum_to_one(weights: list[float]) -> None:
    """Anything else would not be a pmf."""
    with pytest.raises(ConfigError, match="summing to 1"):
        explore.mix([np.ones((1, 1)), np.ones((1, 1))], weights)


@pytest.mark.parametrize("epsilon", [-0.1, 1.1, float("nan")])
def test_an_epsilon_that_is_no_share_is_refused(epsilon: float) -> None:
    """No probability is negative, above 1 or NaN, whichever door it came through."""
    with pytest.raises(ConfigError):
        explore.epsilon_greedy(np.ones((1, 3)), epsilon)
    with pytest.raises(ConfigError):
        explore.epsilon_top(3, 1, epsilon)
