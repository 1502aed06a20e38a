"""Logging in to the older t:connect, and its tokens."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tconnectsync import CredentialsRefused, Retryable, SourceChanged
from tconnectsync_tconnect.api.token import token_of
from tests.support.memory_log import MemoryLog
from tests.tconnect.fake_services import BLOCKED, EMAIL, PASSWORD, Services, fill, polled


def test_the_form_is_sent_as_the_website_sends_it(services: Services, tmp_path: Path) -> None:
    polled(services.source(tmp_path), MemoryLog())
    (form,) = services.forms
    prefix = "ctl00$ContentBody$LoginControl$"
    assert form["__VIEWSTATE"] == "VS=="
    assert (form["__VIEWSTATEGENERATOR"], form["__EVENTVALIDATION"], form["__LASTFOCUS"]) == ("GEN", "EV", "")
    assert form["__EVENTTARGET"] == f"{prefix}linkLogin"
    assert (form[f"{prefix}txtLoginEmailAddress"], form[f"{prefix}txtLoginPassword"]) == (EMAIL, PASSWORD)
    state = json.loads(form["txtLoginPassword_ClientState"])
    assert state == {
        "enabled": True, "emptyMessage": "", "validationText": PASSWORD, "valueAsString": PASSWORD,
        "lastSetTextBoxValue": PASSWORD,
    }  # fmt: skip
    assert services.asked.count("POST /") == 1
    assert services.paces == len(services.asked) > 5  # a limit of requests sees each of them


def test_a_refusal_has_the_websites_words(services: Services, tmp_path: Path) -> None:
    services.notice = "The email or <b>password</b> is<br>wrong."
    with pytest.raises(CredentialsRefused, match=r"refuses the login: The email or password is wrong\.") as caught:
        polled(services.source(tmp_path, phone=False), MemoryLog())
    assert "check" in str(caught.value.remedy)


def test_a_refusal_that_quotes_the_account_is_not_quoted(services: Services, tmp_path: Path) -> None:
    services.notice = f"{EMAIL} is locked"
    with pytest.raises(CredentialsRefused, match="is locked") as caught:
        polled(services.source(tmp_path, phone=False), MemoryLog())
    assert EMAIL not in str(caught.value)


def test_the_firewalls_page_is_waited_out_for_half_an_hour(services: Services, tmp_path: Path) -> None:
    services.fail("login.aspx", 200, body=BLOCKED)
    with pytest.raises(Retryable) as caught:
        polled(services.source(tmp_path, phone=False), MemoryLog())
    assert (caught.value.after_s, isinstance(caught.value, SourceChanged)) == (1800.0, False)


def test_another_form_is_a_change_and_not_a_refusal(services: Services, tmp_path: Path) -> None:
    services.fail("login.aspx", 200, body="<html>Welcome to something else</html>")
    with pytest.raises(SourceChanged, match="__VIEWSTATE"):
        polled(services.source(tmp_path, phone=False), MemoryLog())


def test_without_a_token_of_the_website_the_phones_is_taken(services: Services, tmp_path: Path) -> None:
    services.with_token = False
    fill(services)
    assert polled(services.source(tmp_path), MemoryLog()).of("bolus.completed")
    assert services.count()["oauth2"] == 1
    with pytest.raises(SourceChanged, match="client_id"):
        polled(services.source(tmp_path, phone=False), MemoryLog())


def test_a_token_that_is_refused_is_followed_by_one_login(services: Services, tmp_path: Path) -> None:
    fill(services)
    source = services.source(tmp_path, phone=False)
    log = polled(source, MemoryLog())
    services.refused = {"token-1"}
    services.clock.advance(hours=2)
    polled(source, log)
    assert len(services.forms) == 2
    services.fail("therapytimeline/", 401, times=2)
    services.clock.advance(hours=2)
    with pytest.raises(Retryable, match="token") as caught:
        polled(source, log)
    assert caught.value.after_s == 1800.0


def test_a_token_near_its_end_is_not_used_any_more(services: Services, tmp_path: Path) -> None:
    source = services.source(tmp_path, phone=False)
    log = polled(source, MemoryLog())
    services.clock.advance(hours=7, minutes=58)
    polled(source, log)
    assert len(services.forms) == 2


def test_token_of_a_short_life_is_good() -> None:
    now = datetime(2026, 11, 20, tzinfo=timezone.utc)
    token = token_of("access", "2026-11-20T00:03:20Z", now)
    assert token.good_at(now + timedelta(seconds=149))
    assert not token.good_at(now + timedelta(seconds=150))
