"""
What the lab has for scaling: a command that gives its server more memory, as a site's own command would.

Medic8 calls it by the target's ``scale`` and knows nothing of it but how it ends.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from medic8.errors import Medic8Error, RefusedError
from medic8.local.lab.clearing import OWN
from medic8.local.lab.settings import BEFORE
from medic8.local.records import read_record
from medic8.model.wording import size
from medic8.targets.valkey.acts.scaling_hook import REFUSES
from medic8.targets.valkey.client import connection, info

#: What it gives at once, and how often, until the lab is reset.
STEP_BYTES = 64 << 20
MOST = 4

#: Where the lab's server remembers how often that was.
GIVEN = f"{OWN}given"

#: Who uses less than this part of the limit has no need.
_SHORT = 0.8


def give(home: Path, *, is_trial: bool) -> str:
    """
    Raise the limit of the lab's server by `STEP_BYTES`.

    Args:
        home: Of the lab.
        is_trial: Only look whether it would be done.
    Returns:
        What was done, or would be.
    Raises:
        RefusedError: the server does not run, has memory left, or was given as much as there is.
    """
    server = read_record(home).valkey
    if server is None or not server.identity.is_alive():
        raise RefusedError("the lab's server does not run")
    with connection(server.url, name="lab-scale") as client:
        memory = info(client, "memory")
        limit, used = int(memory["maxmemory"]), int(memory["used_memory"])
        if used < limit * _SHORT or not limit:
            raise RefusedError(f"{size(used)} are used of {size(limit) if limit else 'as much as there is'}")
        given = client.get(GIVEN)
        if isinstance(given, bytes) and int(given) >= MOST:
            raise RefusedError(
                f"{size(STEP_BYTES)} were given {MOST} times; medic8 lab reset takes them back"
            )
        if is_trial:
            return f"maxmemory would be {size(limit + STEP_BYTES)}"
        client.config_set("maxmemory", limit + STEP_BYTES)
        # After it: a server that is full takes no write.
        client.hsetnx(BEFORE, "maxmemory", str(limit))
        client.incr(GIVEN)
        return f"maxmemory is {size(limit + STEP_BYTES)} and was {size(limit)}"


def main() -> int:
    """Do what the environment asks for, and end as a scaling command does."""
    try:
        line = give(Path(sys.argv[1]), is_trial=os.environ.get("MEDIC8_DRY_RUN") == "1")
    except Medic8Error as exc:
        line, status = str(exc), REFUSES
    else:
        status = 0
    sys.stdout.write(line + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
