"""Crowd a network of its own, and write what a diagnosis finds there; run by `alone`."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path

from medic8.backups.place import BackupPlace
from medic8.model.target import Target
from medic8.targets.host.kind import KIND
from medic8.targets.kind import Surroundings
from tests.targets.valkey.own_network import NOT_HERE, set_up

_PORTS, _TAKEN, _CLOSED = 100, 90, 60


def found() -> list[str]:
    """What is found, and how many connections the kernel tracks."""
    # A table of our own size would be the whole machine's: so few are tracked that a limit has to be low.
    limit = {"name": "conntrack", "warning": 1e-6}
    target = Target.model_validate(
        {"name": "here", "kind": "host", "url": "host:local", "threshold": [limit]}
    )
    around = Surroundings(backups=BackupPlace(url="/nonexistent"), now=datetime.now(UTC))
    result = KIND.diagnostics["network"](target, around)
    tracked = result.reading("network.tracked")
    return [*sorted(each.code for each in result.findings), f"{tracked.value if tracked else 'none'}"]


def main() -> None:
    """Few ports, most of them taken; every connection tracked; then most of them closed."""
    set_up(
        "nft add table inet t",
        "nft add chain inet t c { type filter hook output priority 0 ; }",
        "nft add rule inet t c ct state new counter",
    )
    try:
        network = Path("/proc/sys/net/ipv4")
        (network / "ip_local_port_range").write_text(f"40000 {40_000 + _PORTS - 1}")
        (network / "tcp_max_tw_buckets").write_text(str(_CLOSED))
    except OSError as exc:
        sys.stderr.write(f"not in a network of its own: {exc}")
        sys.exit(NOT_HERE)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 30_000), backlog=_TAKEN))
        before = found()
        near = [socket.create_connection(("127.0.0.1", 30_000)) for _ in range(_TAKEN)]
        far = [listener.accept()[0] for _ in near]
        full = found()
        for each in (*near, *far):
            each.close()
        closed = found()
    sys.stdout.write(json.dumps([before, full, closed]))


if __name__ == "__main__":
    main()
