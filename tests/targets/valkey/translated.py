"""
A living client whose address the kernel translates: ``unshare --net python translated.py``.

Says of it and of a second, direct one whether it is called dead; ends with `NOT_HERE` where the kernel does
not let us translate.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys

from medic8.targets.facts import Facts
from medic8.targets.valkey.looks.dead_clients import without_peer

NOT_HERE = 77

_CALLED, _LISTENING = 16379, 17392


def _translate() -> None:
    for command in (
        "ip link set lo up",
        f"iptables -t nat -A OUTPUT -p tcp --dport {_CALLED} -j REDIRECT --to-ports {_LISTENING}",
    ):
        program, *words = command.split()
        found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
        if found is None or subprocess.run([found, *words], check=False).returncode:
            sys.stderr.write(f"no network of its own with translated addresses: {command}")
            sys.exit(NOT_HERE)


def main() -> None:
    """Connect both ways, and ask for the dead."""
    _translate()
    with socket.create_server(("127.0.0.1", _LISTENING)) as server:
        for port in (_LISTENING, _CALLED):
            with socket.create_connection(("127.0.0.1", port)), server.accept()[0] as accepted:
                near, far = ("{}:{}".format(*end) for end in (accepted.getsockname(), accepted.getpeername()))
                dead = without_peer([Facts({"id": "1", "addr": far, "laddr": near, "flags": "N"})])
                way = "called as it is" if port == _LISTENING else "translated"
                sys.stdout.write(f"{way}: {len(dead)} dead\n")


if __name__ == "__main__":
    main()
