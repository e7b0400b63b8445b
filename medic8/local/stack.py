"""Start and stop the local stack: PostgreSQL, Prefect on it, what works for it, and Valkey for the lab."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from medic8.errors import Medic8Error, UnreachableError
from medic8.local import postgres, prefect_server, valkey_server
from medic8.local.account import Account, server_account
from medic8.local.alert_gateway import AlertGateway, stop_gateway
from medic8.local.children import has_told
from medic8.local.home import log_file, make_home, own_folder, remove_folder, server_room, socket_folder
from medic8.local.lab.actors import FOLDER, end_all
from medic8.local.lab.snapshots import unblock_saves
from medic8.local.loopback import free_port
from medic8.local.mend import mend
from medic8.local.password import ASKED, PASSWORD, keep_password, was_told
from medic8.local.postgres import PostgresServer
from medic8.local.prefect_answer import ask
from medic8.local.prefect_server import PrefectServer
from medic8.local.programs import find_postgres, find_valkey, version_of
from medic8.local.records import (
    DamagedRecordError,
    Note,
    Server,
    StackRecord,
    forget,
    only_one,
    read_record,
    write_record,
)
from medic8.local.status import (
    STOP_ORDER,
    ServerStatus,
    StackStatus,
    external_prefect,
    look,
)
from medic8.local.valkey_server import ValkeyServer
from medic8.local.worker import Worker, stop_worker

__all__ = ["ServerStatus", "StackStatus", "down", "remove", "status", "up"]

#: How long one command waits for another that holds the home.
LOCK_TIMEOUT_S = 300.0
_PORT_TRIES = 3
_RECOVERY_PATIENCE_S = 30.0  # for a living server that does not answer, before it is started anew


def up(
    home: Path, *, progress: Callable[[str], None], environment: Mapping[str, str] | None = None
) -> StackStatus:
    """
    Start what does not run yet, and return when all of it answers.

    May be called again at any time, and by two callers at once. What was killed is started again on its data,
    whatever it left, and also where the record of it is lost; see `medic8.local.mend`.
    Where the user has named a Prefect server (see `medic8.local.prefect_access`), that one is used, and
    neither Prefect nor PostgreSQL is started; the address of our own server does not count as named.

    Args:
        home: From `medic8.local.home.medic8_home`; made if it does not exist.
        progress: Told in a sentence what happens.
        environment: Variables to go by; None for those of this process.
    Raises:
        ConfigurationError: A wheel is missing, or this machine does not let us start the servers.
        UnreachableError: A server did not come up, with the end of its log, or the user's own does not
            answer or let us in. Everything that this call started is stopped again.
        RefusedError: Another command holds the home.
    """
    environment = os.environ if environment is None else environment
    home = make_home(home)
    with only_one(home, progress=progress, timeout_s=LOCK_TIMEOUT_S):
        start = _Start(home, mend(home, progress=progress), progress=progress, environment=environment)
        try:
            start.run()
        except BaseException:
            start.take_back()
            raise
        return look(home, start.record, environment)


def down(
    home: Path, *, progress: Callable[[str], None], environment: Mapping[str, str] | None = None
) -> StackStatus:
    """
    Stop the servers that we started: gateway, worker, Prefect, its database, then Valkey. Their data stay.

    The lab's actors end first, and what keeps Valkey from saving is taken away.

    Args:
        home: As for `up`; nothing is made if it does not exist.
        progress: Told in a sentence what happens.
        environment: As for `up`.
    Raises:
        UnreachableError: A server is still there; the others are stopped nevertheless.
        RefusedError: Another command holds the home.
    """
    environment = os.environ if environment is None else environment
    home = home.absolute()
    if not home.exists():
        return look(home, StackRecord(), environment)
    with only_one(home, progress=progress, timeout_s=LOCK_TIMEOUT_S):
        for line in end_all(home):
            progress(line)
        record = mend(home, progress=progress)
        if record.valkey is not None and unblock_saves(record.valkey.data):
            progress("Valkey can save again")
        for line in _mended_files(record):
            progress(line)
        record = _stop(home, record, STOP_ORDER, progress)
        return look(home, record, environment)


def _mended_files(record: StackRecord) -> tuple[str, ...]:
    """Have Valkey write anew what the lab has damaged: it would not start from that; says what."""
    if record.valkey is None or not record.valkey.identity.is_alive():
        return ()
    # Imported here, as it takes the client library, which nothing else of the stack needs.
    from medic8.local.lab.files import mend_files  # noqa: PLC0415
    from medic8.targets.valkey.client import connection  # noqa: PLC0415

    with suppress(Medic8Error), connection(record.valkey.url, name="medic8-lab") as client:
        return mend_files(client)
    return ()


def status(home: Path, *, environment: Mapping[str, str] | None = None) -> StackStatus:
    """
    Look at the servers; nothing is changed, and one that hangs is given three seconds to answer.

    Args:
        home: As for `up`; it need not exist.
        environment: As for `up`.
    Raises:
        ConfigurationError: The record of what was started cannot be read.
    """
    home = home.absolute()
    environment = os.environ if environment is None else environment
    try:
        return look(home, read_record(home), environment)
    except DamagedRecordError as exc:
        unknown = look(home, StackRecord(), environment)
        return unknown.model_copy(update={"problem": f"{exc}; medic8 up finds out what runs"})


def remove(home: Path, *, progress: Callable[[str], None]) -> None:
    """
    Stop the servers and delete their data, wherever it lies. What else is in the home stays.

    Raises:
        UnreachableError: A server is still there; nothing is deleted.
    """
    down(home, progress=progress)
    home = home.absolute()
    if not home.exists():
        return
    with only_one(home, progress=progress, timeout_s=LOCK_TIMEOUT_S):
        room = home / "servers"
        if room.exists():
            for sockets in room.resolve().glob("*-socket"):
                remove_folder(sockets)
            # First by a name under which it counts as half done: half a database must not look like one.
            for data in (room / "postgres", room / "valkey"):
                if data.exists():
                    data.rename(data.with_name(f".{data.name}.removed"))
        for folder in (
            room,
            home / "prefect",
            home / "worker",
            home / "gateway",
            home / "logs",
            home / FOLDER,
        ):
            remove_folder(folder)
        (home / PASSWORD).unlink(missing_ok=True)
        forget(home)
    progress("the servers' data are deleted")


class _Start:
    """
    One run of `up`.

    Attributes:
        record: What runs by now, kept on disk step by step.
    """

    def __init__(
        self,
        home: Path,
        record: StackRecord,
        *,
        progress: Callable[[str], None],
        environment: Mapping[str, str],
    ) -> None:
        self.record = record
        self._home = home
        self._progress = progress
        self._environment = environment
        self._started: list[str] = []

    def run(self) -> None:
        """Start what is missing. Valkey starts while PostgreSQL and Prefect are waited for."""
        external = external_prefect(self._environment, self.record)
        if external is not None:
            if problem := ask(external).problem:
                raise UnreachableError(
                    f"the Prefect server of {external.named_by}, {external.shown_url}, {problem}; with "
                    "PREFECT_API_URL set to nothing one is started here"
                )
            self._progress(f"using the Prefect server of {external.named_by}, {external.shown_url}")
        account = server_account()
        room = server_room(self._home, account)
        # Both wheels are looked for before anything is started.
        valkey_program = find_valkey(room, account)
        postgres_programs = None if external else find_postgres(room, account)

        valkey = self._valkey(valkey_program, room, account)
        if postgres_programs is not None:
            database = self._postgres(postgres_programs, room, account)
            self._prefect(database)
        self._wait_for_valkey(valkey, valkey_program, room, account)

    def take_back(self) -> None:
        """Stop what this run started, as far as possible."""
        if self._started:
            self._progress("stopping what was started")
        with suppress(Medic8Error):  # the error that led here is the one to tell
            _stop(
                self._home,
                self.record,
                tuple(name for name in STOP_ORDER if name in self._started),
                _say_nothing,
            )

    def _postgres(self, programs: Path, room: Path, account: Account | None) -> PostgresServer:
        server = self.record.postgres
        if server is not None and self.record.is_alive("postgres"):
            with suppress(UnreachableError):
                postgres.wait_for_postgres(server, timeout_s=_RECOVERY_PATIENCE_S)
                return server
            self._progress("PostgreSQL runs but does not answer; starting it anew")
            postgres.stop_postgres(server)
        program = version_of(programs / "postgres")
        self._progress(f"starting PostgreSQL {program}")
        server = postgres.start_postgres(
            programs,
            own_folder(room / "postgres", account),
            sockets=socket_folder(room / "postgres-socket", account),
            log=log_file(self._home, "postgres"),
            account=account,
            record=lambda server: self._note("postgres", server, program),
        )
        postgres.wait_for_postgres(server)
        self._progress("PostgreSQL is ready")
        return server

    def _prefect(self, database: PostgresServer) -> PrefectServer:
        server, password = self.record.prefect, keep_password(self._home, self._environment)
        if server is not None and self.record.is_alive("prefect"):
            if not was_told(server.identity, ASKED, password):
                self._progress("Prefect does not ask for the password that is kept; starting it anew")
                # What works for it could not speak to it any more.
                self.record = _stop(self._home, self.record, STOP_ORDER[:3], self._progress)
            elif server.database == database.url:
                with suppress(UnreachableError):
                    prefect_server.wait_for_prefect(server, timeout_s=_RECOVERY_PATIENCE_S)
                    return server
            if self.record.is_alive("prefect"):
                self._progress("Prefect runs but does not answer; starting it anew")
                prefect_server.stop_prefect(server)
        program = version("prefect")
        ports = (
            (prefect_server.PREFERRED_PORT,)
            if server is None
            else (server.port, prefect_server.PREFERRED_PORT)
        )
        folder = self._home / "prefect"
        folder.mkdir(mode=0o700, exist_ok=True)
        for tries_left in reversed(range(_PORT_TRIES)):
            port = free_port(ports)
            self._progress(f"starting Prefect {program} on {prefect_server.api_url(port)} (5 to 15 seconds)")
            started = prefect_server.start_prefect(
                folder,
                port=port,
                database=database.url,
                password=password,
                log=log_file(self._home, "prefect"),
                environment=self._environment,
                record=lambda server: self._note("prefect", server, program),
            )
            try:
                prefect_server.wait_for_prefect(started)
            except UnreachableError:
                if not (tries_left and _lost_its_port(started)):
                    raise
            else:
                self._progress(f"Prefect is ready: {started.ui_url}")
                break
        return started

    def _valkey(self, program: Path, room: Path, account: Account | None) -> ValkeyServer:
        server = self.record.valkey
        if server is not None and self.record.is_alive("valkey"):
            return server
        program_version = version_of(program)
        ports = (
            (valkey_server.PREFERRED_PORT,) if server is None else (server.port, valkey_server.PREFERRED_PORT)
        )
        port = free_port(ports)
        self._progress(f"starting Valkey {program_version} on port {port}")
        return valkey_server.start_valkey(
            program,
            own_folder(room / "valkey", account),
            sockets=socket_folder(room / "valkey-socket", account),
            port=port,
            log=log_file(self._home, "valkey"),
            account=account,
            config={**valkey_server.GUARDED, **valkey_server.DURABLE},
            record=lambda server: self._note("valkey", server, program_version),
        )

    def _wait_for_valkey(
        self, server: ValkeyServer, program: Path, room: Path, account: Account | None
    ) -> None:
        for tries_left in reversed(range(_PORT_TRIES)):
            try:
                valkey_server.wait_for_valkey(server)
            except UnreachableError:
                if "valkey" not in self._started:  # an earlier start's, that hangs or has ended meanwhile
                    self._progress("Valkey runs but does not answer; starting it anew")
                    valkey_server.stop_valkey(server)
                elif not (tries_left and _lost_its_port(server)):
                    raise
                server = self._valkey(program, room, account)
            else:
                break
        if "valkey" in self._started:
            self._progress(f"Valkey is ready: {server.url}")

    def _note(self, name: str, server: Server, program_version: str) -> None:
        note = Note(since=datetime.now(UTC), version=program_version)
        self.record = self.record.started(name, server, note)
        self._started.append(name)
        write_record(self._home, self.record)


def _stop(
    home: Path, record: StackRecord, names: tuple[str, ...], progress: Callable[[str], None]
) -> StackRecord:
    errors: list[Medic8Error] = []
    for name in names:
        server = record.server(name)
        if server is None:
            continue
        if record.is_alive(name):
            progress(f"stopping {name}")
        try:
            _stop_one(server)
        except Medic8Error as error:
            errors.append(error)
        else:
            record = record.stopped(name)
            write_record(home, record)
    if errors:
        raise errors[0]
    return record


def _stop_one(server: Server) -> None:
    match server:
        case PostgresServer():
            postgres.stop_postgres(server)
        case PrefectServer():
            prefect_server.stop_prefect(server)
        case ValkeyServer():
            valkey_server.stop_valkey(server)
        case Worker():
            stop_worker(server)
        case AlertGateway():
            stop_gateway(server)


def _lost_its_port(server: PrefectServer | ValkeyServer) -> bool:
    return not server.identity.is_alive() and has_told(server.log, "address already in use")


def _say_nothing(_: str) -> None:
    return
