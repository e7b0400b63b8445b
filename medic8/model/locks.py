"""What is said about the locks of a grid: who is gone and keeps others out, who waits in a circle."""

from __future__ import annotations

from pydantic import Field

from medic8.model.frozen import Frozen


class LockItem(Frozen):
    """
    One taking of one lock, as plain data that another process can act on.

    Attributes:
        grid: Name of the grid.
        grid_uuid: Its UUID, so that a grid created anew under the name is not touched.
        group: Number of the parity group that it guards.
        number: Of its fence.
        nonce: Of its fence, in hexadecimal.
        owner: UUID of who holds it.
        owner_name: The owner's name, fit to be shown.
    """

    grid: str
    grid_uuid: str
    group: int = Field(ge=0)
    number: int = Field(ge=0, lt=1 << 64)
    nonce: str = Field(pattern=r"^[0-9a-f]{32}$")
    owner: str
    owner_name: str


class StaleLock(Frozen):
    """
    A lock whose lease has lapsed.

    Attributes:
        item: Which.
        held_s: For how long it has been held.
        lapsed_s: For how long the lease has been over.
    """

    item: LockItem
    held_s: float
    lapsed_s: float


class Link(Frozen):
    """
    One owner of a circle, and the lock that it waits for, which the next one holds.

    Attributes:
        waiter: UUID of the owner who waits.
        waiter_name: Its name, fit to be shown.
        since_ms: Since when it waits, ms by the server's clock.
        lock: What it waits for, and who holds that.
    """

    waiter: str
    waiter_name: str
    since_ms: int = Field(ge=0, lt=1 << 64)
    lock: LockItem


class Deadlock(Frozen):
    """
    Owners each of whom waits for a lock that the next one holds.

    Attributes:
        links: The circle, beginning with the cheapest victim's lock, the one to be released.
        ages_s: For how long each of them has waited, in the same order.
        locks: How many locks the victim holds.
    """

    links: tuple[Link, ...] = Field(min_length=2)
    ages_s: tuple[float, ...]
    locks: int

    @property
    def victim(self) -> LockItem:
        """The lock whose release costs least."""
        return self.links[0].lock


class LockReport(Frozen):
    """
    A look at the locks of one grid.

    Attributes:
        grid: Name of the grid.
        groups_checked: How many groups' locks were looked at.
        groups_total: How many groups there are.
        held: Locks that are held by somebody whose lease has not lapsed.
        stale: Those whose lease has, ascending by group.
        deadlocks: Circles, each once.
        not_locks: Groups whose lock's key holds something else, with what is wrong: nobody can lock there.
        foreign: Names of other keys beside the grid's that look like locks, fit to be shown.
        refused_writes: Checked writes that were refused because others had written.
        refused_within_s: Within how long that was.
        takes_checked_only: Whether the grid refuses writes that are not checked.
    """

    grid: str
    groups_checked: int
    groups_total: int
    held: int = 0
    stale: tuple[StaleLock, ...] = ()
    deadlocks: tuple[Deadlock, ...] = ()
    not_locks: tuple[tuple[int, str], ...] = ()
    foreign: tuple[str, ...] = ()
    refused_writes: int = 0
    refused_within_s: float = 0.0
    takes_checked_only: bool = False
