"""A light cloud and receiver for many people: numbers that grow with time, and what each receiver has stored."""

from __future__ import annotations

import json
import threading
import time
from array import array
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs

from tconnectsync_simulator.loopback_server import LoopbackHandler, LoopbackServer

GROWTH_PER_S = 2.0
PAGE = 10
READ = 500
"""How many documents are read at once."""
REMEMBERED = 50


@attrs.define
class LightCloud:
    """Numbers for each person that grow with time, and what each person's receiver has stored, by document id."""

    numbers: dict[str, int] = attrs.field(factory=dict)
    stored: dict[str, dict[str, dict[str, Any]]] = attrs.field(factory=dict)
    asked: Counter[str] = attrs.field(factory=Counter)
    asked_at: array[float] = attrs.field(factory=lambda: array("d"))
    """When a source asked, on the monotonic clock."""
    last_asked: dict[str, float] = attrs.field(factory=dict)
    longest_silence_s: dict[str, float] = attrs.field(factory=dict)
    """The longest time in which nobody asked for a person."""
    repeated: int = 0
    """How many documents were posted that the receiver had."""
    repeats: deque[str] = attrs.field(factory=lambda: deque(maxlen=REMEMBERED))
    """The last of them: when, whose, and which processes sent them."""
    sent_by: dict[str, str] = attrs.field(factory=dict)
    """By document id, the last process that sent it, and when."""
    grows: bool = True
    growth_per_s: float = GROWTH_PER_S
    answer_s: float = 0.0
    """How long each answer takes, as if cloud and receivers were far away."""
    began: float = attrs.field(factory=time.monotonic)
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def respond(
        self, method: str, person: str, what: str, query: Mapping[str, Any], body: Any, sender: str = ""
    ) -> Any:
        time.sleep(self.answer_s)
        with self.lock:
            stored = self.stored.setdefault(person, {})
            match method, what:
                case "GET", "numbers":
                    self._note_asking(person)
                    if self.grows:
                        self.numbers[person] = self._grown()
                    after = int(query.get("after", ["0"])[0])
                    return list(range(after + 1, min(after + PAGE, self.numbers.get(person, 0)) + 1))
                case "POST", "find":
                    return [id_ for id_ in body if id_ in stored]
                case "PUT" | "POST", "documents":
                    for document in body:
                        self._store(stored, person, document, sender, is_new=method == "POST")
                    return {}
                case "DELETE", "documents":
                    for id_ in body:
                        stored.pop(id_, None)
                    return {}
                case "GET", "documents":
                    after = int(query["after"][0])
                    return sorted(
                        (each for each in stored.values() if each["seq"] > after), key=lambda each: each["seq"]
                    )[:READ]
        raise AssertionError((method, what))

    def _store(
        self, stored: dict[str, dict[str, Any]], person: str, document: dict[str, Any], sender: str, *, is_new: bool
    ) -> None:
        id_ = document["id"]
        if is_new and id_ in stored:
            self.repeated += 1
            self.repeats.append(f"{_now()} {person} {document['seq']} by {sender}, before by {self.sent_by[id_]}")
        stored[id_] = document
        self.sent_by[id_] = f"{sender} at {_now()}"

    def _grown(self) -> int:
        return 1 + int((time.monotonic() - self.began) * self.growth_per_s)

    def _note_asking(self, person: str) -> None:
        now = time.monotonic()
        self.asked[person] += 1
        silence_s = now - self.last_asked.get(person, now)
        self.longest_silence_s[person] = max(self.longest_silence_s.get(person, 0.0), silence_s)
        self.last_asked[person] = now
        self.asked_at.append(now)

    def stop_growing(self, people: Sequence[str]) -> None:
        """Nothing new comes from now on. What has come has come for everybody, also if nobody asks for a person."""
        with self.lock:
            if self.grows:
                self.numbers.update(dict.fromkeys(people, self._grown()))
            self.grows = False

    def has_all(self, people: Iterable[str]) -> bool:
        """Whether no receiver waits for anything: cheap, for thousands of people."""
        with self.lock:
            return all(len(self.stored.get(person, ())) >= self.numbers.get(person, 0) for person in people)

    def most_in_a_second(self) -> int:
        """How many requests of sources came in the worst second."""
        times, first, most = self.asked_at, 0, 0
        for last, at in enumerate(times):
            while times[first] <= at - 1.0:
                first += 1
            most = max(most, last - first + 1)
        return most

    def verdict(self, people: Sequence[str]) -> dict[str, list[str]]:
        """What is lost, doubled and wrong, by person and number."""
        found: dict[str, list[str]] = {"lost": [], "doubled": [], "wrong": []}
        with self.lock:
            for person in people:
                documents = list(self.stored.get(person, {}).values())
                wanted = range(1, self.numbers.get(person, 0) + 1)
                numbers_found(found, person, [document["seq"] for document in documents], wanted)
                found["wrong"] += [
                    f"{person} {document}"
                    for document in documents
                    if document["carbs_g"] != carbs_g(document["seq"]) or document["seq"] not in wanted
                ]
        return found


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%H:%M:%S.%f")


def carbs_g(number: int) -> int:
    """What the pump has reported with a number."""
    return number % 90


def numbers_found(found: dict[str, list[str]], where: str, numbers: Sequence[int], wanted: range) -> None:
    """Add to ``found`` which numbers are missing, and which are there more than once."""
    copies = Counter(numbers)
    found["lost"] += [f"{where} {number}" for number in wanted if not copies[number]]
    found["doubled"] += [f"{where} {number}" for number, count in copies.items() if count > 1]


class _LightHandler(LoopbackHandler):
    server: LightCloudServer

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        raw = self.read_all()
        if len(raw) < int(self.headers.get("content-length") or 0):
            return  # the worker was killed
        _, person, what = parts.path.split("/")
        if not raw and self.command != "GET":  # its sender was killed
            self.hang_up()
            return
        body = json.loads(raw) if raw else None
        sender = self.headers.get("User-Agent", "")
        found = self.server.cloud.respond(self.command, person, what, parse_qs(parts.query), body, sender)
        self.respond(200, "application/json", (), json.dumps(found).encode())

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 - the names that the base class calls


class LightCloudServer(LoopbackServer):
    """Cloud and receivers over HTTP: the first part of a path is the person."""

    def __init__(self, cloud: LightCloud) -> None:
        self.cloud = cloud
        super().__init__(_LightHandler, name="light-cloud")
