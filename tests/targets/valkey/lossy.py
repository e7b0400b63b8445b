"""What is found on a way that loses packets: ``unshare --net python -m tests.targets.valkey.lossy``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from medic8.local.scratch import scratch_valkey
from medic8.targets.valkey.looks.reachability import look_at_reachability
from tests.targets.valkey.looking_at import AROUND, a_target
from tests.targets.valkey.own_network import set_up

#: Of the packets to the server that carry something.
_DROPPED = "-p tcp --dport {} -m length --length 60: -m statistic --mode nth --every 8 --packet 0 -j DROP"


def main() -> None:
    """Look at a server, then look again through a way that drops one packet of eight."""
    set_up()
    with tempfile.TemporaryDirectory() as folder, scratch_valkey(Path(folder)) as server:
        for way in ("before", "one of eight"):
            if way != "before":
                set_up(f"iptables -A INPUT {_DROPPED.format(server.port)}")
            result = look_at_reachability(a_target(server.url), AROUND)
            found = ", ".join(each.code for each in result.findings) or "nothing"
            readings = {each.name: each.value for each in result.readings}
            assert (readings["network.resent"] != 0) == (way != "before")
            sys.stdout.write(f"{way}: {found}\n")


if __name__ == "__main__":
    main()
