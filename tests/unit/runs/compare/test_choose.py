"""Who speaks for a learner: chosen on some seeds, heard on others, failures counted, nothing chosen in silence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from understudy.core.errors import ConfigError, EvidenceError
from understudy.ops.multiple import best_interval, left_out
from understudy.runs.compare.asked import Asked
from understudy.runs.compare.choose import spans
from understudy.runs.compare.compare import compared
from understudy.runs.compare.records import Record


def grid(scores: dict[tuple[str, str], list[float | str]], task: str = "t") -> list[Record]:
    """(learner, setting) → a score, "failed" or "missing" by seed."""
    return [
        Record(arm, task, f"{arm}-{name}", seed, value if isinstance(value, str) else "done",
               "DataError: x" if value == "failed" else "", {"learner": arm, "settings.rate": name},
               float("nan") if isinstance(value, str) else value)
        for (arm, name), values in scores.items() for seed, value in enumerate(values)
    ]  # fmt: skip


LUCKY = grid({("a", "lucky"): [9, 9, 1, 2, 3], ("a", "steady"): [5, 5, 5, 6, 5], ("b", "only"): [4, 4, 4, 5, 4]})


def test_the_seeds_that_choose_do_not_report() -> None:
    """The lucky setting is chosen on seeds 0 and 1, and reported by what it does on 2, 3 and 4."""
    c = compared(LUCKY, Asked(select=(0, 1), statistic="mean"), "x", 0)
    a = next(row for row in c.results if row.arm == "a")
    assert (c.mode, c.select, c.fresh) == ("fresh", (0, 1), (2, 3, 4))
    assert (a.setting, a.settings, a.seeds, a.scores) == ("rate=lucky", 2, (2, 3, 4), (1.0, 2.0, 3.0))
    assert (a.mean.value, a.chosen_at, a.optimism) == (2.0, 9.0, 7.0)
    b = next(row for row in c.results if row.arm == "b")
    assert (b.settings, b.chosen_at, b.optimism) == (1, None, None)
    assert [row.arm for row in c.results] == ["b", "a"]


def test_a_choice_on_the_reporting_seeds_is_refused() -> None:
    with pytest.raises(EvidenceError, match="a best of 2 settings would be chosen and reported on the same") as error:
        compared(LUCKY, Asked(), "x", 0)
    assert "--select 0:2" in error.value.hint
    with pytest.raises(EvidenceError, match="no seed is left"):
        compared(LUCKY, Asked(select=(0, 1, 2, 3, 4)), "x", 0)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Asked(select=(0, 1), fresh=(1, 2)), "seed 1 is to choose and to report"),
        (Asked(select=(0, 7)), "--select: no run has seed 7; there are 0:5"),
        (Asked(select=(0,), same=True), "contradict"),
        (Asked(select=(0,), statistic="mode"), "unknown statistic"),
        (Asked(select=(0,), level=95.0), "a level is a share"),
        (Asked(select=(0,), failed=float("nan")), "is a number"),
        (Asked(select=(0,), scales=("u=0:1",)), "unknown task"),
        (Asked(select=(0,), scales=("t=1:0",)), "has to be the higher"),
        (Asked(select=(0,), scales=("t=1",)), "cannot be read"),
        (Asked(select=(0,), against="c"), "unknown learner"),
    ],
)
def test_questions_that_contradict_themselves(asked: Asked, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        compared(LUCKY, asked, "x", 0)


def test_without_a_choice_all_seeds_report() -> None:
    c = compared([r for r in LUCKY if "lucky" not in r.setting], Asked(), "x", 0)
    assert (c.mode, c.select, c.fresh) == ("single", (), (0, 1, 2, 3, 4))
    assert not c.sensitivity and all(row.chosen_at is None for row in c.results)


def test_the_same_seeds_are_labelled_and_corrected() -> None:
    """Each seed's value is that of the setting chosen without it; the interval allows for the choice; no claims."""
    c = compared(LUCKY, Asked(same=True), "x", 0)
    a = next(row for row in c.results if row.arm == "a")
    table = np.array([[9, 9, 1, 2, 3], [5, 5, 5, 6, 5]], float)
    assert (c.mode, c.pairs, c.claims) == ("same", (), ()) and "same seeds" in c.notes[0]
    assert a.mean.value == left_out(table)[1].mean()
    assert (a.mean.low, a.mean.high) == best_interval(table)
    assert a.chosen_at == table.mean(1).max() and a.iqm.low is None


def test_failures_are_in_the_denominator() -> None:
    """A failed run scores the lowest of its task, or what is said; in the choice as in the report."""
    rows = grid({("a", "x"): [9, "failed", 8, "failed"], ("a", "y"): [5, 5, 5, 5], ("b", "x"): [1, 2, 3, 4]})
    by_rule = compared(rows, Asked(select=(0, 1), statistic="mean"), "x", 0)
    assert by_rule.results[0].setting == "rate=x"  # (9 + 1) / 2 and (5 + 5) / 2: a tie, the smaller name
    assert by_rule.results[0].scores == (8.0, 1.0) and by_rule.results[0].failed == (3,)
    assert any("1 of 2 runs failed (seed 3; DataError: x)" in note for note in by_rule.notes)
    assert any("1 runs failed on the seeds that choose" in note for note in by_rule.notes)
    harsh = compared(rows, Asked(select=(0, 1), failed=-50.0, statistic="mean"), "x", 0)
    assert next(row for row in harsh.results if row.arm == "a").setting == "rate=y" and harsh.failures == "-50"


def test_all_runs_failed_needs_a_score() -> None:
    rows = grid({("a", "x"): ["failed", "failed"]})
    with pytest.raises(EvidenceError, match="no lowest score"):
        compared(rows, Asked(), "x", 0)
    assert compared(rows, Asked(failed=0.0), "x", 0).results[0].scores == (0.0, 0.0)


def test_missing_runs_are_named_and_may_not_win() -> None:
    """A setting without all its selection runs cannot be chosen; a missing reporting run is said."""
    rows = grid({("a", "x"): [99, "missing", 9, 9], ("a", "y"): [5, 5, 5, "missing"]})
    c = compared(rows, Asked(select=(0, 1)), "x", 0)
    assert (c.results[0].setting, c.results[0].seeds, c.results[0].missing) == ("rate=y", (2,), (3,))
    assert any("the runs of seed 3 are missing" in note for note in c.notes)
    assert any("1 of 2 settings could not be chosen" in note for note in c.notes)
    with pytest.raises(EvidenceError, match="no setting has all its runs"):
        compared([replace(r, state="missing") if r.seed == 0 else r for r in rows], Asked(select=(0, 1)), "x", 0)


def test_a_chosen_setting_without_fresh_runs_says_what_to_sweep() -> None:
    rows = [r for r in LUCKY if r.seed < 2 or r.setting != "a-lucky"]
    with pytest.raises(EvidenceError, match="rate=lucky has no run on the seeds reported, 2:5"):
        compared(rows, Asked(select=(0, 1)), "x", 0)


def test_few_runs_are_called_preliminary() -> None:
    few = compared(LUCKY, Asked(select=(0, 1)), "x", 0)
    many = compared(grid({("a", "x"): list(range(10)), ("b", "x"): list(range(10))}), Asked(), "x", 0)
    assert any(note.startswith("Preliminary") for note in few.notes)
    assert not any(note.startswith("Preliminary") for note in many.notes)


def test_a_clear_difference_is_claimed_and_only_that() -> None:
    rng = np.random.default_rng(0)
    rows = grid({(arm, "x"): list(rng.normal(mean, 1, 10)) for arm, mean in (("a", 0), ("b", 0), ("c", 9))})
    c = compared(rows, Asked(), "x", 0)
    assert set(c.claims) == {("c", "a", "t"), ("c", "b", "t")} and len(c.pairs) == 3
    against = compared(rows, Asked(against="a"), "x", 0)
    assert [(p.a, p.b) for p in against.pairs] in ([("c", "a"), ("b", "a")], [("b", "a"), ("c", "a")])
    wide, narrow = (next(p for p in x.pairs if {p.a, p.b} == {"a", "c"}).difference for x in (c, against))
    assert wide.high - wide.low > narrow.high - narrow.low


def test_learners_without_common_seeds_are_not_paired() -> None:
    rows = [r for r in LUCKY if (r.arm == "a") == (r.seed < 3) and "lucky" not in r.setting]
    pair = compared(rows, Asked(), "x", 0).pairs[0]
    assert pair.difference is None and "they share 0 of the seeds" in pair.note and pair.better is not None


def test_tasks_are_joined_only_on_a_common_scale() -> None:
    """Without one: a row per task and a note. With one: scores from 0 to 1, of the learners that did all tasks."""
    rows = LUCKY + grid({("a", "lucky"): [90, 90, 10, 20, 30], ("a", "steady"): [50] * 5}, "u")
    bare = compared(rows, Asked(select=(0, 1)), "x", 0)
    assert bare.overall == () and any("--scale" in note for note in bare.notes) and len(bare.results) == 3
    c = compared(rows, Asked(select=(0, 1), scales=("t=0:10", "u=0:100"), statistic="mean"), "x", 0)
    assert [row.arm for row in c.overall] == ["a"] and c.overall[0].scores == (0.1, 0.2, 0.3, 0.1, 0.2, 0.3)
    assert any("b is not in the table over all tasks: it has no runs on u" in note for note in c.notes)
    assert {row.mean.value for row in c.results if row.task == "u"} == {20.0}


def test_lines_of_the_pictures() -> None:
    """Sensitivity holds the other fields at the chosen setting; profiles fall from 1 to 0; failures stay in curves."""
    course = (np.array([1.0, 2.0]), np.array([0.0, 4.0]))
    rows = [replace(r, curve=course) if r.seed != 4 else replace(r, state="failed") for r in LUCKY]
    c = compared(rows, Asked(select=(0, 1), statistic="mean"), "x", 0)
    (panel,) = c.sensitivity
    assert (panel.title, panel.labels) == ("settings.rate", ("lucky", "steady"))
    assert [(line.name, line.at, line.value) for line in panel.lines] == [("a", (0.0, 1.0), (9.0, 5.0))]
    for line in c.profiles[0].lines:
        assert line.value[0] == 1.0 and line.value[-1] == 0.0 and list(line.value) == sorted(line.value, reverse=True)
    a = next(line for line in c.curves[0].lines if line.name == "a")
    assert a.at == (1.0, 2.0) and a.value == pytest.approx((0.0, (4 + 4 + 0) / 3))


def test_spans() -> None:
    assert spans([7, 0, 1, 2]) == "0:3,7"
