"""What one sink knows, in one SQLite file: cursor, checkpoints, documents wanted and delivered, dead letters.

Everything here can be deleted and is made anew from the log (and, for what is already delivered, from the receiver). All that
belongs together moves in one transaction: :meth:`Outbox.transaction`.

A document's row tells what is wanted (``want``, a content hash), what the receiver took (``sent``), and under which key
(``stored``). ``want`` and ``sent`` differ: something is to be sent. ``want`` is NULL: to be taken back, or nothing.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs
import msgspec

from tconnectsync.projection import Document
from tconnectsync.receiver import Delivery, StoredDocument

log = logging.getLogger("tconnectsync.sinks")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS marked(stream TEXT, interval INTEGER, fold TEXT, PRIMARY KEY(stream, interval, fold)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checkpoint(fold TEXT, stream TEXT, interval INTEGER, state BLOB NOT NULL,
    PRIMARY KEY(fold, stream, interval)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS beyond(fold TEXT, stream TEXT, interval INTEGER, first INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY(fold, stream, interval)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS document(
    id TEXT PRIMARY KEY, collection TEXT NOT NULL, slot TEXT NOT NULL, at INTEGER NOT NULL, shift INTEGER NOT NULL DEFAULT 0,
    fold TEXT, stream TEXT, interval INTEGER, limbo INTEGER NOT NULL DEFAULT 0,
    want TEXT, content BLOB, worth_s REAL, dead TEXT,
    sent TEXT, stored TEXT, unsure INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0, next_try INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS document_origin ON document(fold, stream, interval);
CREATE INDEX IF NOT EXISTS document_slot ON document(collection, slot, at);
CREATE INDEX IF NOT EXISTS document_pending ON document(at) WHERE want IS NOT sent AND dead IS NULL;
CREATE INDEX IF NOT EXISTS document_leaving ON document(fold, stream) WHERE want IS NULL;
CREATE INDEX IF NOT EXISTS document_dead ON document(at) WHERE dead IS NOT NULL;
CREATE INDEX IF NOT EXISTS document_worth ON document(at) WHERE worth_s IS NOT NULL;
CREATE INDEX IF NOT EXISTS document_limbo ON document(fold, stream) WHERE limbo = 1;
"""
RUNNING = -1
"""The interval of documents that are still going on."""


def milliseconds(at: datetime) -> int:
    """UTC time as whole milliseconds since 1970, cut, not rounded: the resolution that receivers keep."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def moment(ms: int) -> datetime:
    """The inverse of :func:`milliseconds`."""
    return _EPOCH + timedelta(milliseconds=ms)


def _content_hash(document: Document, shift: int) -> tuple[str, bytes]:
    content = msgspec.json.encode(document.content, order="sorted")
    head = f"{document.collection}\x1f{document.slot}\x1f{milliseconds(document.at) + shift}\x1f".encode()
    return hashlib.blake2b(head + content, digest_size=12).hexdigest(), content


@attrs.frozen(kw_only=True)
class DeadLetter:
    """A document that the receiver will never take as it is, or that cannot be, with the reason."""

    id: str
    at: datetime
    collection: str
    reason: str
    content: dict[str, Any]
    attempts: int


@attrs.frozen(kw_only=True)
class Counts:
    """How many documents wait, are set aside, are delivered; and how many waiting ones rewrite the settled past."""

    pending: int
    dead: int
    delivered: int


class Outbox:
    """One sink's file. ``writable=False`` reads it beside a running daemon."""

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        if writable:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None)
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.execute("PRAGMA cache_size=-2000")
                self._db.execute("PRAGMA journal_size_limit=1048576")
                self._db.executescript(_SCHEMA)
            except sqlite3.Error:
                self._db.close()
                raise
        else:
            self._db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=10)
        self.path = path

    @classmethod
    def opened(cls, path: Path) -> Outbox:
        """The outbox at ``path``. One that is no database any more is put aside: all that it said can be found out again."""
        try:
            return cls(path)
        except sqlite3.DatabaseError as error:
            if type(error) is not sqlite3.DatabaseError:  # a full disk, or a locked file: what is in it is not harmed
                raise
            return cls.renewed(path, error)

    @classmethod
    def renewed(cls, path: Path, error: sqlite3.Error) -> Outbox:
        """An empty one at ``path``; what was there is kept as ``<name>.damaged``."""
        log.error('outbox_damaged path=%s reason="%s" it is made anew from the log and the receiver', path, error)
        for ending in ("", "-wal", "-shm"):
            old = path.with_name(path.name + ending)
            if old.exists():
                old.replace(path.with_name(f"{path.name}.damaged{ending}"))
        return cls(path)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def copy_to(self, path: Path) -> None:
        """Copy it as it is now, also beside a writer."""
        with closing(sqlite3.connect(path)) as target:
            self._db.backup(target)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing of what is done inside."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        try:
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    # --- small facts ------------------------------------------------------------------------------------------------

    def get(self, key: str, default: str = "") -> str:
        """A remembered text."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return default if row is None else str(row[0])

    def put(self, key: str, value: str) -> None:
        """Remember a text."""
        self._db.execute(
            "INSERT INTO meta VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value", (key, value)
        )

    def forget(self, prefix: str) -> None:
        """Forget all texts whose key begins so."""
        self._db.execute("DELETE FROM meta WHERE substr(key, 1, ?) = ?", (len(prefix), prefix))

    @property
    def cursor(self) -> int:
        """The log position up to which events have been marked for folding."""
        return int(self.get("cursor", "0"))

    # --- intervals --------------------------------------------------------------------------------------------------

    def mark(self, rows: Sequence[tuple[str, int, str]]) -> None:
        """Fold these (stream, interval, fold) again."""
        self._db.executemany("INSERT OR IGNORE INTO marked VALUES(?, ?, ?)", rows)

    def mark_range(self, stream: str, first: int, last: int, folds: Sequence[str]) -> None:
        """Fold again what was folded before between these intervals, both inclusive."""
        for fold in folds:
            self._db.execute(
                "INSERT OR IGNORE INTO marked SELECT stream, interval, fold FROM checkpoint"
                " WHERE fold = ? AND stream = ? AND interval BETWEEN ? AND ?",
                (fold, stream, first, last),
            )

    def first_marked(self, *, except_for: Container[tuple[str, str]] = ()) -> tuple[str, int, tuple[str, ...]] | None:
        """The lowest marked interval of some stream, and the folds that want it; none of ``except_for`` (stream, fold)."""
        pairs = self._db.execute("SELECT DISTINCT stream, fold FROM marked").fetchall()
        allowed = [pair for pair in pairs if pair not in except_for]
        if not allowed:
            return None
        stream = min(allowed)[0]
        folds = [fold for name, fold in allowed if name == stream]
        chosen = (stream, msgspec.json.encode(folds).decode())
        wanted = "stream = ? AND fold IN (SELECT value FROM json_each(?))"
        (interval,) = self._db.execute(f"SELECT min(interval) FROM marked WHERE {wanted}", chosen).fetchone()
        rows = self._db.execute(f"SELECT fold FROM marked WHERE {wanted} AND interval = ?", (*chosen, interval))
        return stream, interval, tuple(fold for (fold,) in rows)

    def unmark(self, stream: str, interval: int, fold: str) -> None:
        """This interval is folded."""
        self._db.execute("DELETE FROM marked WHERE stream = ? AND interval = ? AND fold = ?", (stream, interval, fold))

    def marked_count(self) -> int:
        """How many intervals are still to fold."""
        return int(self._db.execute("SELECT count(*) FROM marked").fetchone()[0])

    def has_marks(self, stream: str, fold: str, *, since: int = -(1 << 62)) -> bool:
        """Whether this fold still has intervals to do in this stream, from ``since`` on."""
        sql = "SELECT 1 FROM marked WHERE stream = ? AND fold = ? AND interval >= ? LIMIT 1"
        return self._db.execute(sql, (stream, fold, since)).fetchone() is not None

    def state_before(self, fold: str, stream: str, interval: int) -> bytes | None:
        """The state at the end of the interval before this one."""
        sql = (
            "SELECT state FROM checkpoint WHERE fold = ? AND stream = ? AND interval < ? ORDER BY interval DESC LIMIT 1"
        )
        row = self._db.execute(sql, (fold, stream, interval)).fetchone()
        return None if row is None else bytes(row[0])

    def save_state(self, fold: str, stream: str, interval: int, state: bytes) -> bool:
        """Keep the state at the end of an interval; True when it differs from what was there."""
        sql = "SELECT state FROM checkpoint WHERE fold = ? AND stream = ? AND interval = ?"
        row = self._db.execute(sql, (fold, stream, interval)).fetchone()
        if row is not None and bytes(row[0]) == state:
            return False
        self._db.execute("INSERT OR REPLACE INTO checkpoint VALUES(?, ?, ?, ?)", (fold, stream, interval, state))
        return True

    def next_interval(self, fold: str, stream: str, interval: int) -> int | None:
        """The next interval that has a checkpoint."""
        sql = "SELECT min(interval) FROM checkpoint WHERE fold = ? AND stream = ? AND interval > ?"
        row = self._db.execute(sql, (fold, stream, interval)).fetchone()
        return None if row[0] is None else int(row[0])

    def last_state(self, fold: str, stream: str) -> bytes | None:
        """The newest state of a fold."""
        return self.state_before(fold, stream, 1 << 62)

    def streams(self) -> list[str]:
        """Streams that were folded."""
        return [row[0] for row in self._db.execute("SELECT DISTINCT stream FROM checkpoint")]

    def start_over(self) -> None:
        """Fold everything again: checkpoints and cursor go, what was delivered stays known."""
        self._db.execute("DELETE FROM checkpoint")
        self._db.execute("DELETE FROM marked")
        self._db.execute("DELETE FROM beyond")
        self.put("cursor", "0")
        self.put("cursor_mark", "")

    # --- the edge of history ----------------------------------------------------------------------------------------

    def leave_out(self, fold: str, stream: str, interval: int, times: Sequence[datetime]) -> None:
        """The interval makes documents of these times that are not wanted, for they lie beyond the edge of history."""
        if times:
            row = (fold, stream, interval, milliseconds(min(times)), milliseconds(max(times)))
            self._db.execute("INSERT OR REPLACE INTO beyond VALUES(?, ?, ?, ?, ?)", row)
        else:
            self._db.execute(
                "DELETE FROM beyond WHERE fold = ? AND stream = ? AND interval = ?", (fold, stream, interval)
            )

    def mark_left_out(self, stream: str, first: datetime, last: datetime) -> None:
        """Fold again what left out documents of these times, wherever the events lie that finish them."""
        rows = self._db.execute(
            "SELECT fold, interval FROM beyond WHERE stream = ? AND first <= ? AND last >= ?",
            (stream, milliseconds(last), milliseconds(first)),
        ).fetchall()
        for fold, interval in rows:
            self._mark_origin(fold, stream, interval)

    # --- documents wanted -------------------------------------------------------------------------------------------

    def want(self, document: Document, fold: str, stream: str, interval: int) -> None:
        """The folds want this document; equal to what is there costs nothing."""
        at = milliseconds(document.at)
        row = self._db.execute(
            "SELECT at, slot, collection, want, fold, stream, interval, limbo, sent FROM document WHERE id = ?",
            (document.id,),
        ).fetchone()
        shift = self._shift(document, at) if document.slot else 0
        want, content = _content_hash(document, shift)
        if document.problem is not None:
            want += "!"
        if row is not None:
            if row[3] == want:
                if (row[4], row[5], row[6], row[7]) != (fold, stream, interval, 0):
                    self._db.execute(
                        "UPDATE document SET fold = ?, stream = ?, interval = ?, limbo = 0 WHERE id = ?",
                        (fold, stream, interval, document.id),
                    )
                return
            if document.slot and row[1] and (row[0], row[1], row[2]) != (at, document.slot, document.collection):
                self._leave_slot(document.id, row[2], row[1], row[0])
        settled = row is not None and row[8] == want
        values = (
            document.collection, document.slot, at, shift, fold, stream, interval, want,
            None if settled else content, document.worth_s, document.problem,
        )  # fmt: skip
        if row is None:
            self._db.execute(
                "INSERT INTO document(collection, slot, at, shift, fold, stream, interval, want, content, worth_s, dead, id)"
                " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, document.id),
            )
        else:
            self._db.execute(
                "UPDATE document SET collection = ?, slot = ?, at = ?, shift = ?, fold = ?, stream = ?, interval = ?,"
                " want = ?, content = ?, worth_s = ?, dead = ?, limbo = 0, attempts = 0, next_try = NULL WHERE id = ?",
                (*values, document.id),
            )

    def _shift(self, document: Document, at: int) -> int:
        """Milliseconds that keep two documents of one slot and time apart; the greater id moves, whichever came first."""
        rows = self._db.execute(
            "SELECT id, fold, stream, interval FROM document"
            " WHERE collection = ? AND slot = ? AND at = ? AND id <> ? AND want IS NOT NULL AND limbo = 0",
            (document.collection, document.slot, at, document.id),
        ).fetchall()
        known = (
            rows
            and self._db.execute(
                "SELECT 1 FROM document WHERE id = ? AND at = ? AND slot = ? AND want IS NOT NULL",
                (document.id, at, document.slot),
            ).fetchone()
        )
        if not known:
            self._fold_again([row for row in rows if row[0] > document.id])
        return sum(1 for row in rows if row[0] < document.id)

    def _leave_slot(self, id: str, collection: str, slot: str, at: int) -> None:  # noqa: A002
        rows = self._db.execute(
            "SELECT id, fold, stream, interval FROM document WHERE collection = ? AND slot = ? AND at = ? AND id > ?"
            " AND want IS NOT NULL",
            (collection, slot, at, id),
        ).fetchall()
        self._fold_again(rows)

    def _fold_again(self, rows: Sequence[tuple[str, str, str, int | None]]) -> None:
        """The contents of delivered documents are not kept: folding their interval again makes them anew."""
        for id_, fold, stream, interval in rows:
            self._db.execute("UPDATE document SET want = '~' WHERE id = ?", (id_,))
            self._mark_origin(fold, stream, interval)

    def _mark_origin(self, fold: str, stream: str, interval: int | None) -> None:
        if interval is None or interval == RUNNING:
            sql = "SELECT max(interval) FROM checkpoint WHERE fold = ? AND stream = ?"
            (interval,) = self._db.execute(sql, (fold, stream)).fetchone()
        if interval is not None:
            self.mark([(stream, interval, fold)])

    def wanted_in(self, fold: str, stream: str, interval: int) -> set[str]:
        """Ids of the documents that an interval finished before (RUNNING: that were going on)."""
        sql = "SELECT id FROM document WHERE fold = ? AND stream = ? AND interval = ?"
        return {row[0] for row in self._db.execute(sql, (fold, stream, interval))}

    def doubt(self, ids: Sequence[str]) -> None:
        """These are not made by their interval any more; another may still make them before the fold is through."""
        self._db.executemany("UPDATE document SET limbo = 1 WHERE id = ?", [(id_,) for id_ in ids])

    def settle(self, fold: str, stream: str, *, keep: Sequence[tuple[int, int]] = ()) -> int:
        """The fold is through: what is still in doubt is taken back, except in the ``keep`` stretches (ms). Their number.

        A document that is worth something for a while only is forgotten instead: its absence is no difference.
        """
        sql = "SELECT id, at, slot, collection, worth_s, dead FROM document WHERE limbo = 1 AND fold = ? AND stream = ?"
        rows = self._db.execute(sql, (fold, stream)).fetchall()
        withdrawn = 0
        for id_, at, slot, collection, worth_s, dead in rows:
            if any(first <= at <= last for first, last in keep):
                self._db.execute("UPDATE document SET limbo = 0 WHERE id = ?", (id_,))
                continue
            if slot:
                self._leave_slot(id_, collection, slot, at)
            if worth_s is not None:
                self._db.execute("DELETE FROM document WHERE id = ?", (id_,))
                continue
            self._db.execute(
                "UPDATE document SET want = NULL, content = NULL, limbo = 0, dead = NULL, interval = NULL, next_try = NULL,"
                " sent = CASE WHEN unsure THEN coalesce(sent, '') ELSE sent END WHERE id = ?",
                (id_,),
            )
            withdrawn += dead is None
        self._db.execute(
            "DELETE FROM document INDEXED BY document_leaving"  # the fold's other documents are many
            " WHERE want IS NULL AND sent IS NULL AND stored IS NULL AND unsure = 0 AND fold = ? AND stream = ?",
            (fold, stream),
        )
        return withdrawn

    # --- delivery ---------------------------------------------------------------------------------------------------

    def pending(self, now: datetime, limit: int, *, ids: Sequence[str] | None = None) -> list[Delivery]:
        """What to send next: withdrawals first, then the newest documents; none that lies in the future.

        With ``ids`` only of these.
        """
        ms, horizon = milliseconds(now), milliseconds(now + timedelta(minutes=5))
        # each in its index's own order: with a long backlog nothing is sorted or looked at but what is sent
        rows = self._pending(ms, horizon, limit, "INDEXED BY document_leaving", "want IS NULL", ids)
        if len(rows) < limit:
            rows += self._pending(ms, horizon, limit - len(rows), "", "want IS NOT NULL AND want IS NOT '~'", ids)
        found = []
        for id_, collection, slot, at, shift, want, content, worth_s, stored, unsure in rows:
            document = None
            if want is not None:
                document = Document(
                    id=id_, collection=collection, at=moment(at + shift), slot=slot, worth_s=worth_s,
                    content=msgspec.json.decode(content),
                )  # fmt: skip
            found.append(
                Delivery(document_id=id_, collection=collection, document=document, stored=stored, unsure=bool(unsure))
            )
        return found

    def _pending(
        self, now: int, horizon: int, limit: int, index: str, condition: str, ids: Sequence[str] | None
    ) -> list[Any]:
        chosen = ""
        values: list[int | str] = [horizon, now]
        if ids is not None:
            index, chosen = "", " AND id IN (SELECT value FROM json_each(?))"
            values.append(msgspec.json.encode(list(ids)).decode())
        return self._db.execute(
            "SELECT id, collection, slot, at, shift, want, content, worth_s, stored, unsure"
            f" FROM document {index} WHERE {condition} AND want IS NOT sent AND dead IS NULL AND at <= ?"
            f" AND (next_try IS NULL OR next_try <= ?){chosen} ORDER BY at DESC, id LIMIT ?",
            (*values, limit),
        ).fetchall()

    def lapse(self, now: datetime) -> int:
        """Forget documents that are not worth anything any more, sent or not. Their number."""
        sql = "DELETE FROM document WHERE worth_s IS NOT NULL AND at < ? - worth_s * 1000"
        return self._db.execute(sql, (milliseconds(now),)).rowcount

    def set_unsure(self, ids: Sequence[str], unsure: bool) -> None:
        """An attempt begins (True), or is known not to have reached the receiver (False)."""
        self._db.executemany("UPDATE document SET unsure = ? WHERE id = ?", [(int(unsure), id_) for id_ in ids])

    def taken(self, delivery: Delivery, stored: str) -> None:
        """The receiver took it: known as delivered from now on, whatever else was wanted meanwhile."""
        if delivery.document is None:
            self._db.execute(
                "UPDATE document SET sent = NULL, stored = NULL, unsure = 0, attempts = 0, next_try = NULL WHERE id = ?",
                (delivery.document_id,),
            )
            self._db.execute(
                "DELETE FROM document WHERE id = ? AND want IS NULL AND interval IS NULL", (delivery.document_id,)
            )
            return
        sent, _ = _content_hash(delivery.document, 0)
        self._db.execute(
            "UPDATE document SET sent = ?, stored = ?, unsure = 0, attempts = 0, next_try = NULL,"
            " content = CASE WHEN want = ? THEN NULL ELSE content END WHERE id = ?",
            (sent, stored, sent, delivery.document_id),
        )

    def postpone(self, delivery: Delivery, until: datetime) -> None:
        """Not now; the attempt stays unsure, for some of it may have been stored."""
        self._db.execute(
            "UPDATE document SET attempts = attempts + 1, next_try = ? WHERE id = ?",
            (milliseconds(until), delivery.document_id),
        )

    def bury(self, delivery: Delivery, reason: str) -> None:
        """The receiver will never take it: a dead letter, until its content changes or the user says so."""
        self._db.execute(
            "UPDATE document SET dead = ?, attempts = attempts + 1, unsure = ? WHERE id = ?",
            (reason, int(delivery.unsure), delivery.document_id),
        )

    def next_due(self, now: datetime) -> datetime | None:
        """When the next waiting document may be sent; None when nothing waits."""
        waits = "FROM document WHERE want IS NOT sent AND dead IS NULL AND want IS NOT '~'"
        horizon = milliseconds(now + timedelta(minutes=5))
        one = f"SELECT 1 {waits} AND at <= ? AND next_try IS NULL LIMIT 1"
        if self._db.execute(one, (horizon,)).fetchone() is not None:
            return now  # a long backlog is not looked through
        row = self._db.execute(f"SELECT min(max(at - 300000, coalesce(next_try, 0))) {waits}").fetchone()
        return None if row[0] is None else max(now, moment(row[0]))

    def waiting(self, now: datetime) -> int:
        """How many documents wait that could be there by now: those that lie in the future do not count."""
        sql = "SELECT count(*) FROM document WHERE want IS NOT sent AND dead IS NULL AND at <= ?"
        return int(self._db.execute(sql, (milliseconds(now + timedelta(minutes=5)),)).fetchone()[0])

    def rewrites(self, now: datetime) -> int:
        """How many waiting documents change or take back what was delivered and is more than two days old.

        One that was read back and is put again does not count: nobody knows that it changes.
        """
        sql = (
            "SELECT count(*) FROM document WHERE want IS NOT sent AND dead IS NULL AND stored IS NOT NULL AND sent IS NOT NULL"
            " AND NOT (sent = '?' AND want IS NOT NULL) AND at < ?"
        )
        return int(self._db.execute(sql, (milliseconds(now - timedelta(days=2)),)).fetchone()[0])

    def span(self) -> tuple[datetime, datetime] | None:
        """UTC time of the first and the last document that is wanted."""
        row = self._db.execute("SELECT min(at), max(at) FROM document WHERE want IS NOT NULL").fetchone()
        return None if row[0] is None else (moment(row[0]), moment(row[1]))

    def first_to_put(self) -> datetime | None:
        """UTC time of the first document that waits to be put."""
        sql = "SELECT min(at) FROM document WHERE want IS NOT sent AND dead IS NULL AND want IS NOT NULL"
        (at,) = self._db.execute(sql).fetchone()
        return None if at is None else moment(at)

    def recognise(self, found: StoredDocument) -> None:
        """The receiver already holds this document of ours (after a wiped disk): updated if a fold makes it.

        One that no fold makes stays as it is until :meth:`judge_found`.
        """
        self._db.execute(
            "INSERT INTO document(id, collection, slot, at, want, sent, stored, stream) VALUES(?, ?, '', ?, '?', '?', ?, ?)"
            " ON CONFLICT(id) DO UPDATE SET sent = coalesce(sent, '?'), stored = coalesce(document.stored, excluded.stored)",
            (found.document_id, found.collection, milliseconds(found.at), found.stored, found.pump),
        )

    def judge_found(self, known: Callable[[str, datetime], bool], *, keep: Sequence[tuple[int, int]] = ()) -> int:
        """Everything is fetched and folded: what was found and is not made goes, except in ``keep`` (ms). Their number.

        Only what the log speaks of is judged: ``known(pump, at)``. The rest is somebody else's, and forgotten here.
        """
        rows = self._db.execute("SELECT id, at, stream FROM document WHERE fold IS NULL AND want = '?'").fetchall()
        gone: list[tuple[str]] = []
        left: list[tuple[str]] = []
        for id_, at, pump in rows:
            kept = any(first <= at <= last for first, last in keep)
            (gone if known(pump or "", moment(at)) and not kept else left).append((id_,))
        self._db.executemany("UPDATE document SET want = NULL WHERE id = ?", gone)
        self._db.executemany("DELETE FROM document WHERE id = ?", left)
        return len(gone)

    def replay(self, folds: Sequence[str], first: datetime | None = None, last: datetime | None = None) -> int:
        """Forget what was delivered in this stretch (both inclusive; None: open) so that it is sent again. Their number."""
        stretch = (
            -(1 << 62) if first is None else milliseconds(first),
            (1 << 62) if last is None else milliseconds(last),
            msgspec.json.encode(list(folds)).decode(),
        )
        chosen = (
            "at BETWEEN ? AND ? AND fold IN (SELECT value FROM json_each(?)) AND want IS NOT NULL AND worth_s IS NULL"
        )
        select = f"SELECT DISTINCT fold, stream, interval FROM document WHERE {chosen}"
        rows = self._db.execute(select, stretch).fetchall()
        changed = self._db.execute(
            "UPDATE document SET want = '~', dead = NULL, next_try = NULL,"
            f" sent = CASE WHEN sent IS NULL THEN NULL ELSE '' END WHERE {chosen}",
            stretch,
        ).rowcount
        for fold, stream, interval in rows:
            self._mark_origin(fold, stream, interval)
        return changed

    def new_site(self) -> None:
        """The receiver is another place: nothing is to be taken back from it, and only what is replayed is put there."""
        self._db.execute("DELETE FROM document WHERE want IS NULL OR fold IS NULL")
        self._db.execute("UPDATE document SET stored = NULL, unsure = 0")

    # --- dead letters and counts ------------------------------------------------------------------------------------

    def dead_letters(self) -> list[DeadLetter]:
        """What was set aside, oldest first."""
        sql = "SELECT id, at, collection, dead, content, attempts FROM document WHERE dead IS NOT NULL ORDER BY at, id"
        return [
            DeadLetter(
                id=row[0], at=moment(row[1]), collection=row[2], reason=row[3], attempts=row[5],
                content={} if row[4] is None else msgspec.json.decode(row[4]),
            )
            for row in self._db.execute(sql)
        ]  # fmt: skip

    def revive(self, ids: Sequence[str] | None) -> int:
        """Try these dead letters once more (None: all that the receiver refused). Impossible values stay. Their number."""
        sql = (
            "UPDATE document SET dead = NULL, attempts = 0, next_try = NULL WHERE dead IS NOT NULL AND coalesce(want, '') NOT LIKE '%!'"
            " AND (? IS NULL OR id IN (SELECT value FROM json_each(?)))"
        )
        chosen = None if ids is None else msgspec.json.encode(list(ids)).decode()
        return self._db.execute(sql, (chosen, chosen)).rowcount

    def drop(self, ids: Sequence[str] | None) -> int:
        """Let these dead letters go (None: all): counted as delivered until their content changes. Their number."""
        sql = (
            "UPDATE document SET dead = NULL, sent = want, content = NULL WHERE dead IS NOT NULL"
            " AND (? IS NULL OR id IN (SELECT value FROM json_each(?)))"
        )
        chosen = None if ids is None else msgspec.json.encode(list(ids)).decode()
        return self._db.execute(sql, (chosen, chosen)).rowcount

    def counts(self) -> Counts:
        """For status."""
        (pending,) = self._db.execute(
            "SELECT count(*) FROM document WHERE want IS NOT sent AND dead IS NULL"
        ).fetchone()
        (dead,) = self._db.execute("SELECT count(*) FROM document WHERE dead IS NOT NULL").fetchone()
        (delivered,) = self._db.execute("SELECT count(*) FROM document WHERE sent IS NOT NULL").fetchone()
        return Counts(pending=pending, dead=dead, delivered=delivered)
