"""Elements of SVG as markup. Attribute values and texts are escaped."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

Shapes = Iterable[Markup]


def element(name: str, *children: object, **attributes: object) -> Markup:
    """Return ``<name …>children</name>``. ``class_`` is ``class``, other underscores are hyphens; None is left out."""
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(str(escape(child)) for child in children)
    return Markup(f"<{name}{words}>{inside}</{name}>" if inside else f"<{name}{words}/>")  # noqa: S704 - escaped above


def group(class_: str, shapes: Shapes) -> Markup:
    """Return a group; empty markup without shapes."""
    inside = list(shapes)
    return element("g", *inside, class_=class_) if inside else Markup("")


def rect(
    x: float, y: float, width: float, height: float, class_: str, title: str | None = None, rx: float | None = None
) -> Markup:
    """Return a rectangle; ``title`` is shown when the pointer rests on it."""
    children = () if title is None else (element("title", title),)
    return element("rect", *children, x=x, y=y, width=max(0.0, width), height=max(0.0, height), rx=rx, class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """Return a line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def text(x: float, y: float, words: str, class_: str = "label", anchor: str | None = None) -> Markup:
    """Return a text. ``anchor``: middle or end; None: ``x`` is its start."""
    return element("text", words, x=x, y=y, class_=class_, text_anchor=anchor)


def number(value: float) -> str:
    """A coordinate with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")


def _text(value: object) -> str:
    return number(value) if isinstance(value, float) else str(value)
