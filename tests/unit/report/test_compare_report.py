"""The report of a comparison: its figures on page, Markdown and terminal, its pictures drawn from them, and no more."""

import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import pytest

from understudy.report import canvas
from understudy.report.compare import compare_lines, compare_markdown, write_comparison
from understudy.report.compare_model import Comparison, Line, Number, Pair, Panel, Result
from understudy.report.compare_pictures import compare_pictures
from understudy.report.compare_words import chance, headline, p_value, seeds
from understudy.report.pictures import NARROW, WIDE

T0 = 1_790_000_000_000_000
HOSTILE = "<script>alert('x')</script>|`*"


def result(arm: str, value: float, **more) -> Result:
    number = Number(value, value - 4.25, value + 3.75)
    fields = {"setting": "rate=0.01", "settings": 6, "seeds": (3, 4, 5), "scores": (value - 6, value, value + 9),
              "mean": Number(value + 1, value - 3, value + 5), "median": number, "iqm": number,
              "chosen_at": value + 12.5, "optimism": 11.5}  # fmt: skip
    return Result(arm=arm, task="pole", **(fields | more))


RESULTS = (result("first", 91.25), result(HOSTILE, 42.5, failed=(4,), missing=(6,)), result("third", -17.75))
PAIRS = (
    Pair("first", HOSTILE, "pole", 3, Number(48.75, 20.25, 77.25), 0.001, 0.003, Number(1.0, 0.56, 1.0)),
    Pair("first", "third", "pole", 3, Number(9.0, -9.5, 27.5), 0.2, 0.4, Number(0.7, 0.2, 0.95)),
    Pair(HOSTILE, "third", "pole", 1, note="they share 1 of the seeds, two are needed"),
)
CURVES = (Panel("pole", (Line("first", (1000.0, 2000.0), (3.0, 7.0), (2.0, 6.0), (4.0, 8.0)),)),)
PROFILES = (Panel("pole", tuple(Line(r.arm, (0.0, 50.0), (1.0, 0.25), (0.9, 0.1), (1.0, 0.5)) for r in RESULTS)),)
FIELDS = (
    Panel("settings.rate", (Line("first", (0.01, 1.0), (5.0, 9.0)),), dots=((0.01, 4.0), (1.0, 9.0)), log=True),
    Panel("settings.kind", (Line("third", (0.0, 1.0), (5.0, 9.0)),), labels=("grid", "ring"), dots=((0.0, 4.0),)),
)
COMPARISON = Comparison(
    title="study", metric="return", statistic="iqm", mode="fresh", level=0.95, tasks=("pole",),
    arms=tuple(r.arm for r in RESULTS), select=(0, 1, 2), fresh=(3, 4, 5), failures="0", results=RESULTS,
    overall=RESULTS, pairs=PAIRS, claims=(("first", HOSTILE, "pole"),), curves=CURVES, profiles=PROFILES,
    sensitivity=FIELDS, scales=(), notes=(f"{HOSTILE}: 1 of 3 runs failed",), generated=T0, code_version="9.9",
    commands=("understudy compare study --select 0:3",), curve="evaluation",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_comparison(COMPARISON, tmp_path_factory.mktemp("comparison")).parent


def text(folder: Path) -> str:
    page = (folder / "report.html").read_text()
    return " ".join(unescape(re.sub(r"<style.*?</style>|<[^>]+>", " ", page, flags=re.S)).split())


@pytest.mark.parametrize(
    "told",
    ["91.2 (87.0 to 95.0)", "+48.8 (+20.2 to +77.2)", "0.003", "1.00 (0.56 to 1.00)", "3 runs, 1 failed, 1 missing",
     "rate=0.01", "+11.5", "103.8"],
)  # fmt: skip
def test_every_figure_is_told(folder: Path, told: str) -> None:
    """Values with their ends, adjusted p, chances, failures, settings and optimism: on the page and in Markdown."""
    assert told in text(folder)
    assert told in compare_markdown(COMPARISON)


def test_names_cannot_break_anything(folder: Path) -> None:
    """A learner called as markup is text: on the page, in Markdown, in pictures, on a terminal."""
    page = (folder / "report.html").read_text()
    assert "<script" not in page and HOSTILE in text(folder)
    assert "<script" not in compare_markdown(COMPARISON)
    for path in (folder / "pictures").glob("*.svg"):
        assert ElementTree.fromstring(path.read_text()).tag == "{http://www.w3.org/2000/svg}svg"
    assert all(line.isprintable() for line in compare_lines(replace(COMPARISON, notes=("a\x1b[31mb",))))


def test_the_page_loads_nothing(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert "default-src 'none'" in page and not re.search(r'(src|href)="(?!#)', page)


def test_equal_comparisons_are_equal_bytes(folder: Path, tmp_path: Path) -> None:
    """Page, Markdown, JSON, PNG and SVG; and pictures of an earlier report are gone."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "old.svg").write_text("")
    write_comparison(COMPARISON, tmp_path)
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    pictures = ("curves-0", "differences", "profiles-0", "results-0", "sensitivity-0", "sensitivity-1")
    assert names == [*(f"pictures/{p}.{kind}" for p in pictures for kind in ("png", "svg")),
                     "report.html", "report.json", "report.md"]  # fmt: skip
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_a_file_of_its_own_needs_no_page(folder: Path) -> None:
    """No variable of a page is left in an SVG file; its title and its words are inside."""
    for path in (folder / "pictures").glob("*.svg"):
        assert "var(--" not in path.read_text() and "<title>" in path.read_text()
    assert "Differences between learners" in (folder / "pictures" / "differences.svg").read_text()


def test_the_headline_claims_what_is_proven_and_no_more() -> None:
    """All others beaten, some, none; one learner alone; and never on the seeds that chose."""
    assert headline(COMPARISON) == "No learner beats all others; 1 of 3 differences is proven."
    best = replace(COMPARISON, claims=(("first", HOSTILE, "pole"), ("first", "third", "pole")))
    assert headline(best) == "first is better than every other learner."
    assert headline(replace(COMPARISON, claims=())) == "No difference between learners is proven."
    assert headline(replace(best, mode="same")) == "No learner is judged: the same seeds chose and reported."
    assert headline(replace(COMPARISON, arms=("first",), claims=())) == "One learner, at its best setting."
    elsewhere = (*PAIRS, replace(PAIRS[1], task="other"))
    assert headline(replace(best, pairs=elsewhere)).startswith("No learner beats all others")


def test_pictures_are_drawn_from_the_figures() -> None:
    """Ends of intervals, runs as dots, a proven difference in green, curves and bands through their points."""
    drawn = {picture.name: picture for picture in compare_pictures(COMPARISON)}
    assert "first 91.2 (87.0 to 95.0)" in drawn["results-0"].alt
    with canvas.style():
        for width in (WIDE, NARROW):
            rows = drawn["results-0"].draw(width).axes[0]
            spans = [tuple(map(float, line.get_xdata())) for line in rows.lines]
            assert (87.0, 95.0) in spans and (85.25, 91.25, 100.25) in spans
            spans = {
                tuple(map(float, line.get_xdata())): line.get_color()
                for line in drawn["differences"].draw(width).axes[0].lines
            }
            assert spans[20.25, 77.25] == canvas.LIGHT["ship"] and spans[-9.5, 27.5] == canvas.LIGHT["data"]
            curve = drawn["curves-0"].draw(width).axes[0]
            assert [tuple(line.get_ydata()) for line in curve.lines] == [(3.0, 7.0)] and len(curve.collections) == 1
            assert drawn["sensitivity-0"].draw(width).axes[0].get_xscale() == "log"
            ticks = drawn["sensitivity-1"].draw(width).axes[0].get_xticklabels()
            assert [tick.get_text() for tick in ticks] == ["grid", "ring"]


def test_one_failure_does_not_squash_the_rest() -> None:
    """A run far below is an arrow head at the picture's edge."""
    far = replace(COMPARISON, results=(result("a", 90.0, scores=(-9000.0, 90.0)),), overall=())
    with canvas.style():
        axes = next(p for p in compare_pictures(far) if p.name == "results-0").draw(WIDE).axes[0]
        assert axes.get_xlim()[0] > 50
        assert [line.get_marker() for line in axes.lines if line.get_color() == canvas.LIGHT["refused"]] == ["<"]


def test_twenty_learners_are_drawn_with_the_best() -> None:
    """Of 190 pairs those of the first in rank; the table holds all."""
    arms = [f"a{i:02}" for i in range(20)]
    pairs = tuple(
        Pair(a, b, "pole", 3, Number(1.0, 0.0, 2.0), 0.5, 0.5) for i, a in enumerate(arms) for b in arms[i + 1 :]
    )
    many = replace(COMPARISON, arms=tuple(arms), overall=tuple(result(a, 9.0) for a in arms), pairs=pairs, claims=())
    with canvas.style():
        drawing = next(p for p in compare_pictures(many) if p.name == "differences").draw(WIDE)
    names = [label.get_text() for label in drawing.texts if "−" in label.get_text()]
    assert len(names) == 16 and all(name.startswith("a00 −") for name in names)


def test_words() -> None:
    assert (p_value(0.0004), p_value(0.0421), p_value(None)) == ("< 0.001", "0.042", "–")
    assert chance(Number(0.5)) == "0.50" and seeds((3,)) == "seed 3"
    assert seeds((3, 4, 5)) == "3 seeds (3 to 5)" and seeds((1, 5)) == "2 seeds (1, 5)"


BROWSER = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine: the page was not opened")
def test_the_page_fits_a_telephone(folder: Path, tmp_path: Path) -> None:
    """At 400 pixels nothing sticks out sideways (a script in a copy without its content policy measures that)."""
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", (folder / "report.html").read_text())
    probe = "<script>document.title = 'wide ' + document.documentElement.scrollWidth + ' of ' + innerWidth</script>"
    copy = tmp_path / "copy.html"
    copy.write_text(page.replace("</body>", f"{probe}</body>"))
    assert BROWSER is not None
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
             "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}",
             "--host-resolver-rules=MAP * ~NOTFOUND", "--disable-dev-shm-usage", "--dump-dom",
             "--window-size=400,900")  # fmt: skip
    done = subprocess.run([BROWSER, *flags, copy.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<title>wide (\d+) of (\d+)</title>", done.stdout)
    assert found is not None and int(found[1]) <= int(found[2]) <= 500
