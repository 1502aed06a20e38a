"""The fleet's key: both files are created, or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tconnectsync_fleet.sealing import create_key, public_path


@pytest.mark.parametrize("is_link", [False, True])
def test_key_with_a_public_half_in_the_way(tmp_path: Path, is_link: bool) -> None:
    """A secret half without its public one would look like a key: nothing is written. A link to nothing counts, too."""
    path = tmp_path / "fleet.key"
    if is_link:
        public_path(path).symlink_to(tmp_path / "nothing")
    else:
        public_path(path).write_text("another key")
    with pytest.raises(FileExistsError) as caught:
        create_key(path)
    assert caught.value.filename == str(public_path(path))
    assert list(tmp_path.iterdir()) == [public_path(path)]
