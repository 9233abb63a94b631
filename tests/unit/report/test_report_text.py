"""The report in Markdown, on a terminal, and as JSON."""

from dataclasses import replace

import msgspec

from understudy.report import Report
from understudy.report.text import to_json, to_markdown, to_text


def test_the_terminal_says_the_decision_first(report: Report) -> None:
    """Headline, a row per candidate, every check, the audit."""
    lines = to_text(report).splitlines()
    assert lines[0] == "Ship trees."
    assert [line.split()[0] for line in lines[3:7]] == ["trees", "linear", "fixed_3", "<script>alert('x')</script>"]
    assert sum(line.startswith(("  ✓", "  ✗")) for line in lines) == 32
    assert "  ✗ Lift: ×4.2 (threshold ×20)" in lines
    assert any("The audit found 1 thing" in line for line in lines)


def test_the_terminal_gets_no_control_characters(report: Report) -> None:
    """A name cannot color, clear or retitle the terminal."""
    odd = replace(report.challengers[0], name="a\x1b[2Jb")
    assert "\x1b" not in to_text(replace(report, candidates=(odd,)))


def test_markdown_tables_are_rectangular_and_names_are_inert(report: Report) -> None:
    """Every row of a table has as many cells as its head, and no name opens a tag or a link."""
    odd = replace(report.challengers[0], name="a|b [c](d) <img> `e`")
    text = to_markdown(replace(report, candidates=(odd, *report.challengers[1:])))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    widths = [line.replace("\\|", "").count("|") for line in rows]
    heads = [i for i, line in enumerate(rows) if set(line) <= set("|- ")]
    assert heads
    for head, stop in zip(heads, [h - 1 for h in heads[1:]] + [len(rows)]):
        assert len(set(widths[head - 1 : stop])) == 1
    assert "<img" not in text and "<script" not in text and "[c](" not in text


def test_json_holds_everything_and_is_sorted(report: Report) -> None:
    """Every estimate, check and figure of the report is there for machines; keys are in order."""
    raw = to_json(report)
    data = msgspec.json.decode(raw)
    assert list(data) == sorted(data)
    assert len(data["candidates"]) == 5
    assert data["candidates"][1]["verdict"]["outcome"] == "ship"
    assert [len(c["estimates"]) for c in data["candidates"]] == [7, 7, 7, 5, 7]
    assert msgspec.json.decode(raw, type=Report) == report
