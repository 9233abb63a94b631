"""A report as a folder: the page, the same in words and as data, and every picture as PNG and SVG."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from understudy.core.hashing import canonical
from understudy.report import canvas
from understudy.report.pictures import WIDE


def write_folder(folder: Path, content: Any, *, pictures: Iterable[Any], markdown: str, html: str) -> Path:
    """Write ``report.html``, ``report.md``, ``report.json``, ``pictures/*.png`` and ``*.svg``. Equal in, equal out.

    Args:
        folder: made if absent; files of an earlier report in it are replaced.
        content: what becomes ``report.json``. pictures: with ``name``, ``title``, ``alt`` and ``draw(width)``.

    Returns the path of ``report.html``, which needs none of the other files.
    """
    gallery = folder / "pictures"
    gallery.mkdir(parents=True, exist_ok=True)
    for old in [*gallery.glob("*.png"), *gallery.glob("*.svg")]:
        old.unlink()
    for picture in pictures:
        with canvas.style():
            (gallery / f"{picture.name}.png").write_bytes(canvas.png(picture.draw(WIDE), picture.title))
            drawn = canvas.svg_file(picture.draw(WIDE), picture.name, picture.title, picture.alt)
            (gallery / f"{picture.name}.svg").write_text(drawn, encoding="utf-8", newline="\n")
    (folder / "report.json").write_bytes(canonical(content) + b"\n")
    (folder / "report.md").write_text(markdown, encoding="utf-8", newline="\n")
    page = folder / "report.html"
    page.write_text(html, encoding="utf-8", newline="\n")
    return page
