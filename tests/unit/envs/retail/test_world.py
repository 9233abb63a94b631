"""The shop as a world: streams by address, states at rest, newcomers, and a truth that is what is paid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from understudy.core.errors import ConfigError, StoreError
from understudy.core.protocols import EpisodicEnvironment, State
from understudy.envs.retail.compare import fixed_coupons
from understudy.envs.retail.world import Retail, from_state, retail
from understudy.models.policies import Uniform
from understudy.models.shares import Shares
from understudy.testing import check_environment

SMALL: dict[str, Any] = {"customers": 20, "products": 120, "steps": 8}


def walk(world: Retail, w: int, ticks: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """(context, outcomes) of each tick; customer i's coupon at tick t depends on i and t only."""
    view, seen = world.reset(np.random.default_rng(seed), w), []
    for t in range(ticks):
        before = view.context
        view, feedback = world.step(_coupons(w, t, world.problem.actions.k))
        seen.append((before, feedback.outcomes))
        ended = feedback.terminated | feedback.truncated
        view = world.renew(ended) if ended.any() else view
    return seen


def _coupons(w: int, t: int, k: int) -> np.ndarray:
    return ((np.arange(w) * 7 + t * 3) % k).astype(np.int32)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scenario": "hfhd", "reference_compat": True},
        {"scenario": "delayed", "churn": 0.4, "reward": "margin"},
        {"coupon": "category", "levels": (0.0, 0.2, 0.5), "split": "held_out"},
    ],
    ids=lambda options: "-".join(map(str, options.values())) or "plain",
)
def test_the_shop_conforms(options: dict[str, Any]) -> None:
    """Shapes, ranges, endings, repeatability, for every kind of shop."""
    world = retail(**SMALL, **options)
    assert isinstance(world, EpisodicEnvironment)
    check_environment(world)


def test_what_happens_does_not_depend_on_how_many_stand_side_by_side() -> None:
    """Environments 0 and 1 of a walk of five are, to the bit, those of a walk of two, and of one that begins at 1."""
    many, few = walk(retail(**SMALL), 100, 6), walk(retail(**SMALL), 40, 6)
    for (context, outcomes), (context2, outcomes2) in zip(many, few):
        assert (context[:40] == context2).all() and (outcomes[:40] == outcomes2).all()
    other = retail(**SMALL, first=1)
    view = other.reset(np.random.default_rng(0), 20)
    for t, (context, outcomes) in enumerate(many):
        assert (context[20:40] == view.context).all()
        view, feedback = other.step(_coupons(40, t, 11)[20:])
        assert (feedback.outcomes == outcomes[20:40]).all()


def test_environments_follow_each_other_in_the_order_of_their_numbers() -> None:
    """Four environments one after the other are those of four side by side."""
    side = [outcomes for _, outcomes in walk(retail(**SMALL), 80, 8)]
    world, row = retail(**SMALL), []
    view = world.reset(np.random.default_rng(0), 20)
    for t in range(32):
        view, feedback = world.step(_coupons(80, t % 8, 11)[20 * (t // 8) :][:20])
        row.append(feedback.outcomes)
        assert feedback.truncated.all() == (t % 8 == 7)
        if feedback.truncated.all():
            view = world.renew(feedback.truncated)
    assert view.context.shape == (20, 9)
    for t in range(32):
        assert (row[t] == side[t % 8][20 * (t // 8) :][:20]).all()


def test_splits_share_no_environment() -> None:
    """The first environments of each split have numbers of their own, and other customers."""
    worlds = [retail(**SMALL, split=split) for split in ("train", "tune", "held_out")]
    numbers, tastes = [], []
    for world in worlds:
        world.reset(np.random.default_rng(0), 40)
        numbers += [shop.key[0] for shop in world.shops]
        tastes += [float(shop.market.sensitivity[0]) for shop in world.shops]
    assert len(set(numbers)) == 6 and len(set(tastes)) == 6


@pytest.mark.parametrize("options", [{}, {"scenario": "delayed", "churn": 0.3}], ids=["plain", "delayed"])
def test_a_state_at_rest_goes_on_exactly(options: dict[str, Any]) -> None:
    """Stopped in the middle, also after newcomers, and gone on elsewhere: the same to the bit, through two renewals."""
    world = retail(**SMALL, **options)
    walk(world, 50, 5)  # 50 is two and a half environments
    again = from_state(world.state())
    assert (again.view().context == world.view().context).all()
    for b in range(3):
        both = world.fields(b), again.fields(b)
        assert all((both[0][name] == both[1][name]).all() for name in both[0])
    for t in range(20):
        one, two = world.step(_coupons(50, t, 11)), again.step(_coupons(50, t, 11))
        assert (one[0].context == two[0].context).all() and (one[1].outcomes == two[1].outcomes).all()
        ended = one[1].terminated | one[1].truncated
        assert (ended == (two[1].terminated | two[1].truncated)).all()
        assert (world.renew(ended).context == again.renew(ended).context).all()


def test_a_state_is_a_copy() -> None:
    """What is at rest does not move with the world, and is refused where it is of another."""
    world = retail(**SMALL)
    walk(world, 20, 3)
    state = world.state()
    tallies = state.arrays["tallies"].copy()
    world.step(np.zeros(20, np.int32))
    assert (state.arrays["tallies"] == tallies).all()
    with pytest.raises(StoreError, match="not of a retail world"):
        from_state(State("cartpole"))


@pytest.mark.parametrize("reward", ["revenue", "margin"])
def test_what_is_expected_is_what_is_paid(reward: str) -> None:
    """400 customers × 40 steps of random coupons: the mean gap between pay and truth within 4 errors (1 in 15,000)."""
    world, rng, gaps = retail(customers=50, products=250, reward=reward), np.random.default_rng(2), []
    world.reset(np.random.default_rng(1), 400)
    for _ in range(40):
        action = rng.integers(0, 11, 400).astype(np.int32)
        truth = world.expected(action)
        gaps.append(world.step(action)[1].reward - truth)
    gap = np.array(gaps)
    assert abs(gap.mean()) <= 4 * gap.std() / np.sqrt(gap.size)
    assert gap.std() > 0.5, "there is something to be wrong about"


def test_the_truth_of_every_coupon_and_of_a_policy() -> None:
    """Column a is the world where everybody is offered a; a policy is worth the mean of what it offers."""
    world = retail(**SMALL)
    walk(world, 40, 3)
    table = world.expected()
    assert table.shape == (40, 11)
    for a in (0, 4, 10):
        np.testing.assert_allclose(world.expected(np.full(40, a, np.int32)), table[:, a])
    others = _coupons(40, 5, 11)
    given = world.expected(others=others)
    np.testing.assert_allclose(given[np.arange(40), others], world.expected(others))
    assert world.true_value(Uniform(11)) == pytest.approx(given.mean(), rel=0.02)
    assert world.true_value(Shares((0.0,) * 10 + (1.0,))) == pytest.approx(table[:, 10].mean())


def test_redemption_by_chance_is_in_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where coupons are redeemed half the time, half of the difference remains."""
    world = retail(**SMALL)
    world.reset(np.random.default_rng(0), 20)
    full, shop = world.expected(), world.shops[0]
    shop.market = type(shop.market)(**{**vars(shop.market), "redemption": np.full(20, 0.5)})
    np.testing.assert_allclose(world.expected(), (full + full[:, :1]) / 2)


def test_those_who_leave_are_followed_by_newcomers() -> None:
    """A newcomer has no past and visits at once; the others' contexts stand as they were shown."""
    world = retail(**SMALL, scenario="delayed", churn=1.0)
    world.reset(np.random.default_rng(0), 20)
    left = np.zeros(20, bool)
    for _ in range(6):
        view, feedback = world.step(np.zeros(20, np.int32))
        left = feedback.terminated
        stayed_away = ~world.shops[0].came
        assert (left == stayed_away).all(), "with churn 1 who stays away is gone"
        if left.any():
            break
        world.renew(left)
    assert left.any() and not left.all(), "the test met no departure"
    after = world.renew(left)
    assert (after.context[~left] == view.context[~left]).all()
    assert (after.context[left][:, [0, 4, 5]] == 0).all()
    assert (world.shops[0].visit_chance[left] == 1).all() and (world.shops[0].age[left] == 0).all()


def test_the_marketing_feature_remembers_coupons() -> None:
    """hfhd: a coupon of half the price adds I/2 to W at the next step, and nothing after; delayed: it fades."""
    for scenario, shares in (("hfhd", (0.5, 0.0)), ("delayed", (0.1, 0.08))):
        world = retail(**SMALL, scenario=scenario)
        world.reset(np.random.default_rng(0), 20)
        shop = world.shops[0]
        for action, share in zip((10, 0), shares):
            world.step(np.full(20, action, np.int32))
            np.testing.assert_allclose(shop.marketing - shop.shelf.push, share * world.terms.catalogue.n, atol=1e-9)


def test_fixed_actions_leave_the_luck_alone() -> None:
    """Visits of no-marketing customers in step 1 do not depend on the coupons: equal seeds share their luck."""
    came = []
    for level in (0, 10):
        world = retail(**SMALL, reference_compat=True)
        world.reset(np.random.default_rng(0), 200)
        world.step(np.full(200, level, np.int32))
        came.append(np.concatenate([shop.luck().visit for shop in world.shops]))
    assert (came[0] == came[1]).all()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"scenario": "sale"}, "scenario"),
        ({"split": "test"}, "split"),
        ({"reward": "profit"}, "reward"),
        ({"customers": 0}, "customers"),
        ({"churn": 1.5}, "churn"),
        ({"coupon": "product"}, "coupon"),
        ({"levels": (0.1,)}, "levels"),
        ({"levels": (0.0, 1.0)}, "levels"),
        ({"levels": "0,half"}, "levels"),
        ({"products": 10, "catalogue": "somewhere.npz"}, "products"),
    ],
)
def test_impossible_shops_are_refused(options: dict[str, Any], field: str) -> None:
    """Every refusal names the option."""
    with pytest.raises(ConfigError) as refused:
        retail(**options)
    assert refused.value.field == field


def test_fixed_coupons_side_by_side_are_walks_one_by_one() -> None:
    """The same outcomes to the bit as walking once per level, environment after environment."""
    world = retail(**SMALL)
    logs = fixed_coupons(world, (0, 7), environments=3, skip=2, steps=6, seed=4)
    for level, log in zip((0, 7), logs):
        other = retail(**SMALL)
        other.reset(np.random.default_rng(4), 60)
        walked = np.array([other.step(np.full(60, level, np.int32))[1].outcomes for _ in range(8)])[2:]
        assert log.outcomes is not None and log.m == 60
        assert (log.outcomes.reshape(60, 6, -1) == walked.swapaxes(0, 1)).all()
        assert (log.reward == log.outcomes[:, 0]).all() and (log.action == level).all()


def test_the_context_condenses_the_raw_fields() -> None:
    """Means over products of what the published program shows; five numbers are the same."""
    world = retail(**SMALL)
    walk(world, 40, 4)
    view, fields = world.view().context[20:], world.fields(1)
    n = world.terms.catalogue.n
    assert fields["previous_transaction"].shape == (20, n) and fields["previous_transaction"].sum() > 0
    assert fields["observed_customer_product_feature"].shape == (20, n)
    np.testing.assert_allclose(fields["previous_transaction"].mean(1), view[:, 0], rtol=1e-5)
    np.testing.assert_allclose(fields["product_price"].mean(), view[:, 1], rtol=1e-5)
    np.testing.assert_allclose(fields["marketing_feature"], view[:, 2], rtol=1e-5)
    np.testing.assert_allclose(fields["observed_customer_product_feature"].mean(1), view[:, 3], atol=1e-5)
    assert (fields["avg_purchase_price"] == view[:, 6]).all()
