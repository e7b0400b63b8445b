"""Have one run started for the alerts about each target, however often Prefect or we die meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime

from medic8.alerts.inbox import Inbox, silence_of
from medic8.alerts.metrics import Metrics
from medic8.alerts.runs import Run, Runs, deployment_for
from medic8.errors import ConfigurationError, Medic8Error, RefusedError, TransientError
from medic8.model.alert import End, Generation
from medic8.model.policy import Mandate, Origin
from medic8.recovery.journal import Journal
from medic8.safety.rules import refusal_in
from medic8.settings import Settings
from medic8.settings.asking import asking

_log = logging.getLogger("medic8.alerts")

#: Between two looks for what waits if nobody tells of it, and at least; in seconds.
EVERY_S = 0.5
BREATH_S = 0.02

#: Between two looks for runs that died, and for what is too old to be kept; in seconds.
DEAD_EVERY_S = 10.0
FORGET_EVERY_S = 3600.0

_DAY_S = 86_400


class Dispatcher:
    """
    A thread that starts runs; any number may work on one inbox.

    Attributes:
        site: The configuration.
        inbox: What waits.
    """

    def __init__(
        self,
        site: Settings,
        inbox: Inbox,
        open_runs: Callable[[], AbstractContextManager[Runs]],
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.site = site
        self.inbox = inbox
        self._open_runs = open_runs
        self._metrics = metrics
        self._clock = clock
        self._done_s: dict[str, float] = {}
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._is_away = False
        self._thread = threading.Thread(target=self._work, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End after what is under way."""
        self._stopping.set()
        self._woken.set()
        self._thread.join()

    def wake(self) -> None:
        """Look now: something waits. Of what another process takes in nobody tells, so we look anyway."""
        self._woken.set()

    def once(self) -> None:
        """
        Start what can be started, and end what has waited for too long.

        Raises:
            SilentError: the inbox does not answer.
        """
        now_s = self._clock()
        waiting = [each for each in self.inbox.waiting() if not self._expires(each, now_s)]
        to_cancel = self.inbox.to_cancel()
        looks_for_dead = self._is_due("dead", DEAD_EVERY_S)
        running = self.inbox.running() if looks_for_dead else ()
        self._is_away = False
        if waiting or to_cancel or running:
            try:
                with self._open_runs() as runs:
                    self._dispatch(runs, waiting)
                    self._cancel(runs, to_cancel)
                    self._find_dead(runs, running)
            except (TransientError, ConfigurationError) as exc:
                self._is_away = True
                for each in waiting:
                    self.inbox.hold(each.id, str(exc))
        self._listen(now_s)
        if self._is_due("forget", FORGET_EVERY_S):
            self.inbox.forget(now_s - self.site.alerts.keep_days * _DAY_S)

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                self.once()
            except Medic8Error as exc:
                _log.warning("alerts wait: %s", exc)
            except Exception:  # noqa: BLE001 - whatever it was, the next look may find it gone
                _log.exception("alerts wait")
            self._stopping.wait(BREATH_S)
            # Where Prefect is away, what is taken in meanwhile is no reason to ask it more often.
            (self._stopping if self._is_away else self._woken).wait(EVERY_S)

    def _dispatch(self, runs: Runs, waiting: list[Generation]) -> None:
        for each in waiting:
            try:
                if reason := self._why_not(each):
                    self.inbox.hold(each.id, reason)
                    continue
                queue = self.site.queue_of(self.site.target(each.target))
                name = self.site.deployments.named(deployment_for(queue, self.site.deployments.queue))
                run = runs.start(each, name)
                if not self.inbox.link(each, run):
                    runs.cancel(run, "every alert was resolved")
                    self.inbox.cancelled(each.id)
                self._metrics.dispatched("started")
            except (RefusedError, ConfigurationError) as exc:
                # The target may be gone from the configuration; it expires, if nobody brings it back.
                self.inbox.hold(each.id, str(exc))

    def _why_not(self, generation: Generation) -> str:
        """Why nothing is tried again on a target that an earlier run did not heal; the run asks as well."""
        if not generation.is_again:
            return ""
        question = asking(
            self.site,
            self.site.target(generation.target),
            Mandate(origin=Origin.ALERT),
            at=datetime.fromtimestamp(self._clock(), UTC),
        )
        refusal = refusal_in(question.look(Journal(self.site.journal_url)))
        return "" if refusal is None else f"{refusal.rule}: {refusal.reason}"

    def _cancel(self, runs: Runs, to_cancel: tuple[Generation, ...]) -> None:
        for each in to_cancel:
            runs.cancel(each.run, "every alert was resolved")
            self.inbox.cancelled(each.id)
            self._metrics.dispatched("cancelled")

    def _find_dead(self, runs: Runs, running: tuple[Generation, ...]) -> None:
        """Have those answered by another run whose run has ended without saying so."""
        states = runs.states([each.run for each in running]) if running else {}
        for each in running:
            state, words = states[each.run]
            if state is Run.GOES_ON:
                continue
            goes_on = self.inbox.run_died(each, self._clock(), f"run {each.run} ended: {words}")
            self._metrics.dispatched("started again" if goes_on else "failed")

    def _expires(self, generation: Generation, now_s: float) -> bool:
        if now_s < generation.opened_at_s + self.site.alerts.expire_s:
            return False
        reason = (
            f"nothing was started within {self.site.alerts.expire_s} s: {generation.reason or 'not tried'}"
        )
        if self.inbox.give_up(generation, End.EXPIRED, now_s, reason):
            self._metrics.dispatched("expired")
            _log.error("alerts about %s: %s", generation.target, reason)
        return True

    def _listen(self, now_s: float) -> None:
        every_s = {each.name: each.every_s for each in self.site.alerts.heartbeat}
        for name in self.inbox.silent(every_s, now_s) if every_s else ():
            self._metrics.fell_silent(name)
            _log.error("%s", silence_of(name, every_s[name]))

    def _is_due(self, what: str, every_s: float) -> bool:
        now_s = time.monotonic()
        if now_s < self._done_s.get(what, -every_s) + every_s:
            return False
        self._done_s[what] = now_s
        return True
