"""The lab's own server, told apart from every other one by its run id, whatever address it is reached by."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import valkey

from medic8.errors import RefusedError
from medic8.targets.valkey.address import redact
from medic8.targets.valkey.client import connection, info


@contextlib.contextmanager
def lab_connection(address: str, lab_url: str | None, *, timeout_s: float = 5.0) -> Iterator[valkey.Valkey]:
    """
    Open a connection to *address* if the lab's own server answers there.

    Args:
        address: Of the target that is to be broken.
        lab_url: Of the local stack's Valkey; None while it does not run.
        timeout_s: Longest wait for one reply.
    Raises:
        RefusedError: it is another server, or the lab's does not run.
        UnreachableError: one of them does not answer.
    """
    if lab_url is None:
        raise RefusedError('the lab\'s server does not run; "medic8 up" starts it')
    with connection(lab_url, timeout_s=timeout_s, name="medic8-lab") as client:
        own = info(client, "server")["run_id"]
    with connection(address, timeout_s=timeout_s, name="medic8-lab") as client:
        if info(client, "server")["run_id"] != own:
            raise RefusedError(
                f"{redact(address)} is not the lab's server, which is {redact(lab_url)}; "
                "faults are made there and nowhere else"
            )
        yield client
