"""Have a database hold a journal of the present schema: made, or brought up from an older one."""

from __future__ import annotations

import uuid

import sqlalchemy as sa

from medic8.errors import ConfigurationError
from medic8.recovery import tables
from medic8.recovery.upgrade import upgrade


def set_up(engine: sa.Engine) -> str:
    """
    The identity of the journal in the database of *engine*, drawn when it is made.

    Raises:
        ConfigurationError: a newer Medic8 wrote it; nothing was read or changed.
    """
    with engine.begin() as connection:
        _require_readable(connection)
    tables.metadata.create_all(engine)
    with engine.begin() as connection:
        rows = connection.execute(sa.select(tables.about.c.what, tables.about.c.value))
        known = {str(row.what): str(row.value) for row in rows}
        if not known:
            known = {"schema": str(tables.SCHEMA_VERSION), "identity": str(uuid.uuid4())}
            connection.execute(
                tables.about.insert(), [{"what": what, "value": value} for what, value in known.items()]
            )
        if known["schema"] in tables.OLDER_SCHEMAS:
            upgrade(connection)
            known["schema"] = str(tables.SCHEMA_VERSION)
            schema = tables.about.update().where(tables.about.c.what == "schema")
            connection.execute(schema.values(value=known["schema"]))
    return known["identity"]


def _require_readable(connection: sa.Connection) -> None:
    """Look before anything is made or changed in it."""
    about = tables.about
    if not sa.inspect(connection).has_table(about.name):
        return
    schema = connection.scalar(sa.select(about.c.value).where(about.c.what == "schema"))
    if schema is not None and schema not in {*tables.OLDER_SCHEMAS, str(tables.SCHEMA_VERSION)}:
        where = connection.engine.url.render_as_string(hide_password=True)
        raise ConfigurationError(
            f"the journal at {where} has schema {schema}, and this Medic8 reads schema "
            f"{tables.SCHEMA_VERSION} and older: a newer Medic8 wrote it; nothing was read or changed"
        )
