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
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol, cast

from medic8.cli.leaving import leave_at_once
from medic8.errors import TransientError, UnreachableError

if TYPE_CHECKING:
    from medic8.cli.call import Call
    from medic8.local.prefect_access import PrefectAccess
    from medic8.local.stack import StackStatus
    from medic8.model.approval import Decided
    from medic8.model.backup import BackupManifest, PruneReport, RestoreReport, RestoreWish, VerifyReport
    from medic8.model.performance import PerformanceReport
    from medic8.model.recovery import Sweep
    from medic8.model.report import DiagnosticReport
    from medic8.model.resolution import HistoryEntry, Resolution, Treatment
    from medic8.model.resources import ResourceReport
    from medic8.model.saved import Pruning
    from medic8.model.statistics import StatisticsReport, Wanted
    from medic8.settings import Settings
    from medic8.targets.kind import Progress


_NOTHING = "nothing was changed on the target"
_REFUSALS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class Door(Protocol):
    """What the command line asks of the flows."""

    def diagnose(self, target: str, *, watch_s: float = 0.0) -> DiagnosticReport:
        """Look at *target*; what grows on a server for *watch_s* seconds."""

    def troubleshoot_performance(self, target: str, *, seconds: float) -> PerformanceReport:
        """Measure *target* for *seconds*, and say what holds it up."""

    def troubleshoot_resources(self, target: str) -> ResourceReport:
        """How the resources of *target* are used, and which run short."""

    def heal(
        self,
        target: str,
        *,
        dry_run: bool,
        approved: Sequence[str] = (),
        origin: str = "person",
        override: str = "",
        watch_s: float = 0.0,
    ) -> Treatment:
        """
        Treat *target*; with *dry_run* only plan.

        *approved*: digests of plans that a person agreed to; *origin*: who or what began it; *override*:
        why a person goes on although there is a pause.
        """

    def approve(self, plan: str, *, reason: str, by: str) -> Decided:
        """Say yes to the request about *plan*, and carry it out if the same would be done now."""

    def undo(self, run: str, *, restorable_only: bool, dry_run: bool, override: str = "") -> Resolution:
        """Put back what the resolution or recovery *run* had replaced; with *dry_run* only plan."""

    def prune_saved_state(self, *, dry_run: bool) -> Pruning:
        """Remove what recoveries saved that retention does not keep."""

    def restore_interrupted(self) -> Sweep:
        """End every recovery whose process has died."""

    def back_up(self, target: str, *, full: bool, prefix: str, progress: Progress) -> BackupManifest:
        """Back *target* up; with *full* everything anew; of a server's keys those with *prefix*."""

    def restore_backup(
        self, target: str, wish: RestoreWish, progress: Progress, *, override: str = ""
    ) -> RestoreReport:
        """Write what *wish* asks for from a backup into *target*."""

    def verify_backup(self, target: str, backup: str, progress: Progress) -> VerifyReport:
        """Read a backup of *target* again; an empty *backup* is the newest complete one."""

    def prune_backups(self, target: str, *, dry_run: bool) -> PruneReport:
        """Remove the backups of *target* that retention does not keep."""

    def history(
        self,
        *,
        target: str | None,
        issue: str | None,
        strategy: str | None,
        outcome: str | None,
        since: datetime | None,
        limit: int,
    ) -> list[HistoryEntry]:
        """The resolutions that match, the newest first."""

    def statistics(self, wanted: Wanted) -> StatisticsReport:
        """How often the resolutions that match succeeded, and how long they took."""

    def complete_index(self) -> int:
        """Put the runs into the index of resolutions that it lacks, and say how many these were."""

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
        UnreachableError: the server that the user has named does not answer or does not let us in, or none
            could be started.
    """
    access = reach(call)
    prepare(call.environ, call.settings, access, is_debug=call.is_debug)
    return PrefectDoor(access)


def reach(call: Call) -> PrefectAccess:
    """
    The way to the Prefect server that answers; else the local stack is started.

    Raises:
        UnreachableError: as for `open_door`.
    """
    from medic8.local import stack

    home = call.settings.home
    status = stack.status(home, environment=call.environ)
    if not status.server("prefect").answers:
        if status.server("prefect").state != "external":
            call.screen.say("no Prefect server runs; starting the local stack (medic8 down stops it)")
        status = stack.up(home, progress=call.screen.say, environment=call.environ)
    return way_to(call, status)


def way_to(call: Call, status: StackStatus) -> PrefectAccess:
    """
    The way to the server that *status* found, ours or the user's own, with the user's credentials.

    Raises:
        UnreachableError: it does not let us in.
    """
    from medic8.local.loopback import past_proxies
    from medic8.local.prefect_access import access_to
    from medic8.local.prefect_answer import ask
    from medic8.local.status import way_to_own

    if status.server("prefect").state == "external":
        return access_to("", call.environ)  # asked already
    access = way_to_own(status.home, str(status.prefect_api_url), call.environ)
    call.environ["no_proxy"] = past_proxies(call.environ)
    if problem := ask(access).problem:
        raise UnreachableError(f"the local stack's Prefect server, {access.shown_url}, {problem}")
    return access


def prepare(
    environ: MutableMapping[str, str], settings: Settings, access: PrefectAccess, *, is_debug: bool
) -> None:
    """Put into *environ* what Prefect and the flows read from there; what a person has set stays."""
    environ["PREFECT_API_URL"] = access.api_url
    if access.auth_string:
        environ["PREFECT_API_AUTH_STRING"] = access.auth_string
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
    """Runs the flows in this process, tracked by the server that *access* leads to."""

    def __init__(self, access: PrefectAccess) -> None:
        self._access = access

    def diagnose(self, target: str, *, watch_s: float = 0.0) -> DiagnosticReport:
        """Look at *target*; what grows on a server for *watch_s* seconds."""
        asked: dict[str, Any] = {"target": target, "watch_s": watch_s}
        return cast("DiagnosticReport", self._run("flows.run", "run", "diagnose", **asked))

    def troubleshoot_performance(self, target: str, *, seconds: float) -> PerformanceReport:
        """Measure *target* for *seconds*, and say what holds it up."""
        asked: dict[str, Any] = {"target": target, "seconds": seconds}
        return cast("PerformanceReport", self._run("flows.run", "run", "troubleshoot_performance", **asked))

    def troubleshoot_resources(self, target: str) -> ResourceReport:
        """How the resources of *target* are used, and which run short."""
        found = self._run("flows.run", "run", "troubleshoot_resources", target=target)
        return cast("ResourceReport", found)

    def heal(
        self,
        target: str,
        *,
        dry_run: bool,
        approved: Sequence[str] = (),
        origin: str = "person",
        override: str = "",
        watch_s: float = 0.0,
    ) -> Treatment:
        """Treat *target*; with *dry_run* only plan."""
        asked: dict[str, Any] = {"target": target, "dry_run": dry_run, "approved": list(approved)}
        asked |= {"origin": origin, "override": override, "watch_s": watch_s}
        left = _NOTHING if dry_run else "what was begun is ended by the next run on the target"
        return cast("Treatment", self._run("flows.run", "run", "heal", left=left, **asked))

    def approve(self, plan: str, *, reason: str, by: str) -> Decided:
        """Say yes to the request about *plan*, and carry it out if the same would be done now."""
        asked: dict[str, Any] = {"plan": plan, "decision": "approve", "reason": reason, "by": by}
        left = "what was begun is ended by the next run on the target"
        return cast("Decided", self._run("flows.run", "run", "approve", left=left, **asked))

    def undo(self, run: str, *, restorable_only: bool, dry_run: bool, override: str = "") -> Resolution:
        """Put back what *run* had replaced; with *dry_run* only plan."""
        asked: dict[str, Any] = {"run": run, "restorable_only": restorable_only, "dry_run": dry_run}
        asked["override"] = override
        left = _NOTHING if dry_run else "what was begun is ended by the next run on the target"
        return cast("Resolution", self._run("flows.run", "run", "undo", left=left, **asked))

    def prune_saved_state(self, *, dry_run: bool) -> Pruning:
        """Remove what recoveries saved that retention does not keep."""
        left = "what was removed is on record, and the same command goes on"
        return cast("Pruning", self._run("flows.run", "run", "prune_saved_state", left=left, dry_run=dry_run))

    def restore_interrupted(self) -> Sweep:
        """End every recovery whose process has died."""
        left = "what was ended stays so, and the same command goes on"
        return cast("Sweep", self._run("flows.run", "run", "restore_interrupted", left=left))

    def back_up(self, target: str, *, full: bool, prefix: str, progress: Progress) -> BackupManifest:
        """Back *target* up; with *full* everything anew; of a server's keys those with *prefix*."""
        given: dict[str, Any] = {"target": target, "full": full, "prefix": prefix}
        return cast("BackupManifest", self._run("flows.run", "run", "back_up", progress, **given))

    def restore_backup(
        self, target: str, wish: RestoreWish, progress: Progress, *, override: str = ""
    ) -> RestoreReport:
        """Write what *wish* asks for from a backup into *target*."""
        given: dict[str, Any] = {"target": target, **dict(wish), "override": override}
        left = "what was restored stands, and the same command goes on"
        report = self._run("flows.run", "run", "restore_backup", progress, left=left, **given)
        return cast("RestoreReport", report)

    def verify_backup(self, target: str, backup: str, progress: Progress) -> VerifyReport:
        """Read a backup of *target* again; an empty *backup* is the newest complete one."""
        given = {"target": target, "backup": backup}
        return cast("VerifyReport", self._run("flows.run", "run", "verify_backup", progress, **given))

    def prune_backups(self, target: str, *, dry_run: bool) -> PruneReport:
        """Remove the backups of *target* that retention does not keep."""
        given: dict[str, Any] = {"target": target, "dry_run": dry_run}
        return cast("PruneReport", self._run("flows.run", "run", "prune_backups", **given))

    def history(
        self,
        *,
        target: str | None,
        issue: str | None,
        strategy: str | None,
        outcome: str | None,
        since: datetime | None,
        limit: int,
    ) -> list[HistoryEntry]:
        """The resolutions that match, the newest first."""
        filters: dict[str, Any] = {
            "target": target,
            "issue": issue,
            "strategy": strategy,
            "outcome": outcome,
            "since": since,
            "limit": limit,
        }
        return cast("list[HistoryEntry]", self._run("tasks.track", "history", **filters))

    def statistics(self, wanted: Wanted) -> StatisticsReport:
        """How often the resolutions that match succeeded, and how long they took."""
        return cast("StatisticsReport", self._run("tasks.index", "report", wanted))

    def complete_index(self) -> int:
        """Put the runs into the index of resolutions that it lacks, and say how many these were."""
        return int(self._run("tasks.index", "complete"))

    def resolution_of(self, run: str) -> tuple[HistoryEntry, Resolution | None]:
        """One resolution; None if its run ended before it could return one."""
        return cast("tuple[HistoryEntry, Resolution | None]", self._run("tasks.track", "resolution_of", run))

    def run_url(self, run: str) -> str:
        """The page of *run* in Prefect's interface."""
        return str(self._run("tasks.track", "run_url", run))

    def _run(self, module: str, name: str, *args: object, left: str = _NOTHING, **kwargs: object) -> Any:
        with self._reaching_prefect(left):
            return getattr(importlib.import_module(module), name)(*args, **kwargs)

    @contextlib.contextmanager
    def _reaching_prefect(self, left: str) -> Iterator[None]:
        """Say of a server that is gone what that means: *left* is what became of the target."""
        import httpx

        from medic8.local.prefect_answer import refusal

        server = f"the Prefect server at {self._access.shown_url}"
        try:
            yield
        except httpx.TransportError as exc:
            leave_at_once()
            what = str(exc) or type(exc).__name__
            raise TransientError(f"{server} stopped answering: {what}; {left}") from exc
        except httpx.HTTPStatusError as exc:
            status = exc.response.status_code
            if status in _REFUSALS:
                raise UnreachableError(f"{server} {refusal(self._access, status)}; {left}") from exc
            if status < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            raise TransientError(f"{server} answers with status {status}; {left}") from exc
        except RuntimeError as exc:
            # What Prefect's client makes of any error while it compares versions before the first call.
            if not str(exc).startswith("Failed to reach API"):
                raise
            leave_at_once()
            raise TransientError(f"{server} stopped answering: {exc.__cause__ or exc}; {left}") from exc
