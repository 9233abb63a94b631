"""The dashboard's figures, held against the join, the ledger and arithmetic by hand; bounded, however long the log."""

import json
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from understudy.core.events import Outcome
from understudy.core.evidence import Lift, Verdict
from understudy.core.manifest import Manifest
from understudy.core.problem import ActionSpace, Feature, OutcomeSpec, Problem
from understudy.core.service import Logged
from understudy.data.eventlog import Record, open_event_log
from understudy.data.eventlog.export import export
from understudy.data.home import LOGGED, Home
from understudy.data.join import join
from understudy.data.times import MICRO
from understudy.data.traffic import Direction, Traffic
from understudy.ops.intervals import clopper_pearson
from understudy.serve.dashboard.board import Board
from understudy.serve.dashboard.chronicle import HISTORY
from understudy.serve.dashboard.figures import BLOCKS, EXACT, propensities, rolling
from understudy.serve.dashboard.page import HEADERS, PAGE
from understudy.serve.dashboard.tail import near_end
from understudy.serve.dashboard.window import Window

NAMES = ("a", "b", "c")
PROBLEM = Problem(features=(Feature(name="x"),), actions=ActionSpace(names=NAMES))
T0 = 1_790_000_000 * MICRO


def decision(i: int, *, p: tuple[float, ...] = (0.5, 0.25, 0.25), action: str = "a", **more) -> Record:
    given = {"decision_id": f"d{i}", "time": (T0 + i * MICRO) / MICRO, "context": {"x": float(i)}, "action": action,
             "propensity": p[NAMES.index(action)], "propensities": list(p), "policy_id": "pol"}  # fmt: skip
    made = Logged(application="app", **(given | more))
    return Record("decision", made.decision_id, msgspec.json.encode(made))


def outcome(i: int, value: float, *, after: float = 1.0, name: str = "reward", id: str | None = None) -> Record:
    made = Outcome(decision_id=f"d{i}", time=(T0 + i * MICRO) / MICRO + after, value=value, name=name, outcome_id=id)
    return Record("outcome", id or f"d{i}/{name}/{value!r}", msgspec.json.encode(made))


class Place:
    """A home with an event log, and a clock that the test sets."""

    def __init__(self, folder: Path, problem: Problem = PROBLEM) -> None:
        self.home, self.problem, self.now = Home(folder), problem, T0 + 10**6 * MICRO
        self.log = open_event_log(self.home.log("app"), 0)

    def board(self, fresh: float = -1.0, **more) -> Board:
        """One that answers every question anew."""
        return Board(self.home, "app", lambda: self.problem, clock=lambda: self.now, fresh=fresh, **more)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "home")


# Rewards

AGGREGATES = [
    ((OutcomeSpec(name="reward"),), "reward"),
    ((OutcomeSpec(name="reward", aggregate="last"),), "reward"),
    ((OutcomeSpec(name="reward", aggregate="sum"),), "reward"),
    ((OutcomeSpec(name="reward", aggregate="mean", default=None),), "reward"),
    (
        (OutcomeSpec(name="reward", aggregate="max"), OutcomeSpec(name="cost", aggregate="min")),
        "reward - 0.5 * cost / 2",
    ),
    ((OutcomeSpec(name="reward"), OutcomeSpec(name="cost", default=None)), "-(cost - reward) + 1"),
]


@pytest.mark.parametrize(("outcomes", "reward"), AGGREGATES)
def test_rewards_are_those_of_the_join(tmp_path: Path, outcomes: tuple[OutcomeSpec, ...], reward: str) -> None:
    """Late, repeated, lost and unknown outcomes: the window's rewards are, decision by decision, the join's."""
    problem = msgspec.structs.replace(PROBLEM, outcomes=outcomes, reward=reward, reward_range=(-9.0, 9.0))
    place, rng = Place(tmp_path, problem), np.random.default_rng(4)
    records = [decision(i) for i in range(300)]
    for i in rng.integers(0, 320, 700).tolist():  # some of decisions that nobody made
        name = outcomes[int(rng.integers(len(outcomes)))].name
        records.append(outcome(i, float(rng.integers(0, 3)), after=float(rng.choice([1, 5, 50, 700])), name=name))
    order = rng.permutation(len(records))
    place.log.append([records[i] for i in order])
    data = join(export(place.log, problem=problem, to=tmp_path / "seg"), window="600s", as_of=place.now / MICRO,
                to=tmp_path / "data")  # fmt: skip
    joined = {int(t): float(r) for steps in data.scan() for t, r in zip(steps.time, steps.reward)}

    window = Window(problem, closes=600.0)
    for entry in place.log.read({})[0]:
        window.add(entry.kind, entry.body)
    c = window.columns(place.now)
    mine = {int(t): float(r) for t, r in zip(c.time, c.reward) if not math.isnan(r)}
    assert len(joined) > 100
    assert mine == pytest.approx(joined, abs=1e-12)


def test_a_decision_without_a_reward_waits_until_its_window_closes(place: Place) -> None:
    """Before, it is not in the mean; afterwards its declared default is."""
    window = Window(PROBLEM, closes=600.0)
    for record in (decision(0), decision(1), outcome(0, 1.0)):
        window.add(record.kind, record.body)
    assert np.isnan(window.columns(T0 + 599 * MICRO).reward).tolist() == [False, True]
    assert window.columns(T0 + 601 * MICRO + 1).reward.tolist() == [1.0, 0.0]


def test_a_deferred_decision_counts_once_it_is_activated(place: Place) -> None:
    """Not in any figure before; also when another worker's file told of the activation first."""
    window = Window(PROBLEM)
    window.add(*decision(0, deferred=True)[::2])
    window.add("activation", b'{"decision_id":"d1","time":1.0}')
    assert (window.columns(0).n, window.deferred, window.strays) == (0, 1, 1)
    window.add(*decision(1, deferred=True)[::2])
    assert (window.columns(0).n, window.deferred, window.strays) == (1, 1, 0)


def test_the_rolling_mean_is_arithmetic_and_its_interval_is_named(place: Place) -> None:
    """0/1 rewards of independent decisions: the exact binomial interval of the last hundred."""
    rng = np.random.default_rng(0)
    rewards = (rng.random(250) < 0.7).astype(float)
    place.log.append([r for i, value in enumerate(rewards) for r in (decision(i), outcome(i, float(value)))])
    told = place.board().data()["rewards"]
    low, high = clopper_pearson(int(rewards[150:].sum()), 100, 0.95)
    assert told["method"] == EXACT
    assert told["latest"]["mean"] == pytest.approx(rewards[150:].mean())
    assert (told["latest"]["low"], told["latest"]["high"]) == (low, high)
    assert told["points"][0]["mean"] == pytest.approx(rewards[:100].mean())
    assert told["all"]["mean"] == pytest.approx(rewards.mean())


def test_rewards_of_units_that_return_get_a_jackknife_over_units(place: Place) -> None:
    """Ten users with one reward each, repeated: the interval is that of ten users, not of a thousand decisions."""
    problem = msgspec.structs.replace(PROBLEM, unit="unit")
    window, rng = Window(problem), np.random.default_rng(1)
    of_user = (rng.random(10) < 0.5).astype(float)
    for i in range(1000):
        window.add(*decision(i, unit_id=f"u{i % 10}")[::2])
        window.add(*outcome(i, float(of_user[i % 10]))[::2])
    told = rolling(window.columns(0), problem, 1000)
    assert told["method"] == BLOCKS
    alone = of_user.std(ddof=1) / math.sqrt(10)
    assert told["all"]["high"] - told["all"]["low"] > 3 * alone  # two t quantiles of nine degrees of freedom: 4.5


def test_changes_of_who_is_live_are_read_from_the_log(place: Place) -> None:
    """A canary is its incumbent's, the baseline is nobody's; more changes than can be drawn are none."""
    who = ["a", "a", "a+b@0.2", "baseline", "a", "b", "b+c@0.1", "baseline", "c"]
    place.log.append([decision(i, policy_id=id) for i, id in enumerate(who)])
    board = place.board()
    assert board.data()["rewards"]["changes"] == [
        {"time": T0 + 5 * MICRO, "policy": "b"}, {"time": T0 + 8 * MICRO, "policy": "c"},
    ]  # fmt: skip
    place.log.append([decision(i, policy_id=f"p{i}") for i in range(10, 40)])
    assert board.data()["rewards"]["changes"] == []


# Propensities


def drawn(n: int, seed: int, *, lie: float = 0.0, p: tuple[float, ...] = (0.9, 0.08, 0.02)) -> Window:
    window, rng = Window(PROBLEM), np.random.default_rng(seed)
    true = np.array(p) * (1 - lie) + lie / 3
    for i, a in enumerate(rng.choice(3, n, p=true)):
        window.add(*decision(i, p=p, action=NAMES[a])[::2])
    return window


def told_of(window: Window) -> dict:
    return propensities(window.columns(0), window.reasons)


def test_honest_propensities_are_not_doubted_and_false_ones_are() -> None:
    """100 honest windows: none is doubted (false alarm of this test ≤ 0.2 by the bounds). 10 that lie: all are."""
    honest = [told_of(drawn(300, seed)) for seed in range(100)]
    assert all(t["weight"]["p"] >= 0.001 and t["agreement"]["p"] >= 0.001 for t in honest)
    assert np.mean([t["weight"]["mean"] for t in honest]) == pytest.approx(1, abs=0.04)
    liars = [told_of(drawn(2000, seed, lie=0.2)) for seed in range(10)]
    assert all(t["weight"]["p"] < 0.001 and t["agreement"]["p"] < 0.001 for t in liars)


def test_the_weights_error_is_that_of_the_logged_probabilities() -> None:
    """Var w = Σ_a 1 / (m² p_a) − 1 by hand, also where an action has no chance."""
    told = told_of(drawn(400, 0, p=(0.75, 0.25, 0.0)))
    variance = (1 / 0.75 + 1 / 0.25) / 4 - 1
    assert told["weight"]["std_error"] == pytest.approx(math.sqrt(variance / 400))
    assert told["min"] == 0.25
    assert sum(told["histogram"]["counts"]) == 400


def test_fallbacks_are_counted_with_their_reasons(place: Place) -> None:
    """And forgotten with their decisions."""
    place.log.append([decision(i, fallback="slow" if i % 10 == 0 else None) for i in range(300)])
    board = place.board(limit=100)
    assert board.data()["propensity"]["fallbacks"] == {"n": 10, "share": 0.1, "reasons": [{"reason": "slow", "n": 10}]}


# Actions and lag


def test_shares_are_counts_beside_what_was_to_be_expected(place: Place) -> None:
    """Shares of the window, and the mean of the logged probabilities."""
    place.log.append([decision(i, action=NAMES[i % 2]) for i in range(100)])
    told = place.board().data()["actions"]
    assert [(row["name"], row["share"], row["expected"]) for row in told["rows"]] == [
        ("a", 0.5, 0.5), ("b", 0.5, 0.25), ("c", 0.0, 0.25),
    ]  # fmt: skip
    assert sum(point["n"] for point in told["points"]) == 100


def test_lag_is_what_no_export_has_read(place: Place, tmp_path: Path) -> None:
    """All of it before the first export; afterwards what came since, with the time of the oldest."""
    place.log.append([decision(i) for i in range(10)] + [outcome(0, 1.0)])
    board = place.board()
    before = board.data()["lag"]
    assert (before["written"], before["waiting"], before["exported"]) == (11, 11, False)
    assert (before["unrewarded"], before["oldest_unrewarded"], before["oldest"]) == (9, T0 + MICRO, T0)
    place.home.record(export(place.log, problem=PROBLEM, to=tmp_path / "seg").folder)
    place.log.append([decision(i) for i in range(10, 14)])
    after = board.data()["lag"]
    assert (after["written"], after["waiting"], after["exported"]) == (15, 4, True)
    assert after["oldest"] == T0 + 10 * MICRO


# Bounds


def test_a_long_log_is_read_from_near_its_end(place: Place) -> None:
    """What a poll costs is bounded by the window, not by the log; and every file of it has its part."""
    other = open_event_log(place.home.log("app"), 3)
    for start in range(0, 40_000, 5_000):
        place.log.append([decision(i) for i in range(start, start + 5_000)])
    other.append([decision(i) for i in range(90_000, 90_500)])
    assert near_end(place.log, 600) == {"0": 40_000 - 300, "3": 200}
    board = place.board(limit=100)
    told = board.data()
    place.log.append([decision(i) for i in range(40_000, 40_007)])
    assert (told["lag"]["read"], board.data()["lag"]["read"]) == (300, 307)
    assert (told["window"]["decisions"], told["lag"]["written"], told["lag"]["behind"]) == (100, 40_500, False)


def test_one_answer_serves_all_who_ask_within_a_second(place: Place) -> None:
    """A hundred browsers cost as much as one."""
    place.log.append([decision(0)])
    board = place.board(fresh=60.0)
    told = board.data()
    assert all(board.data() is told for _ in range(100))


def test_the_figures_are_json(place: Place) -> None:
    """No NaN, no number that JavaScript cannot read; an empty log too."""
    empty = json.loads(place.board().body())
    assert empty["service"]["policy"] is None
    assert empty["rewards"]["latest"] is None
    place.log.append([decision(0, propensity=None, propensities=None)])
    assert json.loads(place.board().body())["propensity"]["missing"] == 1


# The ledger


def policy(home: Home, learner: str) -> str:
    made = Manifest(kind="policy", problem_hash=PROBLEM.hash, config={"learner": learner, "settings": {"ridge": 2.0}},
                    counts={"decisions": 321})  # fmt: skip
    return home.ledger.record_artifact(made, f"/nowhere/{learner}", time=T0)


def look(home: Home, candidate: str, incumbent: str, verdict: str, *, at: int, low: float | None = None) -> int:
    made = home.ledger.record_look(time=T0 + at, problem_hash=PROBLEM.hash, alias="app", candidate=candidate,
                                   incumbent=incumbent, dataset=f"data{at}/all", alpha=0.05)  # fmt: skip
    said = Verdict(outcome=verdict, candidate=candidate, incumbent=incumbent, checks=(), reason=f"because {verdict}")
    home.ledger.record_verdict(made, said, time=T0 + at)
    folder = Path(home.folder) / "verdicts" / str(made.id)
    folder.mkdir(parents=True)
    lift = Lift(candidate=candidate, incumbent=incumbent, n=9, margin=0.0, log_e=1.0, peak_log_e=1.0, mean=0.05,
                low=low, second_moment=0.1)  # fmt: skip
    (folder / "lift.json").write_bytes(msgspec.json.encode(lift))
    return made.id


def test_who_is_in_service_and_why(place: Place) -> None:
    """The promotion with its verdict's bound; the candidate's share; everything else in the history, newest first."""
    home = place.home
    good, poor = policy(home, "trees"), policy(home, "linear")
    home.ledger.install("app", LOGGED, time=T0, reason="nobody was live")
    look(home, poor, LOGGED, "not_enough_evidence", at=1)
    number = look(home, good, LOGGED, "ship", at=2, low=0.02)
    home.ledger.promote("app", good, time=T0 + 3)
    look(home, poor, good, "refused", at=4)
    Traffic(home.ledger).direct(Direction(alias="app", mode="canary", candidate=poor, share=0.2, time=T0 + 5))
    told = place.board().data()
    service = told["service"]
    assert (service["policy"]["id"], service["policy"]["learner"], service["policy"]["rows"]) == (good, "trees", 321)
    assert (service["kind"], service["since"], service["verdict"]["look"]) == ("promote", T0 + 3, number)
    assert (service["verdict"]["low"], service["verdict"]["reason"]) == (0.02, "because ship")
    assert (told["traffic"]["mode"], told["traffic"]["share"]) == ("canary", 0.2)
    assert told["traffic"]["candidate"]["id"] == poor
    assert [entry["kind"] for entry in told["history"]] == [
        "canary", "refused", "promote", "not_enough_evidence", "install",
    ]  # fmt: skip
    assert [row["outcome"] for row in told["estimates"]] == ["not_enough_evidence", "ship", "refused"]
    assert not told["traffic"]["kept"]
    assert told["estimates"][2]["mean"] is None, "a refused lift is shown to nobody"


def test_the_policy_before_is_not_on_trial(place: Place) -> None:
    """Its share of the traffic is there to watch the one that took its place."""
    home = place.home
    good, poor = policy(home, "trees"), policy(home, "linear")
    for at, each in enumerate((poor, good)):
        home.ledger.override("app", each, time=T0 + at, reason="a test")
    Traffic(home.ledger).direct(Direction(alias="app", mode="canary", candidate=poor, share=0.3, time=T0 + 5))
    told = place.board().data()
    assert told["traffic"]["kept"] and told["traffic"]["candidate"]["id"] == poor


def test_a_rollback_is_shown_with_its_reason_and_the_old_verdict(place: Place) -> None:
    """Whoever is back is there by the proof that once promoted him."""
    home = place.home
    first, second = policy(home, "trees"), policy(home, "linear")
    home.ledger.install("app", LOGGED, time=T0, reason="nobody was live")
    number = look(home, first, LOGGED, "ship", at=1, low=0.1)
    home.ledger.promote("app", first, time=T0 + 2)
    home.ledger.override("app", second, time=T0 + 3, reason="a hunch")
    home.ledger.rollback("app", time=T0 + 4, reason="the guardrail was breached")
    told = place.board().data()
    assert (told["service"]["kind"], told["service"]["reason"]) == ("rollback", "the guardrail was breached")
    assert told["service"]["verdict"]["look"] == number
    assert [entry["reason"] for entry in told["history"][:2]] == ["the guardrail was breached", "a hunch"]


def test_overrides_of_a_learner_that_swaps_at_every_event_are_one_line(place: Place) -> None:
    """A hundred swaps leave room for what else happened; the page is bounded."""
    home = place.home
    home.ledger.install("app", "p0", time=T0, reason="first")
    for i in range(1, 101):
        home.ledger.override("app", f"p{i}", time=T0 + i, reason="gate off")
    history = place.board().data()["history"]
    assert [(entry["kind"], entry["policy"], entry["times"]) for entry in history] == [
        ("override", "p100", 100), ("install", "p0", 1),
    ]  # fmt: skip
    for i in range(101, 301):
        home.ledger.override("app", f"p{i}", time=T0 + i, reason=f"reason {i}")
    assert len(place.board().data()["history"]) == HISTORY


# The page


def test_the_page_may_load_nothing_and_run_nothing_else() -> None:
    """Style and script by their hashes, data from its own origin, nothing from anywhere else; and no address in it."""
    policy = dict(HEADERS)[b"content-security-policy"].decode()
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "'self'"
    assert rules["script-src"].startswith("'sha256-") and rules["style-src"].startswith("'sha256-")
    assert "unsafe" not in policy and "http" not in policy
    addresses = PAGE.replace(b"http://www.w3.org/2000/svg", b"")  # a namespace, never fetched
    assert b"http:" not in addresses and b"https:" not in addresses and b"//" not in addresses.replace(b"// ", b"")
    assert b"innerHTML" not in PAGE and b"style=" not in PAGE and b"eval(" not in PAGE
