"""Training by epochs: what is kept, what is chosen, and that an interruption changes nothing."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from understudy.core.curves import Point
from understudy.core.errors import ConfigError, DataError, StoreError
from understudy.core.evidence import Estimate
from understudy.core.protocols import GradientLearner
from understudy.core.registry import find
from understudy.data.artifact import verify_artifact
from understudy.data.dataset import MemoryDataset
from understudy.learners.dqn import DQN
from understudy.models.box import UniformBox
from understudy.models.policies import Uniform
from understudy.runs.bring import bring, bring_together
from understudy.runs.epochs import CHECKPOINT, EPOCHS, Training, Watch, chosen, read_curves, watching
from understudy.runs.home import Home
from understudy.runs.prove import Proof, promote, prove
from understudy.runs.scalars import scalars
from understudy.runs.simulate import make_env, simulate
from understudy.runs.train import ROWS, expand, open_policy, train
from understudy.testing.cast import TINY, Table, tiny_bandit
from understudy.testing.conformance_learner import CHAIN, WIDE, chain_log, example_episodes

BEHAVIOR = Table(((0.4, 0.3, 0.3), (0.3, 0.3, 0.4)))
FOUR = Watch(epochs=4)
SMALL = {"updates": 400, "batch": 16, "hidden": (8,), "decay": 0.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A joined dataset of 1,200 decisions of a synthetic bandit."""
    place = tmp_path_factory.mktemp("data")
    env = make_env("bandit", {"k": 3, "d": 2, "population": 500})
    simulate(env, {}, behavior="uniform", n=1_200, seed=0, to=place / "raw")
    problem = place / "problem.yaml"
    problem.write_bytes(msgspec.yaml.encode(env.problem))
    raw = [place / "raw" / "decisions.jsonl", place / "raw" / "outcomes.jsonl"]
    bring(raw, layout="events", problem=problem, options={}, to=place / "log", home=place / "home")
    bring_together(place / "log", window="2h", backward="2m", as_of=None, to=place / "data", home=place / "home")
    return place / "data"


def training(work: Path, learner: GradientLearner, watch: Watch = FOUR, seed: int = 3) -> Training:
    train, held = (MemoryDataset(TINY, tiny_bandit(BEHAVIOR, 2_000, seed)) for seed in (0, 1))
    return Training(learner, train, held, watch, work, "recipe", seed)


class Killed(BaseException):
    """Stands for the end of the process."""


def test_a_killed_training_ends_where_the_uninterrupted_one_does(tmp_path: Path) -> None:
    """Whichever epoch it was killed after: every policy, every figure and every estimate alike."""
    whole = training(tmp_path / "whole", DQN(**SMALL))
    curves = whole.run()
    for kill in (1, 2, 3):
        part = training(tmp_path / f"part{kill}", DQN(**SMALL))

        def show(point: Point, kill: int = kill) -> None:
            if point.epoch == kill:
                raise Killed

        with pytest.raises(Killed):
            part.run(show=show)
        assert part.run() == curves
        for epoch in range(1, 5):
            for name in ("policy.json", "weights.safetensors"):
                assert (part.folder(epoch) / name).read_bytes() == (whole.folder(epoch) / name).read_bytes()


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    """Cut short, or with one bit changed: it says which file, and what to do."""
    part = training(tmp_path / "a", DQN(**SMALL))
    part.run()
    path = part.work / CHECKPOINT
    body = path.read_bytes()
    for damaged in (body[: len(body) // 2], body[:100] + bytes([body[100] ^ 1]) + body[101:], b""):
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match=r"checkpoint\.state is damaged") as error:
            part.run()
        assert "Delete" in error.value.hint


def test_another_recipe_starts_afresh(tmp_path: Path) -> None:
    """What another training left in the working folder is not gone on from."""
    first = training(tmp_path / "a", DQN(**SMALL))
    first.run()
    held = training(tmp_path / "b", DQN(**SMALL), seed=4).run()
    again = Training(first.learner, first.data, first.held, first.watch, first.work, "another", 4)
    assert again.run() == held


def test_a_loss_that_is_no_number_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    """It stops, says between which updates, and names the checkpoint that is still good."""

    class Spoilt(MemoryDataset):
        def sample(self, size: int, rng: np.random.Generator, n: int = 1, discount: float | None = None):  # type: ignore[no-untyped-def]
            drawn = super().sample(size, rng, n, discount)
            self.steps.reward[:] = np.inf if self.drawn else self.steps.reward
            object.__setattr__(self, "drawn", True)
            return drawn

        drawn = False

    part = training(tmp_path / "a", DQN(**SMALL))
    sick = Training(part.learner, Spoilt(TINY, tiny_bandit(BEHAVIOR, 500, 0)), part.held, part.watch, part.work, "r", 3)
    import understudy.learners.gradient as gradient

    was = gradient.Replay
    gradient.Replay = lambda *given, **more: was(*given, **(more | {"held": 0}))  # type: ignore[misc,assignment]
    try:
        with pytest.raises(DataError, match=r"between updates 201 and 300") as error:
            sick.run()
    finally:
        gradient.Replay = was  # type: ignore[misc]
    assert str(sick.folder(2)) in error.value.why
    assert sick.policy_of(1).probs(np.zeros((1, 1), np.float32)).shape == (1, 3)  # type: ignore[attr-defined]


def by(points: list[Point]) -> tuple[str, str]:
    found = chosen(points)
    assert found is not None
    return found.estimator, found.chosen


def estimate(name: str, low: float | None, value: float = 0.5) -> Estimate:
    return Estimate(
        target="policy", estimator=name, value=value, std_error=0.1, low=low, high=None if low is None else 0.9,
        level=0.95, method="jackknife", n_episodes=9, n_units=9, ess=9.0, max_weight_share=0.2, matched=3,
    )  # fmt: skip


def test_of_values_without_an_interval_the_latest_near_the_best_is_chosen() -> None:
    """A tenth of the gain over the log is more than such a value can tell; what lost more than that is passed over."""

    def epoch(number: int, value: float) -> Point:
        own, log = estimate("fqe", None, value), estimate("fqe", None, 20.0)
        return Point(
            epoch=number, updates=number, figures={}, estimates=(own, msgspec.structs.replace(log, target="logged"))
        )

    rising = [epoch(n, value) for n, value in enumerate([10.0, 55.0, 60.0, 57.0, 56.5], 1)]
    found = chosen(rising)
    assert found is not None and found.ranking[:3] == ("5", "3", "4") and (found.chosen, found.value) == ("5", 56.5)
    assert by([*rising, epoch(6, 55.9)]) == ("fqe", "5"), "60 - 0.1 x (60 - 20) is 56"
    assert by([epoch(1, 15.0), epoch(2, 14.9)]) == ("fqe", "1"), "nothing gained, nothing given away"


def test_one_estimator_chooses_among_the_epochs_it_can_judge() -> None:
    """Epochs are compared by one measure, never by whichever happened to give a number."""
    points = [
        Point(epoch=1, updates=1, figures={}, estimates=(estimate("a", None), estimate("b", 0.1))),
        Point(epoch=2, updates=2, figures={}, estimates=(estimate("a", 0.9), estimate("b", 0.2))),
    ]
    silent = Point(epoch=3, updates=3, figures={}, estimates=(estimate("a", None), estimate("b", None)))
    assert by(points) == ("a", "2"), "an interval in half of the epochs is enough"
    assert by([*points, silent]) == ("b", "2")
    mute = [Point(epoch=n, updates=n, figures={}) for n in (4, 5, 6)]
    assert chosen([*points, silent, *mute]) is None is chosen([])


def test_where_nothing_has_an_interval_a_model_ranks(tmp_path: Path) -> None:
    """Values of fqe choose where weights are hopeless, and the reason says that it proves nothing."""
    points = [
        Point(epoch=n, updates=n, figures={}, estimates=(estimate("fqe", None, value), estimate("drl", None, -9.0)))
        for n, value in ((1, 3.0), (2, 8.0), (3, 5.0))
    ]
    assert by(points) == ("fqe", "2")
    curves = training(tmp_path, DQN(**SMALL))._conclude(points)
    assert curves.chosen == 2 and "it proves nothing" in curves.why


@pytest.mark.parametrize("name", ["td3", "awac"])
def test_a_killed_training_of_continuous_actions_goes_on_with_the_same_noise(name: str, tmp_path: Path) -> None:
    """The key of the noise lies in the checkpoint, as a whole number without a sign."""
    train, held = (MemoryDataset(WIDE, example_episodes(WIDE, 30, seed).steps) for seed in (1, 2))
    learner = find("learners", name)(updates=200, batch=16, hidden=(8,))
    watch, found = Watch(epochs=2, estimators=("cwpdis",)), []

    def show(point: Point) -> None:
        raise Killed

    for place in ("whole", "part"):
        own = Training(learner, train, held, watch, tmp_path / place, "recipe", 0)
        if place == "part":
            with pytest.raises(Killed):
                own.run(show=show)
        found.append((own.run(), (own.folder(2) / "weights.safetensors").read_bytes()))
    assert found[0] == found[1]


def test_a_log_is_judged_by_what_it_can_carry(tmp_path: Path) -> None:
    """Nobody named estimators: densities of a box carry no Q̂, a log without propensities no weights."""
    box, chain = (example_episodes(WIDE, 30, 1).steps, WIDE), (chain_log(30, 1).steps, CHAIN)
    bare = [(steps.with_(propensity=None), problem) for steps, problem in (box, chain)]
    for (steps, problem), names in ((box, {"cwpdis"}), (bare[1], {"fqe"}), (bare[0], set())):
        held = MemoryDataset(problem, steps)
        policy = UniformBox(WIDE.actions.low, WIDE.actions.high) if problem is WIDE else Uniform(CHAIN.actions.k)
        own = Training(DQN(**SMALL), held, held, FOUR, tmp_path, "recipe", 0)._estimates(policy)
        assert {e.estimator for e in own} == names


def test_patience_stops_and_the_best_epoch_stays(tmp_path: Path) -> None:
    """With no patience left it stops; the chosen epoch has the best lower bound of those seen."""
    watch = Watch(epochs=20, patience=1)
    curves = training(tmp_path / "a", DQN(**(SMALL | {"updates": 2_000})), watch).run()
    assert len(curves.points) < 20, "an estimate of a policy that no longer changes cannot keep rising"
    lows = {p.epoch: next(e.low for e in p.estimates if e.estimator == curves.chosen_by) for p in curves.points}
    assert lows[curves.chosen] == max(lows.values())  # type: ignore[type-var]
    assert "stopped after" in curves.why


def test_a_training_killed_after_its_last_patience_trains_no_further(tmp_path: Path) -> None:
    """It had stopped; what goes on from there only says so, with the same epochs and the same choice."""
    watch, learner = Watch(epochs=20, patience=1), DQN(**(SMALL | {"updates": 2_000}))
    curves = training(tmp_path / "whole", learner, watch).run()
    part = training(tmp_path / "part", learner, watch)

    def show(point: Point) -> None:
        if point.epoch == curves.points[-1].epoch:
            raise Killed

    with pytest.raises(Killed):
        part.run(show=show)
    assert len(curves.points) < 20 and part.run() == curves


def test_an_artifact_holds_its_epochs_and_the_rows_that_chose(data: Path, tmp_path: Path) -> None:
    """runs/a@2 is epoch 2; the chosen one is the policy; nobody may judge it on the rows that chose it."""
    told: list[Point] = []
    kept = tmp_path / "a"
    watch = Watch(epochs=4)
    with scalars(tmp_path / "scalars") as note:
        manifest = train("dqn", on=data, to=kept, settings=SMALL, watch=watch, show=lambda p: (told.append(p), note(p)))
    verify_artifact(kept)
    curves = read_curves(kept)
    assert [p.epoch for p in told] == [p.epoch for p in curves.points] == [1, 2, 3, 4]
    assert sorted(path.name for path in (kept / EPOCHS).iterdir()) == ["0001", "0002", "0003", "0004"]
    best, second, whole = open_policy(f"{kept}@{curves.chosen}"), open_policy(f"{kept}@2"), open_policy(kept)
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    x[:, 2] = 0
    assert (best.policy.probs(x) == whole.policy.probs(x)).all()  # type: ignore[attr-defined]
    assert second.name == "a@2" and expand([f"{kept}@all", "x"]) == [*(f"{kept}@{i}" for i in (1, 2, 3, 4)), "x"]
    plain = train("dqn", on=data, to=tmp_path / "b", settings=SMALL)
    last = train("dqn", on=data, to=tmp_path / "c", settings=SMALL, watch=Watch(epochs=4, choose="last"))
    assert manifest.counts["decisions"] == plain.counts["decisions"] == last.counts["decisions"]
    assert manifest.counts["judged"] > 0 == last.counts["judged"] == plain.counts["judged"]
    assert len(whole.trained_on) == sum(manifest.counts[c] for c in ("decisions", "judged")) > len(second.trained_on)
    assert (tmp_path / "b" / "weights.safetensors").read_bytes() == (
        kept / EPOCHS / "0004" / "weights.safetensors"
    ).read_bytes()
    assert not (tmp_path / ".a.training").exists() and ROWS in manifest.files
    assert (kept / "curves.html").read_text().count("<svg") == 4 and (kept / "curves.png").stat().st_size > 10_000
    assert any((tmp_path / "scalars").iterdir())
    assert train("dqn", on=data, to=kept, settings=SMALL, watch=watch).id == manifest.id, (
        "asked again it is already done"
    )


def test_what_cannot_be_watched_says_so(data: Path, tmp_path: Path) -> None:
    """A learner without epochs, slices that overlap, an epoch that is not there, curves without epochs."""
    with pytest.raises(ConfigError, match="no epochs"):
        train("direct", on=data, to=tmp_path / "a", watch=Watch())
    with pytest.raises(ConfigError, match="lie both"):
        train("dqn", on=data, to=tmp_path / "b", settings=SMALL, slice="all", watch=Watch())
    train("dqn", on=data, to=tmp_path / "c", settings=SMALL)
    with pytest.raises(StoreError, match="has no epoch 3"):
        open_policy(f"{tmp_path / 'c'}@3")
    with pytest.raises(StoreError, match="no curves"):
        read_curves(tmp_path / "c")
    for shares in ((80.0, 30.0), (-1.0, 0.0), (0.0, 100.0)):
        with pytest.raises(ConfigError, match="disjoint"):
            watching(5, shares, "train", (), "best", 0)
    with pytest.raises(ConfigError, match="need epochs"):
        watching(0, (0.0, 20.0), "train", (), "best", 0)
    assert watching(5, (80.0, 20.0), "train", (), "best", 0) == ("train@0.8", Watch(5, "last@0.2"))


def test_an_epoch_is_neither_proven_nor_promoted_in_the_name_of_the_chosen_one(data: Path, tmp_path: Path) -> None:
    """runs/a@1 has the id of runs/a: a verdict on it would be one on another policy. Nothing is asked, nothing kept."""
    kept, home = tmp_path / "a", tmp_path / "home"
    train("dqn", on=data, to=kept, settings=SMALL, watch=Watch(epochs=2), home=home)
    train("dqn", on=data, to=tmp_path / "b", settings=SMALL, home=home)
    for run, against in ((f"{kept}@1", ""), (tmp_path / "b", f"{kept}@1")):
        with pytest.raises(ConfigError, match="one epoch of a training"):
            prove(run, on=data, how=Proof(against=against), home=home)
    with pytest.raises(ConfigError, match="one epoch of a training"):
        promote(f"{kept}@1", alias="production", home=home)
    assert Home(home).ledger.looks() == ()


def test_every_epoch_explores_as_the_policy_will(data: Path, tmp_path: Path) -> None:
    """What is judged epoch by epoch is what would be served: exploration is in each of them, once."""
    train("dqn", on=data, to=tmp_path / "a", settings=SMALL, watch=Watch(epochs=2, choose="last"), explore=0.3)
    x = np.zeros((5, 3), np.float32)
    served, last = (open_policy(name).policy.probs(x) for name in (tmp_path / "a", f"{tmp_path / 'a'}@2"))  # type: ignore[attr-defined]
    assert (served == last).all() and np.isclose(served.min(), 0.1)
