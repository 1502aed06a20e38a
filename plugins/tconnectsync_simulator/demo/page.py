"""The demo's page: the documents on the simulated site, as plain HTML and SVG for each request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from html import escape
from typing import Any

from tconnectsync import counted

WIDTH, HEIGHT, TOP = 960, 220, 14
HOURS = 24
MOST_BASAL_U_PER_H = 4.0
MOST_BOLUS_U = 12.0

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:1000px;margin:24px auto;padding:0 16px;color:#1d2733;background:#fafbfc}
h1{font-size:22px;margin:0} p.lead{color:#5a6878;margin:4px 0 20px} h2{font-size:16px;margin:28px 0 8px}
table{border-collapse:collapse;width:100%} td,th{text-align:left;padding:4px 10px 4px 0;border-bottom:1px solid #e4e9ee;vertical-align:top}
th{color:#5a6878;font-weight:500} code,pre{font:13px ui-monospace,monospace} pre{background:#f0f3f6;padding:10px;overflow:auto}
.when{white-space:nowrap} .ok{color:#16794c} .bad{color:#b3261e} svg{background:#fff;border:1px solid #e4e9ee;border-radius:6px;width:100%;height:auto}
.tiles{display:flex;gap:14px;flex-wrap:wrap} .tile{background:#fff;border:1px solid #e4e9ee;border-radius:6px;padding:10px 16px;min-width:130px}
.tile b{display:block;font-size:24px} .tile span{color:#5a6878}
"""


def page(
    *,
    now: datetime,
    status: Mapping[str, Any],
    treatments: Sequence[Mapping[str, Any]],
    log_lines: Sequence[str],
    folder: str,
) -> str:
    """Return the page. ``status`` is from ``tconnectsync status --json``, ``treatments`` are those on the site."""
    boluses = [known for known in treatments if known.get("insulin")]
    tiles = (
        (f"{_number(status, 'log', 'positions'):,}", "events in the log"),
        (f"{len(treatments):,}", "documents on the site"),
        (f"{sum(float(known['insulin']) for known in boluses):.1f} U", f"in {counted(len(boluses), 'bolus')}"),
        (f"{sum(int(sink.get('pending', 0)) for sink in status.get('sinks', {}).values()):,}", "documents waiting"),
    )
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5">
<title>tconnectsync demo</title><style>{_STYLE}</style></head><body>
<h1>tconnectsync demo</h1>
<p class="lead">A simulated pump uploads to a simulated cloud; the real daemon copies it into a real event log and on to a
simulated Nightscout. All data here is simulated.</p>
<div class="tiles">{"".join(f'<div class="tile"><b>{value}</b><span>{words}</span></div>' for value, words in tiles)}</div>
<h2>The last {HOURS} hours, as Nightscout would draw them (UTC)</h2>
{_chart(now, treatments)}
<h2>Status</h2>
<table><tr><th>part</th><th>state</th><th>since (UTC)</th><th></th></tr>{"".join(_rows(status))}</table>
<h2>Newest documents on the site</h2>
<table><tr><th>time (UTC)</th><th>what</th><th></th></tr>{"".join(_newest(treatments))}</table>
<h2>Newest lines of the event log</h2><pre>{escape(chr(10).join(log_lines))}</pre>
<p class="lead">The log and all other files are in <code>{escape(folder)}</code>. They are deleted when the demo ends (Ctrl-C).</p>
</body></html>"""


def _number(found: Mapping[str, Any], *path: str) -> int:
    value: Any = found
    for key in path:
        value = value.get(key, {}) if isinstance(value, Mapping) else {}
    return value if isinstance(value, int) else 0


def _rows(status: Mapping[str, Any]) -> list[str]:
    parts = {**status.get("sources", {}), **status.get("sinks", {})}
    return [
        f"<tr><td>{escape(name)}</td><td class={'ok' if part['state'] == 'ok' else 'bad'}>{escape(part['state'])}</td>"
        f"<td class=when>{escape(str(part.get('since') or '')[:16].replace('T', ' '))}</td><td>{escape(str(part.get('message') or ''))}</td></tr>"
        for name, part in parts.items()
        if part["state"] != "off"
    ]


def _newest(treatments: Sequence[Mapping[str, Any]]) -> list[str]:
    newest = sorted(treatments, key=lambda known: str(known.get("created_at")), reverse=True)[:12]
    return [
        f"<tr><td>{escape(str(known.get('created_at'))[:19].replace('T', ' '))}</td>"
        f"<td>{escape(str(known.get('eventType')))}</td><td>{escape(_words(known))}</td></tr>"
        for known in newest
    ]


def _words(known: Mapping[str, Any]) -> str:
    units = {"insulin": "{} U", "carbs": "{} g", "absolute": "{} U/h", "duration": "{:.0f} min"}
    parts = [form.format(known[key]) for key, form in units.items() if known.get(key) is not None]
    return ", ".join([*parts, *([str(known["notes"])] if known.get("notes") else [])])


def _chart(now: datetime, treatments: Sequence[Mapping[str, Any]]) -> str:
    begin = now - timedelta(hours=HOURS)

    def x(at: datetime) -> float:
        return WIDTH * (at - begin) / (now - begin)

    ticks, basal, modes, boluses = [], [], [], []  # in this order: later shapes cover earlier ones
    for hour in range(0, HOURS + 1, 3):
        tick = begin + timedelta(hours=hour)
        ticks.append(f'<text x="{x(tick):.0f}" y="{HEIGHT - 4}" font-size="11" fill="#8a97a5">{tick:%H:%M}</text>')
    floor = HEIGHT - 20
    for known in treatments:
        at = _time(known.get("created_at"))
        if at is None:
            continue
        minutes = float(known.get("duration") or 0)
        end = min(at + timedelta(minutes=minutes), now)
        if known.get("eventType") == "Temp Basal" and end > begin:
            height = min(float(known.get("absolute") or 0), MOST_BASAL_U_PER_H) / MOST_BASAL_U_PER_H * (floor - TOP)
            left = max(0.0, x(at))
            basal.append(
                f'<rect x="{left:.1f}" y="{floor - height:.1f}" width="{max(0.0, x(end) - left):.1f}" height="{height:.1f}"'
                ' fill="#8fbfe8"/>'
            )
        elif known.get("insulin") and at >= begin:
            height = min(float(known["insulin"]), MOST_BOLUS_U) / MOST_BOLUS_U * (floor - TOP)
            boluses.append(
                f'<rect x="{x(at):.1f}" y="{floor - height:.1f}" width="4" height="{height:.1f}" fill="#1f5fa8">'
                f"<title>{escape(_words(known))}</title></rect>"
            )
        elif known.get("eventType") in ("Sleep", "Exercise") and end > begin:
            left = max(0.0, x(at))
            colour = "#5b4b8a" if known["eventType"] == "Sleep" else "#c98a1b"
            modes.append(
                f'<rect x="{left:.1f}" y="2" width="{max(1.0, x(end) - left):.1f}" height="6" fill="{colour}"/>'
            )
    shapes = "".join((*ticks, *basal, *modes, *boluses))
    legend = "light: basal (0 to 4 U/h), dark: boluses (0 to 12 U), top: sleep and exercise"
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{legend}">{shapes}</svg><p class="lead">{legend}</p>'


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).astimezone(timezone.utc)
    except ValueError:
        return None
