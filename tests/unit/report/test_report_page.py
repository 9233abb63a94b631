"""The page: self-contained, escaped, accessible, the verdict first."""

import ast
import html
import re
import string
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from understudy.core.evidence import Check
from understudy.core.problem import ActionSpace
from understudy.report import Candidate, Report
from understudy.report.html import to_html
from understudy.report.palette import DARK, LIGHT
from understudy.report.pictures import pictures

ROOM = Path(__file__).parents[3] / "src" / "understudy" / "report"
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Outline(HTMLParser):
    """Elements in order, checked for nesting; text of the page without style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1] == tag, f"</{tag}> closes {self._open[-3:]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return to_html(report, pictures(report))


@pytest.fixture(scope="module")
def outline(page: str) -> Outline:
    return Outline(page)


def test_the_page_loads_nothing(page: str, outline: Outline) -> None:
    """No address, no script, no import, no source; a content policy forbids them besides."""
    assert not re.search(r"https?://", page)
    assert "@import" not in page
    assert set(re.findall(r"url\((.)", page)) <= {"#"}
    assert not {"script", "link", "iframe", "object", "embed", "img", "form"} & set(outline.tags)
    assert not [a for _, a in outline.attributes if "src" in a or any(name.startswith("on") for name in a)]
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    for _, attributes in outline.attributes:
        assert (attributes.get("href") or "#").startswith("#")


def test_every_link_and_clip_has_its_target_once(page: str, outline: Outline) -> None:
    """Ids are unique over all pictures, and everything referred to exists."""
    ids = [a["id"] for _, a in outline.attributes if "id" in a]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'(?:url\(|href=")#([\w.-]+)', page))
    assert used <= set(ids)


def test_names_from_data_are_escaped(page: str, outline: Outline) -> None:
    """A policy called <script> is text everywhere: prose, tables, pictures, alternative texts."""
    assert "<script" not in page.lower()
    assert "<script>alert('x')</script>" in outline.words
    assert "$\\frac{1}{0}$" in outline.words


def test_the_verdict_comes_first(page: str, outline: Outline) -> None:
    """The title, the only main heading and the first sentence are the decision; the sections keep their order."""
    assert outline.tags.count("h1") == 1
    assert "<h1>Ship trees.</h1>" in page
    assert page.index("trees earns 0.310") < page.index('id="verdict"')
    sections = re.findall(r'<section id="(\w+)"', page)
    assert sections == ["verdict", "sure", "support", "audit", "data", "lineage", "words"]


def test_every_check_shows_what_was_seen_and_its_threshold(page: str, report: Report) -> None:
    """Each of the 32 checks is a row with its mark, its figure, its threshold and its meaning."""
    rows = re.findall(r'aria-label="(passed|failed)">[✓✗]</span></td>\s*<th scope="row">([^<]+)</th>', page)
    checks: list[Check] = [k for c in report.challengers if c.verdict for k in c.verdict.checks]
    assert [mark == "passed" for mark, _ in rows] == [k.passed for k in checks]
    assert len(rows) == 32
    assert page.count('<td class="n">×10¹⁸</td><td class="n">×20</td>') == 1
    assert page.count('<td class="n">1,830</td><td class="n">100</td>') == 4


def test_a_refused_interval_says_so_and_why(outline: Outline) -> None:
    """In tables and in the forest plot: the word, and the reason."""
    assert "refused: ESS 2.1 is below 200: a few rows carry the estimate" in outline.words


def test_findings_name_effect_and_cure(outline: Outline) -> None:
    """What an audit found is told with its rows, its effect and its cure."""
    for part in ("Missing rewards by action", "131 rows", "decision_id=9f3c", "by at most 0.012", "--window 14d"):
        assert part in outline.words


def test_no_audit_is_not_a_clean_audit(report: Report) -> None:
    """None = nobody looked; () = somebody looked and found nothing."""
    assert "No audit was run" in to_html(replace(report, findings=None), ())
    assert "none gave cause to doubt" in to_html(replace(report, findings=()), ())


def test_pictures_and_tables_are_accessible(outline: Outline) -> None:
    """Every picture has its role and a text of figures; every header cell its scope; the page its language."""
    drawn = [a for tag, a in outline.attributes if tag == "svg"]
    assert len(drawn) == 14  # seven pictures, each for a wide and a narrow screen
    assert all(a["role"] == "img" and len(a["aria-label"] or "") > 30 for a in drawn)
    assert all(a.get("scope") in {"row", "col"} for tag, a in outline.attributes if tag == "th")
    assert ("html", {"lang": "en"}) in outline.attributes


def contrast(a: str, b: str) -> float:
    """(L₁ + 0.05) / (L₂ + 0.05) of relative luminances. Source: WCAG 2.2, definition of contrast ratio."""

    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("role", ["ink", "muted", "data", "truth", "ship", "hold", "wait", "refused"])
def test_text_can_be_read(palette: dict[str, str], role: str) -> None:
    """Every color that text is set in has contrast 4.5 : 1 or more on each ground (WCAG 2.2, AA)."""
    assert min(contrast(palette[role], palette[ground]) for ground in ("paper", "card", "wash")) >= 4.5


def test_pictures_follow_the_theme(page: str) -> None:
    """Inside pictures there is no fixed color: all are variables, set for light and for dark."""
    inside = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert not [found for svg in inside for found in re.findall(r"(?:fill|stroke): #\w+", svg)]
    assert set(re.findall(r"var\(--([\w]+)\)", page)) - {"tone"} <= set(LIGHT) == set(DARK)


NASTY = st.text(string.printable + "äß漢字🎟️\u202e\u0000<>&\"'`{}%", min_size=1, max_size=40)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NASTY, note=NASTY)
def test_no_name_can_break_the_page(report: Report, name: str, note: str) -> None:
    """Whatever a policy, an action, a check or a title is called, the page has the same elements."""
    assume(name not in {report.incumbent, report.shipped[0].name})
    first = report.challengers[0]
    assert first.verdict is not None
    checks = tuple(Check(name=note, observed=name, threshold=note, passed=True, why=name) for _ in range(2))
    candidate = replace(first, name=name, description=note, verdict=replace_struct(first.verdict, checks, note))
    changed = replace(report, title=name, subtitle=note, candidates=(candidate,), commands=(note,))
    plain = replace(candidate, name="a", description="b", verdict=replace_struct(first.verdict, checks, "c"))
    same = replace(report, title="t", subtitle="s", candidates=(plain,), commands=("c",))
    tags, expected = Outline(to_html(changed, ())).tags, Outline(to_html(same, ())).tags
    assert [tag for tag in tags if tag != "p"] == [tag for tag in expected if tag != "p"]  # blank prose has no <p>


def replace_struct(verdict, checks, reason):
    import msgspec

    return msgspec.structs.replace(verdict, checks=checks, reason=reason)


def test_a_report_of_almost_nothing_still_renders(report: Report) -> None:
    """No candidates, no findings, no lineage, no series: a short page, not an error."""
    log = replace_log(report)
    bare = Report(title="Nothing yet", problem=report.problem, log=log, candidates=(), incumbent="logged", generated=0)
    page = to_html(bare, pictures(bare))
    assert "No candidate has been judged yet." in page
    assert "<svg" not in page
    only = replace(bare, candidates=(Candidate("lonely"), Candidate("logged")))
    assert "The gate has not looked at it." in html.unescape(to_html(only, pictures(only)))


def replace_log(report: Report):
    import msgspec

    return msgspec.structs.replace(report.log, actions=(), rewards=())


def test_continuous_actions_and_episodes_have_their_words(report: Report) -> None:
    """A sequential problem with box actions speaks of episodes and of dimensions."""
    import msgspec

    box = msgspec.structs.replace(report.problem, actions=ActionSpace(low=(0.0,), high=(1.0,)), horizon=5)
    page = to_html(replace(report, problem=box), ())
    assert "1 continuous" in page
    assert "more per episode" in page
    assert "<dt>Episodes</dt>" in page


def test_the_room_computes_nothing_and_imports_only_core() -> None:
    """Reports take frozen results: no estimator, no gate, no data may be reached from here."""
    for path in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("understudy."):
                assert node.module.split(".")[1] in {"core", "report"}, f"{path.name}:{node.lineno}"  # type: ignore[union-attr]
