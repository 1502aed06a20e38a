"""A statement that changes every row of an outbox needs no memory for each of them: small computers have years of documents."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENTS = 60_000
MOST_KB = 3_000
"""With temporary files in memory (`PRAGMA temp_store`) it would be 7,000."""
PROGRAM = f"""
import sys
from pathlib import Path
from tconnectsync.outbox import Outbox

def peak_kb():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

outbox = Outbox.opened(Path(sys.argv[1]))
outbox._db.execute("BEGIN")
outbox._db.executemany(
    "INSERT INTO document(id, collection, at_ms, ownership_state, fold, stream, interval, content_state, desired_hash,"
    " delivery_state, delivered_hash) VALUES (?, 'treatments', ?, 'claimed', 'boluses', 's', ?, 'known', x'00', 'delivered', x'00')",
    ((f"{{number:036d}}", number * 300_000, number // 300) for number in range({DOCUMENTS})),
)
outbox._db.execute("COMMIT")
before = peak_kb()
with outbox.transaction():
    changed = outbox.queue.replay(["boluses"])
print(changed, peak_kb() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the memory is read from /proc")
def test_replay_of_many_documents(tmp_path: Path) -> None:
    """`replay` after a site lost its data marks all documents in one transaction."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "outbox.sqlite")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    changed, grown_kb = map(int, done.stdout.split())
    assert changed == DOCUMENTS
    assert grown_kb < MOST_KB
