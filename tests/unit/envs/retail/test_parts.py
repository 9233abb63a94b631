"""The parts of the shop: laws, catalogue, cut, baskets, coupons, the nine numbers, metrics."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from understudy.core.errors import DataError
from understudy.core.problem import ActionSpace, Problem
from understudy.core.steps import bandit_steps
from understudy.envs.retail import step
from understudy.envs.retail.baskets import Lines, buy, draw_luck, poisson
from understudy.envs.retail.catalogue import Catalogue, draw_catalogue
from understudy.envs.retail.coupons import make_coupons, read_levels
from understudy.envs.retail.draws import CHUNK, gumbels, spread_normals
from understudy.envs.retail.law import LAWS, SIZES
from understudy.envs.retail.market import draw_market
from understudy.envs.retail.metrics import halves, metrics, paired_difference, paired_ratio, per_step, share_per_step
from understudy.envs.retail.normal import level, quantile, truncated
from understudy.envs.retail.observe import FEATURES, new_tallies, scalars, tally
from understudy.envs.retail.shelf import next_shelf, noise
from understudy.envs.retail.streams import Purpose, stream
from understudy.envs.retail.world import retail
from understudy.envs.rollout import episodes
from understudy.models.policies import Uniform

LAW = LAWS["no_marketing"]
P_LEAST = 1e-4  # chance that a sound draw fails a test of distribution; seeds are fixed


def test_streams_have_addresses() -> None:
    """Equal addresses, equal numbers; any other key, purpose or step, others."""
    addresses = [
        ((1, 2), Purpose.NOISE, 3),
        ((2, 1), Purpose.NOISE, 3),
        ((1, 2), Purpose.PRICES, 3),
        ((1, 2), Purpose.NOISE, 4),
    ]
    drawn = [tuple(stream(*address).random(3)) for address in addresses]
    assert len(set(drawn)) == 4
    assert tuple(stream(*addresses[0]).random(3)) == drawn[0]


def test_truncated_normals_are_scipys() -> None:
    """Quantiles and levels of both one-sided and two-sided cuts."""
    u = np.linspace(0.01, 0.99, 25)
    for mean, spread, low, high in ((0.1, 0.04, 0.0, 0.12), (-3.0, 1.5, -np.inf, 0.0), (0.01, 0.01, 0.0, np.inf)):
        found = truncated(u, mean, spread, low, high)
        wanted = stats.truncnorm.ppf(u, (low - mean) / spread, (high - mean) / spread, mean, spread)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
        np.testing.assert_allclose(level(found, mean, spread, low, high), u, rtol=1e-6)
    np.testing.assert_allclose(quantile(u), stats.norm.ppf(u), rtol=1e-9, atol=1e-12)


def test_the_catalogue_has_the_published_categories() -> None:
    """2,514 products in 30 categories, none cheaper than 1; smaller ones keep all categories."""
    whole, small = draw_catalogue(), draw_catalogue(products=100)
    assert tuple(whole.sizes) == SIZES and whole.n == 2514 and len(whole.sizes) == 30
    assert whole.price.min() == 1.0 and whole.feature.min() >= 0
    assert len(small.sizes) == 30 and small.sizes.min() == 1 and 90 <= small.n <= 130
    assert (np.bincount(whole.category) == whole.sizes).all()


@pytest.mark.parametrize("tied", [False, True])
def test_customers_are_of_the_law(tied: bool) -> None:
    """Marginal distributions by Kolmogorov–Smirnov, tied or not; ties are exact, and absent where not asked for."""
    catalogue = draw_catalogue(products=300)
    many = [draw_market(LAW, catalogue, number, 50, tied=tied) for number in range(12)]
    quality = many[0].quality / catalogue.feature[:, None]
    for sample, law in (
        (np.log(many[0].taste), stats.norm(-1, 1)),
        (np.log(quality), stats.norm(1, 0.4)),
        (np.log(many[0].units_slope), stats.norm(-4, 0.1)),
        (np.concatenate([m.inertia for m in many]), stats.uniform(0.25, 0.2)),
        (np.concatenate([m.customer for m in many]), stats.truncnorm(-np.inf, 2, -3, 1.5)),
        (np.concatenate([m.product for m in many]) / -1.4, stats.truncnorm(-np.inf, 1.5, -3, 2)),
        (np.concatenate([m.units_base for m in many]), stats.gumbel_r(-3, 0.1)),
        (np.concatenate([m.category_base for m in many]), stats.norm(-5, 0.5)),
        (np.concatenate([m.category_slope for m in many]), stats.truncnorm(-2.5, 0.5, 0.1, 0.04)),
        (np.concatenate([m.starts for m in many]), stats.beta(40, 60)),
        (np.concatenate([m.stays for m in many]), stats.beta(40, 60)),
    ):
        assert stats.kstest(np.ravel(sample)[:20_000], law.cdf).pvalue > P_LEAST
    market = many[0]
    ties = [
        np.corrcoef(np.log(market.taste).ravel(), np.log(quality).ravel())[0, 1],
        np.corrcoef(np.log(market.taste).ravel(), np.log(market.units_slope).ravel())[0, 1],
        stats.spearmanr(market.customer, market.inertia)[0],
        stats.spearmanr(
            np.concatenate([m.category_base for m in many]), np.concatenate([m.category_slope for m in many])
        )[0],
        np.corrcoef(market.starts, market.stays)[0, 1],
    ]
    if tied:
        assert min(ties) > 0.9999
    else:
        assert max(abs(tie) for tie in ties) < 0.5
    stores = [(m.store_base, m.store_slope, m.store_marketing) for m in many]
    assert all(3 < base < 6 and 0 <= slope < 0.06 and 5 <= pull <= 6 for base, slope, pull in stores)


@pytest.mark.parametrize("tied", [False, True])
def test_the_shelf_is_of_the_law(tied: bool) -> None:
    """X has mean 0, variance 2, and fourth moment 30 if tied (E[M⁴(1+E)⁴]), 24 if not; ε is Gumbel(0, 0.1)."""
    catalogue = draw_catalogue(products=1000)
    market = draw_market(LAW, catalogue, 0, 100, tied=tied)
    shelf = next_shelf(LAW, market, catalogue, (0, 7), 3, np.zeros(catalogue.n, bool), tied)
    x = shelf.x.astype(np.float64)
    n = x.size
    assert abs(x.mean()) < 5 * np.sqrt(2 / n) and abs((x**2).mean() - 2) < 5 * np.sqrt(26 / n)
    fourth = 30 if tied else 24  # untied: 3 + 6·1 + 3·3 = 18 … by E[(M + NE)⁴] = E M⁴ + 6 E M² E N²E² + E N⁴ E⁴
    fourth = fourth if tied else 3 + 6 + 9
    assert abs((x**4).mean() - fourth) < 5 * (x**4).std() / np.sqrt(n)
    eps = noise(LAW, market, catalogue, (0, 7), 3).ravel()[:20_000]
    assert stats.kstest(eps, stats.gumbel_r(0, 0.1).cdf).pvalue > P_LEAST
    assert np.isfinite(eps).all() and (shelf.price >= 1).all()
    np.testing.assert_allclose(shelf.x_mean, x.mean(0), atol=1e-5)


@pytest.mark.parametrize("percentile", [99.99, 99.0, 50.0, 100.0])
def test_the_cut_is_numpys_percentile(percentile: float) -> None:
    """Found among the few highest where they are few; otherwise by sorting everything. 100 cuts nothing."""
    mu = np.random.default_rng(0).standard_normal((600, 40))
    starts = np.array([0, 10, 11, 300])
    found = step.cut_level(mu, percentile, np.maximum.reduceat(mu, starts, axis=0))
    assert found == (np.inf if percentile == 100 else pytest.approx(np.percentile(mu, percentile), rel=1e-12))


def test_large_utilities_overflow_nothing() -> None:
    """Utilities from −300 to 300 in float32: finite, and the same as in float64."""
    catalogue = draw_catalogue(products=60)
    market = draw_market(LAW, catalogue, 0, 8)
    mu = np.random.default_rng(0).uniform(-300, 300, (catalogue.n, 8))
    single, double = (step.choose(market, catalogue, mu.astype(kind), 100.0) for kind in (np.float32, np.float64))
    np.testing.assert_allclose(single.value, double.value, rtol=1e-5)
    np.testing.assert_allclose(single.chance, double.chance, rtol=1e-4, atol=1e-12)


def test_units_are_poissons() -> None:
    """The ladder is scipy's quantile function, for means from 0 to 300."""
    rng = np.random.default_rng(0)
    u, mean = rng.random(3000), rng.exponential(1, 3000) ** 2
    mean[:4] = (0.0, 1e-9, 60.0, 300.0)
    assert (poisson(u, mean) == stats.poisson.ppf(u, mean)).all()


def test_baskets_are_what_the_probabilities_say() -> None:
    """10,000 identical customers: category and product shares, units, and nobody buys who did not come."""
    catalogue = Catalogue(np.array([1, 3]), np.ones(4), np.ones(4))
    market = draw_market(LAW, catalogue, 0, 1)
    n = 10_000
    market = market.only(np.zeros(n, int))
    mu = np.repeat(np.array([[1.0], [0.5], [1.5], [-0.5]]), n, 1)
    choice = step.choose(market, catalogue, mu, 100.0)
    choice = type(choice)(choice.utility, choice.weight, choice.total, choice.value, np.full((2, n), 0.4), choice.level)
    came = np.arange(n) % 2 == 0
    lines = buy(market, catalogue, choice, came, draw_luck(np.random.default_rng(1), 2, n))
    assert (lines.customer % 2 == 0).all() and (lines.units >= 1).all()
    assert (catalogue.category[lines.product] == lines.category).all()
    assert stats.binomtest(int((lines.category == 1).sum()), n // 2, 0.4).pvalue > P_LEAST
    share = step.product_probability(choice, catalogue)[1:, 0]
    seen = np.bincount(lines.product[lines.category == 1] - 1, minlength=3)
    assert stats.chisquare(seen, share * seen.sum()).pvalue > P_LEAST
    extra = step.mean_extra(market, choice)[lines.product, lines.customer]
    assert abs((lines.units - 1 - extra).sum()) < 4.5 * np.sqrt(extra.sum())


def test_coupons_by_store_and_by_category() -> None:
    """What is left to pay, and for what."""
    store = make_coupons("store", (0.0, 0.05, 0.5), 3)
    assert store.names == ("0%", "5%", "50%")
    kept = store.kept(np.array([2, 1, 2]), np.array([True, True, False]))
    np.testing.assert_allclose(kept, [[0.5, 0.95, 1.0]])
    assert read_levels("0,.05,.5") == read_levels([0, 0.05, 0.5]) == (0.0, 0.05, 0.5)
    category = make_coupons("category", (0.0, 0.25), 3)
    assert category.names == ("none", "c00:25%", "c01:25%", "c02:25%")
    np.testing.assert_allclose(category.kept(np.array([0, 2]), np.array([True, True])), [[1, 1], [1, 0.75], [1, 1]])
    np.testing.assert_allclose(category.reach, [1, 1 / 3, 1 / 3, 1 / 3])


def test_a_category_coupon_moves_that_category_only() -> None:
    """Other categories' utilities stay; both paths agree where they mean the same."""
    catalogue = draw_catalogue(products=60)
    market = draw_market(LAW, catalogue, 0, 4)
    shelf = next_shelf(LAW, market, catalogue, (0, 1), 0, np.zeros(catalogue.n, bool), False)
    rank = step.utility(market, catalogue, shelf.x, shelf.price, np.full((1, 4), 0.7), None)
    per = step.utility(market, catalogue, shelf.x, shelf.price, np.full((30, 4), 0.7), None)
    np.testing.assert_allclose(rank, per, rtol=1e-4, atol=1e-4)
    kept = np.ones((30, 4))
    kept[3] = 0.7
    some = step.utility(market, catalogue, shelf.x, shelf.price, kept, None)
    none = step.utility(market, catalogue, shelf.x, shelf.price, np.ones((1, 4)), None)
    inside = catalogue.category == 3
    np.testing.assert_allclose(some[~inside], none[~inside], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(some[inside], per[inside], rtol=1e-4, atol=1e-4)


def test_the_nine_numbers_by_hand() -> None:
    """Two steps at different prices: each purchase counts at the price it was made at, not at the next one's."""
    catalogue = Catalogue(np.array([2]), np.array([2.0, 4.0]), np.ones(2))
    tallies = new_tallies(3)
    one = Lines(np.array([0, 1]), np.zeros(2, int), np.array([0, 1]), np.array([3, 1]))
    tally(tallies, one, catalogue, np.array([1.0, 4.0]), np.array([0.5, np.nan]))
    two = Lines(np.array([0]), np.zeros(1, int), np.array([1]), np.array([1]))
    tally(tallies, two, catalogue, np.array([2.0, 3.0]), np.array([0.25]))
    shown = scalars(tallies, catalogue, np.array([9.0, 11.0]), np.array([0.5, 0.6, 0.7]), np.array([1.0, 2.0, 3.0]))
    assert len(FEATURES) == 9 and shown.dtype == np.float32
    wanted = [  # last units / I, price, W, X, units per purchase, purchases per step, price, redeemed, discount
        [0.5, 10.0, 0.5, 1.0, 2.0, 1.0, 2.0, 0.375, 0.375],
        [0.0, 10.0, 0.6, 2.0, 1.0, 0.5, 4.0, 0.375, 0.0],
        [0.0, 10.0, 0.7, 3.0, 0.0, 0.0, 3.0, 0.375, 0.1875],  # never bought: the mean of those who did
    ]
    np.testing.assert_allclose(shown, wanted, rtol=1e-6)


def test_at_first_nothing_is_known() -> None:
    """All past is 0 in the first step."""
    world = retail(customers=10, products=60)
    past = world.reset(np.random.default_rng(0), 10).context[:, [0, 4, 5, 6, 7, 8]]
    assert (past == 0).all()


def test_metrics_are_sums_of_the_log() -> None:
    """Against plain loops over a logged walk of three environments."""
    world = retail(customers=10, products=60, steps=6)
    log = episodes(world, Uniform(11), 30, seed=3, width=30)
    found = metrics(log, world.problem, 30)
    assert log.outcomes is not None
    column = dict(zip(world.problem.outcome_names, log.outcomes.T))
    for i in range(30):
        rows = slice(6 * i, 6 * i + 6)
        assert found.revenue[i] == pytest.approx(log.reward[rows].sum())
        assert found.demand[i] == column["units"][rows].sum()
        assert found.retention[i] == (column["units"][rows][3:] > 0).any()
        assert found.discount[i] == pytest.approx(0.05 * log.action[rows].mean())
        assert found.environment[i] == i // 10
        assert found.penetration[i] == column["new_categories"][rows].sum() / 30
    assert found.share.sum(1) == pytest.approx(1.0)
    assert per_step(log, world.problem, "revenue").shape == (6, 3)
    np.testing.assert_allclose(per_step(log, world.problem, "revenue").sum(0).mean(), found.revenue.mean())
    np.testing.assert_allclose(share_per_step(log, world.problem).sum(1), 1.0)
    assert halves(found.sensitivity).sum() == 15
    off = column["coupon_spend"] / np.maximum(column["coupon_spend"] + column["revenue"], 1e-12)
    bought = column["units"] > 0
    np.testing.assert_allclose(off[bought], 0.05 * log.action[bought], atol=1e-9)


def test_new_categories_are_counted_once() -> None:
    """Over an episode they add up to the distinct categories ever bought."""
    world = retail(customers=10, products=60, steps=6)
    world.reset(np.random.default_rng(0), 10)
    new, ever = np.zeros(10), np.zeros((30, 10), bool)
    for _ in range(6):
        outcomes = world.step(np.full(10, 10, np.int32))[1].outcomes
        lines = world.shops[0].lines
        assert lines is not None
        ever[lines.category, lines.customer] = True
        new += outcomes[:, 3]
    assert (new == ever.sum(0)).all() and new.sum() > 0


def test_pairs_are_of_environments() -> None:
    """Student's interval over environment means; of other environments, or of one, nothing is said."""
    world = retail(customers=10, products=60, steps=4)
    a, b = (metrics(episodes(world, Uniform(11), 40, seed=s, width=40), world.problem, 30) for s in (1, 2))
    difference = a.revenue.reshape(4, 10).mean(1) - b.revenue.reshape(4, 10).mean(1)
    found = paired_difference(a, b, "revenue")
    assert found.value == pytest.approx(difference.mean()) and found.environments == 4
    wanted = stats.t.interval(0.95, 3, difference.mean(), stats.sem(difference))
    assert (found.low, found.high) == pytest.approx(wanted)
    assert paired_ratio(a, b, "revenue").value == pytest.approx(a.revenue.mean() / b.revenue.mean())
    few = metrics(episodes(world, Uniform(11), 30, seed=1, width=30), world.problem, 30)
    with pytest.raises(DataError, match="same two or more"):
        paired_difference(a, few, "revenue")


def test_a_log_of_another_world_has_no_metrics() -> None:
    """It lacks what they are made of, and is told so."""
    problem = Problem(features=(), actions=ActionSpace(names=("0%", "5%")))
    log = bandit_steps(np.zeros((2, 0)), np.zeros(2), np.zeros(2), outcomes=np.zeros((2, 1)))
    with pytest.raises(DataError, match="no log of the retail world"):
        metrics(log, problem, 30)


@pytest.mark.parametrize("tied", [False, True])
def test_drawn_in_bulk_is_drawn_by_definition(tied: bool) -> None:
    """100,000 X against M + |S'|E by scipy's two samples, and chunks leave no seam: neighbors are uncorrelated."""
    n = 100_000
    found = spread_normals(stream((1, 1), Purpose.FEATURES), (n,), tied=tied).astype(np.float64)
    rng = np.random.default_rng(0)
    mean, e = rng.standard_normal((2, n))
    wanted = mean + np.abs(mean if tied else rng.standard_normal(n)) * e
    assert stats.ks_2samp(found, wanted).pvalue > P_LEAST
    for values in (found, found**2):
        assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 5 / np.sqrt(n)
    assert len(np.unique(found)) > 0.99 * n


def test_a_prefix_of_bulk_draws_is_the_same() -> None:
    """What is drawn later changes nothing of what was drawn before, but for the last number of an odd count."""
    few, many = (gumbels(stream((1, 1), Purpose.NOISE), (n,), 0.1) for n in (40_000, 70_000))
    assert (few[: 2 * CHUNK] == many[: 2 * CHUNK]).all() and np.isfinite(many).all()
