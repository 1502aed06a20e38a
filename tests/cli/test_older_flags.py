"""The older bridge's flags on bare ``tconnectsync``."""

from __future__ import annotations

from datetime import date

import pytest

from tconnectsync.plugin.manager import load_plugins
from tests.cli.harness import CliHarness


@pytest.mark.parametrize(
    ("arguments", "request_", "named", "command"),
    [
        (
            ("--start-date", "2025-03-01"),
            ("backfill", {"first": "2025-03-01", "last": None}),
            ("--start-date",),
            "`tconnectsync backfill --from DATE`",
        ),
        (
            ("--start-date", "2025-03-01", "--end-date", "2025-03-02"),
            ("backfill", {"first": "2025-03-01", "last": "2025-03-02"}),
            ("--start-date", "--end-date"),
            "`tconnectsync backfill --from DATE --to DATE`",
        ),
        (
            ("--days", "3"),
            ("backfill", {"first": date(2025, 11, 15).isoformat(), "last": None}),
            ("--days",),
            "`tconnectsync backfill --from DATE`",
        ),
    ],
)
def test_older_days_are_a_backfill_and_say_so_once(
    harness: CliHarness, arguments: tuple[str, ...], request_: object, named: tuple[str, ...], command: str
) -> None:
    said = harness.run(*arguments)
    assert harness.application.asked == [request_]
    assert said.status == 0
    [line] = said.err.splitlines()
    assert [each for each in (*named, command) if each not in line] == []


def test_auto_update_with_features(harness: CliHarness) -> None:
    """It is the daemon with these sinks."""
    said = harness.run("--auto-update", "--features", "PAPER", "SITE")
    [(asked, config)] = harness.application.asked
    assert (said.status, asked) == (0, "run")
    assert all(config.sinks[name].enabled for name in ("paper", "site"))
    assert said.err.count("--auto-update is the older name of `tconnectsync run`") == 1


def test_check_login_is_check(harness: CliHarness) -> None:
    said = harness.run("--check-login")
    assert said.status == 0
    assert "configuration:" in said.out
    assert "`tconnectsync check`" in said.err


def test_pretend_sends_nothing(harness: CliHarness) -> None:
    said = harness.run("--pretend")
    assert [name for name, _ in harness.application.asked] == ["preview"]
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
        (("--region", "DE"), "expected US or EU"),
        (("--start-date", "2025-03-02", "--end-date", "2025-03-01"), "Invalid value for --end-date"),
    ],
)
def test_what_contradicts_is_refused_and_nothing_is_asked(
    harness: CliHarness, arguments: tuple[str, ...], words: str
) -> None:
    said = harness.run(*arguments)
    assert said.status == 2
    assert words in " ".join(said.err.split())
    assert harness.application.asked == []


@pytest.fixture
def account(harness: CliHarness) -> CliHarness:
    """The plugins that ship, and an account of the US in the environment, as the older bridge's users have it."""
    harness.plugins = load_plugins()
    harness.environ |= {
        "TCONNECTSYNC_CONFIG": "", "TCONNECT_EMAIL": "a@example.org", "TCONNECT_PASSWORD": "x-password", "TCONNECT_REGION": "US",
        "TIMEZONE_NAME": "Europe/Berlin", "NS_URL": "https://site.example/", "NS_SECRET": "x-site-secret",
    }  # fmt: skip
    return harness


@pytest.mark.parametrize("written", ["EU", "eu"])
def test_region_flag(account: CliHarness, written: str) -> None:
    """It wins over the environment and prints what it means now."""
    said = account.run("--auto-update", "--region", written)
    [(asked, config)] = account.application.asked
    assert (said.status, asked, config.sources["tandem"].options.region) == (0, "run", "EU")
    command, region = said.err.splitlines()
    assert "--auto-update" in command
    assert "`tconnectsync run`" in command
    assert "--region" in region
    assert "TCONNECT_REGION" in region


def test_a_region_alone_is_a_sync(account: CliHarness) -> None:
    said = account.run("--region", "EU")
    assert (said.status, account.application.asked) == (0, [("sync", {})])
    assert said.err.count("--region") == 1


def test_more_words_goes_with_every_older_flag(harness: CliHarness) -> None:
    for flag in ("-v", "--verbose"):
        assert harness.run(flag, "--pretend").status == 0
        assert harness.run("--days", "3", flag).status == 0
    assert [name for name, _ in harness.application.asked] == ["preview", "backfill"] * 2
