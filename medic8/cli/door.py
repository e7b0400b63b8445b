"""
The only way from the command line to the flows, and with them to Prefect.

Prefect is imported here by name and late: it takes more than a second, and it
reads its settings when it is imported, so the environment comes first.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, MutableMapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, cast

from medic8.errors import TransientError

if TYPE_CHECKING:
    from medic8.cli.call import Call
    from medic8.model.backup import BackupManifest
    from medic8.model.report import DiagnosticReport
    from medic8.model.resolution import HistoryEntry, Resolution, Treatment
    from medic8.settings import Settings


class Door(Protocol):
    """What the command line asks of the flows."""

    def diagnose(self, target: str) -> DiagnosticReport:
        """Look at *target*."""

    def heal(self, target: str, *, dry_run: bool, approved: Sequence[str] = ()) -> Treatment:
        """Treat *target*; with *dry_run* only plan. *approved*: digests of plans a person agreed to."""

    def back_up(self, target: str) -> BackupManifest:
        """Back *target* up."""

    def history(
        self,
        *,
        target: str | None,
        issue: str | None,
        outcome: str | None,
        since: datetime | None,
        limit: int,
    ) -> list[HistoryEntry]:
        """The resolutions that match, the newest first."""

    def resolution_of(self, run: str) -> tuple[HistoryEntry, Resolution | None]:
        """
        One resolution; None if its run ended before it could return one.

        Raises:
            ConfigurationError: there is no such run.
        """

    def run_url(self, run: str) -> str:
        """The page of *run* in Prefect's interface."""


def open_door(call: Call) -> Door:
    """
    A way to the flows, on the Prefect server that answers; else the local stack is started.

    Raises:
        UnreachableError: the server of ``PREFECT_API_URL`` does not answer, or none could be started.
    """
    from medic8.local import stack

    home = call.settings.home
    status = stack.status(home, environment=call.environ)
    if status.prefect_api_url is None or not status.server("prefect").answers:
        if not call.environ.get("PREFECT_API_URL"):
            call.screen.say("no Prefect server runs; starting the local stack (medic8 down stops it)")
        status = stack.up(home, progress=call.screen.say, environment=call.environ)
    prepare(call.environ, call.settings, str(status.prefect_api_url), is_debug=call.is_debug)
    return PrefectDoor(str(status.prefect_api_url))


def prepare(environ: MutableMapping[str, str], settings: Settings, api_url: str, *, is_debug: bool) -> None:
    """Put into *environ* what Prefect and the flows read from there; what a person has set stays."""
    environ["PREFECT_API_URL"] = api_url
    environ["MEDIC8_HOME"] = str(settings.home)
    if settings.source is not None:
        environ["MEDIC8_CONFIG"] = str(settings.source)
    # Where `show` reads back what a run returned, whoever runs it next on this machine.
    environ.setdefault("PREFECT_LOCAL_STORAGE_PATH", str(settings.home / "results"))
    # A server that is gone is told of within seconds; a stall of a few seconds is still waited for.
    environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "3")
    environ.setdefault("DO_NOT_TRACK", "1")
    environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    if not is_debug:
        # Only what goes to the terminal: the run's page in Prefect shall show everything. The errors
        # that are hidden here are those the command line tells itself.
        environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        environ.setdefault("PREFECT_INTERNAL_LOGGING_LEVEL", "CRITICAL")


class PrefectDoor:
    """Runs the flows in this process, tracked by the server at *api_url*."""

    def __init__(self, api_url: str) -> None:
        self._api_url = api_url

    def diagnose(self, target: str) -> DiagnosticReport:
        """Look at *target*."""
        return cast("DiagnosticReport", self._run("flows.run", "run", "diagnose", target=target))

    def heal(self, target: str, *, dry_run: bool, approved: Sequence[str] = ()) -> Treatment:
        """Treat *target*; with *dry_run* only plan."""
        asked = {"target": target, "dry_run": dry_run, "approved": list(approved)}
        return cast("Treatment", self._run("flows.run", "run", "heal", **asked))

    def back_up(self, target: str) -> BackupManifest:
        """Back *target* up."""
        return cast("BackupManifest", self._run("flows.run", "run", "back_up", target=target))

    def history(
        self,
        *,
        target: str | None,
        issue: str | None,
        outcome: str | None,
        since: datetime | None,
        limit: int,
    ) -> list[HistoryEntry]:
        """The resolutions that match, the newest first."""
        filters = {"target": target, "issue": issue, "outcome": outcome, "since": since, "limit": limit}
        return cast("list[HistoryEntry]", self._run("tasks.track", "history", **filters))

    def resolution_of(self, run: str) -> tuple[HistoryEntry, Resolution | None]:
        """One resolution; None if its run ended before it could return one."""
        return cast("tuple[HistoryEntry, Resolution | None]", self._run("tasks.track", "resolution_of", run))

    def run_url(self, run: str) -> str:
        """The page of *run* in Prefect's interface."""
        return str(self._run("tasks.track", "run_url", run))

    def _run(self, module: str, name: str, *args: object, **kwargs: object) -> Any:
        with self._reaching_prefect():
            return getattr(importlib.import_module(module), name)(*args, **kwargs)

    @contextlib.contextmanager
    def _reaching_prefect(self) -> Iterator[None]:
        import httpx

        try:
            yield
        except httpx.TransportError as exc:
            raise TransientError(
                f"the Prefect server at {self._api_url} stopped answering: {exc}; what was begun is ended by "
                "the next run on the target"
            ) from exc
