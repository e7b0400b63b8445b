"""Until when the owner of a recovery is taken to be alive, by the clock of the journal's database."""

from __future__ import annotations

import time

import sqlalchemy as sa

from medic8.owner import boot_id
from medic8.recovery.tables import leases

#: How long an owner is taken to be alive after it last said so.
LEASE_S = 10.0


def grant(connection: sa.Connection, recovery_id: str, lease_s: float, *, nonce: str) -> None:
    """Give a recovery its first lease: who shows *nonce* is taken to be alive for *lease_s* seconds."""
    now_s, boot = _now(connection)
    connection.execute(
        leases.insert().values(recovery=recovery_id, lapses_at_s=now_s + lease_s, boot=boot, nonce=nonce)
    )


def renew(connection: sa.Connection, recovery_id: str, lease_s: float) -> None:
    """Take the owner of a recovery to be alive for *lease_s* seconds from now."""
    now_s, boot = _now(connection)
    lease = leases.update().where(leases.c.recovery == recovery_id)
    connection.execute(lease.values(lapses_at_s=now_s + lease_s, boot=boot))


def hand_to(connection: sa.Connection, recovery_id: str, nonce: str) -> bool:
    """Let only who shows *nonce* write about a recovery from now on; False if it has no lease."""
    lease = leases.update().where(leases.c.recovery == recovery_id)
    return bool(connection.execute(lease.values(nonce=nonce)).rowcount)


def is_held(connection: sa.Connection, recovery_id: str, nonce: str) -> bool:
    """Whether a recovery is open and *nonce* is that of its present fence, until the transaction ends."""
    held = connection.scalar(
        sa.select(leases.c.nonce).where(leases.c.recovery == recovery_id).with_for_update()
    )
    return held == nonce


def held(recovery_id: sa.BindParameter[str], nonce: sa.BindParameter[str]) -> sa.ScalarSelect[str]:
    """For a statement: the recovery's id, its lease locked, if it is open and *nonce* that of its fence."""
    fence = leases.c.recovery == recovery_id, leases.c.nonce == nonce
    return sa.select(leases.c.recovery).where(*fence).with_for_update().scalar_subquery()


def end(connection: sa.Connection, recovery_id: str) -> None:
    """Forget the lease of a recovery that has ended."""
    connection.execute(leases.delete().where(leases.c.recovery == recovery_id))


def has_lapsed(connection: sa.Connection, recovery_id: str) -> bool:
    """Whether the lease of a recovery is over, or of an earlier boot; False if it has none."""
    lease = connection.execute(sa.select(leases).where(leases.c.recovery == recovery_id)).first()
    if lease is None:
        return False
    now_s, boot = _now(connection)
    return bool(lease.boot != boot or lease.lapses_at_s <= now_s)


def _now(connection: sa.Connection) -> tuple[float, str]:
    """
    Seconds by the clock of whoever keeps the database, and of which boot that clock is.

    A server has one clock for all who ask it. SQLite has the machine's: the one that
    goes on while it sleeps and that nobody sets (clock_gettime(2), CLOCK_BOOTTIME).
    """
    if connection.dialect.name == "sqlite":
        return time.clock_gettime(time.CLOCK_BOOTTIME), boot_id()
    seconds = connection.scalar(sa.select(sa.func.extract("epoch", sa.func.clock_timestamp())))
    return float(seconds or 0), ""
