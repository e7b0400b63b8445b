"""Show that the owner of a recovery lives, for as long as the step that is under way may take."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from medic8.errors import FencedError, TransientError
from medic8.model.recovery import Recovery
from medic8.recovery.journal import Journal
from medic8.recovery.leases import LEASE_S

#: Between two steps there is only our own work.
_BETWEEN_STEPS_S = 60.0

#: How often a lease is renewed in the time that it lasts.
_RENEWALS = 4


class Lease:
    """
    The lease of one recovery, renewed by a thread.

    A step that hangs longer than it declared is no longer covered: then the
    lease lapses, and another process may take the recovery over. So does one of
    a process that is stopped, since its threads are stopped with it.
    """

    def __init__(
        self,
        journal: Journal,
        recovery: Recovery,
        *,
        lease_s: float = LEASE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._recovery = recovery
        self._lease_s = lease_s
        self._clock = clock
        self._covered_until_s = clock() + _BETWEEN_STEPS_S
        self._lost: FencedError | None = None
        self._is_over = threading.Event()

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Renew the lease for the body."""
        thread = threading.Thread(target=self._renew_until_over, name="medic8-lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join(self._lease_s)

    @contextlib.contextmanager
    def during(self, limit_s: float) -> Iterator[None]:
        """
        Cover what may take *limit_s*, and no longer.

        Raises:
            FencedError: another process has taken the recovery over.
        """
        self.require()
        self.cover(limit_s)
        try:
            yield
        finally:
            self.cover(_BETWEEN_STEPS_S)

    def cover(self, limit_s: float) -> None:
        """Cover *limit_s* from now on, whoever owns the recovery."""
        self._covered_until_s = self._clock() + limit_s

    def require(self) -> None:
        """
        See that nobody has taken the recovery over.

        Raises:
            FencedError: somebody has.
        """
        if self._lost is not None:
            raise FencedError(str(self._lost))

    def renew(self) -> bool:
        """Renew the lease once, if what is under way is still covered; whether to go on renewing."""
        if self._clock() >= self._covered_until_s:
            return True  # not covered now; the next step may be
        try:
            self._journal.renew(self._recovery.id, self._recovery.owner, lease_s=self._lease_s)
        except FencedError as exc:
            self._lost = exc
            return False
        except TransientError:
            return True  # the journal is silent; if that lasts, the lease lapses, which is right
        return True

    def _renew_until_over(self) -> None:
        while not self._is_over.wait(self._lease_s / _RENEWALS):
            if not self.renew():
                return
