"""ONNX graphs against the NumPy policies they were made of: random contexts of every size, masks, draws, all kinds."""

import json

import numpy as np
import onnx
import pytest

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.steps import bandit_steps
from understudy.models.actor import Actor
from understudy.models.ensembles import Bag, LinearEnsemble
from understudy.models.feature_map import FeatureMap, FittedFeature, fit_feature_map
from understudy.models.filtered import Filtered
from understudy.models.growing import BoostedTrees, Forest
from understudy.models.logistic import LogisticModel
from understudy.models.neighbors import NeighborModel
from understudy.models.network import Network
from understudy.models.onnx.consume import score_onnx
from understudy.models.onnx.export import OPSET, to_onnx
from understudy.models.optimism import UpperBound
from understudy.models.parametric import ParametricNetwork
from understudy.models.policies import Discrete, Explore, Fixed, Mixture, Uniform, floored
from understudy.models.q_network import HEADS, QNetwork, width
from understudy.models.ridge import LinearModel
from understudy.models.shares import Shares
from understudy.models.trees import TreeModel
from understudy.ops import explore, network

ort = pytest.importorskip("onnxruntime")
K, ROWS = 4, 4000
PROBLEM = Problem(
    features=(
        Feature(name="size", optional=True),
        Feature(name="new", kind="boolean", optional=True),
        Feature(name="city", kind="category", values=("Oslo", "Rome"), open=True, optional=True),
        Feature(name="gap"),
    ),
    actions=ActionSpace(names=("a", "b", "c", "d")),
)
COLUMNS = (
    FittedFeature(kind="number", source=0, name="size", location=1.0, scale=2.0),
    FittedFeature(kind="signed_log", source=3, name="gap", location=0.5, scale=3.0, limit=5.0),
    FittedFeature(kind="boolean", source=1, name="new"),
    FittedFeature(kind="category", source=2, name="city", values=3),
    FittedFeature(kind="missing", source=0, name="size"),
    FittedFeature(kind="missing", source=3, name="gap"),
)
PLAIN = FeatureMap(COLUMNS)
RULES = (("greedy", 0.0), ("epsilon_greedy", 0.1), ("softmax", 3.0), ("squarecb", 10.0))


def contexts(n: int = ROWS) -> np.ndarray:
    """Numbers from 1e-30 to 1e38, missing values, categories nobody has seen."""
    rng = np.random.default_rng(3)
    size = rng.standard_normal(n) * 10.0 ** rng.uniform(-30, 38, n)
    x = np.column_stack(
        [np.clip(size, -3e38, 3e38), rng.integers(0, 2, n), rng.integers(0, 9, n), 100 * rng.standard_normal(n)]
    ).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    return x


def masks(n: int = ROWS) -> np.ndarray:
    """Random, with something allowed in each row."""
    rng = np.random.default_rng(4)
    allowed = rng.random((n, K)) < 0.5
    allowed[np.arange(n), rng.integers(0, K, n)] = True
    return allowed


def layers(outputs: int, members: int = 1, features: FeatureMap = PLAIN) -> tuple:
    made = network.start(np.random.default_rng(5), [features.width, 24, 16, outputs], members)
    return tuple((w * np.float32(3), b + np.float32(0.1)) for w, b in made)


def q_network(head: str, members: int = 1) -> QNetwork:
    return QNetwork(PLAIN, layers(width(head, K, 7), members), K, head, 7, -1.0, 3.0, 2.0)


def linear(features: FeatureMap = PLAIN) -> LinearModel:
    rng = np.random.default_rng(6)
    return LinearModel(features, rng.standard_normal((K, features.width)), rng.standard_normal(K))


def ensemble() -> LinearEnsemble:
    return LinearEnsemble(PLAIN, np.random.default_rng(7).standard_normal((9, K, PLAIN.width + 1)))


def upper_bound() -> UpperBound:
    rng = np.random.default_rng(8)
    root = rng.standard_normal((K, PLAIN.width + 1, PLAIN.width + 1))
    return UpperBound(PLAIN, rng.standard_normal((K, PLAIN.width + 1)), root @ root.transpose(0, 2, 1), 0.7, 0.05)


def grown(regressor: BoostedTrees | Forest):
    rng = np.random.default_rng(9)
    x = contexts(600)
    reward = (np.nan_to_num(x[:, 3]) > 10) * 1.0 + rng.random(600) / 5
    return regressor.fit(bandit_steps(x, rng.integers(0, K, 600), reward), PROBLEM, seed=0)


def run(raw: bytes, **feed: np.ndarray) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(raw, options, providers=["CPUExecutionProvider"]).run(None, feed)


def sure(policy, x: np.ndarray, allowed: np.ndarray | None) -> np.ndarray:
    """bool[n]: the best two allowed values of every member are further apart than rounding, so that the best is one."""
    inner = policy.policies[0] if isinstance(policy, Mixture) else policy
    if (
        not isinstance(inner, Explore)
        or inner.rule in ("softmax", "proportional")
        or isinstance(inner.model, TreeModel)
    ):
        return np.ones(len(x), bool)
    values = inner.model.members(x) if inner.rule == "votes" else inner.model.values(x)[None]  # type: ignore[attr-defined]
    inside = np.sort(values if allowed is None else np.where(allowed, values, -np.inf), axis=2)
    return (inside[:, :, -1] - inside[:, :, -2] > 2e-6 * (1 + np.abs(inside[:, :, -1]))).all(0)


def check(policy: Discrete, rows: int = ROWS, judged: float = 0.9) -> None:
    """Probabilities to 2e-6, and the same action wherever u is further than that from an edge of the CDF.

    ``judged``: least share of the rows that can be; a sigmoid of huge numbers is 1 for several actions, a tie.
    """
    raw, x, u = to_onnx(policy, PROBLEM, "it"), contexts()[:rows], np.random.default_rng(10).random(rows)
    for allowed in (None, masks()[:rows]):
        p = policy.probs(x, allowed)
        action, propensity, every = run(raw, context=x, u=u, **({} if allowed is None else {"allowed": allowed}))
        one_best = sure(policy, x, allowed)
        np.testing.assert_allclose(every[one_best], p[one_best], rtol=2e-6, atol=2e-6)
        clear = one_best & (np.abs(p.cumsum(1) - u[:, None]).min(1) > 4e-6)
        assert clear.mean() > judged
        np.testing.assert_array_equal(action[clear], explore.draw(p, u)[clear])
        np.testing.assert_array_equal(propensity, every[np.arange(rows), action])
        assert allowed is None or allowed[np.arange(rows), action].all()


@pytest.mark.parametrize("rule,amount", [*RULES, ("votes", 0.1)])
@pytest.mark.parametrize("head", HEADS)
def test_q_networks_of_every_head_under_every_rule(head: str, rule: str, amount: float) -> None:
    """Three networks side by side, floored: what the sequential learners make."""
    judged = 0.7 if head == "categorical" else 0.9  # saturated softmaxes: several actions have the same mean
    check(floored(Explore(q_network(head, 3), rule, amount), K, 0.02), judged=judged)


WHOLE = tuple(
    FittedFeature(name="x", source=source, **more)
    for source in (0, 3)
    for more in (
        {"kind": "binary"},
        {"kind": "probability", "limit": 11.513},
        {"kind": "continuous", "location": 3.0, "scale": 20.0, "limit": 11.513},
        {"kind": "boxcox", "location": 1.0, "scale": 2.0, "limit": 11.513, "power": 0.3, "shift": 2.0},
        {"kind": "boxcox", "location": 1.0, "scale": 2.0, "limit": 11.513, "power": -0.7, "shift": 50.0},
        {"kind": "boxcox", "location": 0.0, "scale": 2.0, "limit": 11.513, "power": 0.0, "shift": 300.0},
        {"kind": "boxcox", "location": 0.0, "scale": 2.0, "limit": 11.513, "power": 1e-9, "shift": 300.0},
        {"kind": "enum", "points": (-5.0, 0.0, 3.0)},
        {"kind": "quantile", "points": (-100.0, -5.0, 0.0, 1.0, 90.0)},
        {"kind": "quantile", "points": (-1.0, 40.0)},
        {"kind": "continuous_action", "low": -80.0, "high": 90.0},
        {"kind": "clip_log", "limit": 11.513},
        {"kind": "untouched", "limit": 1e18},
    )
)  # fmt: skip


@pytest.mark.parametrize("column", [*WHOLE, *COLUMNS], ids=lambda c: f"{c.kind}-{c.source}")
def test_every_kind_of_model_input(column: FittedFeature) -> None:
    """One column through a model that shows it: f32 inputs to a unit in the last place, also at borders and at ±inf."""
    features = FeatureMap((column,))
    own = Problem(features=PROBLEM.features, actions=ActionSpace(names=tuple("abcdefg"[: features.width + 1])))
    shown = LinearModel(
        features, np.vstack([np.eye(features.width), np.zeros(features.width)]), np.ones(features.width + 1)
    )
    x = contexts()
    edges = [np.inf, -np.inf, 0.0, -0.0, *column.points, *[p + 1e-3 for p in column.points], 1.0, 0.5, -2.0, -300.0]
    x[: len(edges), column.source] = edges
    x[len(edges) : 2000, column.source] = np.random.default_rng(12).uniform(-3, 3, 2000 - len(edges))
    z = features(x)
    assert np.isfinite(z).all()
    tame = np.abs(z) < 700  # beyond, exp over- or underflows: what is compared is the input, not softmax
    every = run(to_onnx(Explore(shown, "softmax", 1.0), own, "it"), context=x, u=np.zeros(ROWS))[2]
    with np.errstate(divide="ignore"):
        found = np.log(every[:, :-1]) - np.log(every[:, -1:])
    np.testing.assert_allclose(found[tame], z[tame], rtol=2e-6, atol=2e-6)
    assert tame.mean() > 0.3


@pytest.mark.parametrize("link", ["logistic", "identity"])
@pytest.mark.parametrize("members", [1, 3])
def test_networks(link: str, members: int) -> None:
    """The bandit learners' networks."""
    check(Explore(Network(PLAIN, layers(K, members), -1.0, 2.0, link), "softmax", 4.0))


@pytest.mark.parametrize("rule,amount", RULES)
def test_linear_models_under_every_rule(rule: str, amount: float) -> None:
    """Ridge, with and without products of inputs; logistic; Thompson draws and bags that vote."""
    tame = FeatureMap(tuple(c for c in COLUMNS if c.kind != "number"), quadratic=True)
    check(Explore(linear(), rule, amount))
    check(Explore(linear(tame), rule, amount))
    check(Explore(LogisticModel(linear(), -1.0, 1.0), rule, amount), judged=0.7)


def test_ensembles_vote() -> None:
    """Linear ensembles and bags, by votes and by their mean."""
    bag = Bag((linear(), LogisticModel(linear(), 0.0, 1.0), q_network("plain")))
    for model in (ensemble(), bag):
        check(Explore(model, "votes", 0.1), judged=0.7)
        check(Explore(model, "epsilon_greedy", 0.1))


def test_weights_become_probabilities() -> None:
    """Proportional to values ≥ 0; where all weigh nothing, the first allowed action."""
    zero = LinearModel(PLAIN, np.zeros((K, PLAIN.width)), np.zeros(K))
    check(Explore(LogisticModel(linear(), 0.0, 1.0), "proportional"))
    check(Explore(zero, "proportional"))


@pytest.mark.parametrize("regressor", [BoostedTrees(rounds=10), Forest(trees=20)], ids=["boosted", "forest"])
def test_trees_are_walked_without_a_loop(regressor: BoostedTrees | Forest) -> None:
    """Level by level in the graph; a forest's trees vote."""
    model = grown(regressor)
    check(Explore(model, "epsilon_greedy", 0.1), 800)
    check(Explore(model, "votes", 0.1), 800)


def test_policies_around_policies() -> None:
    """Uniform, fixed, mixtures, BCQ's filter, upper bounds."""
    imitation = Explore(q_network("plain"), "softmax", 1.0)
    filtered = Filtered(Explore(q_network("dueling"), "greedy"), imitation, 0.5)
    shares = Shares((0.0, 0.7, 0.3, 0.0))
    for policy in (Uniform(K), Fixed(K, 2), shares, filtered, upper_bound(), floored(filtered, K, 0.05)):
        check(policy)
    check(Mixture((filtered, Fixed(K, 1), imitation), (0.5, 0.2, 0.3)))


def test_ties_share_in_the_graph_as_well() -> None:
    """Equal scores split the greedy part; u picks by inverse CDF, also at the edges."""
    flat = LinearModel(PLAIN, np.zeros((K, PLAIN.width)), np.array([1.0, 2.0, 2.0, 0.0]))
    u = np.array([0.0, 0.499, 0.5, 1 - 2**-53])
    action, propensity, every = run(to_onnx(Explore(flat), PROBLEM, "it"), context=contexts(4), u=u)
    assert action.tolist() == [1, 1, 2, 2]
    assert propensity.tolist() == [0.5] * 4
    assert every.tolist() == [[0, 0.5, 0.5, 0]] * 4


def test_a_row_that_allows_nothing_gets_no_action() -> None:
    """NumPy refuses it; a graph cannot raise, so it answers −1 and NaN, and the other rows stand."""
    raw = to_onnx(Explore(linear(), "softmax", 1.0), PROBLEM, "it")
    allowed = np.array([[True] * K, [False] * K])
    action, propensity, every = run(raw, context=contexts(2), u=np.full(2, 0.5), allowed=allowed)
    assert action[0] >= 0 and action[1] == -1
    assert np.isnan(propensity[1]) and np.isnan(every[1]).all() and not np.isnan(every[0]).any()


def test_a_problem_without_features() -> None:
    """A feature map of nothing: the intercepts alone."""
    empty = Problem(features=(), actions=PROBLEM.actions)
    model = LinearModel(FeatureMap(()), np.zeros((K, 0)), np.arange(float(K)))
    x = np.zeros((5, 0), np.float32)
    action, _, every = run(to_onnx(Explore(model, "softmax", 1.0), empty, "it"), context=x, u=np.full(5, 0.99))
    np.testing.assert_allclose(every, Explore(model, "softmax", 1.0).probs(x), atol=1e-12)
    assert action.tolist() == [3] * 5


@pytest.mark.parametrize("std,spread", [(0.0, 1.0), (0.0, 0.3), (0.2, 1.0)])
def test_actors_take_normals_and_give_densities(std: float, spread: float) -> None:
    """The squashed Gaussian: actions as NumPy's to rounding, their densities, and the middle."""
    box = Problem(features=PROBLEM.features, actions=ActionSpace(low=(-2.0, 0.0), high=(2.0, 5.0)))
    tame = FeatureMap(tuple(c for c in COLUMNS if c.kind != "number"))
    own = Actor(tame, layers(2 if std else 4, 1, tame), np.array([-2.0, 0.0]), np.array([2.0, 5.0]), std, spread)
    x, z = contexts(), np.random.default_rng(11).standard_normal((ROWS, 2))

    class Given(np.random.Generator):
        def standard_normal(self, *_args, **_more):
            return z

    expected, _ = own.act(x, Given(np.random.PCG64(0)))
    action, density, middle = run(to_onnx(own, box, "it"), context=x, z=z)
    np.testing.assert_allclose(action, expected, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(middle, own.mean(x), rtol=2e-6, atol=2e-6)
    known = own.prob(x, action)  # of the graph's own action: near the box's edge a rounding moves the density
    assert (np.abs(density - known) <= 2e-6 * (1 + known)).all()


def test_the_file_says_what_it_is() -> None:
    """Structure, opset, names; the same bytes again."""
    policy = Explore(q_network("plain"), "greedy")
    raw = to_onnx(policy, PROBLEM, "0123")
    assert raw == to_onnx(policy, PROBLEM, "0123")
    model = onnx.load_from_string(raw)
    onnx.checker.check_model(model, full_check=True)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", OPSET)]
    told = {each.key: each.value for each in model.metadata_props}
    assert json.loads(told["features"]) == ["size", "new", "city", "gap"]
    assert json.loads(told["categories"]) == {"city": ["Oslo", "Rome"]}
    assert json.loads(told["actions"])["names"] == ["a", "b", "c", "d"]
    assert told["policy_id"] == "0123" and told["problem_hash"] == PROBLEM.hash
    assert [each.name for each in model.graph.output] == ["action", "propensity", "probabilities"]


def test_a_consumer_that_misses_a_feature_is_told() -> None:
    """ONNX Runtime refuses the width; our own consumer names the feature."""
    raw = to_onnx(Explore(linear(), "softmax", 1.0), PROBLEM, "it")
    with pytest.raises(Exception, match="context"):
        run(raw, context=contexts(3)[:, :3], u=np.zeros(3))
    columns = {"size": [1.0, None, 3.0], "new": [True, False, None], "city": ["Oslo", "Paris", None]}
    with pytest.raises(DataError, match="'gap' is missing"):
        score_onnx(raw, columns, np.zeros(3))
    with pytest.raises(DataError, match="'gapp' is not one"):
        score_onnx(raw, columns | {"gap": [0.0] * 3, "gapp": [0.0] * 3}, np.zeros(3))
    found = score_onnx(raw, columns | {"gap": [0.0, 1.0, -5.0]}, np.array([0.1, 0.5, 0.9]))
    x = np.array([[1, 1, 0, 0], [np.nan, 0, 2, 1], [3, np.nan, np.nan, -5]], np.float32)
    np.testing.assert_allclose(found["probabilities"], Explore(linear(), "softmax", 1.0).probs(x), atol=2e-6)
    assert [PROBLEM.actions.names.index(name) for name in found["action_name"]] == found["action"].tolist()


@pytest.mark.parametrize("hidden", [(), (24,), (24, 16)])
def test_networks_that_read_the_action(hidden: tuple[int, ...]) -> None:
    """The actions' features are part of the graph. Contexts of 1e30 swamp what actions add to them: those rows tie."""
    rng = np.random.default_rng(11)
    table = rng.standard_normal((K, 5)).astype(np.float32)
    made = network.start(rng, [PLAIN.width + 5, *hidden, 1], 1)
    own = tuple((w * np.float32(3), b + np.float32(0.1)) for w, b in made)
    for rule, amount in RULES:
        check(Explore(ParametricNetwork(PLAIN, own, table, 2.0), rule, amount), judged=0.5)  # type: ignore[arg-type]


def test_neighbors_are_not_exported() -> None:
    """A graph would hold the log itself, and search it row by row."""
    model = NeighborModel(PLAIN, np.zeros((3, PLAIN.width), np.float32), np.zeros(3, np.int32), K, 1.0)
    with pytest.raises(ConfigError, match="a neighbors cannot be exported"):
        to_onnx(Explore(model, "softmax", 1.0), PROBLEM, "it")
    with pytest.raises(ConfigError, match="a neighbors cannot be exported"):
        to_onnx(Filtered(Explore(linear(), "greedy", 0.0), Explore(model, "softmax", 1.0), 0.3), PROBLEM, "it")


def test_a_consumer_reads_categories_as_they_come_from_a_table() -> None:
    """NaN is missing; 1.0 is the category "1" in a column of numbers with gaps."""
    levels = Problem(
        features=(Feature(name="level", kind="category", values=("1", "2"), optional=True),), actions=PROBLEM.actions
    )
    features = FeatureMap((FittedFeature(kind="category", source=0, name="level", values=2),))
    policy = Explore(LinearModel(features, np.arange(K * 2.0).reshape(K, 2) / 9, np.zeros(K)), "softmax", 1.0)
    raw = to_onnx(policy, levels, "it")
    said = [[1.0, 2.0, float("nan")], [1, 2, None], ["1", "2", None], np.array([1, 2, np.nan])]
    for values in said:
        found = score_onnx(raw, {"level": values}, np.full(3, 0.5))["probabilities"]
        np.testing.assert_allclose(found, policy.probs(np.array([[0], [1], [np.nan]], np.float32)), atol=2e-6)
    with pytest.raises(DataError, match=r"level=1\.5 is not one of its values"):
        score_onnx(raw, {"level": [1.5]}, np.full(1, 0.5))


def test_what_cannot_be_exported_is_refused_by_name() -> None:
    """No silent stand-in: the error names the kind and what could be exported."""

    class Odd:
        def state(self):
            from understudy.core.protocols import State

            return State("vw", {}, {})

    with pytest.raises(ConfigError, match="a vw cannot be exported") as caught:
        to_onnx(Mixture((Uniform(K), Odd()), (0.5, 0.5)), PROBLEM, "it")  # type: ignore[arg-type]
    assert "filtered" in caught.value.hint


def test_a_fitted_map_is_the_graphs_first_layer() -> None:
    """As fitted by the learners, both kinds: raw context in, no preprocessing outside."""
    x = contexts()
    steps = bandit_steps(x, np.zeros(ROWS, int), np.zeros(ROWS))
    for signed_log in (False, True):
        features = fit_feature_map(PROBLEM, [steps], signed_log)
        check(Explore(linear(features), "softmax", 0.1))
