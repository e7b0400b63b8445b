"""What whoever starts and stops a process can be asked."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, Protocol


class KeptState(StrEnum):
    """How a keeper says that its process is."""

    RUNS = "runs"
    STARTS = "starts"  #: there is a process, and the keeper does not count it as started yet
    STOPS = "stops"  #: it was told to end, and has not yet
    STOPPED = "stopped"  #: nobody wants it to run, or it has ended by itself
    FAILS = "fails"  #: it ends again and again, and the keeper goes on trying
    GAVE_UP = "gave up"  #: the same, and the keeper does not try any more


class Kept(NamedTuple):
    """
    What a keeper says.

    Attributes:
        state: How the process is.
        says: The same in the keeper's own words.
        pid: Its number; None if there is no process.
        age_s: For how long it has run, as the keeper says; None if it does not.
        started_at: When that process was started, in clock ticks since boot; None if it does not know.
        parent: The number of the process that must be its parent; None if any may be.
        starts: How often it was started within `STARTS_WITHIN_S`; None if the keeper does not know.
        ended: How it ended the last time, such as ``exit status 1``; empty if the keeper does not know.
        may_come_back: Whether there is none and it may have ended by itself, and be started again.
    """

    state: KeptState
    says: str
    pid: int | None = None
    age_s: float | None = None
    started_at: int | None = None
    parent: int | None = None
    starts: int | None = None
    ended: str = ""
    may_come_back: bool = False


#: Over which time starts are counted, as those of a server are.
STARTS_WITHIN_S = 600.0


#: States that a process does not stay in.
PASSING = frozenset({KeptState.STARTS, KeptState.STOPS, KeptState.FAILS})


class Keeper(Protocol):
    """
    Who starts and stops a process.

    Every method raises UnreachableError if it does not answer or does not let us in, and TransientError if
    it stopped answering half way.

    Attributes:
        tells_stopping: Whether it says of a process that it was told to end and has not yet.
        knows_environment: Whether it starts a process with an environment that it knows itself.
    """

    tells_stopping: bool
    knows_environment: bool

    def look(self) -> Kept:
        """How the process is."""

    def stop(self) -> None:
        """
        Have it stopped; returns at once, or when it has stopped.

        Raises:
            RefusedError: the keeper would not; nothing was changed.
        """

    def start(self, environment: Mapping[bytes, bytes]) -> None:
        """
        Have it started if it does not run; returns at once, or when it has started.

        Args:
            environment: Of the process that ran before, for a keeper that has none of its own.
        Raises:
            RefusedError: the keeper would not; nothing was changed.
        """

    def why_no_restart(self) -> str:
        """Why it cannot be had to start the process again; empty if it can."""

    def by_hand(self) -> str:
        """The shell command by which a person starts it."""
