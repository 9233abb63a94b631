"""The laws that customers and shops are drawn from: two published parameter sets, and one whose coupons pay later."""

from __future__ import annotations

from dataclasses import dataclass

Pair = tuple[float, float]

# Products of each of the 30 published categories; 2,514 in all.
SIZES = (
    59, 5, 2, 63, 18, 145, 93, 61, 20, 3, 93, 93, 5, 89, 84, 76, 44, 135, 36, 28, 112, 87, 150, 132, 241, 178, 34, 301,
    14, 113,
)  # fmt: skip


@dataclass(frozen=True)
class Law:
    """Parameters of the distributions. A pair is (mean, deviation), of a uniform (low, high), of a beta (1s, 0s).

    Source: RetailSynth, arXiv 2312.14095, section 3; values of RetailSynth-AgentSim, arXiv 2405.10469.
    """

    marketing: str = "random"  # or discount, or discount_coupon: what the marketing feature is; see ``shelf.marketing``
    memory: float = 0.0  # κ of goodwill g(t) = κ g(t−1) + (1 − κ) c(t−1); 0 remembers the last coupon only
    taste: Pair = (-1.0, 1.0)  # log β^x
    quality: Pair = (1.0, 0.4)  # log β^z
    units_slope: Pair = (-4.0, 0.1)  # log γ1^q
    units_base: Pair = (-3.0, 0.1)  # γ0^q, Gumbel
    price_customer: Pair = (-3.0, 1.5)  # β^u ≤ 0
    price_product: Pair = (-3.0, 2.0)  # β^i ≤ 0
    price_scale: float = -1.4  # c of β^w = c β^u β^i
    category_base: Pair = (-5.0, 0.5)  # γ0^c
    category_slope: Pair = (0.1, 0.04)  # γ1^c, cut to [0, category_most]
    category_most: float = 0.12
    inertia: Pair = (0.25, 0.45)  # θ, uniform
    store_base: Pair = (4.0, 0.1)  # γ0^s, Gumbel
    store_slope: Pair = (0.01, 0.01)  # γ1^s ≥ 0
    store_marketing: Pair = (5.0, 6.0)  # γ2^s, uniform
    redemption: Pair = (1.0, 1.0)  # r, uniform
    discount_starts: Pair = (40.0, 60.0)  # p01, beta
    discount_stays: Pair = (40.0, 60.0)  # p11, beta
    depth: Pair = (50.0, 50.0)  # beta
    lowest_price: float = 1.0
    noise: float = 0.1  # scale of ε, Gumbel
    percentile: float = 99.99  # of the whole matrix of utilities, above which they are cut


LAWS = {
    "no_marketing": Law(),
    "hfhd": Law(marketing="discount_coupon", store_base=(-2.0, 0.1), store_marketing=(0.004, 0.006)),
    "delayed": Law(
        marketing="discount_coupon", memory=0.8, store_base=(-6.0, 0.1), store_marketing=(0.008, 0.01),
    ),
}  # fmt: skip
