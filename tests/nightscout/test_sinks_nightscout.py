"""The sinks: their options, their problems, and the site they share."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import attrs
import pytest

import tconnectsync_nightscout
from tconnectsync import Context, Secret, Sink, SinkSpec
from tconnectsync_nightscout.delivery.receiver import NightscoutReceiver
from tconnectsync_nightscout.options import IobOptions, NightscoutOptions, PumpEventsOptions, TreatmentsOptions
from tconnectsync_nightscout.sinks import fingerprint, specs
from tests.nightscout.stub_site import NOW, SECRET
from tests.support.clocks import FakeClock

SITE = NightscoutOptions(url="https://My-Site.example", api_secret=Secret(SECRET))


@pytest.fixture
def sinks() -> dict[str, SinkSpec]:
    """The plugin's sinks by name."""
    return {spec.name: spec for spec in specs()}


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """What the engine gives a sink that is opened."""
    return context_with(SITE, tmp_path)


def context_with(site: NightscoutOptions, folder: Path) -> Context:
    return Context(
        clock=FakeClock(NOW), folder=folder, version="4.0.0", sections={"nightscout": site}, zone_of=lambda day: "UTC"
    )


def opened(spec: SinkSpec, context: Context, options: Any = None) -> Sink:
    return spec.open(spec.options() if options is None else options, context)


def receiver_of(sink: Sink) -> NightscoutReceiver:
    assert isinstance(sink.receiver, NightscoutReceiver)
    return sink.receiver


# --- hooks ----------------------------------------------------------------------------------------------------------


def test_hook_sinks() -> None:
    """The hook brings three sinks that are on by default, and more."""
    found = tconnectsync_nightscout.tconnectsync_sinks()
    assert {spec.name: tuple(spec.features) for spec in found} == {
        "nightscout-treatments": ("BASAL", "BOLUS", "BOLUS_BG"),
        "nightscout-iob": ("IOB",),
        "nightscout-pump-events": ("PUMP_EVENTS", "PUMP_EVENTS_BASAL_SUSPENSION"),
        "nightscout-cgm": ("CGM", "CGM_ALERTS"),
        "nightscout-device-status": ("DEVICE_STATUS",),
        "nightscout-profiles": ("PROFILES",),
    }
    assert [spec.default_enabled for spec in found] == [True] * 3 + [False] * 3


def test_hook_sections() -> None:
    """The hook brings the table that the sinks share."""
    (section,) = tconnectsync_nightscout.tconnectsync_sections()
    assert (section.name, section.options) == ("nightscout", NightscoutOptions)


# --- options --------------------------------------------------------------------------------------------------------


def test_option_defaults() -> None:
    """The defaults are those of the manual."""
    assert attrs.asdict(NightscoutOptions()) == {
        "url": None,
        "api_secret": None,
        "token": None,
        "verify_tls": True,
        "entered_by": "tconnectsync",
    }
    assert attrs.asdict(TreatmentsOptions()) == {"basal": True, "bolus": True, "glucose": True, "carbs": "on"}
    assert attrs.asdict(IobOptions()) == {"device_status": True}
    assert attrs.asdict(PumpEventsOptions()) == {
        "cannula": "Site Change",
        "cartridge": "Insulin Change",
        "tubing": "Note",
        "announce": (),
        "alerts": False,
        "control_modes": False,
        "sensor_alerts": False,
        "announce_silence": None,
    }


def test_option_environment_names() -> None:
    """Environment and credentials have the documented names."""
    fields = attrs.fields_dict(NightscoutOptions)
    assert {name: field.metadata["env"] for name, field in fields.items()} == {
        "url": ("NS_URL",),
        "api_secret": ("NS_SECRET", "API_SECRET", "NS_API_SECRET"),
        "token": ("NS_TOKEN",),
        "verify_tls": ("NS_SKIP_TLS_VERIFY",),
        "entered_by": (),
    }
    assert fields["api_secret"].metadata["credential"] == "nightscout-api-secret"
    assert fields["token"].metadata["credential"] == "nightscout-token"


@pytest.mark.parametrize(
    ("text", "verify"), [("true", False), ("1", False), ("YES", False), ("false", True), ("0", True)]
)
def test_option_skip_tls_verify(text: str, verify: bool) -> None:
    """``skip_tls_verify`` is the opposite of ``verify_tls``."""
    parse = attrs.fields_dict(NightscoutOptions)["verify_tls"].metadata["parse_env"]
    assert parse(text) is verify
    with pytest.raises(ValueError, match="true or false"):
        parse("perhaps")


@pytest.mark.parametrize(
    ("options", "key", "bad", "expected"),
    [
        (TreatmentsOptions, "carbs", "yes", '"on" or "note" or "off"'),
        (PumpEventsOptions, "cannula", " ", "text that is not empty"),
        (NightscoutOptions, "entered_by", "", "text that is not empty"),
    ],
)
def test_option_impossible_value(options: type[Any], key: str, bad: object, expected: str) -> None:
    """An impossible value is reported with what was expected."""
    field = attrs.fields_dict(options)[key]
    assert field.metadata["check"](bad) == expected
    assert field.metadata["check"](field.default) is None


# --- problems -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("site", "sentences"),
    [
        (None, ["nightscout.url: missing", "nightscout.api_secret: missing"]),
        (NightscoutOptions(), ["nightscout.url: missing", "nightscout.api_secret: missing"]),
        (SITE, []),
        (NightscoutOptions(url="https://s.example", token=Secret("t-0123456789abcdef")), []),
        (attrs.evolve(SITE, url="my-site.example"), ["nightscout.url (NS_URL): expected"]),
        (
            attrs.evolve(SITE, url="https://s.example/?token=hush"),
            ["nightscout.url (NS_URL): the address must end after the path"],
        ),
        (attrs.evolve(SITE, token=Secret("hush")), ["nightscout.api_secret: set together with nightscout.token"]),
    ],
)
def test_option_problem_without_secret(
    sinks: dict[str, SinkSpec], site: NightscoutOptions | None, sentences: list[str]
) -> None:
    """Problems name the key and the variable, and no secret."""
    for spec in sinks.values():
        found = spec.problems(spec.options(), {} if site is None else {"nightscout": site})
        assert len(found) == len(sentences)
        assert all(text.startswith(sentence) for text, sentence in zip(found, sentences, strict=True))
        assert not any("hush" in text or SECRET in text for text in found)


def test_option_missing(sinks: dict[str, SinkSpec]) -> None:
    """A missing option is reported with its variable."""
    words = " ".join(sinks["nightscout-iob"].problems(IobOptions(), {}))
    assert "NS_URL" in words
    assert "NS_SECRET" in words


# --- opening --------------------------------------------------------------------------------------------------------


def test_sinks_share_client(sinks: dict[str, SinkSpec], context: Context) -> None:
    """All sinks of a process share one client."""
    receivers = [receiver_of(opened(spec, context)) for spec in sinks.values()]
    assert len({id(receiver.client) for receiver in receivers}) == 1
    assert {receiver.address for receiver in receivers} == {"https://my-site.example/"}
    assert [receiver.sink for receiver in receivers] == list(sinks)


def test_other_site_other_client(sinks: dict[str, SinkSpec], context: Context, tmp_path: Path) -> None:
    """Another site gets another client."""
    spec = sinks["nightscout-treatments"]
    first = receiver_of(opened(spec, context))
    other = context_with(attrs.evolve(SITE, api_secret=Secret("another secret")), tmp_path)
    assert receiver_of(opened(spec, other)).client is not first.client


def test_sink_collections(sinks: dict[str, SinkSpec], context: Context) -> None:
    """A sink uses the collections that its options ask for."""
    spec = sinks["nightscout-iob"]
    assert receiver_of(opened(spec, context)).collections == ("activity", "devicestatus")
    assert receiver_of(opened(spec, context, IobOptions(device_status=False))).collections == ("activity",)


def test_options_reach_folds(sinks: dict[str, SinkSpec], context: Context) -> None:
    """The options reach the folds."""
    spec = sinks["nightscout-treatments"]
    everything = {fold.name for fold in opened(spec, context).folds}
    without_basal = {fold.name for fold in opened(spec, context, TreatmentsOptions(basal=False)).folds}
    assert everything - without_basal == {"basal"}
    assert len({fold.name for fold in opened(sinks["nightscout-pump-events"], context).folds}) >= 5


def test_fingerprint_of_options(sinks: dict[str, SinkSpec], context: Context) -> None:
    """The fingerprint follows every option and fold version."""
    for name, changed in {
        "nightscout-treatments": [
            TreatmentsOptions(carbs="note"),
            TreatmentsOptions(glucose=False),
            TreatmentsOptions(basal=False),
        ],
        "nightscout-iob": [IobOptions(device_status=False)],
        "nightscout-pump-events": [PumpEventsOptions(tubing="Site Change"), PumpEventsOptions(announce=("occlusion",))],
    }.items():
        prints = {opened(sinks[name], context, options).fingerprint for options in [None, *changed]}
        assert len(prints) == len(changed) + 1
        assert opened(sinks[name], context).fingerprint == opened(sinks[name], context).fingerprint


def test_fingerprint_of_fold_version() -> None:
    """The fingerprint follows the version of a fold."""

    @attrs.frozen
    class Fold:
        name: str
        version: int

    folds: list[Any] = [Fold("basal", 1)]
    newer: list[Any] = [Fold("basal", 2)]
    assert fingerprint(folds, TreatmentsOptions()) != fingerprint(newer, TreatmentsOptions())


def test_opened_sink_shows_no_secret(sinks: dict[str, SinkSpec], context: Context) -> None:
    """No secret shows in an opened sink."""
    sink = opened(sinks["nightscout-treatments"], context)
    assert SECRET not in f"{sink!r} {context!r} {vars(receiver_of(sink))!r}"


def test_check_covers_all_sinks(sinks: dict[str, SinkSpec], context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check covers what all opened sinks use."""
    asked: list[list[str]] = []
    monkeypatch.setattr(
        "tconnectsync_nightscout.delivery.check.check_site",
        lambda client, collections, **_: asked.append(list(collections)) or iter(()),
    )
    receivers = [receiver_of(opened(spec, context)) for spec in sinks.values()]
    assert list(receivers[0].check()) == []
    assert asked == [["treatments", "activity", "devicestatus", "entries", "profile"]]


def test_open_without_a_day(sinks: dict[str, SinkSpec], tmp_path: Path) -> None:
    """No day is needed to open a sink."""

    def no_zone(day: dt.date) -> str:
        raise AssertionError(day)

    context = attrs.evolve(context_with(SITE, tmp_path), zone_of=no_zone)
    assert opened(sinks["nightscout-treatments"], context).folds
