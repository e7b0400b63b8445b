"""Notice that nobody carries runs out: with the only worker, what watches the schedules is gone as well."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

from pydantic import Field

from medic8.alerts.runs import Runs
from medic8.errors import ConfigurationError, Medic8Error, TransientError
from medic8.model.frozen import Frozen
from medic8.model.policy import Escalation
from medic8.model.wording import counted
from medic8.recovery import watching
from medic8.recovery.journal import Journal
from medic8.settings import Settings

_log = logging.getLogger("medic8.alerts")

#: Between two looks.
EVERY_S = 30.0

#: So late a run may be, and so long a pool without a worker: nobody is called for one that is upgraded.
PATIENCE = timedelta(minutes=5)


class Carriers(Frozen):
    """
    Who carries out what is started, as Prefect has it.

    Attributes:
        online: Workers of the site's pool that Prefect hears of.
        late: How many runs should have begun five minutes ago and have not, by queue.
        problem: Why that is not known; empty if it is.
    """

    online: int = 0
    late: dict[str, int] = Field(default_factory=dict)
    problem: str = ""

    def in_words(self, pool: str) -> str:
        """What is wrong with it; empty if nothing is."""
        if self.problem:
            return self.problem
        behind = [f"{counted(number, 'run')} of queue {queue}" for queue, number in sorted(self.late.items())]
        late = f"{' and '.join(behind)} should have begun five minutes ago" if behind else ""
        alone = "" if self.online else f'work pool "{pool}" has no live worker'
        return "; ".join(each for each in (alone, late) if each)


class WorkerWatch:
    """
    A thread that looks whether anybody carries runs out.

    Attributes:
        seen: What it saw last.
    """

    def __init__(
        self,
        site: Settings,
        open_runs: Callable[[], AbstractContextManager[Runs]],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.seen = Carriers(problem="not looked at yet")
        self._site = site
        self._open_runs = open_runs
        self._clock = clock
        self._alone_since: datetime | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="workers", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End after what is under way."""
        self._stopping.set()
        self._thread.join()

    @property
    def words(self) -> str:
        """What is wrong; empty if nothing is."""
        return self.seen.in_words(self._site.deployments.pool)

    def once(self) -> None:
        """
        Look, and put on record what lasts.

        Raises:
            SilentError: the journal does not answer.
        """
        now = self._clock()
        self.seen = self._look(now)
        if self.seen.problem:
            return
        self._alone_since = None if self.seen.online else self._alone_since or now
        alone = self._alone_since is not None and now - self._alone_since >= PATIENCE
        if not (alone or self.seen.late):
            return
        pool = self._site.deployments.pool
        reason = f"nobody carries out what is started: {self.words}; start a worker for it"
        told = Escalation(rule="worker", about=f"pool {pool}", reason=reason, at=now)
        if watching.escalate(Journal(self._site.journal_url), told):
            _log.error("%s", reason)

    def _look(self, now: datetime) -> Carriers:
        pool = self._site.deployments.pool
        queues = {self._site.deployments.queue, *(self._site.queue_of(each) for each in self._site.targets)}
        try:
            with self._open_runs() as runs:
                late = Counter(runs.not_begun(pool, now - PATIENCE))
                online = runs.workers(pool)
        except (TransientError, ConfigurationError) as exc:
            return Carriers(problem=str(exc))
        if online is None:
            return Carriers(problem=f'Prefect has no work pool "{pool}": medic8 deploy makes it')
        return Carriers(online=online, late={name: late[name] for name in sorted(queues) if late[name]})

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                self.once()
            except Medic8Error as exc:
                _log.warning("workers are not watched: %s", exc)
            except Exception:  # noqa: BLE001 - as of the dispatcher
                _log.exception("workers are not watched")
            self._stopping.wait(EVERY_S)
