"""A site with one server, two of whose settings have rules."""

from __future__ import annotations

from collections.abc import Callable

from medic8.targets.valkey.client import connection, setting

CONFIGURATION = """
[[target]]
name = "server"
kind = "valkey"
url = "{url}"
mode = "{mode}"
allow = [{allow}]
{more}

[[target.setting]]
name = "slowlog-max-len"
minimum = 1000

[[target.setting]]
name = "tcp-keepalive"
minimum = 60
maximum = 120
issue = "slow_operations"
"""

Configure = Callable[..., None]


def set_settings(url: str, *values: str) -> None:
    with connection(url) as client:
        for name, value in zip(("slowlog-max-len", "tcp-keepalive"), values, strict=True):
            client.config_set(name, value)


def settings_of(url: str) -> tuple[str | None, ...]:
    with connection(url) as client:
        return tuple(setting(client, name) for name in ("slowlog-max-len", "tcp-keepalive"))
