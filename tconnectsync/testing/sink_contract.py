"""What every sink must do, as a pytest class to inherit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from tconnectsync.events import Event
from tconnectsync.plugin.fold import Document
from tconnectsync.plugin.receiver import Accepted, CheckResult, Delivery, ReadableReceiver, Receiver, StoredDocument
from tconnectsync.plugin.spec import Sink
from tconnectsync.testing.events import NOON, example_events
from tconnectsync.testing.fold_checks import final_documents, require
from tconnectsync.text.plural import counted

EVER = NOON - timedelta(days=30), NOON + timedelta(days=30)


class SinkContract:
    """Inherit this, and open your sink with an empty outside system::

        class TestSites(SinkContract):
            @contextmanager
            def open_sink(self, folder):
                yield open_sink(Options(folder=str(folder / "sites")), plugin_context(folder))

            def stored(self, sink):
                return {path.stem: path.read_text() for path in sink.receiver.folder.glob("*.json")}

    ``reads_back`` is False if the receiver cannot show what it stored.
    """

    reads_back: ClassVar[bool] = True

    def open_sink(self, folder: Path) -> AbstractContextManager[Sink]:
        """Open the sink. Each ``folder`` is empty, and another ``folder`` means another outside system."""
        raise NotImplementedError

    def stored(self, sink: Sink) -> Mapping[str, object]:
        """Return what the outside system holds, by document identity; by default what ``read_back`` yields."""
        return {copy.document_id: (copy.at, copy.content) for copy in sink.receiver.read_back(*EVER)}

    def events(self) -> list[Event]:
        """Return the events from which the documents of these tests are made."""
        return example_events()

    @pytest.fixture
    def sink(self, tmp_path: Path) -> Iterator[Sink]:
        """The sink with an empty outside system."""
        with self.open_sink(tmp_path) as sink:
            yield sink

    def documents(self, sink: Sink, part: float = 1.0) -> dict[str, Document]:
        """Return what the sink's folds make of the first ``part`` of the events, by identity."""
        events = self.events()
        events = events[: round(len(events) * part)]
        made = [document for fold in sink.folds for document in final_documents(fold, events)]
        return {document.id: document for document in made if document.problem is None}

    def test_declaration(self, sink: Sink) -> None:
        """Folds have different names; address, fingerprint and batch size are there."""
        names = [fold.name for fold in sink.folds]
        require(len(set(names)) == len(names), f"two folds have the same name: {names}")
        require(bool(sink.fingerprint), "the sink has no fingerprint")
        require(bool(sink.receiver.address), "the receiver has no address")
        require(sink.receiver.batch_size >= 1, "the receiver takes no documents")
        require(bool(self.documents(sink)), "the folds make no documents of the events of this test")

    def test_check(self, sink: Sink) -> None:
        """``check`` finds nothing wrong."""
        bad = [found for found in sink.receiver.check() if not found.good]
        require(not bad, f"check found something wrong: {bad}")
        require(all(isinstance(found, CheckResult) for found in sink.receiver.check()), "not a CheckResult")

    def test_no_conflict(self, sink: Sink) -> None:
        """An empty outside system is no reason to wait for the user."""
        require(sink.receiver.inspect(*EVER) is None, "inspect found a conflict in an empty place")

    def test_delivery(self, sink: Sink) -> None:
        """Every document is accepted, and is there afterwards."""
        documents = self.documents(sink)
        self.deliver(sink, put(documents.values()))
        same_keys(self.stored(sink), documents)

    def test_delivering_twice(self, sink: Sink) -> None:
        """A second delivery of the same document changes nothing, whatever is known of the first one."""
        documents = self.documents(sink).values()
        keys = self.deliver(sink, put(documents))
        before = self.stored(sink)
        for again in (put(documents, keys), put(documents, keys, in_doubt=True), put(documents, in_doubt=True)):
            self.deliver(sink, again)
            require(self.stored(sink) == before, "a second delivery changed what is stored")

    @pytest.mark.parametrize("in_doubt", [False, True])
    def test_update(self, tmp_path: Path, in_doubt: bool) -> None:
        """Documents that changed replace their old copies, also if no answer came that says where these are."""
        self._check_update(tmp_path, lambda sink: self.documents(sink, 0.5), self.documents, in_doubt=in_doubt)

    @pytest.mark.parametrize("in_doubt", [False, True])
    def test_other_content(self, tmp_path: Path, in_doubt: bool) -> None:
        """A document with other content replaces the old copy, not only adds what is missing."""
        self._check_update(
            tmp_path, self.documents, lambda sink: with_other_content(self.documents(sink)), in_doubt=in_doubt
        )

    def _check_update(
        self,
        folder: Path,
        early: Callable[[Sink], Mapping[str, Document]],
        late: Callable[[Sink], Mapping[str, Document]],
        *,
        in_doubt: bool,
    ) -> None:
        """Compare what is left of ``early`` and ``late`` with what an empty place holds after ``late`` alone."""
        with self._empty_place(folder / "late") as sink:
            self.deliver(sink, put(late(sink).values()))
            expected = self.stored(sink)
        with self._empty_place(folder / "both") as sink:
            old, new = early(sink), late(sink)
            known = self.deliver(sink, put(old.values()))
            keys = {} if in_doubt else known
            gone = [document for identity, document in old.items() if identity not in new]
            changes = [*withdraw(gone, keys, in_doubt=in_doubt), *put(new.values(), keys, in_doubt=in_doubt)]
            self.deliver(sink, changes)
            found = self.stored(sink)
        same_keys(found, expected)
        old_content = sorted(identity for identity in expected if found[identity] != expected[identity])
        require(not old_content, f"not stored as it was delivered last: {old_content}")

    @contextmanager
    def _empty_place(self, folder: Path) -> Iterator[Sink]:
        folder.mkdir()
        with self.open_sink(folder) as sink:
            yield sink

    @pytest.mark.parametrize("in_doubt", [False, True])
    def test_withdrawal(self, sink: Sink, in_doubt: bool) -> None:
        """A withdrawn document is deleted, also if it is in doubt and its key is unknown; withdrawing it again is no error."""
        documents = self.documents(sink)
        keys = self.deliver(sink, put(documents.values()))
        before = self.stored(sink)
        leaving = list(documents.values())[::2]
        gone = {document.id for document in leaving}
        left = {identity: copy for identity, copy in before.items() if identity not in gone}
        for known in ({} if in_doubt else keys, keys):
            self.deliver(sink, withdraw(leaving, known, in_doubt=in_doubt))
            require(self.stored(sink) == left, "a withdrawal left something, or deleted too much")

    def test_batches(self, tmp_path: Path) -> None:
        """Documents one by one, last first, end in the same as all at once."""
        found = []
        for name in ("all", "single"):
            with self._empty_place(tmp_path / name) as sink:
                deliveries = put(self.documents(sink).values())
                if name == "all":
                    self.deliver(sink, deliveries)
                else:
                    for delivery in reversed(deliveries):
                        self.deliver(sink, [delivery])
                found.append(self.stored(sink))
        require(found[0] == found[1], "one by one, other documents are stored than all at once")

    def test_read_back(self, sink: Sink) -> None:
        """After a lost disk the receiver names every document that it holds, with time and collection."""
        documents = self.documents(sink)
        self.deliver(sink, put(documents.values()))
        copies = {copy.document_id: copy for copy in sink.receiver.read_back(*EVER)}
        if not self.reads_back:
            require(not copies, "reads_back is False, and the receiver reads back documents")
            return
        same_keys(copies, documents)
        for identity, copy in copies.items():
            require(copy.collection == documents[identity].collection, f"another collection: {copy}")
        keys = {identity: copy.receiver_key for identity, copy in copies.items()}
        self.deliver(sink, withdraw(documents.values(), keys))
        require(not self.stored(sink), "documents cannot be deleted by what read_back says of them")

    def test_survey(self, sink: Sink) -> None:
        """If the receiver can show what it stores, it shows each document once and as it was delivered."""
        receiver, documents = sink.receiver, self.documents(sink)
        if not isinstance(receiver, ReadableReceiver):
            return
        self.deliver(sink, put(documents.values()))
        shown = {identity: known for identity, known in documents.items() if receiver.shows(known.collection)}
        copies: list[StoredDocument] = [copy for copy in receiver.survey(*EVER) if copy.document_id]
        require(sorted(copy.document_id for copy in copies) == sorted(shown), "the survey shows other documents")
        for copy in copies:
            different = list(receiver.compare(shown[copy.document_id], copy))
            require(not different, f"a copy differs from what was delivered: {different}")

    def deliver(self, sink: Sink, deliveries: Sequence[Delivery]) -> dict[str, str]:
        """Deliver all in batches, and return the receiver's keys by identity.

        Fails if one is not accepted, or if the receiver shows two copies of a document afterwards.
        """
        keys: dict[str, str] = {}
        size = sink.receiver.batch_size
        for start in range(0, len(deliveries), size):
            batch = deliveries[start : start + size]
            outcomes = sink.receiver.deliver(batch)
            require(
                len(outcomes) == len(batch),
                f"{counted(len(outcomes), 'outcome')} for {counted(len(batch), 'delivery', 'deliveries')}",
            )
            for delivery, outcome in zip(batch, outcomes, strict=True):
                require(isinstance(outcome, Accepted), f"not accepted: {delivery}: {outcome}")
                if isinstance(outcome, Accepted):
                    keys[delivery.document_id] = outcome.receiver_key
        stored_once(sink.receiver)
        return keys


def put(
    documents: Iterable[Document], keys: Mapping[str, str] | None = None, *, in_doubt: bool = False
) -> list[Delivery]:
    """Return what asks the receiver to store these."""
    return [
        Delivery(
            document_id=document.id, collection=document.collection, document=document,
            receiver_key=(keys or {}).get(document.id), in_doubt=in_doubt,
        )
        for document in documents
    ]  # fmt: skip


def withdraw(documents: Iterable[Document], keys: Mapping[str, str], *, in_doubt: bool = False) -> list[Delivery]:
    """Return what asks the receiver to delete these."""
    return [
        Delivery(
            document_id=document.id, collection=document.collection, document=None,
            receiver_key=keys.get(document.id), in_doubt=in_doubt,
        )
        for document in documents
    ]  # fmt: skip


def with_other_content(documents: Mapping[str, Document]) -> dict[str, Document]:
    """Return the documents, each with the content of the next one of its collection, and with other numbers in it."""
    by_collection: dict[str, list[Document]] = {}
    for document in documents.values():
        by_collection.setdefault(document.collection, []).append(document)
    return {
        document.id: msgspec.structs.replace(document, content=_raised(following.content))
        for group in by_collection.values()
        for document, following in zip(group, [*group[1:], group[0]], strict=True)
    }


def _raised(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value + 1.0 if isinstance(value, float) else value for name, value in content.items()}


def stored_once(receiver: Receiver) -> None:
    """Fail if a receiver that shows what it stores has two copies of a document."""
    copies = receiver.survey(*EVER) if isinstance(receiver, ReadableReceiver) else receiver.read_back(*EVER)
    counts = Counter(copy.document_id for copy in copies if copy.document_id)
    twice = sorted(identity for identity, count in counts.items() if count > 1)
    require(not twice, f"stored twice: {twice}")


def same_keys(found: Mapping[str, object], expected: Mapping[str, object]) -> None:
    """Fail and name the documents that are missing or should not be there."""
    missing, surplus = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    require(not missing, f"not stored: {missing}")
    require(not surplus, f"stored and not expected: {surplus}")
