"""A PostgreSQL of its own for tests, started and killed as often as they like."""

from __future__ import annotations

import signal
from pathlib import Path

from medic8.local import postgres
from medic8.local.account import server_account
from medic8.local.home import make_home, own_folder, remove_folder, server_room, socket_folder
from medic8.local.postgres import PostgresServer
from medic8.local.programs import find_postgres


class Place:
    """A home with one database in it."""

    def __init__(self, home: Path) -> None:
        self.home = make_home(home)
        self.account = server_account()
        self.room = server_room(self.home, self.account)
        self.programs = find_postgres(self.room, self.account)
        self.servers: list[PostgresServer] = []

    @property
    def pid_file(self) -> Path:
        """The server's lock file."""
        return self.room / "postgres" / "data" / "postmaster.pid"

    def start(self) -> PostgresServer:
        """Start it and wait until it is ready."""
        server = postgres.start_postgres(
            self.programs,
            own_folder(self.room / "postgres", self.account),
            sockets=socket_folder(self.room / "postgres-socket", self.account),
            log=self.home / "log",
            account=self.account,
            record=self.servers.append,
        )
        postgres.wait_for_postgres(server, timeout_s=30)
        return server

    def crash(self, server: PostgresServer) -> None:
        """Kill it as the kernel does when memory is short."""
        postgres.stop(server.identity, first=signal.SIGKILL, patience_s=10)

    def close(self) -> None:
        """Stop what runs, and remove everything."""
        for server in self.servers:
            postgres.stop_postgres(server)
        remove_folder(self.room / "postgres-socket")
        remove_folder(self.home / "servers")
