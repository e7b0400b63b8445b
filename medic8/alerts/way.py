"""The way to the runs of the Prefect server that is there now; its connection is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx

from medic8.alerts.runs import Runs
from medic8.errors import TransientError
from medic8.local.prefect_access import PrefectAccess
from medic8.local.prefect_answer import client_of
from medic8.notifying.links import access_now
from medic8.settings import Settings

_TIMEOUT_S = 30.0


class WayToRuns:
    """
    The user's own server, or the local stack's; for one thread.

    To make a client takes longer than to start a run with it, and what it knows of deployments stays.
    """

    def __init__(self, site: Settings, environ: Mapping[str, str]) -> None:
        self._site = site
        self._environ = environ
        self._kept: tuple[PrefectAccess, httpx.Client, Runs] | None = None

    @contextmanager
    def __call__(self) -> Iterator[Runs]:
        """
        The runs of the server; another one may be there each time.

        Raises:
            TransientError: none is.
            ConfigurationError: what the user has set for Prefect is wrong.
        """
        access = access_now(self._site.home, self._environ)
        if access is None:
            raise TransientError("no Prefect server is named, and the local stack does not run: medic8 up")
        if self._kept is None or self._kept[0] != access:
            self.close()
            client = client_of(access, timeout_s=_TIMEOUT_S)
            self._kept = access, client, Runs(access, client)
        yield self._kept[2]

    def close(self) -> None:
        """Close the connection."""
        if self._kept is not None:
            self._kept[1].close()
            self._kept = None
