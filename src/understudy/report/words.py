"""Numbers and verdicts in plain words: the sentences that the page, the terminal and Markdown share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from understudy.core.evidence import Check, Estimate, Lift
from understudy.core.manifest import Manifest
from understudy.core.summary import LogSummary
from understudy.report.model import Candidate, Report

OUTCOMES = {"ship": "Ship", "hold": "Hold", "not_enough_evidence": "Not enough evidence", "refused": "Refused"}
MINUS, THIN = "−", "\u202f"

ESTIMATORS = {
    "ips": "re-weights each logged reward by how much more often the new policy would have acted that way",
    "clipped_ips": "as ips, with the largest weights capped",
    "snips": "as ips, divided by the sum of the weights instead of their expected sum: steadier, slightly biased",
    "dm": "asks a reward model what each action would have earned; trusts the model fully",
    "dr": "a reward model, corrected by the weighted errors it makes on the log: right if either part is right",
    "sndr": "as dr, with self-normalized weights",
    "switch_dr": "as dr, but trusts the model alone where a weight is too large",
    "switch_dr_auto": "as switch_dr, with the cut-off chosen from the data",
    "dros": "as dr, with weights shrunk smoothly to lose variance",
    "sg_ips": "as ips, with weights shrunk so that rare rows cannot dominate",
    "sg_dr": "as dr, with weights shrunk so that rare rows cannot dominate",
    "replay": "averages the rewards of logged decisions on which the policy agrees with the log",
}

TERMS = (
    ("Decision", "one row of the log: what was known, what was done, with what probability, and what came of it."),
    ("Policy", "a rule that turns what is known into an action. The incumbent is the one in force."),
    ("Value", "what a policy earns on average, in units of reward."),
    ("Interval", "the range that contains the true value in the stated share of repetitions, 95 % unless said."),
    ("Weight", "how much more (or less) often a candidate would have taken the logged action than the log did."),
    (
        "Effective sample size (ESS)",
        "how many decisions made by the candidate itself the weighted log is worth; few heavy rows make it small.",
    ),
    ("Overlap", "whether the log tried, often enough, what the candidate wants to do."),
    (
        "Evidence",
        "what a stake of 1 on “better than the incumbent” has grown to in fair bets on the log. ×20 or more arises by "
        "luck at most 1 time in 20, however often one looks.",
    ),
    ("Refused", "the log cannot support the claim; a number would mislead, so none is given."),
)


@dataclass(frozen=True)
class Words:
    """Formats numbers of one report alike: ``places`` decimals for rewards, ``per`` for what they are per."""

    places: int
    per: str

    @classmethod
    def of(cls, report: Report) -> Words:
        """Decimals such that a typical standard error shows two digits."""
        quoted = [report.quoted(report.values(c)) for c in report.candidates]
        errors = sorted(e.std_error for e in quoted if e and e.std_error and not e.refused)
        low, high = report.problem.reward_range
        scale = errors[len(errors) // 2] if errors else (high - low) / 100
        places = min(6, max(0, 1 - math.floor(math.log10(scale))))
        return cls(places, "decision" if report.problem.bandit else "episode")

    def reward(self, value: float | None, sign: bool = False) -> str:
        """A reward, with a true minus sign; "–" where there is none."""
        if value is None or not math.isfinite(value):
            return "–"
        text = f"{abs(value):,.{self.places}f}"
        negative = value < 0 and text.strip("0.,") != ""
        return (MINUS if negative else "+" if sign else "") + text

    def value(self, e: Estimate, sign: bool = False) -> str:
        """The estimate; a dash where the interval is refused, for a bare number would be believed."""
        return "–" if e.refused else self.reward(e.value, sign)

    def interval(self, e: Estimate) -> str:
        return "refused" if e.refused else f"{self.reward(e.low)} to {self.reward(e.high)}"


def share(value: float | None) -> str:
    """0.0312 → "3.1 %"; tiny shares keep one significant digit."""
    if value is None or not math.isfinite(value):
        return "–"
    percent = 100 * value
    if percent == 0 or abs(percent) >= 99.95:
        text = f"{percent:.0f}"
    elif abs(percent) >= 0.1:
        text = f"{percent:.1f}"
    else:
        text = f"{percent:.1g}" if abs(percent) >= 0.001 else "< 0.001"
    return f"{text}{THIN}%"


def level(value: float) -> str:
    """0.95 → "95 %", 0.995 → "99.5 %"."""
    return f"{100 * value:.4g}{THIN}%"


def count(value: float | None) -> str:
    """12345.6 → "12,346"; below 10 one decimal is kept unless it is whole."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if value >= 10 or float(value).is_integer() else f"{value:.1f}"


def figure(value: float | str | None) -> str:
    """A check's figure of unknown unit: three significant digits, thousands separated."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if not math.isfinite(value):
        return "∞" if value > 0 else f"{MINUS}∞" if value < 0 else "–"
    if abs(value) >= 100 or float(value).is_integer():
        text = f"{abs(value):,.0f}"
    elif abs(value) >= 1e-4:
        text = f"{abs(value):.3g}"
    else:
        digits, _, power = f"{abs(value):.2e}".partition("e")
        text = f"{float(digits):g}×10⁻{_raised(abs(int(power)))}"
    return (MINUS if value < 0 else "") + text


def _raised(power: int) -> str:
    return str(power).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def growth(log_e: float) -> str:
    """e^log_e, what a stake of 1 has grown to: "×20", "×1,234", "×10⁴²"; "×0.33" where it shrank."""
    if not math.isfinite(log_e):
        return "×∞" if log_e > 0 else "×0" if log_e < 0 else "–"
    power = log_e / math.log(10)
    if abs(power) >= 6:
        return f"×10{'⁻' if power < 0 else ''}{_raised(abs(round(power)))}"
    value = math.exp(log_e)
    return f"×{value:,.0f}" if value >= 9.95 else f"×{value:.2g}"


def day(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%d %b %Y").lstrip("0")


def moment(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%d %B %Y, %H:%M UTC").lstrip("0")


def tidy(text: str, longest: int = 0) -> str:
    """One line of printable characters, cut with an ellipsis: for labels in pictures and on terminals."""
    line = " ".join("".join(ch if ch.isprintable() else " " for ch in text).split())
    return line if not longest or len(line) <= longest else line[: longest - 1].rstrip() + "…"


def sentence(text: str, name: str = "") -> str:
    """Starts with a capital (but for ``name``, which stays as it is), ends with a full stop."""
    text = text.strip()
    if not text:
        return ""
    start = text[0] if name and text.startswith(name) else text[0].upper()
    return start + text[1:] + ("" if text[-1] in ".!?…" else ".")


def period(log: LogSummary) -> str:
    """ "1 Jan 2026 to 26 Mar 2026", or the one day."""
    first, last = day(log.first), day(log.last)
    return first if first == last else f"{first} to {last}"


def outcome(candidate: Candidate) -> str:
    return OUTCOMES.get(candidate.verdict.outcome, candidate.verdict.outcome) if candidate.verdict else "No verdict"


def headline(report: Report) -> str:
    """The decision, in at most a dozen words."""
    names = [c.name for c in report.shipped]
    if len(names) == 1:
        return f"Ship {names[0]}."
    if names:
        return f"{len(names)} candidates may ship: {', '.join(names[:-1])} and {names[-1]}."
    judged = [c for c in report.challengers if c.verdict]
    if not judged:
        return "No candidate has been judged yet."
    if all(c.verdict and c.verdict.outcome == "refused" for c in judged):
        return "Keep the current policy. This log cannot answer the question."
    return "Keep the current policy. No candidate is proven better."


def told(candidate: Candidate) -> Lift | None:
    """The lift a reader may be told: none where the gate refused, for a number would be believed."""
    return None if candidate.verdict and candidate.verdict.outcome == "refused" else candidate.lift


def gain(report: Report, candidate: Candidate, words: Words) -> str:
    """How much more or less a candidate earns than the incumbent, with the bound that is valid at every look."""
    lift = told(candidate)
    if lift is None:
        return ""
    size = (
        f"{words.reward(abs(lift.mean))} {'more' if lift.mean >= 0 else 'less'} per {words.per} than the current policy"
    )
    sure = f"at {level(lift.level)} confidence"
    if lift.low is not None and lift.low > 0:
        return f"{candidate.name} earns {size}; {sure}, at least {words.reward(lift.low)} more"
    if lift.low is not None and lift.mean > 0:
        risk = f"{words.reward(abs(lift.low))} less cannot be ruled out {sure}"
        return f"On this log {candidate.name} earns {size}, but {risk}"
    if lift.high is not None and lift.high < 0:
        return f"{candidate.name} earns {size}; {sure}, at least {words.reward(abs(lift.high))} less"
    return f"On this log {candidate.name} earns {size}"


def needed(candidate: Candidate) -> str:
    """How many further decisions would settle it, where the gate knows and its reason has not said so already."""
    verdict = candidate.verdict
    if verdict is None or verdict.needed is None or f"{verdict.needed:,}" in verdict.reason:
        return ""
    return f"About {count(verdict.needed)} more decisions of the same kind should settle it."


def story(report: Report, candidate: Candidate, words: Words) -> tuple[str, ...]:
    """The sentences under a candidate's verdict: the gain (unless refused), the gate's reason, what is missing."""
    verdict, name = candidate.verdict, candidate.name
    reason = verdict.reason if verdict else "The gate has not looked at it."
    parts = (sentence(gain(report, candidate, words), name), sentence(reason, name), needed(candidate))
    return tuple(part for part in parts if part)


def figures(candidate: Candidate, check: Check) -> tuple[str, str]:
    """What a check saw and its threshold. Evidence travels as a logarithm and is shown as growth."""
    lift = candidate.lift
    bets = () if lift is None else (lift.peak_log_e, lift.reverse_peak_log_e)
    if check.name in {"lift", "harm"} and isinstance(check.threshold, float) and check.observed in bets:
        return growth(float(check.observed)), growth(check.threshold)  # type: ignore[arg-type]
    return figure(check.observed), figure(check.threshold)


def bar(report: Report, candidate: Candidate) -> float | None:
    """ln of what this candidate's evidence has to grow to: the gate's own threshold, else ln(1/α)."""
    for check in candidate.verdict.checks if candidate.verdict else ():
        evidence = candidate.lift is not None and check.observed == candidate.lift.peak_log_e
        if check.name == "lift" and evidence and isinstance(check.threshold, int | float):
            return float(check.threshold)
    return math.log(1 / report.alpha) if report.alpha else None


def kind(name: str) -> str:
    """The name of a check or a finding, as a heading: "max_weight_share" → "Max weight share"."""
    return sentence(name.replace("_", " ")).rstrip(".")


def reason(e: Estimate) -> str:
    """Why an interval is refused."""
    return e.notes[0].removeprefix("no interval: ") if e.notes else "the log cannot carry an interval"


# Artifact kind → sums that must hold between its counts: whole = parts.
SUMS = {
    "log": (("rows", ("decisions", "outcome_rows", "duplicates", "quarantined")),),
    "dataset": (
        ("decisions", ("steps", "pending", "quarantined")),
        ("outcomes", ("joined", "duplicates", "late", "early", "orphans", "waiting")),
    ),
}


def accounts(manifest: Manifest) -> tuple[tuple[bool, str], ...]:
    """Whether the counts of a log or a dataset add up, and the sum in words: every row went somewhere."""
    counts, lines = manifest.counts, []
    for whole, parts in SUMS.get(manifest.kind, ()):
        known = [part for part in parts if part in counts]
        if whole not in counts or not known:
            continue
        terms = [f"{count(counts[part])} {part.replace('_', ' ')}" for part in known if counts[part]] or ["nothing"]
        adds_up = counts[whole] == sum(counts[part] for part in known)
        lines.append((adds_up, f"{count(counts[whole])} {whole} {'=' if adds_up else '≠'} {' + '.join(terms)}"))
    return tuple(lines)


def reasons(manifest: Manifest) -> str:
    """Why rows were quarantined: "propensity 50, action 3"."""
    found = {name.partition(".")[2]: n for name, n in manifest.counts.items() if name.startswith("quarantined.") and n}
    return ", ".join(f"{name.replace('_', ' ')} {count(n)}" for name, n in found.items())
