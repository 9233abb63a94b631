"""A loop in plain words: the sentences that its page and its Markdown share."""

from __future__ import annotations

from collections import Counter

from understudy.report.loop_model import Arm, LoopRow, LoopStory
from understudy.report.words import OUTCOMES, Words, count, level

MARKS = {"ship": "✓", "hold": "■", "not_enough_evidence": "…", "refused": "✗"}
KINDS = {"install": "Installed", "promote": "Promoted", "override": "Made live without a proof",
         "rollback": "Rolled back"}  # fmt: skip


def spoken(story: LoopStory) -> Words:
    """How this story's figures are spoken: three decimals of a reward in [0, 1], alike for other ranges."""
    low, high = story.problem.reward_range
    places = next((p for p in range(7) if (high - low) * 10**p >= 1000), 6)
    return Words(places, "decision" if story.problem.bandit else "episode")


def outcome(row: LoopRow) -> str:
    """The verdict of a turn; what happened instead where there was none."""
    return OUTCOMES.get(row.outcome, row.outcome) if row.outcome else "Nobody was judged"


def who(story: LoopStory, id: str) -> str:
    """What people call a policy; else the beginning of its id, where it is one."""
    if not id:
        return "nobody"
    return story.names.get(id, id[:8] if len(id) > 12 else id)


def headline(story: LoopStory) -> str:
    """What the first arm earned."""
    if not story.arms:
        return "Nothing was run."
    first = story.arms[0]
    return f"{first.name} earned {spoken(story).reward(first.mean)} per {spoken(story).per}."


def lede(story: LoopStory) -> tuple[str, ...]:
    """What it is held against, and what the gate did."""
    words, said = spoken(story), []
    against = [f"{mark.name} {words.reward(mark.overall)}" for mark in story.marks if mark.overall is not None]
    against += [f"{arm.name} {words.reward(arm.mean)}" for arm in story.arms[1:]]
    if against:
        said.append(f"To compare with: {', '.join(against)}.")
    return (*said, *(deeds(arm) for arm in story.arms[:1] if arm.rows))


def deeds(arm: Arm) -> str:
    """How often an arm's gate said what, and how often who is live changed."""
    verdicts = Counter(row.outcome for row in arm.rows if row.outcome)
    said = ", ".join(f"{OUTCOMES.get(name, name).lower()} {count(n)}" for name, n in verdicts.most_common())
    promoted = sum(row.promoted for row in arm.rows)
    turns = f"{count(len(arm.rows))} turn{'s' * (len(arm.rows) != 1)}"
    first = f"{turns}, {count(sum(verdicts.values()))} verdicts{': ' + said if said else ''}."
    return f"{first} {count(promoted)} candidate{'s' * (promoted != 1)} went live."


def alone(arm: Arm) -> str:
    """The mean over the last decisions, where it was asked for: "0.991 over the last 1,000"."""
    return "" if arm.last is None else f"over the last {count(arm.last_n)}"


def sure(row: LoopRow) -> str:
    """At which confidence a turn's bound holds."""
    return "" if row.lift is None else level(row.lift.level)
