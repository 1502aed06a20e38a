"""Charts of the HTML file as inline SVG: the usual day as percentile curves, and time in range by hour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tconnectsync.statistics.glucose_counts import HALF_HOURS, TARGET_FROM, TARGET_TO, GlucoseCounts, TimeInRange
from tconnectsync.statistics.tables import PERCENTS
from tconnectsync.text.glucose_units import GlucoseUnits

WIDTH, HEIGHT = 960, 340
LEFT, RIGHT, TOP, BOTTOM = 48, 24, 12, 28
LOWEST, HIGHEST = 40.0, 350.0
TICKS = (54, 70, 180, 250, 350)
Point = tuple[float, float]
Values = tuple[float, ...]


def percentile_svg(glucose: GlucoseCounts, units: GlucoseUnits) -> str:
    """Return the curve of the median with the ranges of half and of nine tenths of the days."""
    curve = glucose.curve(PERCENTS)
    top, bottom = _y(TARGET_TO), _y(TARGET_FROM)
    target = f'x="{LEFT}" y="{top:.1f}" width="{WIDTH - LEFT - RIGHT}" height="{bottom - top:.1f}"'
    parts = [f'<rect class="target" {target}/>', *_grid(units)]
    for run in _runs(curve):
        for name, low, high in (("outer", 0, 4), ("inner", 1, 3)):
            edge = [*_points(run, high), *reversed(_points(run, low))]
            parts.append(f'<polygon class="{name}" points="{_text(edge)}"/>')
        parts.append(f'<polyline class="median" points="{_text(_points(run, 2))}"/>')
    label = f"Glucose by time of day in {units.label}: median, and the ranges of 50 and 90 percent of the readings"
    return _svg(label, HEIGHT, parts)


def hours_svg(hours: Sequence[TimeInRange | None]) -> str:
    """Return a stacked bar for each hour of the day: very low at the bottom, very high at the top."""
    height, slot = 150, (WIDTH - LEFT - RIGHT) / 24
    parts: list[str] = []
    for hour, shares in enumerate(hours):
        x, base = LEFT + hour * slot, float(height - BOTTOM)
        parts.append(f'<text class="axis" x="{x + slot / 2:.1f}" y="{height - 10}" text-anchor="middle">{hour}</text>')
        for name in ("very_low", "low", "target", "high", "very_high") if shares is not None else ():
            size = getattr(shares, name) / 100 * (height - BOTTOM - TOP)
            base -= size
            if size > 0:
                parts.append(
                    f'<rect class="{name}" x="{x + 1:.1f}" y="{base:.1f}" width="{slot - 2:.1f}" height="{size:.1f}"/>'
                )
    return _svg("Time in range by hour of the day", height, parts)


def share_svg(shares: TimeInRange | None) -> str:
    """Return one horizontal bar of all shares."""
    x, parts = 0.0, list[str]()
    for name in ("very_low", "low", "target", "high", "very_high") if shares is not None else ():
        size = getattr(shares, name) / 100 * WIDTH
        parts.append(f'<rect class="{name}" x="{x:.1f}" y="0" width="{size:.1f}" height="24"/>')
        x += size
    return _svg("Time in range", 24, parts)


def _svg(label: str, height: int, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _grid(units: GlucoseUnits) -> Iterator[str]:
    for value in TICKS:
        y = _y(value)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="axis" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{units.text(value)}</text>'
    for hour in range(0, 25, 3):
        x = _x(2 * hour - 0.5)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        yield f'<text class="axis" x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{hour:02d}:00</text>'


def _runs(curve: Sequence[Values | None]) -> Iterator[list[tuple[int, Values]]]:
    """Yield the parts of the day with readings; a complete day continues over midnight."""
    numbered = list(enumerate(curve))
    if all(curve):
        numbered = [(-1, curve[-1]), *numbered, (HALF_HOURS, curve[0])]
    run: list[tuple[int, Values]] = []
    for number, values in numbered:
        if values is not None:
            run.append((number, values))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _points(run: Sequence[tuple[int, Values]], column: int) -> list[Point]:
    points = [(_x(number), _y(values[column])) for number, values in run]
    if len(points) == 1:  # a single half-hour is as wide as it is long
        (_, y), number = points[0], run[0][0]
        points = [(_x(number - 0.5), y), (_x(number + 0.5), y)]
    return points


def _text(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _x(half_hour: float) -> float:
    """The middle of a half-hour; a complete day's curve is cut at the edges."""
    inner = WIDTH - LEFT - RIGHT
    return LEFT + min(1.0, max(0.0, (half_hour + 0.5) / HALF_HOURS)) * inner


def _y(mg_dl: float) -> float:
    place = (min(HIGHEST, max(LOWEST, mg_dl)) - LOWEST) / (HIGHEST - LOWEST)
    return HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)
