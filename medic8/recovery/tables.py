"""The journal's tables, and how its database is opened so that a commit is durable."""

from __future__ import annotations

import functools
import os
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from medic8.errors import ConfigurationError
from medic8.recovery.file_systems import network_file_system

SCHEMA_VERSION = 6

#: Longest that PostgreSQL waits for a lock, and lets one be held by a process that does nothing.
_PATIENCE_MS = 10_000

#: Schemas that `medic8.recovery.upgrade` brings up to the present one.
OLDER_SCHEMAS = frozenset({"1", "2", "3", "4", "5"})

metadata = sa.MetaData()

about = sa.Table(
    "journal_about",
    metadata,
    sa.Column("what", sa.String(32), primary_key=True),
    sa.Column("value", sa.String(64), nullable=False),
)

recoveries = sa.Table(
    "recoveries",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("target", sa.String(63), nullable=False, index=True),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("record", sa.Text, nullable=False),  # the recovery as JSON, without its steps
    sa.Column("resolution", sa.String(36), nullable=False, index=True, server_default=""),
)

#: One row for each resource that is held: the primary key is what grants to one only.
grants = sa.Table(
    "grants",
    metadata,
    sa.Column("resource", sa.String(200), primary_key=True),
    sa.Column("recovery", sa.String(36), sa.ForeignKey("recoveries.id"), nullable=False),
)

#: The highest fence number ever given out for each resource.
fences = sa.Table(
    "fences",
    metadata,
    sa.Column("resource", sa.String(200), primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
)

#: Ended recoveries, and open ones, of which the history of flow runs has not been told how they ended.
untold = sa.Table(
    "untold",
    metadata,
    sa.Column("recovery", sa.String(36), sa.ForeignKey("recoveries.id"), primary_key=True),
)

#: Until when the owner of an open recovery is taken to be alive, by the clock of whoever keeps the database.
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("recovery", sa.String(36), sa.ForeignKey("recoveries.id"), primary_key=True),
    sa.Column("lapses_at_s", sa.Float(53), nullable=False),
    sa.Column("boot", sa.String(64), nullable=False),  # whose clock it is; empty for a server's own
    sa.Column("nonce", sa.String(32), nullable=False, server_default=""),  # of the fence that may write
)

steps = sa.Table(
    "steps",
    metadata,
    sa.Column("recovery", sa.String(36), sa.ForeignKey("recoveries.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("unit", sa.Integer, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("saved_digest", sa.String(64), nullable=False),
    sa.Column("written_digest", sa.String(64), nullable=False),
    sa.Column("begun_at", sa.DateTime(timezone=True)),
    sa.Column("done_at", sa.DateTime(timezone=True)),
    sa.Column("undone_at", sa.DateTime(timezone=True)),
    sa.Column("note", sa.Text, nullable=False),
)

#: That a recovery was begun, as it counts for what wants to begin; times are seconds since the epoch, UTC.
reservations = sa.Table(
    "reservations",
    metadata,
    sa.Column("recovery", sa.String(36), sa.ForeignKey("recoveries.id"), primary_key=True),
    sa.Column("target", sa.String(63), nullable=False),
    sa.Column("issue", sa.String(16), nullable=False),
    sa.Column("reserved_at_s", sa.Float(53), nullable=False, index=True),
    sa.Column("ended_at_s", sa.Float(53), index=True),
    sa.Column("end", sa.String(16), nullable=False),  # empty while it is open
    sa.Column("record", sa.Text, nullable=False),  # the reservation as JSON, as it was begun
)

#: A person's word that nothing is to be begun; kept when it is over, for who asks later.
pauses = sa.Table(
    "pauses",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("on", sa.String(200), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("by", sa.String(200), nullable=False),
    sa.Column("since_s", sa.Float(53), nullable=False),
    sa.Column("until_s", sa.Float(53)),
    sa.Column("lifted_at_s", sa.Float(53)),
    sa.Column("lifted_by", sa.String(200), nullable=False, server_default=""),
)

#: What each worker saw of its targets when it last looked.
sightings = sa.Table(
    "sightings",
    metadata,
    sa.Column("worker", sa.String(200), primary_key=True),
    sa.Column("target", sa.String(63), primary_key=True),
    sa.Column("is_ill", sa.Boolean, nullable=False),
    sa.Column("since_s", sa.Float(53), nullable=False),
)

#: What stopped automation and was told; the primary key is what tells it once.
escalations = sa.Table(
    "escalations",
    metadata,
    sa.Column("rule", sa.String(32), primary_key=True),
    sa.Column("about", sa.String(200), primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at_s", sa.Float(53), nullable=False),
)

#: A plan that a person is or was asked about; kept when it is decided, for who asks later.
approvals = sa.Table(
    "approvals",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("target", sa.String(63), nullable=False, index=True),
    sa.Column("digest", sa.String(64), nullable=False, index=True),
    sa.Column("issue", sa.String(16), nullable=False),
    sa.Column("strategy", sa.String(63), nullable=False),
    sa.Column("run", sa.String(36), nullable=False, index=True),
    sa.Column("asked_at_s", sa.Float(53), nullable=False),
    sa.Column("expires_at_s", sa.Float(53), nullable=False),
    sa.Column("decision", sa.String(16), nullable=False, index=True),
    sa.Column("decided_at_s", sa.Float(53)),
    sa.Column("by", sa.String(200), nullable=False, server_default=""),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("carried_out_by", sa.String(36), nullable=False, server_default=""),
    sa.Column("is_told", sa.Boolean, nullable=False),  # whether the history of flow runs knows the decision
    sa.Column("record", sa.Text, nullable=False),  # the request as JSON, as it was asked
)

#: The resolutions that wait for the same answer: the one that asked, and those that came by later.
approval_runs = sa.Table(
    "approval_runs",
    metadata,
    sa.Column("run", sa.String(36), primary_key=True),
    sa.Column("approval", sa.String(36), sa.ForeignKey("approvals.id"), nullable=False, index=True),
)

#: Links by which a person may decide; of a token only its hash is kept, which the plan's digest is a part of.
approval_links = sa.Table(
    "approval_links",
    metadata,
    sa.Column("hash", sa.String(64), primary_key=True),
    sa.Column("approval", sa.String(36), sa.ForeignKey("approvals.id"), nullable=False, index=True),
    sa.Column("expires_at_s", sa.Float(53), nullable=False),
    sa.Column("used_at_s", sa.Float(53)),
)

#: One run that answers alerts about one target: the unique column grants each target one that is open.
alert_generations = sa.Table(
    "alert_generations",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("target", sa.String(63), nullable=False, index=True),
    sa.Column("open_target", sa.String(63), unique=True),  # the target while it is open, else NULL
    sa.Column("opened_at_s", sa.Float(53), nullable=False),
    sa.Column("ended_at_s", sa.Float(53), index=True),
    sa.Column("outcome", sa.String(16), nullable=False, server_default=""),  # empty while it is open
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("accepted", sa.Integer, nullable=False),  # alerts that have joined it
    sa.Column(
        "seen", sa.Integer, nullable=False, server_default="0"
    ),  # of these when the last diagnosis began
    sa.Column("look_back_s", sa.Integer, nullable=False),
    sa.Column("is_again", sa.Boolean, nullable=False),  # opened by a repeat, after a run that did not heal
    sa.Column("is_treating", sa.Boolean, nullable=False),
    sa.Column("run", sa.String(36), nullable=False, server_default=""),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="1"),
    sa.Column("to_cancel", sa.Boolean, nullable=False),  # its run is to be told that it is not needed
)

#: Every alert that was taken in, one row however often it comes; times are seconds since the epoch, UTC.
alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("source", sa.String(63), nullable=False),
    sa.Column("fingerprint", sa.String(200), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("starts_at_s", sa.Float(53)),
    sa.Column("ends_at_s", sa.Float(53)),
    sa.Column("labels", sa.Text, nullable=False),
    sa.Column("annotations", sa.Text, nullable=False),
    sa.Column("target", sa.String(63), nullable=False, index=True),  # empty: it names none that is known
    sa.Column("issue", sa.String(32), nullable=False),
    sa.Column("routed_by", sa.Text, nullable=False),
    sa.Column("is_ignored", sa.Boolean, nullable=False),
    sa.Column("accepted_at_s", sa.Float(53), nullable=False),
    sa.Column("seen_at_s", sa.Float(53), nullable=False, index=True),
    sa.Column("times", sa.Integer, nullable=False),
    sa.Column("generation", sa.String(36), nullable=False, index=True, server_default=""),
)

#: Elements of batches that were no alerts, for whoever mends the sender.
alerts_malformed = sa.Table(
    "alerts_malformed",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("source", sa.String(63), nullable=False),
    sa.Column("at_s", sa.Float(53), nullable=False, index=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("excerpt", sa.Text, nullable=False),
)

#: When each heartbeat was last heard.
alert_heartbeats = sa.Table(
    "alert_heartbeats",
    metadata,
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("seen_at_s", sa.Float(53), nullable=False),
    sa.Column("is_silent", sa.Boolean, nullable=False),
)

#: One row for each resolution, to list and to count: Prefect's runs are the record, and this can be made anew
#: from them. Times are seconds since the epoch, UTC.
resolutions = sa.Table(
    "resolutions",
    metadata,
    sa.Column("run", sa.String(36), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("target", sa.String(63), nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("issue", sa.String(32), nullable=False),
    sa.Column("strategy", sa.String(63), nullable=False),
    sa.Column("outcome", sa.String(32), nullable=False),  # empty as long as nobody has said
    sa.Column("state", sa.String(64), nullable=False),  # of the flow run; empty as long as nobody has said
    sa.Column("started_at_s", sa.Float(53), nullable=False, index=True),
    sa.Column("duration_s", sa.Float(53)),  # NULL as long as nobody has said
    sa.Column("detect_s", sa.Float(53)),
    sa.Column("heal_s", sa.Float(53)),
    sa.Index("resolutions_of_target", "target", "started_at_s"),
)

#: What people are to be told of, written where it becomes true; times are seconds since the epoch, UTC.
notices = sa.Table(
    "notices",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("key", sa.String(300), nullable=False, index=True),  # what is not told again at once
    sa.Column("resolution", sa.String(36), nullable=False, index=True),  # the flow run; empty = none
    sa.Column("at_s", sa.Float(53), nullable=False, index=True),
    sa.Column("ready_at_s", sa.Float(53), nullable=False),  # from when on it is as it will be told
    sa.Column("is_routed", sa.Boolean, nullable=False, index=True),
    sa.Column("record", sa.Text, nullable=False),  # the notice as JSON
)

#: What is on its way to one route; whoever sends it has it for a time.
deliveries = sa.Table(
    "notice_deliveries",
    metadata,
    sa.Column("notice", sa.String(36), sa.ForeignKey("notices.id"), primary_key=True),
    sa.Column("route", sa.String(63), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("is_collected", sa.Boolean, nullable=False),
    sa.Column("next_at_s", sa.Float(53), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("message", sa.String(36), nullable=False, server_default=""),  # of the attempt; empty = none
    sa.Column("claimed_until_s", sa.Float(53), nullable=False, server_default="0"),
    sa.Column("ended_at_s", sa.Float(53)),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Index("deliveries_of_route", "route", "state"),
)

#: The option of a connection that only reads, so that it makes nobody wait who writes.
READS_ONLY = "medic8_reads_only"


@functools.cache
def engine_for(url: str) -> sa.Engine:
    """
    An engine for the journal at *url*, one for each process.

    Raises:
        ConfigurationError: the URL does not parse, or its folder or driver is missing.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as exc:
        raise ConfigurationError("the journal's URL does not parse as an SQLAlchemy URL") from exc
    shown = parsed.render_as_string(hide_password=True)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        _make_private(Path(parsed.database))
        _require_local(Path(parsed.database))
    try:
        engine = sa.create_engine(parsed)
    except (sa.exc.ArgumentError, ModuleNotFoundError) as exc:
        raise ConfigurationError(f"the journal at {shown} cannot be opened: {exc}") from exc
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _make_commits_durable)
        event.listen(engine, "begin", _begin_immediately)
    if engine.dialect.name == "postgresql":
        event.listen(engine, "connect", _wait_for_nobody_for_ever)
    return engine


def _wait_for_nobody_for_ever(connection: Any, _record: Any) -> None:
    """Neither for a lock, nor, the server, for a process that was stopped inside a transaction."""
    cursor = connection.cursor()
    for name in ("lock_timeout", "idle_in_transaction_session_timeout"):
        cursor.execute(f"SET {name} = '{_PATIENCE_MS}ms'")
    cursor.close()
    connection.commit()


def _make_private(database: Path) -> None:
    """Make the file that SQLite would make, for its owner only; its log and index follow its mode."""
    try:
        database.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(database, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as exc:
        raise ConfigurationError(f"the journal {database} cannot be written: {exc.strerror}") from exc


def _require_local(database: Path, mounts: str | None = None) -> None:
    """Refuse what SQLite's locks and its log are not made for: several machines, and so several clocks."""
    if network := network_file_system(database, mounts):
        raise ConfigurationError(
            f"the journal {database} lies on a network file system ({network}), where SQLite's locks do not "
            'hold; keep it on a local disk, or in PostgreSQL: [journal] url = "postgresql://user@host/database"'
        )


def _make_commits_durable(connection: sqlite3.Connection, _record: Any) -> None:
    # SQLAlchemy begins; the driver's own idea of when to do so would read before it locks.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_immediately(connection: sa.Connection) -> None:
    # Taking the write lock at once makes "look, then write" one act.
    reads_only = connection.get_execution_options().get(READS_ONLY)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")
