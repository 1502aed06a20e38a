"""For which entry of the bucket of people a worker's folder of a person was last used.

If the data of a name was deleted since then (``fleet remove --data``), the folder may be another person's who had the name before: the
worker may have been stopped meanwhile, or have looked only after the name was added again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

ENTRY = "fleet-entry"
"""The file with the revision of the entry. Folders of earlier releases do not have it, and stay."""


def note_entry(folder: Path, revision: int) -> None:
    """Note that the folder is used for this entry. Errors: OSError.

    It is not synced: if a power cut loses it, the folder counts as one of an earlier release.
    """
    if _noted(folder) == revision:
        return
    temporary = folder / f"{ENTRY}.tmp"
    temporary.write_text(str(revision), encoding="ascii")
    temporary.replace(folder / ENTRY)


def is_purged(folder: Path, purged: int) -> bool:
    """Whether the folder was used before the data of its name was deleted, at revision ``purged`` (0: never). Errors: OSError."""
    noted = _noted(folder) if purged else None
    return noted is not None and noted < purged


def delete_purged(folder: Path, purged: int) -> None:
    """Delete the folder if :func:`is_purged`. If it is interrupted, it can be done again. Errors: OSError."""
    if is_purged(folder, purged):
        delete_folder(folder)


def delete_folder(folder: Path) -> None:
    """Delete the folder, the noted entry last: until then it says whose the rest is. Errors: OSError."""
    for each in folder.iterdir():
        if each.is_dir():
            shutil.rmtree(each)
        elif each.name != ENTRY:
            each.unlink()
    shutil.rmtree(folder)


def _noted(folder: Path) -> int | None:
    try:
        return int((folder / ENTRY).read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None
