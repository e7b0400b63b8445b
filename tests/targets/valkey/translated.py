"""
Living clients whose addresses are translated: ``unshare --net python -m tests.targets.valkey.translated``.

Says of each, and of a direct one, whether it is called dead.
"""

from __future__ import annotations

import socket
import sys

from medic8.targets.facts import Facts
from medic8.targets.valkey.looks.dead_clients import without_peer
from tests.targets.valkey import own_network

_LISTENING, _REDIRECTED, _FROM_ANOTHER_PORT, _BOTH = 17392, 16379, 17393, 16380

_SNAT = "-j SNAT --to-source 127.0.0.1:50000-50100"

#: By what is called: where that leads, and what is translated on the way.
_WAYS = {
    _LISTENING: (_LISTENING, "called as it is"),
    _REDIRECTED: (_LISTENING, "called translated"),
    _FROM_ANOTHER_PORT: (_FROM_ANOTHER_PORT, "calling translated"),
    _BOTH: (_FROM_ANOTHER_PORT, "both translated"),
}


def main() -> None:
    """Connect every way, and ask for the dead."""
    own_network.set_up(
        f"iptables -t nat -A OUTPUT -p tcp --dport {_REDIRECTED} -j REDIRECT --to-ports {_LISTENING}",
        f"iptables -t nat -A OUTPUT -p tcp --dport {_BOTH} -j REDIRECT --to-ports {_FROM_ANOTHER_PORT}",
        f"iptables -t nat -A POSTROUTING -p tcp --dport {_FROM_ANOTHER_PORT} {_SNAT}",
    )
    for called, (listening, way) in _WAYS.items():
        with (
            socket.create_server(("127.0.0.1", listening)) as server,
            socket.create_connection(("127.0.0.1", called)),
            server.accept()[0] as accepted,
        ):
            near, far = ("{}:{}".format(*end) for end in (accepted.getsockname(), accepted.getpeername()))
            dead = without_peer([Facts({"id": "1", "addr": far, "laddr": near, "flags": "N"})])
            sys.stdout.write(f"{way}: {len(dead)} dead\n")


if __name__ == "__main__":
    main()
