"""Figures laid out in pixels, and turned into SVG for pages (themed, deterministic) or PNG for files."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from understudy.report.palette import LIGHT
from understudy.report.words import tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],  # ships with matplotlib: text measures the same on every machine
    "font.size": 12,
    "text.color": LIGHT["ink"],
    "text.parse_math": False,  # names come from data; "$" is a dollar
    "axes.edgecolor": LIGHT["rule"],
    "axes.labelcolor": LIGHT["muted"],
    "axes.labelsize": 12,
    "axes.linewidth": 1.0,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT["rule"],
    "grid.linewidth": 0.8,
    "xtick.color": LIGHT["rule"],
    "ytick.color": LIGHT["rule"],
    "xtick.labelcolor": LIGHT["muted"],
    "ytick.labelcolor": LIGHT["muted"],
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 12,
    "svg.fonttype": "none",  # text stays text: readable by screen readers, in the page's own font
    "svg.hashsalt": "understudy",  # equal pictures, equal bytes
    "path.simplify": True,
    "savefig.facecolor": "none",
}


@contextmanager
def style() -> Iterator[None]:
    """The house style, untouched by and not touching the user's own matplotlib settings."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Glyph .* missing"
        )  # a PNG shows a box; the page's fonts may do better
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def sheet(width: float, height: float) -> Figure:
    """An empty figure of that many pixels; one point is one pixel."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(width / 72, height / 72), dpi=72)
    FigureCanvasAgg(drawing)
    return drawing


def place(drawing: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place counted in pixels from the top left corner."""
    w, h = drawing.get_size_inches() * 72
    return drawing.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))


def write(drawing: Figure, left: float, top: float, text: str, **kwargs) -> None:
    """Text whose baseline starts at a place counted in pixels from the top left corner."""
    w, h = drawing.get_size_inches() * 72
    drawing.text(left / w, 1 - top / h, text, **kwargs)


def svg(drawing: Figure, name: str, alt: str) -> str:
    """Inline SVG: no prologue, no addresses, ids private to ``name``, colors as CSS variables of the page."""
    raw = io.BytesIO()
    drawing.savefig(raw, format="svg")
    root = ElementTree.fromstring(raw.getvalue())
    used = set(re.findall(rb'(?:url\(|href=")#([\w.-]+)', raw.getvalue()))
    width, height = (round(float(v)) for v in drawing.get_size_inches() * 72)
    clean = ElementTree.Element(
        "svg",
        {"class": "picture", "role": "img", "aria-label": tidy(alt), "viewBox": f"0 0 {width} {height}"}
        | {"width": str(width), "height": str(height)},
    )
    for part in root:
        if not part.tag.endswith("metadata"):
            _copy(part, clean, name, {value.decode() for value in used})
    return ElementTree.tostring(clean, encoding="unicode")


def svg_file(drawing: Figure, name: str, title: str, alt: str) -> str:
    """A file of its own, on white paper with its title above; what reads no CSS variables reads it too."""
    width, height = (round(float(v)) for v in drawing.get_size_inches() * 72)
    inside = svg(drawing, name, alt).partition(">")[2].removesuffix("</svg>")
    inside = re.sub(r"var\(--(\w+)\)", lambda match: LIGHT[match[1]], inside)
    head = ElementTree.Element(
        "text", {"x": "0", "y": "-22", "font-size": "14", "font-weight": "700", "fill": LIGHT["ink"]}
    )
    head.text = tidy(title, 72)
    spoken = ElementTree.Element("title")
    spoken.text = tidy(alt)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'viewBox="-20 -52 {width + 40} {height + 68}" width="{width + 40}" height="{height + 68}" '
        f'font-family="system-ui, Helvetica, Arial, sans-serif">{ElementTree.tostring(spoken, encoding="unicode")}'
        f'<rect x="-20" y="-52" width="100%" height="100%" fill="#ffffff"/>'
        f"{ElementTree.tostring(head, encoding='unicode')}{inside}</svg>\n"
    )


def png(drawing: Figure, title: str) -> bytes:
    """PNG on white paper at twice the size with its title above, the same bytes for the same figure."""
    from matplotlib.transforms import Bbox

    width, height = drawing.get_size_inches() * 72
    drawing.text(0, 1 + 22 / height, tidy(title, 72), fontsize=14, weight="bold", color=LIGHT["ink"])
    frame = Bbox.from_extents(-20 / 72, -16 / 72, (width + 20) / 72, (height + 52) / 72)
    raw = io.BytesIO()
    drawing.savefig(raw, format="png", dpi=144, facecolor="#ffffff", bbox_inches=frame, metadata={"Software": None})
    return raw.getvalue()


_NAMES = {value: name for name, value in LIGHT.items()}


def _copy(node: ElementTree.Element, into: ElementTree.Element, name: str, used: set[str]) -> None:
    """Copy a node without namespaces, unused ids, idle groups and matplotlib's page-wide style sheet."""
    tag = node.tag.rpartition("}")[2]
    if tag == "style":
        return
    attributes = {}
    for key, value in node.attrib.items():
        key = key.rpartition("}")[2]
        if (key == "id" and value not in used) or value.startswith("rotate(-0 "):
            continue
        attributes[key] = _attribute(key, value, name)
    idle = tag in {"g", "defs"} and not attributes
    if idle and tag == "defs" and not len(node):
        return
    target = into if idle and tag == "g" else ElementTree.SubElement(into, tag, attributes)
    if target is not into:
        target.text = node.text.strip() if node.text and tag in {"text", "tspan"} else None
    for child in node:
        _copy(child, target, name, used)


def _attribute(key: str, value: str, name: str) -> str:
    """One attribute as the page wants it: private ids, theme colors, the page's font, coordinates to 0.01 px."""
    if key == "id":
        return f"{name}-{value}"
    if key == "style":
        value = re.sub(r"font: (?:(bold|\d+) )?([\d.]+)px [^;]*", _spell_font, value)
        rules = [rule for rule in value.split("; ") if not rule.startswith("font-family")]
        return re.sub(r"#[0-9a-f]{6}", lambda m: f"var(--{_NAMES[m[0]]})" if m[0] in _NAMES else m[0], ";".join(rules))
    value = re.sub(r"^(url\()?#", rf"\g<1>#{name}-", value) if key in {"clip-path", "href"} else value
    if key in {"d", "x", "y", "transform", "width", "height"}:
        value = re.sub(r"-?\d+\.\d+", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), value)
        return " ".join(value.split())
    return value


def _spell_font(match: re.Match[str]) -> str:
    """The shorthand that older matplotlib writes, in the longhand of newer ones."""
    return f"font-weight: {match[1] or 400}; font-size: {match[2]}px"
