"""Passwords, tokens and secrets that are refused, by mistake or rightly."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import attrs
import pytest

from tconnectsync import CredentialsRefused, Delivery, Outcome
from tconnectsync.filesystem import OsFiles
from tests.support.clocks import FakeClock
from tests.support.engine.fakes import FakeReceiver
from tests.support.engine.harness import EngineHarness


def test_refused_source_credentials(harness: EngineHarness) -> None:
    """Refused credentials of the source are not tried again and again."""
    harness.pump.trouble = CredentialsRefused("wrong password", remedy="Correct `sources.pump.password`.")
    assert harness.ask("sync").status == 4
    assert harness.ask("sync").status == 4
    harness.reopen()
    assert harness.ask("sync").status == 4
    assert harness.pump.polls == 1
    assert "`tconnectsync resume pump`" in (harness.engine.pollers["pump"].health.remedy or "")
    harness.pump.trouble = None
    assert harness.ask("resume", sink="pump").status == 0


class FilledFiles(OsFiles):
    """The disk takes no new file any more, or nobody may make one."""

    number: int | None = None

    def write(self, path: Path, data: bytes, *, sync: bool = True) -> None:
        if self.number is not None:
            raise OSError(self.number, os.strerror(self.number), str(path))
        super().write(path, data, sync=sync)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EPERM])
def test_refusal_kept_without_new_files(tmp_path: Path, number: int) -> None:
    """Otherwise each restart would try the refused password again, until the account is locked."""
    files = FilledFiles()
    harness = EngineHarness(tmp_path / "data", files=files)
    assert harness.ask("sync").status == 0
    files.number = number
    harness.pump.trouble = CredentialsRefused("wrong password", remedy="Correct `sources.pump.password`.")
    for _ in range(3):
        assert harness.ask("sync").status == 4
        harness.reopen()
    assert harness.pump.polls == 2
    harness.engine.close()


class LockedReceiver(FakeReceiver):
    def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        raise CredentialsRefused("refused the secret", remedy="Check the secret.")


def test_refused_secret_by_mistake(harness: EngineHarness) -> None:
    """A sink whose secret was refused by mistake says how it continues.

    A server that was set up again, or a page in front of it, may refuse the right secret.
    """
    sender = harness.engine.runners["shelf"].sender
    sender.receiver = LockedReceiver()
    said = harness.ask("sync")
    assert said.status == 4
    assert "Check the secret." in said.lines[0]
    assert "`tconnectsync resume shelf`" in said.lines[0]
    assert "UTC" not in said.lines[0], "`status` shows the next try in the local time"
    sender.receiver = harness.receiver
    assert harness.ask("sync").status == 4
    assert harness.ask("resume", sink="shelf").status == 0


@attrs.define
class SecretRefusingReceiver(FakeReceiver):
    """Refuses the credentials this many times."""

    refusals: int = 1
    asked: list[datetime] = attrs.field(factory=list)
    clock: FakeClock | None = None
    remembers: bool = False
    """Refuses by itself, without asking the server."""

    def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        if self.refusals:
            self.refusals -= 1
            assert self.clock is not None
            self.asked.append(self.clock.now())
            raise CredentialsRefused("refused the secret", asked=not self.remembers, remedy="Check the secret.")
        return super().deliver(batch)


def refuse_secret(harness: EngineHarness, refusals: int) -> SecretRefusingReceiver:
    receiver = SecretRefusingReceiver(batch_size=100, refusals=refusals, clock=harness.clock)
    harness.receiver = harness.runner.sender.receiver = receiver
    return receiver


def test_one_refused_secret_is_retried(harness: EngineHarness) -> None:
    """One refusal of the secret is a hiccup."""
    receiver = refuse_secret(harness, 1)
    assert harness.ask("sync").status == 4
    assert harness.runner.health.state == "backing_off"
    harness.clock.sleep(120)
    assert harness.ask("sync").status == 0
    assert len(receiver.there) > 20
    assert harness.runner.health == attrs.evolve(harness.runner.health, state="ok", refusals=0, message="")


def test_a_refusal_that_is_only_remembered_is_no_second_one(harness: EngineHarness) -> None:
    """The clock jumps, or a laptop sleeps, while the receiver's own minute after the first one is not over."""
    receiver = refuse_secret(harness, 2)
    harness.ask("sync")
    receiver.remembers = True
    harness.clock.sleep(120)
    assert harness.ask("sync").status == 4
    assert harness.runner.health.state == "backing_off"
    harness.clock.sleep(120)
    assert harness.ask("sync").status == 0


def test_refused_secret_for_days(
    harness: EngineHarness,
) -> None:
    """A receiver that refuses the secret for days is tried now and then, and delivery resumes without a command.

    After two refusals: an hour, then every six; each is reported, also after a restart.
    """
    receiver = refuse_secret(harness, 5)
    end = harness.clock.now() + timedelta(hours=21)
    while harness.clock.now() < end:
        result = harness.ask("sync")
        if receiver.refusals:
            assert result.status == 4
            assert "`tconnectsync resume shelf`" in " ".join(result.lines)
        harness.reopen()
        harness.clock.sleep(1200)
    assert not receiver.refusals
    waits = [(b - a).total_seconds() / 60 for a, b in pairwise(receiver.asked)]
    assert waits == pytest.approx([20, 60, 360, 360], abs=0.001)
    assert harness.runner.health.state == "ok"
    assert len(receiver.there) >= 24


def test_changed_credentials_tried_at_once(harness: EngineHarness) -> None:
    """After two refusals the sink says so; changed credentials are tried at once."""
    receiver = refuse_secret(harness, 2)
    harness.ask("sync")
    harness.clock.sleep(120)
    harness.ask("sync")
    assert harness.runner.health.state == "refused"
    harness.engine.close()
    harness.mark = "other"
    harness.open()
    assert harness.ask("sync").status == 0
    assert len(receiver.there) > 20
