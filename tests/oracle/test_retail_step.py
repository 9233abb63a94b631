"""One step of the coupon simulator against the published program's figures: all fields, to 1e-5, any environment."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from understudy.core.errors import DataError, StoreError
from understudy.envs.retail import step
from understudy.envs.retail.baskets import Lines
from understudy.envs.retail.catalogue import Catalogue, read_catalogue
from understudy.envs.retail.law import LAWS
from understudy.envs.retail.market import Market, read_market

REFERENCE = Path(__file__).parents[2].parent / "shared" / "data" / "retail-reference"
LAW = LAWS["no_marketing"]
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
needs_data = pytest.mark.skipif(not REFERENCE.exists(), reason=f"no folder {REFERENCE}")
pytestmark = needs_data


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return read_catalogue(REFERENCE / "catalogue.npz")


@pytest.fixture(scope="module")
def given() -> dict[str, np.ndarray]:
    with np.load(REFERENCE / "single_step.npz", allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


@pytest.fixture(scope="module")
def expected() -> dict:
    return json.loads((REFERENCE / "expected.json").read_text())["single_step"]


@pytest.fixture(scope="module", params=[np.float64, np.float32], ids=["float64", "float32"])
def market(request: pytest.FixtureRequest, catalogue: Catalogue, given: dict, expected: dict) -> Market:
    file = REFERENCE / f"env_{expected['environment_seed']}.npz"
    return read_market(file, catalogue, LAW, request.param).only(given["customers"])


def _choice(market: Market, catalogue: Catalogue, given: dict, t: int) -> tuple[np.ndarray, step.Choice, np.ndarray]:
    kept, kind = 1 - given["coupon"][t][None], market.taste.dtype
    mu = step.utility(market, catalogue, given["X"][t].T.astype(kind), given["P"][t], kept, None)
    return mu.copy(), step.choose(market, catalogue, mu, LAW.percentile), kept


def _close(ours: np.ndarray, theirs: object, market: Market) -> None:
    """1e-5 in float64; float32, in which worlds are simulated, carries seven digits of numbers up to 60."""
    assert np.shape(ours) == np.shape(theirs)
    loose = {"rtol": 2e-4, "atol": 1e-4} if market.taste.dtype == np.float32 else CLOSE
    np.testing.assert_allclose(ours, np.asarray(theirs), **loose)


@pytest.mark.parametrize("t", [0, 1, 2])
def test_what_customers_would_choose(t: int, market: Market, catalogue: Catalogue, given: dict, expected: dict) -> None:
    """Utilities before and after the cut, the cut itself, products, units, categories."""
    mu, choice, _ = _choice(market, catalogue, given, t)
    if t == 0:
        _close(mu.T, given["utility_unclipped_t0"], market)
        _close(mu.max(), expected["utility_max_before_clip_t0"], market)
    highest = np.maximum.reduceat(mu, catalogue.starts, axis=0)
    _close(np.array(step.cut_level(mu, LAW.percentile, highest)), expected["clip_level"][t], market)
    _close(choice.utility.T, given["utility"][t], market)
    _close(step.product_probability(choice, catalogue).T, given["product_probability"][t], market)
    _close(step.mean_extra(market, choice).T, given["poisson_mean"][t], market)
    _close(choice.value.T, given["category_value"][t], market)
    _close(choice.value.T, expected["category_value"][t], market)
    _close(choice.chance.T, given["category_probability"][t], market)
    _close(choice.chance.T, expected["category_probability"][t], market)


def test_visits_and_what_they_bring(market: Market, catalogue: Catalogue, given: dict, expected: dict) -> None:
    """Store values, the recursion of visits over three steps, and the expected revenue of each."""
    chance = np.ones(len(given["customers"]))
    _close(chance, expected["visit_probability"][0], market)
    for t in range(3):
        _, choice, kept = _choice(market, catalogue, given, t)
        basket = step.expected_basket(market, catalogue, choice, given["P"][t], np.zeros(catalogue.n))
        _close(chance * (kept * basket.shelf).sum(0), expected["expected_revenue"][t], market)
        value = step.store_value(choice.value)
        _close(value, expected["store_value"][t], market)
        pull = step.attraction(market, given["V"][t], value, given["W"][t])
        _close(pull, expected["store_sigmoid"][t], market)
        chance = step.visit(market, pull, chance)
        _close(chance, expected["visit_probability"][t + 1], market)
        _close(chance, given["visit_probability"][t + 1], market)


def test_elasticities(market: Market, catalogue: Catalogue, given: dict, expected: dict) -> None:
    """Own-price elasticities of product, category and quantity; and the shown category's other figures."""
    _, choice, _ = _choice(market, catalogue, given, 0)
    shown = slice(*expected["shown_products"])
    found = step.elasticities(market, catalogue, choice)
    for name in ("product", "category", "quantity"):
        _close(getattr(found, name)[shown].T, expected["elasticity_shown_category_t0"][name], market)
    _close(choice.utility[shown].T, expected["utility_shown_category_t0"], market)
    of_products = step.product_probability(choice, catalogue)[shown].T
    _close(of_products, expected["product_probability_shown_category_t0"], market)
    _close(step.mean_extra(market, choice)[shown].T, expected["poisson_mean_shown_category_t0"], market)


def test_a_basket_is_paid_for(market: Market, catalogue: Catalogue, given: dict, expected: dict) -> None:
    """Explicit decisions, by the example's rules; who does not come pays nothing."""
    _, choice, kept = _choice(market, catalogue, given, 0)
    example, lines = expected["basket_example"], []
    for u, (came, chosen) in enumerate(zip(example["visit"], example["categories_chosen"])):
        for j in chosen if came else ():
            first = catalogue.starts[j]
            best = first + int(choice.weight[first : first + catalogue.sizes[j], u].argmax())
            lines.append((u, j, best, 1 + (j + u) % 4))
    customer, category, product, units = (np.array(column) for column in zip(*lines))
    assert [[u, i, n] for u, _, i, n in lines] == example["lines_customerrow_product_quantity"]
    bought = Lines(customer, category, product, units)
    paid = bought.sum(given["P"][0][product] * units * kept[0, customer], 3)
    np.testing.assert_allclose(paid, example["reward"], **CLOSE)


def test_every_environment_loads(catalogue: Catalogue) -> None:
    """Any env_*.npz of the layout; the market's three matrices are the exponentials of the one stored."""
    files = sorted(REFERENCE.glob("env_*.npz"))
    assert files
    for file in files:
        market = read_market(file, catalogue, LAW, np.float64)
        with np.load(file, allow_pickle=False) as found:
            n, bw = found["n_ui"].astype(np.float64), found["c"] * np.outer(found["bu_u"], found["bi_i"])
        np.testing.assert_allclose(market.taste, np.exp(-1 + n).T, rtol=1e-12)
        np.testing.assert_allclose(market.quality, (np.exp(1 + 0.4 * n) * catalogue.feature).T, rtol=1e-12)
        np.testing.assert_allclose(market.units_slope, np.exp(-4 + 0.1 * n).T, rtol=1e-12)
        np.testing.assert_allclose(np.outer(market.product, market.customer), bw.T, rtol=1e-12)
        np.testing.assert_allclose(market.sensitivity, bw.mean(1), rtol=1e-12)


def test_files_that_are_no_environment_are_refused(catalogue: Catalogue, tmp_path: Path) -> None:
    """Missing, not an archive, an array short, a pickle: each is said, and nothing is run."""
    with pytest.raises(StoreError, match="is not a file"):
        read_market(tmp_path / "none.npz", catalogue, LAW)
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(DataError, match="not a readable"):
        read_market(tmp_path / "text.npz", catalogue, LAW)
    with pytest.raises(DataError, match="holds no 'n_ui'"):
        read_market(REFERENCE / "catalogue.npz", catalogue, LAW)
    with np.load(REFERENCE / "env_0.npz", allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    np.savez(tmp_path / "short.npz", **{**arrays, "theta_u": arrays["theta_u"][:-1]})
    with pytest.raises(DataError, match="theta_u must be"):
        read_market(tmp_path / "short.npz", catalogue, LAW)
    np.savez(tmp_path / "pickle.npz", **{**arrays, "bu_u": np.array([{}], object)})
    with pytest.raises(DataError, match=r"pickle\.npz"):
        read_market(tmp_path / "pickle.npz", catalogue, LAW)
