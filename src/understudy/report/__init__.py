"""Frozen results → one self-contained page, pictures, Markdown, JSON. Computes nothing."""

from __future__ import annotations

from pathlib import Path

from understudy.report.model import Candidate, Report

__all__ = ["Candidate", "Report", "write_report"]


def write_report(report: Report, folder: Path) -> Path:
    """Write ``report.html``, ``report.md``, ``report.json`` and ``pictures/*.png``. Equal reports, equal bytes.

    Args:
        folder: made if absent; files of an earlier report in it are replaced.

    Returns the path of ``report.html``, which needs none of the other files.
    """
    from understudy.report import canvas
    from understudy.report.html import to_html
    from understudy.report.pictures import WIDE, pictures
    from understudy.report.text import to_json, to_markdown

    drawn = pictures(report)
    gallery = folder / "pictures"
    gallery.mkdir(parents=True, exist_ok=True)
    for old in gallery.glob("*.png"):
        old.unlink()
    for picture in drawn:
        with canvas.style():
            (gallery / f"{picture.name}.png").write_bytes(canvas.png(picture.draw(WIDE), picture.title))
    (folder / "report.json").write_bytes(to_json(report))
    (folder / "report.md").write_text(to_markdown(report), encoding="utf-8", newline="\n")
    page = folder / "report.html"
    page.write_text(to_html(report, drawn), encoding="utf-8", newline="\n")
    return page
