"""Bring the tables of an older journal up to the present schema; what they hold stays."""

from __future__ import annotations

import sqlalchemy as sa

from medic8.model.recovery import Recovery, RecoveryState
from medic8.recovery import leases, reservations, tables


def upgrade(connection: sa.Connection) -> None:
    """
    Add and drop columns, and give every open recovery its lease and its reservation.

    One that was opened before there were leases gets a whole one: whether its
    process lives is told by the process, or else when that has lapsed.
    """
    for table in (tables.leases, tables.recoveries):
        present = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
        for column in table.columns:
            if column.name not in present:
                definition = sa.schema.CreateColumn(column).compile(dialect=connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {definition}")
        for index in table.indexes:
            index.create(connection, checkfirst=True)
    generations = tables.alert_generations.name
    if "is_wide" in {column["name"] for column in sa.inspect(connection).get_columns(generations)}:
        # Of schema 5, where nothing has read it; it takes no row that is silent about it.
        connection.exec_driver_sql(f"ALTER TABLE {generations} DROP COLUMN is_wide")
    open_ones = sa.select(tables.recoveries.c.record).where(tables.recoveries.c.state == RecoveryState.OPEN)
    for record in connection.scalars(open_ones).all():
        recovery = Recovery.model_validate_json(record)
        nonce = recovery.claim.fence.nonce
        if not leases.hand_to(connection, recovery.id, nonce):
            leases.grant(connection, recovery.id, leases.LEASE_S, nonce=nonce)
        reservations.insert_missing(connection, recovery)
