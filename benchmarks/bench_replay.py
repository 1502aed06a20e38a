"""A replay into a real Nightscout 0.12.8 that lost its treatments, beside a bare client that posts the same arrays.

The bare client holds every document ready and does nothing but post; ours reads the log, folds it, and keeps account of each
document on disk meanwhile. Both begin with a running process and an open connection is not counted for either.
"""

from __future__ import annotations

import gzip
import json
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha1
from pathlib import Path

import requests
from bench_sync import real_site
from measure import Row, Spread, main_of, run_python
from simulated_services import clean_environment, running_world

ARRAY = 500
SINK = "nightscout-treatments"


class BareClient:
    """Posts arrays of treatments and deletes them all, nothing else."""

    def __init__(self, url: str, secret: str) -> None:
        self.api = f"{url}api/v1"
        self.url = f"{self.api}/treatments"
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["api-secret"] = sha1(secret.encode()).hexdigest()

    def held(self, collection: str = "treatments") -> list[dict[str, object]]:
        """Every document of the collection, newest first, as it was posted."""
        answer = self.session.get(
            f"{self.api}/{collection}.json", params={"find[_id][$exists]": "true", "count": "10000000"}
        )
        answer.raise_for_status()
        found: list[dict[str, object]] = answer.json()
        return [{key: value for key, value in each.items() if key != "_id" and value is not None} for each in found]

    def drop(self) -> None:
        """Lose them all."""
        self.session.delete(f"{self.url}/", params={"find[_id][$exists]": "true"}).raise_for_status()

    def post_all(self, documents: list[dict[str, object]], *, packed: bool, collection: str = "treatments") -> float:
        """Seconds to post them in arrays of 500."""
        bodies = [json.dumps(documents[at : at + ARRAY]).encode() for at in range(0, len(documents), ARRAY)]
        headers = {"Content-Type": "application/json"}
        if packed:
            headers["Content-Encoding"] = "gzip"
        begin = time.perf_counter()
        for body in bodies:
            content = gzip.compress(body, 6) if packed else body
            self.session.post(f"{self.api}/{collection}", data=content, headers=headers).raise_for_status()
        return time.perf_counter() - begin


def rows(small: bool = False) -> Iterator[Row]:
    """The one row, and how the server does with plain bodies."""
    days, runs = (5, 1) if small else (30, 5)
    with real_site() as site, running_world(days=days + 2) as world, tempfile.TemporaryDirectory() as folder:
        if site is None:
            yield Row(what="replay into a real Nightscout", measured="not measured: this machine cannot run one")
            return
        config = world.configure(Path(folder), history_days=days, site=site)
        command = ("tconnectsync", "--config", str(config))
        run_python(*command, "sync", environment=clean_environment())
        bare = BareClient(*site)
        documents = [each for each in bare.held() if each.get("sink") == SINK]
        count = len(documents)
        packed_s, plain_s, ours_s, processor_s = [], [], [], []
        for _ in range(runs):  # in turns, because the server gets slower and faster with the machine's other work
            bare.drop()
            packed_s.append(bare.post_all(documents, packed=True))
            bare.drop()
            plain_s.append(bare.post_all(documents, packed=False))
            bare.drop()
            ended = run_python(*command, "replay", SINK, environment=clean_environment())
            ours_s.append(ended.wall_s)
            processor_s.append(ended.cpu_s)
            assert sum(each.get("sink") == SINK for each in bare.held()) == count
        bare.session.close()
        idle_s = min(run_python(*command, "status", environment=clean_environment()).wall_s for _ in range(runs))
    ours, packed, plain = Spread.of(ours_s), Spread.of(packed_s), Spread.of(plain_s)
    ratio = packed.median / ours.median
    yield Row(
        what=f"replay of {days} days ({count:,} treatments) into a real Nightscout 0.12.8, the command as a whole",
        must="0.9 of a bare client",
        measured=f"{ratio:.2f} of it: {ours.text(' s', digits=2)}, of it {Spread.of(processor_s).median:.2f} s of CPU",
        limit=f"bare client, gzip {packed.text(' s', digits=2)}; plain {plain.text(' s', digits=2)}",
        met=ratio >= 0.9,
    )
    net = packed.median / (ours.median - idle_s)
    yield Row(what=f"– without the process's start ({idle_s * 1000:.0f} ms: `status`)", measured=f"{net:.2f} of it")


if __name__ == "__main__":
    main_of(__doc__, rows)
