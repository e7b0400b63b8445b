"""Write many requests in one commit: what is durable costs a disk's reply, whoever shares it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future

from medic8.alerts.arriving import Arrival
from medic8.alerts.inbox import Inbox
from medic8.errors import TransientError
from medic8.model.alert import Taken

#: So many requests share a commit at most, and so many may wait for one.
MOST_TOGETHER = 64
MOST_WAITING = 2000

_Waiting = tuple[Arrival, "Future[Taken]"]


class FullError(TransientError):
    """So many requests wait to be written that another one would wait for too long; it was not taken."""


class Writer:
    """
    A thread that writes what is handed to it, all that waits at once.

    Args:
        inbox: Where to.
        clock: The time now, in seconds since the epoch.
        written: Called when something is durable, after those who wait were told.
    """

    def __init__(
        self, inbox: Inbox, clock: Callable[[], float], written: Callable[[], None] = lambda: None
    ) -> None:
        self._inbox = inbox
        self._clock = clock
        self._written = written
        self._waiting: queue.Queue[_Waiting | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._work, name="inbox", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, and end."""
        self._waiting.put(None)
        self._thread.join()

    def hand(self, arrival: Arrival) -> Future[Taken]:
        """
        Have *arrival* written; what becomes of it is known when it is durable.

        Raises:
            FullError: too many wait.
        """
        done: Future[Taken] = Future()
        try:
            self._waiting.put_nowait((arrival, done))
        except queue.Full:
            raise FullError(f"{MOST_WAITING} requests wait to be written") from None
        return done

    def _work(self) -> None:
        while True:
            together, is_last = self._next()
            if together:
                self._write(together)
            if is_last:
                return

    def _next(self) -> tuple[list[_Waiting], bool]:
        found, together = self._waiting.get(), list[_Waiting]()
        while found is not None:
            together.append(found)
            if len(together) == MOST_TOGETHER:
                return together, False
            try:
                found = self._waiting.get_nowait()
            except queue.Empty:
                return together, False
        return together, True

    def _write(self, together: list[_Waiting]) -> None:
        wanted = [each for each in together if each[1].set_running_or_notify_cancel()]
        try:
            taken = self._inbox.take([arrival for arrival, _ in wanted], self._clock())
        except Exception as exc:  # noqa: BLE001 - each who waits is told, and the thread goes on
            for _, done in wanted:
                done.set_exception(exc)
            return
        for (_, done), each in zip(wanted, taken, strict=True):
            done.set_result(each)
        self._written()
