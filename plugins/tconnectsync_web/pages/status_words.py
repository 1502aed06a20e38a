"""The status's sentences in the reader's language, as far as they are translated: what is wrong, and what to do next."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tconnectsync_web.languages import Texts, msg

TEMPLATES: Sequence[str] = (
    msg("not run yet"),
    msg("not read yet"),
    msg("the first read is not complete yet"),
    msg("not read since then: no daemon runs"),
    msg("not read since then, although the daemon (process %(number)s) runs"),
    msg("Tandem refuses the user name or the password%(code)s at the login of region %(region)s"),
    msg("Tandem has locked the account after too many attempts to log in (region %(region)s)"),
    msg("%(where)s cannot be reached: no connection, because no computer has this name (DNS)"),
    msg("%(where)s cannot be reached: no connection, because its name cannot be looked up (DNS does not answer)"),
    msg("%(where)s cannot be reached: no connection, because no program listens there (%(detail)s refuses it)"),
    msg("%(where)s cannot be reached: no connection, because there is no route to it from this computer"),
    msg("%(where)s cannot be reached: no connection"),
    msg("%(where)s refused the secret or token for %(what)s (HTTP 401)"),
    msg("The daemon continues automatically. If no daemon runs: %(command)s."),
    msg("Check email and password of [sources.tandem] (TCONNECT_EMAIL, TCONNECT_PASSWORD). If the account was created in the"
        " other region, set %(setting)s (TCONNECT_REGION). Then run %(command)s."),
    msg("Wait an hour, log in once in a browser (set a new password if necessary), then run %(command)s."),
    msg("Check nightscout.api_secret (NS_SECRET) against the site's API_SECRET; an access token belongs in nightscout.token, and"
        " its role needs the rights to create, read and delete. Then run %(command)s."),
    msg("See why with %(command)s, then %(next)s."),
    msg("Check the spelling of the address. If it is right: is this computer online?"),
    msg("Is this computer online? Look at its network and its DNS server. There will be a retry."),
    msg("Check that the server is running, and the port in its address. There will be a retry."),
    msg("Check this computer's network, router or VPN. There will be a retry."),
    msg("Is this computer online?"),
    msg("Nothing to do: there will be a retry."),
    msg("Free some space on the disk (`df -h`). Nothing is lost, and work resumes automatically. Delete nothing in the data folder."),
    msg("Make room on the disk; nothing is lost."),
    msg("the MQTT broker %(where)s cannot be reached: %(detail)s"),
    msg("Check that it is running, and check sinks.mqtt.host and port."),
    msg("%(where)s refuses the login (HTTP 401%(detail)s)"),
    msg("Correct sinks.influxdb.token."),
    msg("%(first)s The next try is at %(time)s UTC; %(command)s tries now."),
    msg("Run %(command)s, or %(next)s."),
    msg("Run %(command)s."),
)  # fmt: skip
"""The usual sentences, in the words of ``status``. Where a place has a command's name, it is between backquotes."""
COMMANDS = frozenset({"command", "next"})
SENTENCE = "first"
"""A place with a sentence, which is translated too."""


def _pattern(template: str) -> re.Pattern[str]:
    """Return what finds the places; the first letter may be a capital."""
    parts = re.split(r"%\((\w+)\)s", template)
    fixed = [re.escape(part) for part in parts[::2]]
    places = [f"(?P<{name}>{'`[^`]+`' if name in COMMANDS else '.*?'})" for name in parts[1::2]]
    text = "".join(part + place for part, place in zip(fixed, [*places, ""], strict=True))
    return re.compile(f"(?i:{text[0]}){text[1:]}" if fixed[0] and fixed[0][0].isalpha() else text)


PATTERNS = [(_pattern(template), template) for template in TEMPLATES]


def in_words(texts: Texts, english: str) -> str:
    """Return a message or remedy of ``status`` in the language of ``texts``; in English if there is no translation."""
    if texts.catalog is None or not english:
        return english
    for pattern, template in PATTERNS:
        found = pattern.fullmatch(english)
        if found is not None:
            inside = {
                name: in_words(texts, part) if name == SENTENCE else part for name, part in found.groupdict().items()
            }
            words = texts.gettext(template) % inside
            return words[:1].upper() + words[1:] if english[:1].isupper() else words
    return english
