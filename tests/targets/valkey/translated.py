"""
Living clients whose addresses the kernel translates: ``unshare --net python translated.py``.

Says of each, and of a direct one, whether it is called dead; ends with `NOT_HERE` where the kernel does not
let us translate.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys

from medic8.targets.valkey.looks.dead_clients import without_peer
from medic8.targets.valkey.looks.facts import Facts

NOT_HERE = 77

_LISTENING, _REDIRECTED, _FROM_ANOTHER_PORT, _BOTH = 17392, 16379, 17393, 16380

#: By what is called: where that leads, and what is translated on the way.
_WAYS = {
    _LISTENING: (_LISTENING, "called as it is"),
    _REDIRECTED: (_LISTENING, "called translated"),
    _FROM_ANOTHER_PORT: (_FROM_ANOTHER_PORT, "calling translated"),
    _BOTH: (_FROM_ANOTHER_PORT, "both translated"),
}


def _translate() -> None:
    for command in (
        "ip link set lo up",
        f"iptables -t nat -A OUTPUT -p tcp --dport {_REDIRECTED} -j REDIRECT --to-ports {_LISTENING}",
        f"iptables -t nat -A OUTPUT -p tcp --dport {_BOTH} -j REDIRECT --to-ports {_FROM_ANOTHER_PORT}",
        f"iptables -t nat -A POSTROUTING -p tcp --dport {_FROM_ANOTHER_PORT} -j SNAT "
        "--to-source 127.0.0.1:50000-50100",
    ):
        program, *words = command.split()
        found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
        if found is None or subprocess.run([found, *words], check=False).returncode:
            sys.stderr.write(f"no network of its own with translated addresses: {command}")
            sys.exit(NOT_HERE)


def main() -> None:
    """Connect every way, and ask for the dead."""
    _translate()
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
