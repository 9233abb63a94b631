"""Colors, once: the page's CSS variables and the pictures' ink. Every text pair is checked for contrast by a test."""

from __future__ import annotations

# Names are roles. The light hexes are unique, so a picture's hex can be traded for its CSS variable.
LIGHT = {
    "paper": "#fcfbf9",
    "card": "#fffffe",
    "ink": "#1b1f24",
    "muted": "#59616c",
    "rule": "#e2dfd9",
    "wash": "#f3f1ec",
    "data": "#2b5c9e",
    "band": "#c9d8ec",
    "quiet": "#9aa2ad",
    "truth": "#b8470f",
    "ship": "#1a7044",
    "hold": "#8a5a00",
    "wait": "#3f5f7f",
    "refused": "#ad2a22",
}
DARK = {
    "paper": "#14171a",
    "card": "#1b1f23",
    "ink": "#e8eaed",
    "muted": "#a3abb5",
    "rule": "#343a41",
    "wash": "#23282d",
    "data": "#7fb0ee",
    "band": "#2b4566",
    "quiet": "#6f7985",
    "truth": "#f29a63",
    "ship": "#63c793",
    "hold": "#e0b04c",
    "wait": "#9dbbdb",
    "refused": "#f28b82",
}

# Verdict outcome → role.
TONE = {"ship": "ship", "hold": "hold", "not_enough_evidence": "wait", "refused": "refused"}


def css(palette: dict[str, str]) -> str:
    """The palette as CSS variable declarations."""
    return "".join(f"--{name}:{value};" for name, value in palette.items())
