"""What a comparison says in sentences, shared by its page, its Markdown and the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from understudy.report.compare_model import Comparison, Number, Pair, Result
from understudy.report.words import Words, level

EVERYWHERE = "all tasks"
STATISTICS = {"iqm": "interquartile mean", "mean": "mean", "median": "median"}

TERMS = (
    ("Learner", "runs that share the fields compared by; the settings it was tried with are one choice."),
    ("Chosen on, reported on", "the seeds that choose a setting never report it: the best of several looks better than "
     "it is on the seeds that made it best. Optimism is by how much."),
    ("Interquartile mean (IQM)", "the mean of the middle half of the runs: steadier than the mean, and one lucky or "
     "failed run cannot carry it."),
    ("Interval", "the range that contains what very many seeds would give, in the stated share of repetitions."),
    ("Difference", "by seeds that both learners share; its interval and the adjusted p-value hold for all pairs at "
     "once, however many there are."),
    ("Chance to beat", "how often a run of the one would score more than a run of the other; ties count half."),
    ("Failed", "a run that ended in an error, or in a number that is none; it has a score and is never left out."),
    ("Profile", "the share of runs above each score: where one line is above another everywhere, it is better."),
)  # fmt: skip


def spoken(c: Comparison, rows: Sequence[Result] = ()) -> Words:
    """Decimals such that a typical interval's half-width shows two digits; of the rows that rank, unless said."""
    numbers = [getattr(row, c.statistic) for row in (rows or ranking(c))]
    halves = sorted((n.high - n.low) / 2 for n in numbers if n.low is not None and n.high > n.low)
    scale = halves[len(halves) // 2] if halves else max([abs(n.value) for n in numbers] + [1e-9]) / 100
    return Words(min(6, max(0, 1 - math.floor(math.log10(scale)))), "run")


def ranking(c: Comparison) -> tuple[Result, ...]:
    """The rows that rank the learners: over all tasks where there is such a table."""
    return c.overall or c.results


def headline(c: Comparison) -> str:
    """The comparison in one sentence."""
    if c.mode == "same":
        return "No learner is judged: the same seeds chose and reported."
    if len(c.arms) == 1:
        return "One learner, at its best setting."
    if not c.claims:
        return "No difference between learners is proven."
    tables = {pair.task for pair in c.pairs}
    for arm in c.arms:
        beaten = {(worse, task) for better, worse, task in c.claims if better == arm}
        if all((other, task) in beaten for task in tables for other in c.arms if other != arm):
            return f"{arm} is better than every other learner."
    n = len(c.claims)
    return f"No learner beats all others; {n} of {len(c.pairs)} differences {'are' if n > 1 else 'is'} proven."


def lede(c: Comparison, words: Words) -> tuple[str, ...]:
    """How it was done, and what is first in the table."""
    parts = []
    if c.mode == "fresh":
        parts.append(f"Settings were chosen on {seeds(c.select)} and are reported on {seeds(c.fresh)}.")
    elif c.mode == "single":
        parts.append(f"Each learner has one setting, so nothing was chosen; reported on {seeds(c.fresh)}.")
    else:
        parts.append(f"Settings were chosen and reported on {seeds(c.fresh)}; what is shown is corrected for that.")
    if len({row.task for row in ranking(c)}) == 1:
        first = ranking(c)[0]
        parts.append(f"First is {first.arm}: {STATISTICS[c.statistic]} {value(getattr(first, c.statistic), words)}.")
    parts.append(f"A failed run scores {c.failures}.")
    return tuple(parts)


def seeds(given: Iterable[int]) -> str:
    """(3, 4, 5) → "3 seeds (3 to 5)"; one that stands alone is named."""
    found = sorted(given)
    if len(found) == 1:
        return f"seed {found[0]}"
    even = found == list(range(found[0], found[-1] + 1))
    return f"{len(found)} seeds ({f'{found[0]} to {found[-1]}' if even else ', '.join(map(str, found))})"


def value(number: Number | None, words: Words, sign: bool = False) -> str:
    """As in "12.3 (10.1 to 14.5)"."""
    if number is None:
        return "–"
    told = words.reward(number.value, sign)
    if number.low is None:
        return told
    return f"{told} ({words.reward(number.low, sign)} to {words.reward(number.high, sign)})"


def chance(number: Number | None) -> str:
    """A chance with its interval, to two decimals."""
    return value(number, Words(2, "run"))


def p_value(p: float | None) -> str:
    """Three decimals, "< 0.001" below."""
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def runs(row: Result) -> str:
    """As in "5 runs, 1 failed, 1 missing"."""
    text = f"{len(row.scores)} run{'s' * (len(row.scores) != 1)}"
    text += f", {len(row.failed)} failed" if row.failed else ""
    return text + (f", {len(row.missing)} missing" if row.missing else "")


def named(row: Result | Pair) -> str:
    """The task, or what all of them are called."""
    return row.task or EVERYWHERE


def claimed(c: Comparison, pair: Pair) -> bool:
    """Whether the difference of a pair is claimed."""
    return {(pair.a, pair.b, pair.task), (pair.b, pair.a, pair.task)} & set(c.claims) != set()


def band(c: Comparison) -> str:
    """What bands and bars are."""
    return f"{STATISTICS[c.statistic]} with its {level(c.level)} interval"
