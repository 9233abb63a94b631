"""Pictures: drawn at any width, the same bytes every time, and no name can break them."""

import math
import re
from dataclasses import replace
from xml.etree import ElementTree

import msgspec
import pytest

from understudy.core.evidence import Estimate
from understudy.core.summary import Histogram
from understudy.report import Report, canvas, forest, write_report
from understudy.report.pictures import NARROW, WIDE, pictures
from understudy.report.words import Words


def drawn(report: Report, name: str, width: int = WIDE) -> str:
    picture = next(p for p in pictures(report) if p.name == name)
    with canvas.style():
        return canvas.svg(picture.draw(width), name, picture.alt)


def texts(svg: str) -> list[str]:
    return [node.text or "" for node in ElementTree.fromstring(svg).iter("text")]


def test_every_picture_that_was_promised_is_there(report: Report) -> None:
    """Forest plots, evidence, weights, overlap, reward over time, action shares."""
    names = [p.name for p in pictures(report)]
    assert names == ["differences", "values", "evidence", "weights", "overlap", "rewards", "actions"]


def test_the_forest_groups_by_policy_best_verdict_first_incumbent_last(report: Report) -> None:
    """Groups in order, an estimate per row, with value and interval in figures."""
    shown = texts(drawn(report, "values"))
    order = [shown.index(name) for name in ("trees", "linear", "fixed_3", "current")]
    assert order[:3] == sorted(order[:3])
    assert shown.count("current") == 2  # the line's label, and the incumbent's own group
    assert {"dr", "0.912", "0.901 to 0.923"} <= set(shown)  # 0.9123 ± 0.0112


def test_the_forest_marks_the_truth_only_where_it_is_known(report: Report) -> None:
    """A legend for the truth appears with the truth, and not without."""
    assert "◆ truth, known here" in texts(drawn(report, "values"))
    hidden = replace(report, candidates=tuple(replace(c, truth=None) for c in report.candidates))
    assert "◆ truth, known here" not in texts(drawn(hidden, "values"))


def test_a_refused_interval_is_drawn_as_such(report: Report) -> None:
    """The word and the reason stand where the interval would."""
    assert len([t for t in texts(drawn(report, "values")) if t.startswith("refused: ESS 2.1 is below 200")]) == 3


def test_one_enormous_interval_does_not_squash_the_others(report: Report) -> None:
    """The axis follows the typical interval; what runs off it ends in an arrow head."""
    trees = report.shipped[0]
    wild = msgspec.structs.replace(trees.estimates[0], low=-900.0, high=900.0)
    shown = replace(report, candidates=(replace(trees, estimates=(wild, *trees.estimates[1:])),))
    low, high = forest.limits(forest.values(shown, Words.of(shown)))
    assert -1 < low < high < 3


def test_limits_of_a_forest_without_intervals_are_finite() -> None:
    """All refused: there is still an axis to write on."""
    refused = Estimate(
        target="a", estimator="ips", value=1.0, std_error=None, low=None, high=None, level=0.95, method="jackknife",
        n_episodes=1, n_units=1, ess=1.0, max_weight_share=1.0, matched=0,
    )  # fmt: skip
    group = forest.Group("a", (refused,), None)
    assert forest.limits(forest.Forest((group,), None, "b", "value")) == (0.0, 1.0)
    low, high = forest.limits(forest.Forest((group,), 0.5, "b", "value"))
    assert low < 0.5 < high


def test_weights_say_ess_and_heaviest_row(report: Report) -> None:
    """Both numbers stand over the histogram they explain."""
    shown = texts(drawn(report, "weights"))
    assert "ESS 1,830 of 4,180, heaviest row 0.2\u202f%" in shown
    assert "ESS 2.1 of 4,180, heaviest row 69.0\u202f%" in shown


def test_overlap_names_what_the_log_never_tried(report: Report) -> None:
    """Unsupported shares stand beside their segment."""
    assert "none, 43.0\u202f% new" in texts(drawn(report, "overlap"))


def test_overlap_of_actions_never_logged_draws_and_long_lists_are_cut(report: Report) -> None:
    """Segments of no decisions have a place on the axis; of many segments the weakest are shown, and that is said."""
    first = report.challengers[0]
    assert first.diagnostics is not None
    row = msgspec.structs.replace(first.diagnostics.overlap[0], n=0, ess=0.0, unsupported=1.0)
    never = msgspec.structs.replace(first.diagnostics, overlap=(row,) * 30)
    shown = texts(drawn(replace(report, candidates=(replace(first, diagnostics=never),)), "overlap"))
    assert "the 12 weakest of 30" in shown
    assert len([t for t in shown if t.endswith("new")]) == 12


def test_overlap_leaves_out_what_the_candidate_would_never_do(report: Report) -> None:
    """An action that carries no weight and that the candidate never takes is no lack of overlap."""
    first = report.challengers[0]
    assert first.diagnostics is not None
    idle = msgspec.structs.replace(first.diagnostics.overlap[0], ess=0.0, unsupported=0.0)
    rest = first.diagnostics.overlap[1:]
    partial = msgspec.structs.replace(first.diagnostics, overlap=(idle, *rest))
    shown = texts(drawn(replace(report, candidates=(replace(first, diagnostics=partial),)), "overlap"))
    assert "free delivery" not in shown and "bundle" in shown
    nothing = msgspec.structs.replace(first.diagnostics, overlap=(idle,))
    names = [p.name for p in pictures(replace(report, candidates=(replace(first, diagnostics=nothing),)))]
    assert "overlap" not in names


def test_evidence_shows_both_bets_and_the_bar_to_clear(report: Report) -> None:
    """What was reached stands beside each bar; the thresholds stand at ± the gate's own; who is refused has none."""
    shown = texts(drawn(report, "evidence"))
    assert {"×10¹⁸", "×4.2", "×1"} <= set(shown)  # e^41.27, e^1.43, e^0
    picture = next(p for p in pictures(report) if p.name == "evidence")
    with canvas.style():
        axes = picture.draw(WIDE).axes[0]
    dashes = [tuple(line.get_xdata()) for line in axes.lines if line.get_linestyle() == "--"]
    assert dashes == [(x, x) for _ in range(3) for x in (-math.log(20), math.log(20))]
    assert "of ×20 needed" in picture.alt


ODD_NAMES = ["$x^$", "a\nb", "\x00\x1b", "漢字", "\u202ertl", "w" * 300, "%s {} \\", "<b>&amp;", " ", "--&gt;"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_no_name_can_break_a_picture(report: Report, width: int) -> None:
    """Dollar signs, control characters, foreign scripts and very long names draw without a warning."""
    named = tuple(
        replace(c, name=name, estimates=tuple(msgspec.structs.replace(e, target=name) for e in c.estimates[:3]))
        for c, name in zip(report.candidates * 2, ODD_NAMES)
    )
    for picture in pictures(replace(report, candidates=named)):
        with canvas.style():
            drawn = ElementTree.fromstring(canvas.svg(picture.draw(width), "p", picture.alt))
        assert drawn.tag.endswith("svg") and len(drawn)


def test_every_text_stays_inside_its_picture(report: Report) -> None:
    """No label runs off the sheet, wide or narrow."""
    for width in (WIDE, NARROW):
        for picture in pictures(report):
            with canvas.style():
                sheet = picture.draw(width)
                sheet.canvas.draw()
                edges = sheet.get_tightbbox()
            assert edges.x0 * 72 > -8, (picture.name, width)
            assert edges.x1 * 72 < width + 8, (picture.name, width)


def test_a_histogram_of_nothing_but_zero_weights_draws(report: Report) -> None:
    """A target that never agrees with the log has one gray bar and no error."""
    first = report.challengers[0]
    assert first.diagnostics is not None
    empty = Histogram(edges=first.diagnostics.weights.edges, counts=(4180, *([0] * 31)))
    lost = msgspec.structs.replace(first.diagnostics, weights=empty, ess=0.0)
    assert "ESS 0 of 4,180" in " ".join(
        texts(drawn(replace(report, candidates=(replace(first, diagnostics=lost),)), "weights"))
    )


def test_equal_reports_are_equal_bytes_whatever_the_users_style(report: Report, tmp_path) -> None:
    """Every file is the same twice, though the user's own plots look different in between; theirs stay untouched."""
    import matplotlib

    write_report(report, tmp_path / "a")
    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": "other", "axes.grid": True}):
        write_report(report, tmp_path / "b")
        assert matplotlib.rcParams["font.size"] == 30
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert {"report.html", "report.json", "report.md"} < {str(f) for f in files}
    assert len(files) == 10
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_pictures_of_an_earlier_report_do_not_linger(report: Report, tmp_path) -> None:
    """A second report in the same folder leaves no picture of the first."""
    write_report(report, tmp_path)
    write_report(replace(report, candidates=()), tmp_path)
    assert sorted(p.name for p in (tmp_path / "pictures").iterdir()) == ["rewards.png"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("span", [1, 7e7, 5e9, 9e10, 2e12, 3e13, 1e14, 1e15])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_time_has_a_few_labels_whatever_the_span(report: Report, span: float, width: int) -> None:
    """From a microsecond to thirty years: at least one and at most eight labels, all different."""
    start = report.log.first
    points = tuple(
        msgspec.structs.replace(p, time=start + int(span * i / 11)) for i, p in enumerate(report.log.rewards)
    )
    shown = replace(report, log=msgspec.structs.replace(report.log, rewards=points))
    picture = next(p for p in pictures(shown) if p.name == "rewards")
    with canvas.style():
        labels = [label.get_text() for label in picture.draw(width).axes[0].get_xticklabels()]
    assert 1 <= len(labels) <= 8
    assert len(set(labels)) == len(labels)


def test_png_files_are_not_blank(report: Report, tmp_path) -> None:
    """Each PNG has ink on it and is wide enough for a slide."""
    from matplotlib.image import imread

    write_report(report, tmp_path)
    for file in (tmp_path / "pictures").glob("*.png"):
        image = imread(file)
        assert image.shape[1] >= 1400, file.name
        assert (image[..., :3].min(-1) < 0.9).mean() > 0.003, file.name


def test_svg_carries_no_fonts_dates_or_addresses(report: Report) -> None:
    """Nothing of the machine that drew it."""
    svg = drawn(report, "rewards")
    assert not re.search(r"http|DejaVu|matplotlib|metadata", svg)
