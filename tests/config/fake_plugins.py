"""Plugins made up for tests: entry points without packages, and options classes of every shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, Literal

import attrs

from tconnectsync import Secret, Section, SinkSpec, SourceSpec, hookimpl, option
from tconnectsync.plugin.manager import Plugins, load_plugins


@attrs.frozen
class FakeEntryPoint:
    """An entry point that answers ``plugin``, or raises it."""

    name: str
    plugin: Any
    value: str = "made_up"

    def load(self) -> Any:
        if isinstance(self.plugin, BaseException):
            raise self.plugin
        return self.plugin


def make_plugin(name: str, **hooks: Callable[[], Any]) -> FakeEntryPoint:
    """A plugin module whose hooks are the given functions, each marked as an implementation."""
    module = ModuleType(f"made_up_{name}")
    for hook, function in hooks.items():
        setattr(module, hook, hookimpl(function))
    return FakeEntryPoint(name, module, f"made_up_{name}")


@attrs.frozen(kw_only=True)
class FakeEndpoints:
    data: str | None = option(None)
    token: str | None = option(None)


@attrs.frozen(kw_only=True)
class VendorOptions:
    email: str | None = option(None, env=("TCONNECT_EMAIL",))
    password: Secret | None = option(None, env=("TCONNECT_PASSWORD",), credential="tandem-password")
    region: Literal["US", "EU"] | None = option(
        None, env=("TCONNECT_REGION",), default_with_env={"TCONNECT_EMAIL": "US"}
    )
    pumps: Literal["all"] | tuple[str, ...] = option(
        "all", env=("PUMP_SERIAL_NUMBER",), parse_env=lambda text: "all" if text == "11111111" else [text]
    )
    history_days: int = option(30, check=lambda days: None if days >= 1 else "a whole number from 1 on")
    ratio: float = option(1.0)
    endpoints: FakeEndpoints = option(FakeEndpoints())


@attrs.frozen(kw_only=True)
class SiteOptions:
    url: str | None = option(None, env=("NS_URL",))
    api_secret: Secret | None = option(None, env=("NS_SECRET", "API_SECRET"), credential="nightscout-api-secret")
    verify_tls: bool = option(True, env=("NS_SKIP_TLS_VERIFY",), parse_env=lambda text: text != "true")


@attrs.frozen(kw_only=True)
class SinkOptions:
    basal: bool = option(True)
    carbs: Literal["on", "note", "off"] = option("on")
    announce: tuple[str, ...] = option(())


def vendor_problems(options: VendorOptions) -> Sequence[str]:
    return () if options.region else ('sources.tandem.region: found nothing, expected "US" or "EU"',)


def site_problems(options: SinkOptions, sections: Mapping[str, Any]) -> Sequence[str]:
    site = sections["nightscout"]
    return () if site.url else ("nightscout.url: found nothing, expected the site's address (or NS_URL)",)


def vendor_plugin(**changes: Any) -> FakeEntryPoint:
    """A source "tandem" as the contract's table describes it, in small."""
    values: dict[str, Any] = {
        "name": "tandem",
        "options": VendorOptions,
        "open": lambda options, context: None,
        "enabled": lambda options: options.email is not None,
        "problems": vendor_problems,
    }
    return make_plugin("tandem", tconnectsync_sources=lambda: [SourceSpec(**{**values, **changes})])


def site_plugin() -> FakeEntryPoint:
    """Two sinks, one on by default, and the section they share."""
    specs = [
        SinkSpec(
            name="nightscout-treatments",
            options=SinkOptions,
            open=lambda options, context: None,  # type: ignore[arg-type,return-value]
            default_enabled=True,
            features={"BASAL": "basal", "BOLUS": None},
            problems=site_problems,
        ),
        SinkSpec(
            name="nightscout-profile",
            options=SinkOptions,
            open=lambda options, context: None,  # type: ignore[arg-type,return-value]
            features={"PROFILES": None},
            problems=site_problems,
        ),
    ]
    return make_plugin(
        "nightscout",
        tconnectsync_sinks=lambda: specs,
        tconnectsync_sections=lambda: [Section(name="nightscout", options=SiteOptions)],
    )


def usual_plugins(*others: FakeEntryPoint, blocked: Sequence[str] = ()) -> Plugins:
    """Both of the above, and ``others``."""
    return load_plugins([vendor_plugin(), site_plugin(), *others], blocked=blocked)
