"""
Call what stands beside a target: ask again seldom, and stop to ask who does not answer.

For calls over HTTP and to HAProxy and supervisord. Three things hold together: pauses that grow and are drawn
by chance, so that many who were turned away at once do not come back at once; a budget for all retries
together, so that they stay a small share of the calls; and a breaker for each address. What measures is never
called by this, and what changes something is never repeated.

Source: M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog 2015 (full jitter); Beyer et al.,
Site Reliability Engineering, chapter 22, Addressing Cascading Failures (budget); M. T. Nygard, Release It!,
2nd edition, section 5.2, Circuit Breaker.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from medic8.errors import TransientError, UnreachableError
from medic8.model.frozen import Frozen
from medic8.model.wording import moment

Answer = TypeVar("Answer")


class CallPolicy(Frozen):
    """
    How often and when a call is repeated; all numbers are our choice, but for the share.

    Attributes:
        attempts: Of one call, the first included.
        first_pause_s: The longest first pause; each further one may be twice as long.
        longest_pause_s: No pause is longer.
        share: Retries of all calls, as a part of 1. Source: Site Reliability Engineering, chapter 22: 10 %.
        spare: So many retries may be made beside that, as before there were calls; no more are saved up.
        opens_after: Failures in a row of one address after which it is not asked.
        open_s: For so long; then one call tries.
        most_addresses: More are not remembered: the one that was not called for longest is forgotten.
    """

    attempts: int = 3
    first_pause_s: float = 0.1
    longest_pause_s: float = 2.0
    share: float = 0.1
    spare: float = 3.0
    opens_after: int = 5
    open_s: float = 5.0
    most_addresses: int = 256


CALL_POLICY = CallPolicy()


class BreakerState(StrEnum):
    """Whether an address is asked."""

    CLOSED = "closed"  #: it is
    OPEN = "open"  #: it is not, since it did not answer several times in a row
    HALF_OPEN = "half-open"  #: one call asks it, and all others wait for what comes of that


@dataclass(slots=True)
class Breaker:
    """
    Whether one address is asked, by how its last calls ended; time is an argument.

    Attributes:
        failed: Calls in a row that failed.
        opened_s: When it was opened last; None = it is closed.
        opened_at: The same for people.
        is_tried: Whether a call is under way that tries whether it answers again.
    """

    failed: int = 0
    opened_s: float | None = None
    opened_at: datetime | None = None
    is_tried: bool = False

    def state(self, now_s: float, policy: CallPolicy) -> BreakerState:
        """Which of the three it is in."""
        if self.opened_s is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now_s < self.opened_s + policy.open_s else BreakerState.HALF_OPEN

    def lets_through(self, now_s: float, policy: CallPolicy) -> bool:
        """Whether a call may be made now; if it is the one that tries, no other is until that has ended."""
        state = self.state(now_s, policy)
        if state is BreakerState.HALF_OPEN and not self.is_tried:
            self.is_tried = True
            return True
        return state is BreakerState.CLOSED

    def ended(self, *, well: bool | None, now_s: float, now: datetime, policy: CallPolicy) -> None:
        """A call has ended; *well* if it was answered, whatever the answer; None if nobody knows."""
        self.is_tried = False
        if well is None:
            return
        if well:
            self.failed, self.opened_s, self.opened_at = 0, None, None
            return
        self.failed += 1
        if self.failed >= policy.opens_after:
            self.opened_s, self.opened_at = now_s, self.opened_at or now


@dataclass(slots=True)
class Budget:
    """
    How many retries may be made: each call adds a share of one, and each retry takes one.

    Attributes:
        left: Retries, with their fractions.
    """

    left: float

    def called(self, policy: CallPolicy) -> None:
        """A call was made for the first time."""
        self.left = min(policy.spare, self.left + policy.share)

    def take(self) -> bool:
        """Take one retry; false if there is none."""
        if self.left < 1:
            return False
        self.left -= 1
        return True


def pause_s(retry: int, chance: Callable[[], float], policy: CallPolicy = CALL_POLICY) -> float:
    """
    How long to wait before a retry: anything from 0 to a limit that doubles (full jitter).

    Args:
        retry: Which one, from 0.
        chance: Gives a number from 0 to 1.
        policy: The limits.
    """
    # So many doublings reach any pause; more would only make numbers too large.
    longest_s = min(policy.longest_pause_s, math.ldexp(policy.first_pause_s, min(retry, 30)))
    return chance() * longest_s


class Calls:
    """
    Makes calls by one policy, and remembers which addresses do not answer; for several threads.

    Args:
        policy: The limits.
        clock: Seconds that only grow.
        now: The time for people.
        sleep: Waits for so many seconds.
        chance: Gives a number from 0 to 1.
    """

    def __init__(
        self,
        policy: CallPolicy = CALL_POLICY,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._policy, self._clock, self._now = policy, clock, now
        self._sleep, self._chance = sleep, chance
        self._budget = Budget(policy.spare)
        self._breakers: OrderedDict[str, Breaker] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, address: str, act: Callable[[], Answer], *, within_s: float) -> Answer:
        """
        What *act* answers, which changes nothing and may be repeated.

        Args:
            address: Whom it asks, for people; without credentials.
            act: Raises `UnreachableError` or `TransientError` if it was not answered, and these alone: an
                answer that refuses is one.
            within_s: A retry begins so long after the first call at the latest, so that who is silent is not
                waited for again and again.
        Raises:
            UnreachableError: nobody answers, or the breaker of *address* is open.
            TransientError: the answer ended half way, each time.
        """
        began_s, retry = self._clock(), 0
        with self._lock:
            self._budget.called(self._policy)
        while True:
            self._require_closed(address)
            try:
                with self._counted(address):
                    return act()
            except (UnreachableError, TransientError):
                waits_s = pause_s(retry, self._chance, self._policy)
                is_late = self._clock() + waits_s - began_s > within_s
                if is_late or not self._may_retry(address, retry):
                    raise
            retry += 1
            self._sleep(waits_s)

    def change(self, address: str, act: Callable[[], Answer]) -> Answer:
        """
        What *act* answers, which changes something: it is made once, and also if the breaker is open.

        Whether to repeat it is known to whoever knows whether it has happened; and one who is about to undo
        must not be kept from it by what failed before.
        """
        with self._counted(address):
            return act()

    def state(self, address: str) -> BreakerState:
        """The state of the breaker of *address*."""
        with self._lock:
            breaker = self._breakers.get(address, Breaker())
            return breaker.state(self._clock(), self._policy)

    def _require_closed(self, address: str) -> None:
        with self._lock:
            breaker = self._of(address)
            if breaker.lets_through(self._clock(), self._policy):
                return
            since = moment(breaker.opened_at) if breaker.opened_at else "a moment ago"
            failed = breaker.failed
        raise UnreachableError(
            f"{address} was not asked: its breaker is open since {since}, after {failed} calls in a row that "
            f"were not answered; it is asked again within {self._policy.open_s:g} s"
        )

    def _may_retry(self, address: str, retry: int) -> bool:
        with self._lock:
            closed = self._of(address).state(self._clock(), self._policy) is BreakerState.CLOSED
            return closed and retry + 1 < self._policy.attempts and self._budget.take()

    @contextmanager
    def _counted(self, address: str) -> Iterator[None]:
        well: bool | None = None  # whatever else ends it, such as an interrupt, says nothing of the address
        try:
            yield
            well = True
        except (UnreachableError, TransientError):
            well = False
            raise
        finally:
            with self._lock:
                self._of(address).ended(well=well, now_s=self._clock(), now=self._now(), policy=self._policy)

    def _of(self, address: str) -> Breaker:
        breaker = self._breakers.setdefault(address, Breaker())
        self._breakers.move_to_end(address)
        while len(self._breakers) > self._policy.most_addresses:
            self._breakers.popitem(last=False)
        return breaker


#: Of this process: what does not answer one of its runs does not answer another one in the same moment.
CALLS = Calls()
