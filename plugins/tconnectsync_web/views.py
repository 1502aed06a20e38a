"""The views: from a request to a page. What a page shows is decided in ``pages/``, how it is drawn in ``charts/``."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

import attrs
from flask import Response, redirect, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from tconnectsync import daily_csv
from tconnectsync_web.charts.report_charts import hours_chart, percentile_chart, range_bar
from tconnectsync_web.charts.therapy_chart import therapy_charts
from tconnectsync_web.languages import Texts
from tconnectsync_web.links import link, texts
from tconnectsync_web.pages import chain, value_words
from tconnectsync_web.pages.banner import Banner, banner
from tconnectsync_web.pages.chart_content import ChartContent
from tconnectsync_web.pages.day import day_page, is_shown
from tconnectsync_web.pages.overview import HOURS, USUAL_HOURS, overview
from tconnectsync_web.pages.reader import PageReader
from tconnectsync_web.pages.report import LENGTHS, USUAL_LENGTH, report


@attrs.frozen(kw_only=True)
class Views:
    """The views over one person's data."""

    reader: PageReader

    def overview(self) -> ResponseReturnValue:
        """``/``: the present."""
        hours = _chosen("hours", HOURS, USUAL_HOURS)
        found = overview(self.reader, hours)
        links = chain.chain(self.reader.status(), texts(), found.now)
        return self._page(
            "overview.html", page=found, links=links, state=banner(links, texts(), self.reader.zones, found.now, found.last_zone),
            hours=hours, choices=HOURS, chart=self._chart(found.chart),
        )  # fmt: skip

    def today(self) -> ResponseReturnValue:
        """``/days``: the present day."""
        return redirect(link("page.day", day=self._local(self.reader.now()).date().isoformat()))

    def day(self, day: str) -> ResponseReturnValue:
        """``/days/2026-11-27``: one local day."""
        try:
            chosen = date.fromisoformat(day)
        except ValueError:
            raise NotFound from None
        if not is_shown(chosen, self.reader.now()):
            raise NotFound
        found = day_page(self.reader, chosen)
        state = self._state() if found.next is None else None
        return self._page("day.html", page=found, state=state, chart=self._chart(found.chart))

    def report(self) -> ResponseReturnValue:
        """``/report?days=14``."""
        days = _chosen("days", LENGTHS, USUAL_LENGTH)
        found = report(self.reader, days)
        charts: dict[str, Any] = {}
        if found.whole is not None:
            charts = {
                "percentiles": percentile_chart(found.whole.glucose, texts(), self.reader.units),
                "by_hour": hours_chart(found.whole.glucose, texts()),
            }
        return self._page("report.html", page=found, days=days, choices=LENGTHS, **charts)

    def report_csv(self) -> ResponseReturnValue:
        """``/report.csv?days=14``."""
        days = _chosen("days", LENGTHS, USUAL_LENGTH)
        found = report(self.reader, days)
        name = f"tconnectsync-{found.first}-{found.last}.csv"
        answer = Response(daily_csv(found.days), content_type="text/csv; charset=utf-8")
        answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return answer

    def _state(self) -> Banner:
        now = self.reader.now()
        return banner(chain.chain(self.reader.status(), texts(), now), texts(), self.reader.zones, now)

    def _page(self, template: str, **content: Any) -> str:
        words = texts()
        return render_template(template, **content, **_helpers(self.reader, words))

    def _chart(self, content: ChartContent) -> Any:
        return therapy_charts(content, texts(), self.reader.units, self.reader.zones)

    def _local(self, at: datetime) -> datetime:
        return self.reader.zones.wall_of(at)


def _helpers(reader: PageReader, words: Texts) -> dict[str, Any]:
    """What templates call to write values."""
    local, units, now = reader.zones.wall_of, reader.units, reader.now()

    return {
        "units": units,
        "say": words,
        "local": local,
        "clock": lambda at: words.time(local(at)),
        "ago": lambda at: value_words.ago(words, at, now),
        "moment": lambda at: value_words.moment(words, reader.zones, at, now),
        "place": value_words.place(words, reader.zones, now),
        "now": now,
        "trend": value_words.trend,
        "share": partial(value_words.share, words),
        "range_bar": range_bar,
        "reading": partial(value_words.reading, words, units),
        "glucose": partial(value_words.glucose, words, units),
        "insulin": partial(value_words.insulin, words),
        "carbs": partial(value_words.carbs, words),
        "bolus": partial(value_words.bolus, words),
        "bolus_number": partial(value_words.bolus_number, words),
        "bolus_kind": partial(value_words.bolus_kind, words),
        "bolus_end": partial(value_words.bolus_end, words),
        "band": partial(value_words.band, words),
        "mark": partial(value_words.mark, words),
        "length": partial(value_words.duration, words),
        "minute": timedelta(minutes=1),
    }


def _chosen(name: str, choices: tuple[int, ...], usual: int) -> int:
    """The number in the address, if it is one of the choices."""
    wanted = request.args.get(name, "")
    return next((each for each in choices if str(each) == wanted), usual)
