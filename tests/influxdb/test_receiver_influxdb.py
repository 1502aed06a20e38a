"""The receiver against a real InfluxDB 1, and against answers that a server may give."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest

from tconnectsync import Accepted, CredentialsRefused, Delivery, Document, Rejected, Retryable, Secret, events
from tconnectsync.testing import ManualClock, example_events, final_documents, make_event, plugin_context
from tconnectsync_influxdb.folds.readings import ReadingPointFold
from tconnectsync_influxdb.options import InfluxOptions, notes, problems
from tconnectsync_influxdb.points import PointKey
from tconnectsync_influxdb.sink import MEASUREMENTS, TimeSeries, open_sink
from tests.influxdb.simulated_v2 import BUCKET, ORG, TOKEN, Bucket, influxdb_2
from tests.support.influx_server import ADMIN, Influx

ROOT = Path(__file__).parents[2]
NOW = datetime.fromtimestamp(int(time.time()) - 600, timezone.utc)
_NUMBERS = itertools.count()


def receiver_of(tmp_path: Any, **options: Any) -> TimeSeries:
    opened = open_sink(InfluxOptions(**options), plugin_context(tmp_path, clock=ManualClock()))
    assert isinstance(opened.receiver, TimeSeries)
    return opened.receiver


def bolus(insulin_u: float, *, at: datetime = NOW, offset_ns: int = 20, name: str = "one", **fields: Any) -> Document:
    content = {
        "tags": {"pump": "1", "kind": "standard"},
        "fields": {"insulin_u": insulin_u, **fields},
        "offset_ns": offset_ns,
    }
    return Document(id=name, collection="bolus", at=at, content=content)


def put(document: Document, key: str | None = None, *, in_doubt: bool = False) -> Delivery:
    return Delivery(
        document_id=document.id, collection=document.collection, document=document, receiver_key=key, in_doubt=in_doubt
    )


def key_of(outcome: object) -> str:
    assert isinstance(outcome, Accepted)
    return outcome.receiver_key


@attrs.frozen(kw_only=True)
class Database:
    """A database of its own in the real server."""

    influx: Influx
    name: str
    receiver: TimeSeries

    def boluses(self) -> list[dict[str, object]]:
        return self.influx.rows("SELECT * FROM bolus", self.name)


@pytest.fixture
def database(influx: Influx, tmp_path: Any) -> Database:
    name = f'receiver "{next(_NUMBERS)}"'
    quoted = name.replace('"', '\\"')
    influx.ask(f'CREATE DATABASE "{quoted}"')
    login: dict[str, Any] = {"username": ADMIN[0], "password": Secret(ADMIN[1])}
    return Database(
        influx=influx, name=name, receiver=receiver_of(tmp_path, url=influx.url + "/", database=name, **login)
    )


def test_update_leaves_nothing(database: Database) -> None:
    """A changed point replaces the old one: also at another time, with another tag, and with a field less."""
    receiver = database.receiver
    key = key_of(receiver.deliver([put(bolus(1.0, carbs_g=30.0))])[0])
    key = key_of(receiver.deliver([put(bolus(1.5), key)])[0])
    (row,) = database.boluses()
    assert (row["insulin_u"], row["carbs_g"]) == (1.5, None)
    later = bolus(1.5, at=NOW + timedelta(seconds=5))
    receiver.deliver([put(later, key)])
    (row,) = database.boluses()
    assert row["time"] == int(later.at.timestamp()) * 10**9 + 20


def test_neighbours_survive_a_withdrawal(database: Database) -> None:
    """Deleting one of several facts of one second leaves the others, and points of other programs."""
    receiver = database.receiver
    documents = [bolus(float(n), offset_ns=2 * n, name=f"bolus {n}") for n in range(1, 4)]
    keys = [key_of(outcome) for outcome in receiver.deliver([put(each) for each in documents])]
    foreign = f"bolus,kind=standard insulin_u=9 {int(NOW.timestamp()) * 10**9 + 4}"
    receiver.server.write([foreign])
    receiver.deliver([Delivery(document_id="bolus 2", collection="bolus", document=None, receiver_key=keys[1])])
    assert sorted(float(str(row["insulin_u"])) for row in database.boluses()) == [1.0, 3.0, 9.0]
    assert {copy.document_id for copy in receiver.survey(NOW, NOW)} == {"bolus 1", "bolus 3"}, "only what is ours"


def test_escaping(database: Database) -> None:
    """Blanks, commas, quotes and backslashes in tags and texts are read as they were written, and can be deleted."""
    nasty = ["a b", "a,b=c", 'say "yes"', "it's", "back\\slash", "ünï→code", "x" * 500]
    documents = [bolus(1.0, name=f"bolus {text}", status=text) for text in nasty]
    for document, text in zip(documents, nasty, strict=True):
        document.content["tags"]["kind"] = text
    keys = [key_of(outcome) for outcome in database.receiver.deliver([put(each) for each in documents])]
    assert [row["status"] for row in sorted(database.boluses(), key=lambda row: str(row["kind"]))] == sorted(nasty)
    assert sorted(str(row["kind"]) for row in database.boluses()) == sorted(nasty)
    for document, copy in itertools.product(documents, database.receiver.survey(NOW, NOW)):
        assert (document.id != copy.document_id) or not database.receiver.compare(document, copy)
    database.receiver.deliver([
        Delivery(document_id=each.id, collection="bolus", document=None, receiver_key=key)
        for each, key in zip(documents, keys, strict=True)
    ])  # fmt: skip
    assert database.boluses() == []


def test_doubtful_copy_elsewhere_is_found(database: Database) -> None:
    """An attempt without an answer wrote the point at another time: it is found by its identity and deleted."""
    receiver = database.receiver
    receiver.deliver([put(bolus(1.0, at=NOW - timedelta(hours=5)))])
    receiver.deliver([put(bolus(1.0), in_doubt=True)])
    assert [row["time"] for row in database.boluses()] == [int(NOW.timestamp()) * 10**9 + 20]


def test_doubtful_withdrawal_without_a_place(database: Database) -> None:
    """The place of a withdrawn document's point is unknown: it is found by its identity, and others stay."""
    receiver, long_ago = database.receiver, NOW - timedelta(days=400)
    receiver.deliver([put(bolus(1.0, at=long_ago)), put(bolus(2.0, at=long_ago, offset_ns=22, name="two"))])
    receiver.deliver([Delivery(document_id="one", collection="bolus", document=None, in_doubt=True)])
    assert [row["id"] for row in database.boluses()] == ["two"]


def test_older_than_the_retention(database: Database) -> None:
    """What the database would delete by its age is no error, and the rest of the batch is written."""
    quoted = database.name.replace('"', '\\"')
    database.influx.ask(f'CREATE RETENTION POLICY short ON "{quoted}" DURATION 1d REPLICATION 1 DEFAULT')
    outcomes = database.receiver.deliver([put(bolus(1.0, at=NOW - timedelta(days=9), name="old")), put(bolus(2.0))])
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    assert [row["insulin_u"] for row in database.boluses()] == [2.0]


def test_type_of_another_program(database: Database) -> None:
    """Another program made the field a text: the batch is refused with the reason, so that it can be halved."""
    database.receiver.server.write([f'bolus,pump=x insulin_u="much" {int(NOW.timestamp()) * 10**9}'])
    with pytest.raises(Rejected, match="field type conflict") as refused:
        database.receiver.deliver([put(bolus(1.0))])
    assert "replay influxdb" in str(refused.value.remedy)


def test_check_against_the_real_server(database: Database, influx: Influx, tmp_path: Any) -> None:
    """``check`` distinguishes a good place, a wrong password, a missing right and a missing database."""
    (good,) = database.receiver.check()
    assert good.good
    assert "1." in good.what
    quoted = database.name.replace('"', '\\"')
    influx.ask(f"CREATE USER reader{next(_NUMBERS)} WITH PASSWORD 'r'")
    reader = f"reader{next(_NUMBERS) - 1}"
    influx.ask(f'GRANT READ ON "{quoted}" TO {reader}')
    for login, name, word, remedy in (
        (
            {"username": "admin", "password": Secret("wr0ng")},
            database.name,
            "refuses the login",
            "sinks.influxdb.username",
        ),
        ({}, database.name, "refuses the login", "sinks.influxdb.username"),
        ({"username": reader, "password": Secret("r")}, database.name, "no right", "GRANT ALL"),
        ({"username": ADMIN[0], "password": Secret(ADMIN[1])}, "nowhere", "has no database nowhere", "CREATE DATABASE"),
    ):
        options: dict[str, Any] = {"url": influx.url, "database": name, **login}
        receiver = receiver_of(tmp_path, **options)
        (bad,) = receiver.check()
        assert not bad.good
        assert word in bad.what
        assert remedy in str(bad.remedy)
        assert "wr0ng" not in bad.what + str(bad.remedy)
        with pytest.raises((CredentialsRefused, Retryable), match=word):
            receiver.deliver([put(bolus(1.0))])


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with influxdb_2() as server:
        yield server


def second(server: Bucket, tmp_path: Any, **other: Any) -> TimeSeries:
    given: dict[str, Any] = {"url": server.url, "org": ORG, "bucket": BUCKET, "token": Secret(TOKEN), **other}
    return receiver_of(tmp_path, **given)


@pytest.mark.parametrize(
    ("status", "content", "error", "word"),
    [
        (401, {"message": "unauthorized access"}, CredentialsRefused, "refuses the login"),
        (403, {"message": "insufficient permissions for write"}, CredentialsRefused, "no right"),
        (404, {"message": 'bucket "pump" not found'}, Retryable, "has no bucket pump"),
        (404, {}, Retryable, "not answer like an InfluxDB"),
        (302, {}, Retryable, "not answer like an InfluxDB"),
        (200, {"title": "Sign in"}, Retryable, "not answer like an InfluxDB"),
        (400, {}, Retryable, "not answer like an InfluxDB"),
        (400, {"message": "unable to parse"}, Rejected, "unable to parse"),
        (422, {"message": "failure writing points: field type conflict"}, Rejected, "field type conflict"),
        (413, {"message": "Request Entity Too Large"}, Retryable, "size"),
        (429, {}, Retryable, "cannot do this now"),
        (503, {"message": "overloaded"}, Retryable, "overloaded"),
        (500, {"error": "timeout"}, Retryable, "timeout"),
    ],
)
def test_what_a_refusal_means(
    bucket: Bucket, tmp_path: Any, status: int, content: Mapping[str, Any], error: type[Exception], word: str
) -> None:
    """Each status has its decision, and the server's words are in the message."""
    bucket.answers["/api/v2/write"] = (status, content)
    with pytest.raises(error, match=word) as caught:
        second(bucket, tmp_path).deliver([put(bolus(1.0))])
    assert TOKEN not in str(caught.value)
    if isinstance(caught.value, Retryable):
        assert caught.value.narrow == (status == 413)
        assert caught.value.after_s == (30.0 if status in (429, 503) else None)


def test_old_points_at_influxdb_2(bucket: Bucket, tmp_path: Any) -> None:
    """InfluxDB 2 says it with status 422."""
    bucket.answers["/api/v2/write"] = (422, {"message": "partial write: points beyond retention policy dropped=1"})
    assert isinstance(second(bucket, tmp_path).deliver([put(bolus(1.0))])[0], Accepted)


def test_deletion_at_influxdb_2(bucket: Bucket, tmp_path: Any) -> None:
    """The predicate has measurement and tags, the range only this point."""
    receiver = second(bucket, tmp_path)
    outcomes = receiver.deliver([put(bolus(1.0, offset_ns=20, name="a")), put(bolus(2.0, offset_ns=22, name="b"))])
    receiver.deliver([Delivery(document_id="a", collection="bolus", document=None, receiver_key=key_of(outcomes[0]))])
    assert [fields["id"] for fields in bucket.points.values()] == ["b"]
    (deletion,) = bucket.deletions
    assert (
        deletion["predicate"] == '_measurement="bolus" AND "pump"="1" AND "kind"="standard"'
        or deletion["predicate"] == '_measurement="bolus" AND "kind"="standard" AND "pump"="1"'
    )
    assert deletion["start"].endswith(".000000020Z")
    assert deletion["stop"].endswith(".000000021Z")


@pytest.mark.parametrize("version", [1, 2])
def test_a_login_page_stores_and_deletes_nothing(bucket: Bucket, tmp_path: Any, version: int) -> None:
    """A proxy answers everything with its page and status 200: all waits, and the point stays known."""
    receiver = second(bucket, tmp_path) if version == 2 else receiver_of(tmp_path, url=bucket.url, database="d")
    key = key_of(second(bucket, tmp_path).deliver([put(bolus(1.0))])[0])
    for path in ("/api/v2/write", "/api/v2/delete", "/write", "/query"):
        bucket.answers[path] = (200, {"title": "Sign in"})
    withdrawn = Delivery(document_id="one", collection="bolus", document=None, receiver_key=key)
    for change in (put(bolus(2.0, name="two", offset_ns=22)), withdrawn):
        with pytest.raises(Retryable, match="not answer like an InfluxDB") as told:
            receiver.deliver([change])
        assert "login page" in str(told.value.remedy) or version == 1
    assert [fields["id"] for fields in bucket.points.values()] == ["one"]


def test_check_at_influxdb_2(bucket: Bucket, tmp_path: Any) -> None:
    """A token that is right, one that is wrong, and a bucket that is not there."""
    (good,) = second(bucket, tmp_path).check()
    assert good.good
    assert "v2.7.1" in good.what
    (wrong,) = second(bucket, tmp_path, token=Secret("another")).check()
    assert not wrong.good
    assert "sinks.influxdb.token" in str(wrong.remedy)
    (missing,) = second(bucket, tmp_path, bucket="elsewhere").check()
    assert "bucket create" in str(missing.remedy)


def test_differences(bucket: Bucket, tmp_path: Any) -> None:
    """``compare`` names a field that differs, one that is missing, and another place."""
    receiver = second(bucket, tmp_path)
    receiver.deliver([put(bolus(1.0, requested_u=1.0))])
    (copy,) = receiver.survey(NOW, NOW)
    assert list(receiver.compare(bolus(1.0, requested_u=1.0), copy)) == []
    assert [each.field for each in receiver.compare(bolus(2.0), copy)] == ["insulin_u", "requested_u"]
    moved = msgspec.structs.replace(
        copy, receiver_key=attrs.evolve(PointKey.from_text(copy.receiver_key), tags={}).to_text()
    )
    assert [each.field for each in receiver.compare(bolus(1.0, requested_u=1.0), moved)] == ["tags"]


@pytest.fixture(scope="module")
def example(influx: Influx, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with two hours of a pump's life."""
    influx.ask("CREATE DATABASE example")
    login: dict[str, Any] = {"username": ADMIN[0], "password": Secret(ADMIN[1])}
    sink = open_sink(
        InfluxOptions(url=influx.url, database="example", **login), plugin_context(tmp_path_factory.mktemp("e"))
    )
    documents = [each for fold in sink.folds for each in final_documents(fold, example_events(fold.kinds))]
    sink.receiver.deliver([put(each) for each in documents])
    return "example"


BOARD = json.loads((ROOT / "monitoring" / "grafana-influxdb.json").read_text(encoding="utf-8"))
QUERIES = {target["query"]: panel["title"] for panel in BOARD["panels"] for target in panel["targets"]}


def in_influxql(query: str, span: str) -> str:
    """A query of the dashboard as Grafana sends it."""
    return query.replace("$timeFilter", span).replace("$pump", ".*").replace("$__timezone", "Europe/Berlin")


def test_dashboard_shows_what_is_written(influx: Influx, example: str) -> None:
    """Every query of the Grafana dashboard finds something in a real InfluxDB."""
    span, shown = "time >= '2026-05-14T00:00:00Z' AND time < '2026-05-15T00:00:00Z'", {}
    for query in QUERIES:
        asked = in_influxql(query, span).replace("now()", "'2026-05-14T14:00:00Z'")
        shown[query] = influx.rows(asked, example)
    assert len(shown) > 12
    assert [query for query, rows in shown.items() if not rows] == []


@pytest.mark.parametrize(("minutes_ago", "shown"), [(5, [39.0]), (40, [])])
def test_dashboard_shows_low_and_no_old_value(database: Database, minutes_ago: int, shown: list[float]) -> None:
    """While the sensor says LOW, the newest glucose is 39, not the number before; an old one is not shown as the newest."""
    pump_now = datetime(2026, 5, 14, 14)
    readings = [
        events.GlucoseReading(mark="value", reading_time=pump_now - timedelta(minutes=5), glucose_mg_dl=46.0),
        events.GlucoseReading(mark="low", reading_time=pump_now),
    ]
    now = datetime.now(timezone.utc)
    said = [
        msgspec.structs.replace(make_event(body, 0, seq), pump_time=pump_now, at=now - timedelta(minutes=minutes_ago))
        for seq, body in enumerate(readings)
    ]
    database.receiver.deliver([put(each) for each in final_documents(ReadingPointFold(), said)])
    asked = [query for query, title in QUERIES.items() if title == "Glucose (newest, mg/dL)"]
    (query,) = (in_influxql(each, f"time > '{now - timedelta(days=1):%FT%TZ}'") for each in asked)
    assert [row["last"] for row in database.influx.rows(query, database.name)] == shown


def test_document_lists_measurements_tags_and_fields(influx: Influx, example: str) -> None:
    """docs/user/influxdb-measurements.md names every measurement, tag and field that is written."""
    text = (ROOT / "docs" / "user" / "influxdb-measurements.md").read_text(encoding="utf-8")
    fields = {str(row["fieldKey"]) for row in influx.rows("SHOW FIELD KEYS", example)}
    tags = {str(row["tagKey"]) for row in influx.rows("SHOW TAG KEYS", example)}
    names = {str(row["name"]) for row in influx.rows("SHOW MEASUREMENTS", example)}
    assert names == set(MEASUREMENTS)
    assert [name for name in sorted(fields | tags | names) if f"`{name}`" not in text] == []


def test_two_servers_of_one_host(tmp_path: Any) -> None:
    """A server at another port is another place, so that its history is sent, and messages name the port."""

    def at(url: str) -> TimeSeries:
        return receiver_of(tmp_path, url=url, database="pump")

    usual, unnamed, other = at("http://home:8086"), at("http://home"), at("http://home:9086/")
    assert len({usual.address, unnamed.address, other.address}) == 3
    assert at("https://home").address == at("https://home:443").address
    assert unnamed.address == at("http://home:80").address
    assert usual.former_address == "http://home//pump", "as earlier releases stored it"
    assert ":9086" in str(other.server.place)
    assert ":8086" in str(usual.server.place)
    assert str(unnamed.server.place).endswith("http://home")


def test_missing_settings() -> None:
    """What is missing or does not fit is reported before anything runs."""
    url = "http://influx.local:8086"
    for given, words in (
        ({}, ["url", "database"]),
        ({"url": url, "bucket": "b"}, ["org", "token"]),
        ({"url": url, "database": "d", "bucket": "b"}, ["either database"]),
        ({"url": url, "database": "d", "password": Secret("x")}, ["username"]),
        ({"url": url, "database": "d"}, []),
    ):
        options: dict[str, Any] = given
        found = problems(InfluxOptions(**options), {})
        assert len(found) == len(words)
        for text, word in zip(found, words, strict=True):
            assert word in text
    far = InfluxOptions(url="http://influx.example.com:8086", org="o", bucket="b", token=Secret("t"))
    assert "unencrypted" in notes(far)[0]
    assert notes(attrs.evolve(far, url=url)) == ()
