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
    """What a plugin gets from the engine: the clock, a private folder (0700) for tokens and caches, the product's version.

    ``zone_of(day)`` returns the configured IANA zone name for a ``datetime.date``; ``sections`` are the loaded configuration
    sections by name.
    """

    clock: Clock
    folder: Path
    version: str
    sections: Mapping[str, Any]
    zone_of: Callable[[Any], str]


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
class SinkSpec:
    """A kind of sink: configured by ``[sinks.NAME]``, opened with its options.

    ``features`` are the older bridges' feature names that turn it on, each with the option that it stands for (None: the sink
    as a whole): where a user names features, the options of those that were not named are off. ``problems(options, sections)``
    as for sources; ``notes(options)`` are sentences of the same form about what is allowed but looks wrong.
    """

    name: str
    options: type[Any]
    open: Callable[[Any, Context], Sink]
    default_enabled: bool = False
    features: Mapping[str, str | None] = attrs.field(factory=dict)
    problems: Callable[[Any, Mapping[str, Any]], Sequence[str]] = lambda _options, _sections: ()
    notes: Callable[[Any], Sequence[str]] = lambda _options: ()


@attrs.frozen(kw_only=True)
class ImportOptions:
    """What the user says about files to import.

    ``pump`` is the serial number for data that names none. ``skip_bad``: leave out what is damaged instead of refusing the
    file. ``received_at`` (aware UTC) is for the events. ``looking``: the file is only looked through, so what may be wrong with
    it matters, and of the events some will do, one of each device among them.
    """

    pump: str | None
    skip_bad: bool
    received_at: datetime
    looking: bool = False


@attrs.frozen(kw_only=True)
class Importer:
    """A kind of file that ``tconnectsync import`` takes; ``name`` says in words what it is.

    ``recognises(head)`` tells from a file's first 64 KiB whether it is one. ``read(stream, options)`` gives its events in
    batches of a moderate size, with deterministic ids: the same file gives the same events. It is called twice, to look
    through the whole file and then to take it; ``note`` of a file's last batch is shown to the user. Errors: FileUnreadable, whose
    message says at which line or byte. ``device(event)`` is an id of the vendor's that tells one pump from another, where the
    event holds one: the same id under two serial numbers is refused. ``partial(event)`` is whether a source may tell the same
    record more fully: such an event is taken only where the log does not hold the record.
    """

    name: str
    recognises: Callable[[bytes], bool]
    read: Callable[[BinaryIO, ImportOptions], Iterator[Batch]]
    device: Callable[[Event], str | None] = lambda _event: None
    partial: Callable[[Event], bool] = lambda _event: False


@hookspec
def tconnectsync_sources() -> Sequence[SourceSpec]:  # type: ignore[empty-body]  # a specification has no body
    """The sources that this plugin brings."""


@hookspec
def tconnectsync_sinks() -> Sequence[SinkSpec]:  # type: ignore[empty-body]
    """The sinks that this plugin brings."""


@hookspec
def tconnectsync_sections() -> Sequence[Section]:  # type: ignore[empty-body]
    """Tables of the configuration that this plugin's sources and sinks share."""


@hookspec
def tconnectsync_importers() -> Sequence[Importer]:  # type: ignore[empty-body]
    """The kinds of files that this plugin can read into the event log."""


@hookspec
def tconnectsync_commands() -> Sequence[click.Command]:  # type: ignore[empty-body]
    """Commands to add to ``tconnectsync``. Called for ``--help`` too: import what they need inside them."""
