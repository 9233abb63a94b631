"""One decision: every mode by hand, exact propensities, the fallbacks, and replay bit for bit."""

import time
from dataclasses import replace as changed

import msgspec
import numpy as np
import pytest
from scipy import stats

from understudy.core.errors import DataError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.service import DecideRequest, Logged, Shadow
from understudy.data.context import Coder
from understudy.models.feature_map import FeatureMap, FittedFeature
from understudy.models.policies import Discrete, Explore, Fixed, Uniform
from understudy.models.ridge import LinearModel
from understudy.ops import explore
from understudy.serve.deployment import Actor, Deployment
from understudy.serve.engine import Engine, NotAPmf, checked, draw, replay
from understudy.serve.randomness import uniform

NAMES = ("a", "b", "c")
PROBLEM = Problem(features=(Feature(name="x"), Feature(name="y")), actions=ActionSpace(names=NAMES))
CODER = Coder(PROBLEM)
B = Actor("bee", Fixed(3, 1))
C = Actor("cee", Fixed(3, 2))
U = Actor("even", Uniform(3))


class Says(Discrete):
    """A policy that answers the same pmf always, whatever it is worth; or raises, or sleeps."""

    def __init__(self, p, error=None, pause=0.0):
        self.p, self.error, self.pause = p, error, pause

    def probs(self, context, allowed=None):
        time.sleep(self.pause)
        if self.error is not None:
            raise self.error
        return np.array([self.p], np.float64)


def ask(deployment: Deployment, engine: Engine | None = None, **more) -> Logged:
    request = DecideRequest(**({"context": {"x": 1.0, "y": 2.0}, "decision_id": "d-1"} | more))
    return (engine or Engine("production")).decide(request, deployment, 7.0)


# u("production", "d-1") decides what is drawn from a pmf that leaves a choice.
DRAWN = draw([1 / 3, 1 / 3, 1 / 3], uniform("production", "d-1"))


@pytest.mark.parametrize(
    ("deployment", "request_", "pmf", "policy_id", "shadow"),
    [
        (Deployment(CODER, B), {}, [0, 1, 0], "bee", None),
        (Deployment(CODER, U), {}, [1 / 3] * 3, "even", None),
        (Deployment(CODER, U), {"allowed": ("a", "c")}, [0.5, 0, 0.5], "even", None),
        (Deployment(CODER, B), {"allowed": ("a", "c")}, [0.5, 0, 0.5], "bee", None),
        (Deployment(CODER, B, C, "canary", 0.25), {}, [0, 0.75, 0.25], "bee+cee@0.25", None),
        (Deployment(CODER, B, C, "canary", 0.25), {"allowed": ("b",)}, [0, 1, 0], "bee+cee@0.25", None),
        (Deployment(CODER, B, U, "canary", 0.3), {}, [0.1, 0.8, 0.1], "bee+even@0.3", None),
        (Deployment(CODER, B, C, "shadow"), {}, [0, 1, 0], "bee", ("cee", [0, 0, 1])),
        (Deployment(CODER, B, U, "shadow"), {}, [0, 1, 0], "bee", ("even", [1 / 3] * 3)),
        (Deployment(CODER, B, mode="apprentice"), {"baseline": "a"}, [1, 0, 0], "baseline", ("bee", [0, 1, 0])),
        (Deployment(CODER, B, C, "apprentice"), {"baseline": "a"}, [1, 0, 0], "baseline", ("cee", [0, 0, 1])),
        (Deployment(CODER, B, mode="logging"), {"baseline": "a"}, [1, 0, 0], "baseline", None),
        (Deployment(CODER, B, mode="logging"), {"baseline": "a", "propensity": 1.0}, [1, 0, 0], "baseline", None),
    ],
)
def test_modes(deployment, request_, pmf, policy_id, shadow):
    """Who acts, with what probabilities, and what is written beside it."""
    logged = ask(deployment, **request_)
    assert logged.propensities == pytest.approx(pmf, abs=1e-15)
    at = NAMES.index(str(logged.action))
    assert logged.propensity == logged.propensities[at] > 0
    assert (logged.policy_id, logged.mode, logged.fallback) == (policy_id, deployment.mode, None)
    assert (logged.time, logged.application, logged.decision_id) == (7.0, "production", "d-1")
    if max(pmf) == 1 / 3:
        assert at == DRAWN
    if shadow is None:
        assert logged.shadow is None
    else:
        assert logged.shadow is not None and logged.shadow.policy_id == shadow[0]
        assert list(logged.shadow.propensities) == shadow[1]
        assert shadow[1][NAMES.index(logged.shadow.action)] > 0


def test_a_baseline_with_a_propensity_of_its_own():
    """Logging what the caller drew: its probability is what it says; how the rest was shared nobody knows."""
    logged = ask(Deployment(CODER, B, mode="logging"), baseline="c", propensity=0.2)
    assert (logged.action, logged.propensity, logged.propensities) == ("c", 0.2, None)


@pytest.mark.parametrize(
    ("mode", "request_", "field"),
    [
        ("live", {"context": {"x": 1.0}}, "y"),
        ("live", {"context": {"x": 1.0, "y": 1.0, "z": 1.0}}, "z"),
        ("live", {"context": {"x": 1.0, "y": True}}, "y"),
        ("live", {"context": {"x": 1.0, "y": float("inf")}}, "y"),
        ("live", {"allowed": ()}, "allowed"),
        ("live", {"allowed": ("a", "nobody")}, "allowed"),
        ("live", {"baseline": "nobody"}, "baseline"),
        ("live", {"t": 1}, "t"),
        ("apprentice", {}, "baseline"),
        ("apprentice", {"baseline": "a", "allowed": ("b",)}, "baseline"),
        ("logging", {}, "baseline"),
        ("logging", {"baseline": "a", "propensity": 0.0}, "propensity"),
        ("logging", {"baseline": "a", "propensity": 1.5}, "propensity"),
        ("logging", {"baseline": "a", "propensity": float("nan")}, "propensity"),
    ],
)
def test_wrong_requests_are_refused_by_field(mode, request_, field):
    """What ingest would set aside is never acted on."""
    with pytest.raises(DataError) as caught:
        ask(Deployment(CODER, B, mode=mode), **request_)
    assert caught.value.field == field


BROKEN = [
    (Says([0.2, 0.5, 0.3], ValueError("no")), "raised"),
    (Says([np.nan, 0.5, 0.5]), "not_a_pmf"),
    (Says([0.47, 0.3, 0.2]), "not_a_pmf"),
    (Says([1.2, -0.2, 0.0]), "not_a_pmf"),
    (Says([0.5, 0.5]), "not_a_pmf"),
    (Says([np.inf, 0.0, 0.0]), "not_a_pmf"),
]


@pytest.mark.parametrize(("policy", "reason"), BROKEN)
def test_a_policy_that_fails_is_replaced_by_the_baseline(policy, reason):
    """The caller's baseline where it may act, else all that is allowed alike; never an error, never a wrong number."""
    deployment, engine = Deployment(CODER, Actor("bad", policy)), Engine("production")
    own = ask(deployment, engine, baseline="c")
    assert (own.action, own.propensity, own.propensities) == ("c", 1.0, [0, 0, 1])
    even = ask(deployment, engine, allowed=("a", "b"), baseline="c")
    assert even.propensities == [0.5, 0.5, 0] and even.propensity == 0.5
    for logged in (own, even):
        assert (logged.policy_id, logged.fallback) == ("baseline", reason)
    assert engine.faults == {reason: 2} and "bad" in engine.last_fault


def test_probability_for_an_action_that_is_not_allowed_is_a_fault():
    """A policy that ignores the mask must not act."""
    logged = ask(Deployment(CODER, Actor("bad", Says([0.5, 0.5, 0.0]))), allowed=("a", "c"))
    assert logged.fallback == "not_a_pmf" and logged.propensities == [0.5, 0, 0.5]


def test_a_canary_or_a_shadow_that_fails():
    """A canary's fault is answered by the baseline; a shadow's is missed, and nobody notices but the counts."""
    bad, engine = Actor("bad", Says([1.0, 1.0, 1.0])), Engine("production")
    assert ask(Deployment(CODER, B, bad, "canary", 0.1), engine, baseline="a").fallback == "not_a_pmf"
    shadowed = ask(Deployment(CODER, B, bad, "shadow"), engine)
    assert (shadowed.policy_id, shadowed.fallback, shadowed.shadow) == ("bee", None, None)
    assert engine.missed == {"not_a_pmf": 1} and engine.faults == {"not_a_pmf": 1}


def test_the_breaker_rests_after_five_faults_and_tries_again():
    """Five in a row open it; while it rests nobody is asked; then one request decides how it goes on."""
    now = [0.0]
    engine, policy = Engine("production", clock=lambda: now[0]), Says([0.0, 0.0, 0.0])
    deployment = Deployment(CODER, Actor("bad", policy))
    reasons = [ask(deployment, engine).fallback for _ in range(7)]
    assert reasons == ["not_a_pmf"] * 5 + ["resting"] * 2
    now[0] = 5.1
    assert [ask(deployment, engine).fallback for _ in range(2)] == ["not_a_pmf", "resting"]
    now[0] = 10.3
    policy.p = [0.0, 1.0, 0.0]
    assert [ask(deployment, engine).fallback for _ in range(3)] == [None] * 3
    policy.p = [0.0, 0.0, 0.0]
    assert [ask(deployment, engine).fallback for _ in range(6)] == ["not_a_pmf"] * 5 + ["resting"]
    assert engine.faults == {"not_a_pmf": 11, "resting": 4}
    engine.renew()
    assert ask(Deployment(CODER, B), engine).fallback is None


def test_single_row_draw_and_check_are_the_ones_of_ops():
    """The same action at every u, the same verdict on every pmf, also at the edges."""
    rng = np.random.default_rng(5)
    for _ in range(3_000):
        k = int(rng.integers(1, 12))
        p = rng.random(k) * (rng.random(k) < 0.7)
        p = p / p.sum() if p.sum() else np.eye(1, k)[0]
        u = float(rng.choice([0.0, rng.random(), 1 - 2**-53]))
        assert draw(p.tolist(), u) == explore.draw(p[None], np.array([u]))[0]
        spoilt = p + rng.choice([0.0, 1e-10, 1e-8, np.nan, -1e-3], k, p=[0.8, 0.05, 0.05, 0.05, 0.05])
        allowed = (p > 0)[None] | (rng.random((1, k)) < 0.5)
        try:
            explore.check_pmf(spoilt[None], allowed)
        except DataError:
            with pytest.raises(NotAPmf):
                checked(spoilt.tolist(), allowed, k)
        else:
            assert checked(spoilt.tolist(), allowed, k) == np.minimum(spoilt, 1.0).tolist()


def test_100_000_canary_decisions_follow_the_logged_mixture():
    """χ² of actions against the logged propensities, p > 1e-4; and these are the mixture's."""
    rng = np.random.default_rng(11)
    features = FeatureMap(tuple(FittedFeature(kind="number", source=i, name=n) for i, n in enumerate("xy")))
    inc = Explore(LinearModel(features, rng.normal(size=(3, 2)), np.zeros(3)), "epsilon_greedy", 0.2)
    cand = Explore(LinearModel(features, rng.normal(size=(3, 2)), np.zeros(3)), "softmax", 1.0)
    deployment, engine = Deployment(CODER, Actor("i", inc), Actor("c", cand), "canary", 0.3), Engine("production")
    x = rng.normal(size=(100_000, 2))
    counts, expected, spread = np.zeros(3), np.zeros(3), np.zeros(3)
    for i, (a, b) in enumerate(x.tolist()):
        logged = engine.decide(DecideRequest(context={"x": a, "y": b}, decision_id=f"d{i}"), deployment, 0.0)
        p = np.array(logged.propensities)
        counts[NAMES.index(str(logged.action))] += 1
        expected += p
        spread += p * (1 - p)
    exact = 0.7 * inc.probs(x.astype(np.float32)) + 0.3 * cand.probs(x.astype(np.float32))
    np.testing.assert_allclose(expected, exact.sum(0), rtol=1e-9)
    # Given the contexts the counts vary less than a multinomial's, so χ² rejects too rarely; the z-scores are exact.
    assert stats.chisquare(counts, expected).pvalue > 1e-4
    assert (np.abs(counts - expected) / np.sqrt(spread)).max() < 4.2  # false alarm 8 in 100,000


def test_replay_of_10_000_decisions_across_swaps_is_bit_for_bit():
    """Live, canary, shadow, apprentice, logging, uniform, fallbacks, masks: encoded, decoded, decided again, equal."""
    rng = np.random.default_rng(3)
    features = FeatureMap(tuple(FittedFeature(kind="number", source=i, name=n) for i, n in enumerate("xy")))
    actors = {}
    for i, rule in enumerate([("epsilon_greedy", 0.1), ("softmax", 3.0), ("squarecb", 20.0), ("greedy", 0.0)]):
        actors[f"p{i}"] = Actor(
            f"p{i}", Explore(LinearModel(features, rng.normal(size=(3, 2)), rng.normal(size=3)), *rule)
        )
    all_actors = [*actors.values()]
    broken = Actor("broken", Says([0.1, 0.1, 0.1]))
    engine, encode, decode = Engine("production"), msgspec.json.encode, msgspec.json.Decoder(Logged).decode
    seen = set()
    for i in range(10_000):
        if i % 50 == 0:
            pick = [all_actors[j] for j in rng.permutation(4)[:2]]
            mode = str(rng.choice(["live", "canary", "shadow", "apprentice", "logging"]))
            inc = broken if rng.random() < 0.1 else Actor("uniform", Uniform(3)) if rng.random() < 0.1 else pick[0]
            share = float(np.round(rng.uniform(0.05, 0.5), 2)) if mode == "canary" else 0.0
            deployment = Deployment(CODER, inc, None if mode == "live" else pick[1], mode, share)
            engine.renew()
        allowed = tuple(rng.permutation(NAMES)[: rng.integers(1, 4)].tolist()) if rng.random() < 0.3 else None
        baseline = (
            str(rng.choice(allowed or NAMES)) if mode in ("apprentice", "logging") or rng.random() < 0.2 else None
        )
        propensity = 0.3 if mode == "logging" and rng.random() < 0.5 else None
        context = dict(zip("xy", rng.normal(size=2).tolist()))
        request = DecideRequest(context=context, allowed=allowed, baseline=baseline, propensity=propensity)
        logged = engine.decide(request, deployment, float(i))
        seen.add((logged.mode, logged.fallback, logged.shadow is None))
        written = encode(logged)
        assert encode(replay(decode(written), actors.__getitem__, CODER)) == written
    assert len(seen) >= 9, seen


def test_replay_shows_what_was_changed():
    """A row that somebody edited is not reproduced; of another application neither, in most of its rows."""
    features = FeatureMap(tuple(FittedFeature(kind="number", source=i, name=n) for i, n in enumerate("xy")))
    reads = Explore(LinearModel(features, np.array([[0, 1.0], [0, 0], [0, 0]]), np.zeros(3)), "softmax", 1.0)
    people = {"reads": Actor("reads", reads), "even": U, "bee": B}
    logged = ask(Deployment(CODER, people["reads"], U, "shadow"))
    assert replay(logged, people.__getitem__, CODER) == logged
    edit = msgspec.structs.replace
    other = next(name for name in NAMES if name != logged.action)
    for edited in (
        edit(logged, action=other),
        edit(logged, propensity=0.5),
        edit(logged, context={"x": 1.0, "y": 2.5}),
        edit(logged, policy_id="bee"),
        edit(logged, allowed=[str(logged.action)]),
        edit(logged, shadow=Shadow(policy_id="even", action="a", propensities=(1.0, 0.0, 0.0))),
    ):
        assert replay(edited, people.__getitem__, CODER) != edited
    even = ask(Deployment(CODER, U))
    moved = [edit(even, application=f"app{i}") for i in range(60)]
    assert sum(replay(row, people.__getitem__, CODER) != row for row in moved) > 20


def test_a_deployment_is_one_value():
    """Nothing of it can be changed in place: a swap is a new one."""
    deployment = Deployment(CODER, B)
    with pytest.raises(AttributeError):
        deployment.incumbent = C  # pyright: ignore[reportAttributeAccessIssue]
    assert changed(deployment, incumbent=C).policy_id == "cee"
