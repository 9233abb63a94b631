"""Value models against the definitions they implement, and against scikit-learn where it defines the same thing."""

import numpy as np
import pytest

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.registry import table
from understudy.core.steps import Steps, bandit_steps
from understudy.models import load
from understudy.models.fitting import make
from understudy.models.growing import BoostedTrees, Forest, ForestClassifier
from understudy.models.logistic import Logistic, Multinomial
from understudy.models.ridge import Ridge

K, D = 3, 4
PROBLEM = Problem(
    features=tuple(Feature(name=f"x{i}") for i in range(D)),
    actions=ActionSpace(names=("a", "b", "c")),
    reward_range=(-1.0, 3.0),
)


def log(n: int = 600, seed: int = 0, actions: int = K) -> Steps:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, D)).astype(np.float32)
    action = rng.integers(0, actions, n)
    score = x[np.arange(n), action] + np.sin(3 * x[:, 3])
    reward = np.where(rng.random(n) < 1 / (1 + np.exp(-2 * score)), 3.0, -1.0)
    return bandit_steps(x, action, reward, np.full(n, 1 / actions))


@pytest.mark.parametrize("weighted", [False, True])
def test_ridge_is_the_closed_form(weighted: bool) -> None:
    """Per action, scikit-learn's Ridge on the same inputs, to 1e-9."""
    from sklearn.linear_model import Ridge as Theirs

    steps = log()
    weight = np.random.default_rng(1).random(steps.n) * 3 if weighted else None
    model = Ridge(penalty=2.5).fit(steps, PROBLEM, seed=0, weight=weight)
    z = model.features(steps.context).astype(np.float64)
    for a in range(K):
        own = steps.action == a
        theirs = Theirs(alpha=2.5, solver="cholesky").fit(
            z[own], steps.reward[own], None if weight is None else weight[own]
        )
        np.testing.assert_allclose(model.values(steps.context)[:, a], theirs.predict(z), atol=1e-9)


def test_ridge_from_batches_is_ridge_in_memory() -> None:
    """Two folds over any partition give the same coefficients."""
    steps = log()
    index = np.arange(steps.n)
    parts = [steps.episodes((index % 5) == j) for j in range(5)]
    whole, folded = Ridge().fit(steps, PROBLEM, seed=0), Ridge().fit_scan(lambda: iter(parts), PROBLEM)
    np.testing.assert_allclose(folded.values(steps.context), whole.values(steps.context), atol=1e-5)


def test_shared_ridge_is_one_regression() -> None:
    """A common vector and one deviation per action, all penalised but the common intercept: the design written out."""
    steps = log(200)
    model = Ridge(penalty=3.0, shared=True).fit(steps, PROBLEM, seed=0)
    z = np.column_stack([model.features(steps.context), np.ones(steps.n)]).astype(np.float64)
    p = z.shape[1]
    design = np.zeros((steps.n, p * (K + 1)))
    design[:, :p] = z
    for a in range(K):
        own = steps.action == a
        design[own, p * (a + 1) : p * (a + 2)] = z[own]
    penalty = 3.0 * np.eye(p * (K + 1))
    penalty[p - 1, p - 1] = 0.0
    theta = np.linalg.solve(design.T @ design + penalty, design.T @ steps.reward).reshape(K + 1, p)
    np.testing.assert_allclose(model.values(steps.context), z @ (theta[0] + theta[1:]).T, atol=1e-8)


def test_logistic_is_the_penalised_likelihood() -> None:
    """With rewards at the ends of their range: scikit-learn's LogisticRegression, C = 1/penalty."""
    from sklearn.linear_model import LogisticRegression

    steps = log()
    model = Logistic(penalty=2.0).fit(steps, PROBLEM, seed=0)
    z = model.linear.features(steps.context).astype(np.float64)
    for a in range(K):
        own = steps.action == a
        theirs = LogisticRegression(C=0.5, tol=1e-10, max_iter=10_000).fit(z[own], steps.reward[own] > 0)
        expected = -1.0 + 4.0 * theirs.predict_proba(z)[:, 1]
        np.testing.assert_allclose(model.values(steps.context)[:, a], expected, atol=1e-4)


def test_logistic_of_fractions_is_stationary() -> None:
    """Rewards between the ends: the gradient of the penalised quasi-likelihood is zero at the solution."""
    steps = log()
    steps = steps.with_(reward=np.clip(steps.reward * 0.3 + steps.context[:, 0] * 0.1, -1, 3))
    weight = np.random.default_rng(3).random(steps.n)
    model = Logistic(penalty=0.7).fit(steps, PROBLEM, seed=0, weight=weight)
    z = model.linear.features(steps.context).astype(np.float64)
    residual = (model.values(steps.context) - steps.reward[:, None]) / 4 * weight[:, None]
    for a in range(K):
        own = steps.action == a
        slope = z[own].T @ residual[own, a] + 0.7 * model.linear.coef[a]
        np.testing.assert_allclose(slope, 0.0, atol=1e-6)
        assert abs(residual[own, a].sum()) < 1e-4


def test_logistic_of_one_sided_rewards_stays_finite() -> None:
    """An action that never paid is near the bottom of the range, not at minus infinity."""
    steps = log(300)
    steps = steps.with_(reward=np.where(steps.action == 1, -1.0, steps.reward))
    values = Logistic().fit(steps, PROBLEM, seed=0).values(steps.context)
    assert np.isfinite(values).all() and (values[:, 1] < -0.99).all()


@pytest.mark.parametrize("model", [Forest(trees=12), BoostedTrees(rounds=15)], ids=["forest", "boosted"])
@pytest.mark.parametrize("weighted", [False, True])
def test_pooled_trees_predict_what_scikit_learn_predicts(model, weighted: bool) -> None:
    """Kept as arrays and cut down per action, on rows never seen: equal to 1e-6, both walks alike."""
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

    from understudy.models import growing

    steps, fresh = log(), log(3000, seed=9).context
    weight = np.random.default_rng(1).integers(0, 3, steps.n).astype(float) if weighted else None
    ours = model.fit(steps, PROBLEM, seed=5, weight=weight)
    kept = slice(None) if weight is None else weight > 0
    wide = np.hstack([ours.features(steps.context), np.eye(K, dtype=np.float32)[steps.action]])[kept]
    options = {"random_state": growing._salted(5, 0)}
    if isinstance(model, Forest):
        theirs = RandomForestRegressor(12, max_features=1.0, **options)
    else:
        theirs = HistGradientBoostingRegressor(max_iter=15, early_stopping=False, **options)
    theirs.fit(wide, steps.reward[kept], None if weight is None else weight[kept])
    for a in range(K):
        asked = np.hstack([ours.features(fresh), np.tile(np.eye(K, dtype=np.float32)[a], (len(fresh), 1))])
        np.testing.assert_allclose(ours.values(fresh)[:, a], theirs.predict(asked), atol=1e-6)
        np.testing.assert_allclose(ours._route(ours.features(fresh), ours.roots[a]) * ours.scale[0] + ours.base[a],
                                   theirs.predict(asked), atol=1e-6)  # fmt: skip


def test_missing_inputs_follow_their_learned_direction() -> None:
    """A NaN that reaches a tree goes where scikit-learn sends it, in both walks."""
    from sklearn.ensemble import RandomForestRegressor

    from understudy.models.feature_map import FeatureMap
    from understudy.models.growing import _tree
    from understudy.models.trees import gather

    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 3)).astype(np.float32)
    y = x[:, 0] + np.isnan(np.where(rng.random(400) < 0.3, np.nan, 0)) * 1.0
    x[rng.random(x.shape) < 0.3] = np.nan
    theirs = RandomForestRegressor(8, random_state=0).fit(x, y)
    ours = gather(FeatureMap(()), [[_tree(t.tree_) for t in theirs.estimators_]], np.zeros(1), 1 / 8)
    for found in (ours.value[ours._leaves(x, ours.roots[0])].mean(1), ours._route(x, ours.roots[0]) / 8):
        np.testing.assert_allclose(found, theirs.predict(x), atol=1e-9)


def test_members_of_a_forest_average_to_it() -> None:
    """What each tree says, averaged, is what the forest says."""
    steps = log()
    model = Forest(trees=7).fit(steps, PROBLEM, seed=0)
    members = model.members(steps.context[:50])
    assert members.shape == (7, 50, K)
    np.testing.assert_allclose(members.mean(0), model.values(steps.context[:50]), atol=1e-12)


def test_multinomial_is_the_penalised_likelihood() -> None:
    """scikit-learn's multinomial regression, C = 1/penalty, with weights."""
    from sklearn.linear_model import LogisticRegression

    steps = log()
    weight = np.random.default_rng(2).random(steps.n) * 2
    ours = Multinomial(penalty=2.0, tolerance=1e-9).fit(steps, PROBLEM, seed=0, weight=weight)
    z = ours.model.features(steps.context).astype(np.float64)
    theirs = LogisticRegression(C=0.5, tol=1e-9, max_iter=10_000).fit(z, steps.action, sample_weight=weight)
    np.testing.assert_allclose(ours.probs(steps.context), theirs.predict_proba(z), atol=1e-4)


def test_multinomial_knows_what_was_allowed() -> None:
    """A uniform policy over a varying set of actions is recognised as such: 1/2 of two, 1/3 of three."""
    rng = np.random.default_rng(0)
    n = 20_000
    x = rng.standard_normal((n, D)).astype(np.float32)
    allowed = np.ones((n, K), bool)
    allowed[: n // 2, 2] = False
    p = allowed / allowed.sum(1, keepdims=True)
    action = (p.cumsum(1) < rng.random(n)[:, None]).sum(1)
    steps = bandit_steps(x, action, np.zeros(n), p[np.arange(n), action], allowed=allowed)
    found = Multinomial().fit(steps, PROBLEM, seed=0).probs(x, allowed)
    # Coefficients scatter by about .015 at this n, which moves a probability by about .22·.015·|x|, |x| ≈ 2: .007.
    # Not knowing the mask, the fit would say 5/12, 5/12, 1/6 everywhere: .11 off.
    assert np.abs(found - p).mean() < 0.015 and (found[~allowed] == 0).all()


def test_the_forest_classifier_gives_the_share_of_each_action() -> None:
    """scikit-learn's probabilities, in the order of the problem, also if an action was never logged."""
    from sklearn.ensemble import RandomForestClassifier

    from understudy.models import growing

    steps = log(actions=2)
    ours = ForestClassifier(trees=9, min_leaf=5).fit(steps, PROBLEM, seed=3)
    theirs = RandomForestClassifier(9, min_samples_leaf=5, max_features=0.5, random_state=growing._salted(3, 0))
    theirs.fit(ours.model.features(steps.context), steps.action)
    p = ours.probs(steps.context)
    np.testing.assert_allclose(p[:, :2], theirs.predict_proba(ours.model.features(steps.context)), atol=1e-6)
    assert (p[:, 2] == 0).all()


SMALL = {"forest": {"trees": 5}, "trees": {"rounds": 5}}


@pytest.mark.parametrize("name", sorted(table("models")))
def test_every_regressor_keeps_the_contract(name: str) -> None:
    """f64[n, k]; weights count like copies of rows or leave the row out; unseen actions are finite; loads bit-equal."""
    regressor = make(name, SMALL.get(name))
    steps = log(300, actions=2)
    model = regressor.fit(steps, PROBLEM, seed=1)
    values = model.values(steps.context)
    assert values.shape == (300, K) and values.dtype == np.float64 and np.isfinite(values).all()
    assert model.values(steps.context[:0]).shape == (0, K)
    assert regressor.fit(steps, PROBLEM, seed=1).values(steps.context).tobytes() == values.tobytes()
    assert load(model.state()).values(steps.context).tobytes() == values.tobytes()
    poisoned = steps.with_(reward=np.where(np.arange(300) < 100, 3.0, steps.reward))
    weight = np.where(np.arange(300) < 100, 0.0, 1.0)
    one = regressor.fit(poisoned, PROBLEM, seed=1, weight=weight).values(steps.context)
    two = regressor.fit(steps, PROBLEM, seed=1, weight=weight).values(steps.context)
    np.testing.assert_allclose(one, two, atol=1e-9, err_msg="a row of weight 0 must not matter")
    with pytest.raises(DataError, match="no weight"):
        regressor.fit(steps, PROBLEM, seed=1, weight=np.zeros(300))


@pytest.mark.parametrize("name", ["ridge", "logistic"])
def test_an_action_without_data_predicts_the_mean(name: str) -> None:
    """Neither sought nor shunned."""
    steps = log(actions=2)
    values = make(name).fit(steps, PROBLEM, seed=0).values(steps.context)
    np.testing.assert_allclose(values[:, 2], steps.reward.mean(), atol=1e-9)


def test_rewards_outside_the_declared_range_are_refused_by_logistic() -> None:
    """They would be silently impossible; the first offender is named."""
    steps = log(50)
    with pytest.raises(DataError, match=r"1 of 50 rewards .* row 7, 3\.5"):
        Logistic().fit(steps.with_(reward=np.where(np.arange(50) == 7, 3.5, steps.reward)), PROBLEM, seed=0)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("rigde", {}, "Did you mean: ridge"),
        ("ridge", {"penalti": 1.0}, "Did you mean: penalty"),
        ("ridge", {"penalty": "much"}, "ridge:.*float"),
        ("ridge", {"penalty": -1.0}, "must be > 0"),
        ("forest", {"trees": 0}, "trees is too small"),
    ],
)
def test_a_wrong_name_or_option_is_told(name: str, options: dict, message: str) -> None:
    """The nearest valid one, or what is wrong with the value."""
    with pytest.raises(ConfigError, match=message):
        make(name, options).fit(log(20), PROBLEM, seed=0)
