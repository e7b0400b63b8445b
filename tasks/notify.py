"""Tell people what happened; whatever becomes of that, nothing else fails by it or waits long for it."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime

from prefect import get_run_logger
from prefect.exceptions import CancelledRun, CrashedRun
from prefect.settings import PREFECT_UI_URL

from medic8.analysis.noticing import SCHEDULE
from medic8.analysis.silence import Watch
from medic8.errors import Medic8Error
from medic8.model.notice import Sent
from medic8.model.policy import Escalation
from medic8.notifying.sender import Sender
from medic8.recovery import watching
from medic8.recovery.faults import SilentError
from medic8.recovery.journal import Journal
from medic8.settings import Settings, load_settings
from tasks.attempts import ONCE
from tasks.light import task

_log = logging.getLogger("medic8.notifying")


@task(task_run_name="send notifications", **ONCE)
def send_notifications(site: Settings) -> tuple[Sent, ...]:
    """Send what waits, as far as this machine has the routes' addresses."""
    found = _sender(site).once()
    for each in found:
        if not each.is_sent:
            get_run_logger().warning("notify %s: not sent, and tried again: %s", each.route, each.reason)
    return found


def tell_people(site: Settings) -> None:
    """Send what waits, if anything does, at the end of a run that has done what it is for."""
    try:
        if _sender(site).is_anything_due():
            send_notifications(site)
    except (CrashedRun, CancelledRun):
        raise
    except Exception as exc:  # noqa: BLE001 - the next run sends it
        get_run_logger().warning("notifications were not sent: %s", exc)


def send_now() -> None:
    """The same without Prefect, at the end of a command."""
    try:
        site = load_settings()
        if site.notify and (sender := _sender(site)).is_anything_due():
            sender.once()
    except Medic8Error as exc:
        _log.warning("notifications wait: %s", exc)
    except Exception:  # noqa: BLE001 - the command has done what it is for
        _log.exception("notifications wait")


def _sender(site: Settings) -> Sender:
    """One that knows where Prefect's interface is, as Prefect itself does."""
    return Sender(site, environ={**os.environ, "PREFECT_UI_URL": PREFECT_UI_URL.value() or ""})


@task(task_run_name="have people told who is not looked at", **ONCE)
def escalate_silence(found: Watch, site: Settings) -> None:
    """Keep, to be sent, that nobody looks at a target; twice a day as long as that is so."""
    try:
        for each in found.silent:
            told = Escalation(rule=SCHEDULE, about=each.target, reason=each.reason, at=datetime.now(UTC))
            watching.escalate(Journal(site.journal_url), told, each.target)
    except SilentError as exc:
        get_run_logger().warning("people are not told: %s", exc)
