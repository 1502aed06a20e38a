"""The sinks: their folds, and the shared client of the site."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from tconnectsync import Context, Fold, Section, Sink, SinkSpec
from tconnectsync_nightscout.api.address import site_url
from tconnectsync_nightscout.options import (
    CgmOptions,
    DeviceStatusOptions,
    IobOptions,
    NightscoutOptions,
    ProfilesOptions,
    PumpEventsOptions,
    TreatmentsOptions,
)

if TYPE_CHECKING:
    from tconnectsync_nightscout.api.client import NightscoutClient

SECTION = "nightscout"
TREATMENTS, IOB, PUMP_EVENTS = "nightscout-treatments", "nightscout-iob", "nightscout-pump-events"
CGM, DEVICE_STATUS, PROFILES = "nightscout-cgm", "nightscout-device-status", "nightscout-profiles"


class Sites:
    """The client that all sinks of a process share, with its connection and what is known about the site.

    ``in_use`` are the collections of the opened sinks, in that order, each with the names of its sinks.
    """

    def __init__(self) -> None:
        self.in_use: dict[str, list[str]] = {}
        self._name: object = None
        self._client: NightscoutClient | None = None

    def client_of(self, options: NightscoutOptions, context: Context) -> NightscoutClient:
        """Return the client of the configured site. Raises ValueError if :func:`problems` finds any."""
        from tconnectsync_nightscout.api.client import NightscoutClient, header_of

        url, key = site_url(options.url or ""), header_of(options.api_secret, options.token)
        name = (url, key, options.verify_tls)
        if self._client is not None and (self._name != name or self._client.clock is not context.clock):
            self._client.close()
            self._client = None
        if self._client is None:
            self._client = NightscoutClient(
                url=url,
                key=key,
                clock=context.clock,
                verify_tls=options.verify_tls,
                in_use=self.in_use,
                doubt=options.doubt,
            )
            self._name = name
        return self._client


def problems(_options: Any, sections: Mapping[str, Any]) -> Sequence[str]:
    """Problems that keep a sink from reaching its site. Each begins with the key path; none contains a secret."""
    site = sections.get(SECTION) or NightscoutOptions()
    found = []
    if not site.url:
        found.append(
            "nightscout.url: missing; set it there or as NS_URL to the site's address, https://my-site.example/ "
            '(without a Nightscout site: blocked_plugins = ["nightscout"])'
        )
    else:
        try:
            site_url(site.url)
        except ValueError as error:
            found.append(f"nightscout.url (NS_URL): {error}")
    if site.api_secret is None and site.token is None:
        found.append(
            "nightscout.api_secret: missing; set it there, as NS_SECRET or API_SECRET, or set nightscout.token (NS_TOKEN)"
        )
    if site.api_secret is not None and site.token is not None:
        found.append("nightscout.api_secret: set together with nightscout.token; keep one of them")
    return found


def pump_event_notes(options: PumpEventsOptions) -> Sequence[str]:
    """Names in ``announce`` that no alarm has. Each sentence begins with the key path."""
    if not options.announce:
        return ()
    import difflib  # for a mistake only

    from tconnectsync_nightscout.folds.alarms import announceable, unknown_announcements

    found = []
    for wanted in unknown_announcements(options.announce):
        near = difflib.get_close_matches(wanted.lower(), announceable(), n=2, cutoff=0.6)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "; config.toml.example lists them"
        found.append(f"sinks.{PUMP_EVENTS}.announce: there is no alarm named {wanted!r}{hint}")
    return found


def sections() -> list[Section]:
    """The configuration table that the sinks share."""
    return [Section(name=SECTION, options=NightscoutOptions)]


def specs() -> list[SinkSpec]:
    """The sinks. Treatments, insulin on board and pump events are on by default, the others off."""
    sites = Sites()
    return [
        SinkSpec(
            name=TREATMENTS,
            options=TreatmentsOptions,
            open=partial(_open, sites, TREATMENTS, lambda _: ("treatments",)),
            default_enabled=True,
            features={"BASAL": "basal", "BOLUS": "bolus", "BOLUS_BG": "glucose"},
            problems=problems,
        ),
        SinkSpec(
            name=IOB,
            options=IobOptions,
            open=partial(_open, sites, IOB, _iob_collections),
            default_enabled=True,
            features={"IOB": None},
            problems=problems,
        ),
        SinkSpec(
            name=PUMP_EVENTS,
            options=PumpEventsOptions,
            open=partial(_open, sites, PUMP_EVENTS, lambda _: ("treatments",)),
            default_enabled=True,
            features={"PUMP_EVENTS": None, "PUMP_EVENTS_BASAL_SUSPENSION": None},
            problems=problems,
            notes=pump_event_notes,
        ),
        SinkSpec(
            name=CGM,
            options=CgmOptions,
            open=partial(_open, sites, CGM, _cgm_collections),
            features={"CGM": None, "CGM_ALERTS": "alerts"},
            problems=problems,
        ),
        SinkSpec(
            name=DEVICE_STATUS,
            options=DeviceStatusOptions,
            open=partial(_open, sites, DEVICE_STATUS, lambda _: ("devicestatus",)),
            features={"DEVICE_STATUS": None},
            problems=problems,
        ),
        SinkSpec(
            name=PROFILES,
            options=ProfilesOptions,
            open=partial(_open_profiles, sites),
            features={"PROFILES": None},
            problems=problems,
        ),
    ]


def fingerprint(folds: Sequence[Fold[Any]], options: Any) -> str:
    """A text that changes if the same events give other documents: versions of the folds and options of the sink."""
    return json.dumps(
        {"folds": {fold.name: fold.version for fold in folds}, "options": attrs.asdict(options)},
        sort_keys=True,
        separators=(",", ":"),
    )


def _cgm_collections(options: CgmOptions) -> Sequence[str]:
    return ("entries", "treatments") if options.alerts else ("entries",)


def _iob_collections(options: IobOptions) -> Sequence[str]:
    return ("activity", "devicestatus") if options.device_status else ("activity",)


def _open(sites: Sites, name: str, collections: Callable[[Any], Sequence[str]], options: Any, context: Context) -> Sink:
    from tconnectsync_nightscout.folds.fold_sets import folds_of

    return _sink(sites, name, collections(options), folds_of(options), options, context)


def _open_profiles(sites: Sites, options: ProfilesOptions, context: Context) -> Sink:
    from tconnectsync_nightscout.folds.profiles import ProfilesFold

    zone = context.zone_of(context.clock.now().date())
    folds = [ProfilesFold(zone=zone)]
    opened = _sink(sites, PROFILES, ("profile",), folds, options, context, profile_mode=options.mode)
    return attrs.evolve(opened, fingerprint=f"{opened.fingerprint} {zone}")


def _sink(
    sites: Sites,
    name: str,
    collections: Sequence[str],
    folds: Sequence[Fold[Any]],
    options: Any,
    context: Context,
    *,
    profile_mode: str = "add",
) -> Sink:
    from tconnectsync_nightscout.delivery.receiver import NightscoutReceiver

    site: NightscoutOptions = context.sections[SECTION]
    client = sites.client_of(site, context)
    for collection in collections:
        names = sites.in_use.setdefault(collection, [])
        if name not in names:
            names.append(name)
    receiver = NightscoutReceiver(
        client, sink=name, collections=collections, entered_by=site.entered_by, in_use=sites.in_use,
        profile_mode=profile_mode,
    )  # fmt: skip
    return Sink(folds=folds, receiver=receiver, fingerprint=fingerprint(folds, options))
