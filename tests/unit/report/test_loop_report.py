"""The report of a loop: every figure of the story is on the page and in the Markdown, and nothing but the story's."""

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from understudy.core.evidence import Estimate, Lift
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.report import canvas
from understudy.report.loop import Arm, Change, Curve, LoopRow, LoopStory, loop_markdown, write_loop_report
from understudy.report.loop_pictures import loop_pictures, rolling
from understudy.report.loop_words import headline, lede, spoken
from understudy.report.pictures import NARROW, WIDE

T0 = 1_790_000_000_000_000
HOSTILE = "<script>alert('x')</script>|`*"


def estimate(value: float, *, refused: bool = False) -> Estimate:
    low, high = (None, None) if refused else (value - 0.031, value + 0.032)
    return Estimate(target="x", estimator="dr", value=value, std_error=0.0155, low=low, high=high, level=0.95,
                    method="jackknife", n_episodes=500, n_units=500, ess=90.0, max_weight_share=0.02,
                    matched=300)  # fmt: skip


def lift(mean: float, low: float) -> Lift:
    return Lift(candidate="c", incumbent="i", n=500, margin=0.0, log_e=5.0, peak_log_e=6.0, mean=mean, low=low,
                high=mean + 0.07, second_moment=0.1)  # fmt: skip


ROWS = (
    LoopRow(1, 500, 0.1437, hosted="first", candidate="aaaaaaaaaaaaaaaaaaaa", new=estimate(0.6111),
            old=estimate(0.1444), lift=lift(0.4667, 0.2089), outcome="ship", reason="proven better", promoted=True),
    LoopRow(2, 500, 0.6253, hosted="aaaaaaaaaaaaaaaaaaaa", candidate="bbbbbbbbbbbbbbbbbbbb", share=0.2,
            new=estimate(0.7777, refused=True), old=estimate(0.6123), lift=lift(0.0301, -0.0457),
            outcome="not_enough_evidence", reason="about 900 more decisions"),
    LoopRow(3, 500, 0.6191, hosted="aaaaaaaaaaaaaaaaaaaa", candidate="cccccccccccccccccccc", share=0.2,
            lift=lift(0.3333, 0.2222), outcome="refused", reason=f"the audit found {HOSTILE}"),
)  # fmt: skip
ON = Curve("gate on", "arm", (100, 800, 1500), (0.14, 0.52, 0.6321), (0.1, 0.4, 0.5), (0.2, 0.6, 0.7))
OFF = Curve("gate off", "arm", (100, 800, 1500), (0.15, 0.5, 0.6543))
STORY = LoopStory(
    title="Loops on digits",
    problem=Problem(features=(Feature(name="x"),), actions=ActionSpace(names=tuple("abcdefg"))),
    arms=(
        Arm("gate on", ON, 1500, 0.4627, 0.6102, 1000, rows=ROWS,
            changes=(Change(T0, "install", "first", "nobody was live"), Change(T0 + 60_000_000, "promote", "a" * 20))),
        Arm("gate off", OFF, 1500, 0.4711, seeds=20),
    ),
    generated=T0,
    marks=(Curve("oracle", "oracle", (100, 1500), (1.0, 1.0), overall=1.0),
           Curve("always d", "constant", (1500,), (0.12,), overall=0.1234)),
    names={"first": "the uniform policy"},
    band="95 % intervals",
    commands=("understudy loop loop.yaml",),
    code_version="9.9",
    seed=7,
)  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_loop_report(STORY, tmp_path_factory.mktemp("loop")).read_text()


def text(page: str) -> str:
    return " ".join(unescape(re.sub(r"<style.*?</style>|<[^>]+>", " ", page, flags=re.S)).split())


FIGURES = ("0.463", "0.610", "0.471", "1.000", "0.123", "0.144", "0.611", "+0.467", "+0.209", "−0.046", "0.625")


@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_of_the_story_is_told(page: str, figure: str) -> None:
    """Arms, marks, turns, estimates, gains and bounds: on the page and in the Markdown."""
    assert figure in text(page)
    assert figure in loop_markdown(STORY)


def test_what_was_refused_is_told_to_nobody(page: str) -> None:
    """No value without its interval, no lift of a refused verdict, neither in words nor in tables."""
    for told in (text(page), loop_markdown(STORY)):
        assert "0.778" not in told and "0.333" not in told and "0.222" not in told
        assert "refused" in told


def test_names_reasons_and_changes_are_told(page: str) -> None:
    """Ids are short or names; reasons are text and nothing else; who was live, since when, why."""
    said = text(page)
    assert "the uniform policy" in said and "aaaaaaaa" in said and "a" * 9 not in said
    assert "About 900 more decisions." in said and "Nobody was live." in said and "Promoted" in said
    assert HOSTILE in said and "<script" not in page
    assert "20.0 %" in said.replace("\u202f", " ")
    assert "understudy loop loop.yaml" in said and "seed 7" in said


def test_the_headline_says_what_it_earned_and_beside_what() -> None:
    """One sentence, then the comparison and what the gate did."""
    assert headline(STORY) == "gate on earned 0.463 per decision."
    said = " ".join(lede(STORY))
    assert "oracle 1.000, always d 0.123, gate off 0.471" in said
    assert "3 turns, 3 verdicts: ship 1, not enough evidence 1, refused 1. 1 candidate went live." in said


def test_equal_stories_are_equal_bytes(tmp_path: Path) -> None:
    """Page, Markdown, JSON and every picture; and what an earlier report left is gone."""
    for name in ("one", "two"):
        (tmp_path / name / "pictures").mkdir(parents=True)
        (tmp_path / name / "pictures" / "old.png").write_bytes(b"")
        write_loop_report(STORY, tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert [str(path) for path in files] == [
        "pictures/rolling.png", "pictures/turns-0.png", "report.html", "report.json", "report.md",
    ]  # fmt: skip
    for path in files:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()


def test_the_page_loads_nothing(page: str) -> None:
    """No address, no script, no file beside it."""
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="(?!#)', page)


def test_curves_are_drawn_where_the_story_says() -> None:
    """Both arms through their points, the band of the one that has one, the marks as lines; at both widths."""
    with canvas.style():
        for width in (WIDE, NARROW):
            axes = rolling(STORY, spoken(STORY), width).axes[0]
            lines = {tuple(line.get_ydata()) for line in axes.lines}
            assert {ON.mean, OFF.mean, (1.0, 1.0), (0.12, 0.12)} == lines
            assert len(axes.collections) == 1


def test_pictures_say_what_they_show() -> None:
    """Each picture's words carry the figures, for whoever does not see it; a turn that was not judged is not drawn."""
    drawn = {picture.name: picture for picture in loop_pictures(STORY, spoken(STORY))}
    assert list(drawn) == ["rolling", "turns-0"]
    assert "gate on ends at 0.632; gate off ends at 0.654; oracle ends at 1.000" in drawn["rolling"].alt
    assert "turn 1 ship; turn 2 not enough evidence; turn 3 refused" in drawn["turns-0"].alt
    with canvas.style():
        for picture in drawn.values():
            svg = canvas.svg(picture.draw(NARROW), picture.name, picture.alt)
            assert 'role="img"' in svg and "aria-label" in svg


def test_a_story_of_nothing_is_still_a_page(tmp_path: Path) -> None:
    """No arm, no turn, no mark: said, not broken."""
    empty = replace(STORY, arms=(), marks=())
    assert "Nothing was run." in text(write_loop_report(empty, tmp_path).read_text())
    alone = replace(STORY, arms=(replace(STORY.arms[0], rows=(), changes=()),), marks=())
    assert "No turn was recorded." in text(write_loop_report(alone, tmp_path).read_text())
