"""The page: one document, style and script inside, and a policy under which the browser loads nothing else."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

_FOLDER = Path(__file__).parent
_STYLE, _SCRIPT = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))


def _source(text: str) -> str:
    """The one inline block that the browser may use: by its hash, so that nothing injected runs."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


PAGE = (
    (_FOLDER / "page.html").read_text(encoding="utf-8").replace("/*style*/", _STYLE).replace("/*script*/", _SCRIPT)
).encode()

HEADERS = (
    (
        b"content-security-policy",
        f"default-src 'none'; script-src {_source(_SCRIPT)}; style-src {_source(_STYLE)}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'".encode(),
    ),
    (b"referrer-policy", b"no-referrer"),
)
