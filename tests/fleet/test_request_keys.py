"""What `fleet run` is given is checked before anything is sent to a worker."""

from __future__ import annotations

import click
import pytest

from tconnectsync_fleet.request_keys import request_arguments


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "backfill from=2026-11-01",
            "backfill has no key 'from'. Its keys: first, last.",
        ),
        ("backfill", "backfill needs first=DAY, such as first=2026-11-27. Its keys: first, last."),
        ("backfill first=yesterday", "first=yesterday is not possible, expected first=DAY"),
        ("backfill first=1026-11-27", "expected first=DAY"),
        ("backfill first=2026-11-27 last=2026-11-26", "The range is empty"),
        ("replay", "replay needs sink=NAME"),
        ("replay sink=", "expected sink=NAME"),
        ("replay sink=a sink=b", "Give one of them"),
        ("resume", "resume needs sink=NAME or source=NAME"),
        ("resume source=tandem sink=light", "Give one of them"),
        ("verify", "verify needs sink=NAME"),
        ("verify source=tandem", "verify has no key 'source'"),
        ("verify sink=light", "verify needs repair=yes. On a worker, verify always corrects"),
        ("verify sink=light repair=maybe", "expected repair=yes"),
        ("verify sink=light repair=false", "expected repair=yes"),
        ("sync foo=bar", "sync has no key 'foo'. It has no keys."),
        ("sync foo", "'foo' is not KEY=VALUE"),
        ("dead_letters_drop sink=light", "dead_letters_drop needs ids=ID,ID or all=yes, such as"),
        ("dead_letters_drop sink=light all=maybe", "expected all=yes"),
        ("dead_letters_drop sink=light ids=a all=yes", "Give one of them"),
        ("dance", "no request 'dance'"),
    ],
)
def test_wrong_keys_are_refused(words: str, said: str) -> None:
    """Each message says what was expected."""
    command, *given = words.split(" ")
    with pytest.raises(click.UsageError) as caught:
        request_arguments(command, given)
    assert said in caught.value.message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("sync", {}),
        ("backfill first=2026-11-01", {"first": "2026-11-01"}),
        ("replay sink=light first=2026-11-01 last=2026-11-01", {"sink": "light", "first": "2026-11-01", "last": "2026-11-01"}),
        ("replay sink=light last=2026-11-01", {"sink": "light", "last": "2026-11-01"}),
        ("resume sink=tandem", {"sink": "tandem"}),
        ("resume source=tandem", {"sink": "tandem"}),
        ("verify sink=light repair=yes", {"sink": "light", "repair": True}),
        ("dead_letters_list", {}),
        ("dead_letters_list sink=light", {"sink": "light"}),
        ("dead_letters_retry sink=light", {"sink": "light"}),
        ("dead_letters_retry sink=light ids=a,b", {"sink": "light", "ids": ["a", "b"]}),
        ("dead_letters_drop sink=light ids=a,b", {"sink": "light", "ids": ["a", "b"]}),
        ("dead_letters_drop sink=light all=yes", {"sink": "light", "ids": None}),
    ],
)  # fmt: skip
def test_what_the_worker_gets(words: str, expected: dict[str, object]) -> None:
    """Values as the jobs expect them."""
    command, *given = words.split(" ")
    assert request_arguments(command, given) == expected
