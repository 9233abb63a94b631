"""Numbers and verdicts in plain words."""

import math
from dataclasses import replace

import msgspec
import pytest

from understudy.core.evidence import Verdict
from understudy.report import Report, words
from understudy.report.words import Words

THIN = "\u202f"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.31, "0.310"), (-0.2, "−0.200"), (-0.0001, "0.000"), (1234.5, "1,234.500"), (None, "–"), (math.nan, "–"),
     (math.inf, "–")],
)  # fmt: skip
def test_a_reward_has_fixed_places_and_a_true_minus(value: float | None, expected: str) -> None:
    """A negative zero loses its sign; what is not a number is a dash."""
    assert Words(3, "decision").reward(value) == expected


def test_a_signed_reward_says_plus() -> None:
    """Differences carry their sign."""
    assert Words(2, "decision").reward(0.5, sign=True) == "+0.50"


def test_places_follow_the_standard_error(report: Report) -> None:
    """Two digits of the middle one: 1 − ⌊log₁₀(0.0201 / 1.96)⌋ = 1 − ⌊−1.99⌋ = 3."""
    assert Words.of(report).places == 3


def test_places_fall_back_on_the_reward_range(report: Report) -> None:
    """Without estimates, a hundredth of the range sets the scale: [0, 1] gives three places."""
    assert Words.of(replace(report, candidates=())).places == 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0"), (1.0, "100"), (0.0312, "3.1"), (0.69, "69.0"), (0.0004, "0.04"), (1e-7, "< 0.001")],
)
def test_a_share_is_a_percentage(value: float, expected: str) -> None:
    """One decimal, and tiny shares keep one significant digit."""
    assert words.share(value) == f"{expected}{THIN}%"


@pytest.mark.parametrize(
    ("log_e", "expected"),
    [(0.0, "×1"), (math.log(20), "×20"), (math.log(1.9), "×1.9"), (-math.log(3), "×0.33"), (math.log(1234), "×1,234"),
     (42 * math.log(10), "×10⁴²"), (-8 * math.log(10), "×10⁻⁸"), (math.inf, "×∞"), (-math.inf, "×0")],
)  # fmt: skip
def test_evidence_is_what_a_stake_of_one_became(log_e: float, expected: str) -> None:
    """e^log_e, rounded; never called odds or probability, for it is neither."""
    assert words.growth(log_e) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(200, "200"), (219.3, "219"), (83.59, "83.6"), (0.01306, "0.0131"), (1830.4, "1,830"),
     (0.0021, "0.0021"), (-2.5, "−2.5"), ("yes", "yes"), (None, "–"),
     (math.inf, "∞"), (1.2e-5, "1.2×10⁻⁵")],
)  # fmt: skip
def test_a_checks_figure_is_rounded_sensibly(value: float | str | None, expected: str) -> None:
    """Three significant digits, thousands separated, text as it is."""
    assert words.figure(value) == expected


def test_labels_are_one_printable_line() -> None:
    """Line feeds and control characters cannot break a picture or a terminal."""
    assert words.tidy("a\nb\x00\x1b[31mc") == "a b [31mc"
    assert words.tidy("x" * 50, 10) == "x" * 9 + "…"


def test_the_headline_names_what_ships(report: Report) -> None:
    """One that ships, several, none, and a log that cannot answer."""
    assert words.headline(report) == "Ship trees."
    trees, other = report.shipped[0], report.challengers[1]
    both = replace(other, verdict=trees.verdict)
    assert words.headline(replace(report, candidates=(trees, both))) == "2 candidates may ship: trees and linear."
    assert words.headline(replace(report, candidates=report.challengers[1:])) == (
        "Keep the current policy. No candidate is proven better."
    )
    assert words.headline(replace(report, candidates=report.challengers[3:])) == (
        "Keep the current policy. This log cannot answer the question."
    )
    assert words.headline(replace(report, candidates=())) == "No candidate has been judged yet."


def test_a_candidate_that_ships_says_how_much_more_at_least(report: Report) -> None:
    """The gain, and the bound that the gate relies on."""
    told = words.story(report, report.challengers[0], Words(2, "decision"))
    sure = f"at 95{THIN}% confidence, at least 0.27 more."
    assert told[0] == f"trees earns 0.31 more per decision than the current policy; {sure}"


def test_a_candidate_in_doubt_says_what_cannot_be_ruled_out(report: Report) -> None:
    """More on this log, possibly less in truth, and how many decisions would settle it."""
    told = words.story(report, report.challengers[1], Words(3, "decision"))
    assert "0.015 more per decision" in told[0]
    assert "0.031 less cannot be ruled out" in told[0]
    assert told[-1] == "About 11,800 more decisions of the same kind should settle it."


def test_a_candidate_that_is_worse_says_by_how_much_at_least(report: Report) -> None:
    """Where even the upper bound is below zero, the loss is told with its bound."""
    told = words.story(report, report.challengers[2], Words(2, "decision"))
    assert told[0] == (
        f"fixed_3 earns 0.20 less per decision than the current policy; at 95{THIN}% confidence, at least 0.16 less."
    )


def test_the_need_for_data_is_told_once(report: Report) -> None:
    """A reason that already says how many decisions are needed is not followed by the same number."""
    linear = report.challengers[1]
    assert linear.verdict is not None
    told = msgspec.structs.replace(linear.verdict, reason="About 11,800 further decisions would be needed.")
    assert words.needed(linear) != "" == words.needed(replace(linear, verdict=told))


def test_evidence_in_checks_is_shown_as_growth(report: Report) -> None:
    """A check of bets travels as a logarithm and is read as growth; any other check keeps its unit."""
    trees = report.shipped[0]
    assert trees.verdict is not None
    shown = {check.name: words.figures(trees, check) for check in trees.verdict.checks}
    assert shown["lift"] == ("×10¹⁸", "×20")  # e^41.27 = 10^17.9
    assert shown["harm"] == ("×1", "×20")
    assert shown["effective sample size"] == ("1,830", "100")


def test_the_bar_is_the_gates_own(report: Report) -> None:
    """A stricter threshold of a later candidate is read from its check; without a verdict it is ln(1/α), or unknown."""
    trees = report.shipped[0]
    assert trees.verdict is not None
    stricter = tuple(msgspec.structs.replace(c, threshold=4.2) if c.name == "lift" else c for c in trees.verdict.checks)
    later = replace(trees, verdict=msgspec.structs.replace(trees.verdict, checks=stricter))
    assert words.bar(report, later) == 4.2
    assert words.bar(report, replace(trees, verdict=None)) == pytest.approx(math.log(20))
    assert words.bar(replace(report, alpha=None), replace(trees, verdict=None)) is None


def test_a_refused_candidate_gets_no_number(report: Report) -> None:
    """Where the log cannot carry the claim, only the reason is told."""
    told = words.story(report, report.challengers[3], Words(3, "decision"))
    assert told == ("43.0 % of what it would do was never possible in the log.",)


def test_an_unknown_outcome_is_shown_as_it_is(report: Report) -> None:
    """A verdict of a later version is neither lost nor dressed up."""
    odd = Verdict(outcome="postponed", candidate="trees", incumbent="current", checks=(), reason="later")
    assert words.outcome(replace(report.challengers[0], verdict=odd)) == "postponed"
    assert "Ship" not in words.headline(replace(report, candidates=(replace(report.challengers[0], verdict=odd),)))


def test_counts_reconcile_in_words(report: Report) -> None:
    """4180 + 2545 + 38 + 23 = 6786 rows; 2529 + 12 + 4 = 2545 outcomes; quarantined rows have reasons."""
    log, data = report.lineage[:2]
    assert words.accounts(log) == (
        (True, "6,786 rows = 4,180 decisions + 2,545 outcome rows + 38 duplicates + 23 quarantined"),
    )
    assert words.accounts(data) == (
        (True, "4,180 decisions = 4,180 steps"),
        (True, "2,545 outcomes = 2,529 joined + 12 duplicates + 4 late"),
    )
    assert words.reasons(log) == "propensity 20, not json 3"


def test_a_lost_row_is_not_smoothed_over(report: Report) -> None:
    """Counts that do not add up are shown as such."""
    log = report.lineage[0]
    lost = msgspec.structs.replace(log, counts=log.counts | {"rows": 6787})
    assert words.accounts(lost)[0][0] is False
    assert " ≠ " in words.accounts(lost)[0][1]
    assert words.accounts(report.lineage[2]) == ()


def test_a_name_is_never_capitalized() -> None:
    """A sentence that starts with a policy's name keeps the name; any other starts with a capital."""
    assert words.sentence("forest is better", "forest") == "forest is better."
    assert words.sentence("it is better!") == "It is better!"
    assert words.sentence("  ") == ""


def test_a_refused_estimate_shows_no_number(report: Report) -> None:
    """Value and interval of a refused estimate are a dash and the word."""
    refused = report.values(report.challengers[3])[0]
    spoken = Words(3, "decision")
    assert (spoken.value(refused), spoken.interval(refused)) == ("–", "refused")


def test_a_log_of_one_day_names_it_once(report: Report) -> None:
    """First and last day, or the only one."""
    log = report.log
    assert words.period(log) == "1 Jan 2026 to 26 Mar 2026"
    assert words.period(msgspec.structs.replace(log, last=log.first + 1)) == "1 Jan 2026"
