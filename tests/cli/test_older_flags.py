"""The older bridge's flags on bare ``tconnectsync``."""

from __future__ import annotations

from datetime import date

import pytest
from cli_worlds import World


@pytest.mark.parametrize(
    ("arguments", "request_", "words"),
    [
        (
            ("--start-date", "2025-03-01"),
            ("backfill", {"first": "2025-03-01", "last": None}),
            "--start-date is the older name of `tconnectsync backfill --from DATE`\n",
        ),
        (
            ("--start-date", "2025-03-01", "--end-date", "2025-03-02"),
            ("backfill", {"first": "2025-03-01", "last": "2025-03-02"}),
            "--start-date … --end-date is the older name of `tconnectsync backfill --from DATE --to DATE`\n",
        ),
        (
            ("--days", "3"),
            ("backfill", {"first": date(2025, 11, 15).isoformat(), "last": None}),
            "--days is the older name of `tconnectsync backfill --from DATE`\n",
        ),
    ],
)
def test_older_days_are_a_backfill_and_say_so_once(
    world: World, arguments: tuple[str, ...], request_: object, words: str
) -> None:
    said = world.run(*arguments)
    assert world.application.asked == [request_]
    assert (said.status, said.err) == (0, words)


def test_auto_update_with_several_features_is_the_daemon_with_these_sinks(world: World) -> None:
    said = world.run("--auto-update", "--features", "PAPER", "SITE")
    [(asked, config)] = world.application.asked
    assert (said.status, asked) == (0, "run")
    assert all(config.sinks[name].enabled for name in ("paper", "site"))
    assert said.err.count("--auto-update is the older name of `tconnectsync run`") == 1


def test_check_login_is_check(world: World) -> None:
    said = world.run("--check-login")
    assert said.status == 0
    assert "configuration:" in said.out
    assert "`tconnectsync check`" in said.err


def test_pretend_sends_nothing(world: World) -> None:
    said = world.run("--pretend")
    assert [name for name, _ in world.application.asked] == ["preview"]
    assert "`tconnectsync sync --dry-run`" in said.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--auto-update", "--start-date", "2025-03-01"), "cannot be used together"),
        (("--pretend", "--days", "3"), "cannot be used together"),
        (("--end-date", "2025-03-01"), "--end-date needs --start-date"),
        (("--days", "3", "sync"), "tconnectsync backfill --from DATE"),
        (("--region", "EU", "sync"), "TCONNECT_REGION"),
        (("--days", "0"), "--days"),
    ],
)
def test_what_contradicts_is_refused_and_nothing_is_asked(world: World, arguments: tuple[str, ...], words: str) -> None:
    said = world.run(*arguments)
    assert said.status == 2
    assert words in " ".join(said.err.split())
    assert world.application.asked == []
