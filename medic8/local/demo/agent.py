"""
A process that plays a configuration agent: it owns one setting of a server and keeps setting it back.

Medic8 does not know of it, as it would not know of a Sentinel, an operator or
a colleague's script.
"""

from __future__ import annotations

import sys

from medic8.local.demo import orders
from medic8.targets.valkey.client import connection, setting

_LOOKS_EVERY_S = 0.01


def main(address: str, name: str, value: str) -> None:
    """Keep the setting *name* at *value* until standard input ends; says how often it had to."""
    with connection(address, name="medic8-demo-agent") as client:
        client.config_set(name, value)
        ended = orders.listen(lambda _: None)
        orders.say("ready")
        times = 0
        while not ended.wait(_LOOKS_EVERY_S):
            if setting(client, name) != value:
                client.config_set(name, value)
                times += 1
        orders.say(str(times))


if __name__ == "__main__":
    main(*sys.argv[1:])
