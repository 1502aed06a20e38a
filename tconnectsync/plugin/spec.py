"""The hooks. Each registers objects; the protocols of these objects are in the other modules of this package.

Each hook is called once at start. If one raises, its plugin is reported, and the others run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import attrs
import pluggy

from tconnectsync.text.glucose_units import GlucoseUnits

if TYPE_CHECKING:
    import click

    from tconnectsync.clock import Clock
    from tconnectsync.events import Event
    from tconnectsync.plugin.fold import Fold
    from tconnectsync.plugin.receiver import Receiver
    from tconnectsync.plugin.source import Batch, Source

hookspec = pluggy.HookspecMarker("tconnectsync")
hookimpl = pluggy.HookimplMarker("tconnectsync")


@attrs.frozen(kw_only=True)
class Context:
    """Services of the engine for a plugin: the clock, a private folder (0700) for tokens and caches, the product's version.

    ``zone_of(day)`` returns the configured IANA zone name for a ``datetime.date``; ``sections`` are the loaded configuration
    sections by name. ``glucose_units``: the units in which people are shown glucose. ``pace()``: a source calls it before each
    request to its vendor, or gives it to :class:`tconnectsync.HttpClient`. It waits until the request may be sent. Errors: Retryable.
    """

    clock: Clock
    folder: Path
    version: str
    sections: Mapping[str, Any]
    zone_of: Callable[[Any], str]
    glucose_units: GlucoseUnits = GlucoseUnits.MG_DL
    pace: Callable[[], None] = lambda: None


@attrs.frozen(kw_only=True)
class Section:
    """A top-level table of the configuration that several sinks share, such as ``[nightscout]``.

    ``options`` is an attrs class made with :func:`tconnectsync.option`.
    """

    name: str
    options: type[Any]


@attrs.frozen(kw_only=True)
class SourceSpec:
    """A kind of source: configured by ``[sources.NAME]``, opened with its options.

    ``enabled(options)``: whether it is on if the table has no ``enabled`` key. ``problems(options)`` are configuration
    problems that concern several keys, each a sentence that starts with the key path.
    """

    name: str
    options: type[Any]
    open: Callable[[Any, Context], Source]
    enabled: Callable[[Any], bool]
    problems: Callable[[Any], Sequence[str]] = lambda _options: ()


@attrs.frozen(kw_only=True)
class Sink:
    """An opened sink: its folds and its receiver.

    ``fingerprint`` changes whenever the same events give other documents: then everything is folded again. The default is
    the names and versions of the folds. Give one if options change the documents too.
    """

    folds: Sequence[Fold[Any]]
    receiver: Receiver
    fingerprint: str = attrs.field()

    @fingerprint.default
    def _names_and_versions(self) -> str:
        return " ".join(f"{fold.name} {fold.version}" for fold in self.folds)


@attrs.frozen(kw_only=True)
class NoOptions:
    """The options of a sink that has none."""


@attrs.frozen(kw_only=True)
class SinkSpec:
    """A kind of sink: configured by ``[sinks.NAME]``, opened with its options.

    - ``options``: the attrs class of its table's keys; by default it has none but ``enabled``.
    - ``features``: names of the older bridge that turn the sink on, each with the option that it stands for (None: the whole
      sink). If the user gives features, the options of the other features are off.
    - ``problems(options, sections)``: as for sources.
    - ``notes(options)``: sentences of the same form about values that are allowed but look wrong.
    """

    name: str
    options: type[Any] = NoOptions
    open: Callable[[Any, Context], Sink]
    default_enabled: bool = False
    features: Mapping[str, str | None] = attrs.field(factory=dict)
    problems: Callable[[Any, Mapping[str, Any]], Sequence[str]] = lambda _options, _sections: ()
    notes: Callable[[Any], Sequence[str]] = lambda _options: ()


@attrs.frozen(kw_only=True)
class ImportOptions:
    """The user's options for an import.

    - ``pump``: the serial number for data without one.
    - ``skip_bad``: skip corrupt parts instead of refusing the file.
    - ``received_at`` (aware UTC): for the events.
    - ``check_only``: the file is only checked, so the importer must find every problem. It may return only some of the events,
      but at least one of each device.
    """

    pump: str | None
    skip_bad: bool
    received_at: datetime
    check_only: bool = False


@attrs.frozen(kw_only=True)
class Importer:
    """A kind of file for ``tconnectsync import``; ``name`` describes it for the user.

    - ``recognises(head)``: whether a file is of this kind, from its first 64 KiB.
    - ``read(stream, options)``: yields the events in batches of moderate size. The same file gives the same event ids. It is
      called twice, first to check the whole file and then to import it. The ``note`` of the last batch is shown to the user.
      Raises FileUnreadable, whose message names the line or byte.
    - ``device(event)``: the vendor's id of the device, if the event has one. The same id under two serial numbers is refused.
    - ``partial(event)``: whether a source may have more fields of the same record. Such an event is imported only if the log
      does not have the record.
    """

    name: str
    recognises: Callable[[bytes], bool]
    read: Callable[[BinaryIO, ImportOptions], Iterator[Batch]]
    device: Callable[[Event], str | None] = lambda _event: None
    partial: Callable[[Event], bool] = lambda _event: False


@hookspec
def tconnectsync_sources() -> Sequence[SourceSpec]:  # type: ignore[empty-body]  # a specification has no body
    """Return the sources of this plugin."""


@hookspec
def tconnectsync_sinks() -> Sequence[SinkSpec]:  # type: ignore[empty-body]
    """Return the sinks of this plugin."""


@hookspec
def tconnectsync_sections() -> Sequence[Section]:  # type: ignore[empty-body]
    """Return the tables of the configuration that this plugin's sources and sinks share."""


@hookspec
def tconnectsync_importers() -> Sequence[Importer]:  # type: ignore[empty-body]
    """Return the kinds of files that this plugin can import."""


@hookspec
def tconnectsync_commands() -> Sequence[click.Command]:  # type: ignore[empty-body]
    """Return commands to add to ``tconnectsync``. It is called for ``--help`` too, so import slow modules inside the commands."""
