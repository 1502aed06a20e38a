"""The labels of the chart's bars can be read: 4.5 to 1 in both themes. Tools that check pages do not look into charts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tconnectsync_web

CSS = (Path(tconnectsync_web.__file__).parent / "static" / "page.css").read_text(encoding="utf-8")
THEMES = [
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", root)) for root in re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
]
LIGHT, DARK = THEMES[:2]
RULES = re.findall(r"([^{}]+)\{([^{}]*)\}", CSS)
Colour = tuple[float, float, float]


def declared(selector: str, name: str) -> str:
    """The value that the last rule for exactly this selector gives."""
    found = [
        value
        for selectors, body in RULES
        if selector in [each.strip() for each in selectors.split(",")]
        for value in re.findall(rf"(?:^|[ ;]){name}: ([^;]+)", body)
    ]
    return str(found[-1]) if found else ""


def colour(declaration: str, theme: dict[str, str]) -> Colour:
    digits = {**LIGHT, **theme}[declaration.removeprefix("var(--").removesuffix(")")]
    red, green, blue = (int(digits[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return red, green, blue


def luminance(of: Colour) -> float:
    red, green, blue = (each / 12.92 if each <= 0.03928 else ((each + 0.055) / 1.055) ** 2.4 for each in of)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("kind", ["sleep", "exercise", "eating_soon", "suspended"])
def test_words_on_a_bar_can_be_read(kind: str, theme: dict[str, str]) -> None:
    share = float(declared(".band", "opacity"))
    bar, card = colour(declared(f".band.{kind}", "fill"), theme), colour("var(--card)", theme)
    behind = luminance(tuple(share * one + (1 - share) * other for one, other in zip(bar, card, strict=True)))  # type: ignore[arg-type]
    words = declared(f".chart .band-label.{kind}", "fill") or declared(".chart .band-label", "fill")
    low, high = sorted((behind, luminance(colour(words, theme))))
    assert (high + 0.05) / (low + 0.05) >= 4.5
