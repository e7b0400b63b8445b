"""Send what waits: each notice to its routes, and no recovery waits for it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from medic8.errors import ConfigurationError, Medic8Error, RefusedError
from medic8.model.approval import Choice
from medic8.model.notice import Event, Notice, Portion, Route, Sent
from medic8.notifying import message
from medic8.notifying.courier import TIMEOUT_S, Courier, Message
from medic8.notifying.links import runs_page
from medic8.recovery import approvals, outbox
from medic8.recovery.journal import Journal
from medic8.safety.approving import require_decidable
from medic8.settings import Settings
from medic8.settings.notify import is_meant

_log = logging.getLogger("medic8.notifying")

#: Between two looks for what waits, in seconds.
EVERY_S = 1.0

#: So many routes are sent to at a time; one that hangs keeps few others waiting.
_AT_A_TIME = 4

#: From then on nothing further is begun: whoever called has something else to do.
ROUND_S = 45.0


class Sender:
    """
    Sends what waits; any number may do so at once, in any processes on any machines.

    Attributes:
        site: The configuration.
    """

    def __init__(
        self,
        site: Settings,
        *,
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.site = site
        self._environ = os.environ if environ is None else environ
        self._clock = clock
        self._timeout_s = timeout_s
        self._stopping = threading.Event()
        self._journal = Journal(site.journal_url)

    def is_anything_due(self) -> bool:
        """Whether there is something to do."""
        usable = [each.name for each in self.site.notify if each.url is not None]
        return outbox.is_anything_due(self._journal, self._clock(), usable)

    def stop(self) -> None:
        """Begin nothing further; what is under way has a time limit."""
        self._stopping.set()

    def once(self) -> tuple[Sent, ...]:
        """
        Send what can be sent now.

        Raises:
            SilentError: the journal does not answer; what had been begun is sent, perhaps once more later.
        """
        until_s = time.monotonic() + ROUND_S
        outbox.route(self._journal, self._clock(), lambda notice: routes_of(notice, self.site))
        usable = [each for each in self.site.notify if each.url is not None]
        if not usable:
            return ()
        page = runs_page(self.site.home, self._environ)
        with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="notify") as threads:
            found = list(threads.map(lambda each: self._send(each, page, until_s), usable))
        return tuple(sent for each in found for sent in each)

    def try_out(self, route: Route) -> Sent:
        """Send a message to *route* that says that it is a trial."""
        if route.url is None:
            return Sent(route=route.name, is_sent=False, reason=route.problem)
        with Courier(self._environ, timeout_s=self._timeout_s) as courier:
            reason = courier.send(route.url, message.trial(route.name))
        return Sent(route=route.name, is_sent=not reason, reason=reason)

    def _send(self, route: Route, page: str, until_s: float) -> list[Sent]:
        found = list[Sent]()
        left = list(outbox.claim(self._journal, route, self._clock()))
        with Courier(self._environ, timeout_s=self._timeout_s) as courier:
            while left and route.url is not None and time.monotonic() < until_s:
                if self._stopping.is_set():
                    break
                portion = left.pop(0)
                reason = courier.send(route.url, self._message(portion, route, page))
                outbox.ended(self._journal, route, portion, self._clock(), reason)
                number = len(portion.notices)
                found.append(Sent(route=route.name, notices=number, is_sent=not reason, reason=reason))
                if reason:
                    break  # the next would fare no better, and what hangs once hangs again
        if left:
            outbox.give_back(self._journal, route, left)
        return found

    def _message(self, portion: Portion, route: Route, page: str) -> Message:
        if len(portion.notices) > 1:
            return message.digest(portion.notices)
        (notice,) = portion.notices
        if notice.event is not Event.NEEDS_APPROVAL:
            return message.single(notice, runs_page=page)
        try:
            link = self._link(notice, with_link=route.approval_links)
        except (RefusedError, ConfigurationError) as exc:
            return message.single(notice, runs_page=page, decided=str(exc))
        return message.single(notice, runs_page=page, link=link)

    def _link(self, notice: Notice, *, with_link: bool) -> str:
        """A link for this message alone: it is good once, and not for long."""
        now = self._clock()
        request = approvals.find(self._journal, notice.approval, now)
        if not with_link:
            require_decidable(request, Choice.APPROVE, now)
            return ""
        return approvals.make_link(self._journal, request, self.site.approvals, now)


class Sending:
    """A thread that sends what waits as long as its process lives."""

    def __init__(self, sender: Sender, told: Callable[[Sequence[Sent]], None]) -> None:
        self._sender = sender
        self._told = told
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="notifying", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after what is under way, which has a time limit."""
        self._stopping.set()
        self._sender.stop()
        self._thread.join()

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._sender.is_anything_due():
                    self._told(self._sender.once())
            except Medic8Error as exc:
                _log.warning("notifications wait: %s", exc)
            except Exception:  # noqa: BLE001 - whatever it was, the next look may find it gone
                _log.exception("notifications wait")
            self._stopping.wait(EVERY_S)


def routes_of(notice: Notice, site: Settings) -> list[tuple[Route, bool]]:
    """
    Where *notice* goes, each with whether it is collected there.

    To every route that names its target; if none of them takes it, to those that name none.
    """
    target = next((each for each in site.targets if each.name == notice.target), None)
    takes = [each for each in site.notify if each.takes(notice.event)]
    mine = [
        each for each in takes if target is not None and any(is_meant(one, target) for one in each.targets)
    ]
    chosen = mine or [each for each in takes if not each.targets]
    return [(each, each.collects(notice.event)) for each in chosen]
