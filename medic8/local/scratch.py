"""Throw-away Valkey servers for tests and benchmarks."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from medic8.errors import UnreachableError
from medic8.local.account import is_reachable, server_account
from medic8.local.children import stop
from medic8.local.home import own_folder, remove_folder, socket_folder
from medic8.local.loopback import free_port
from medic8.local.programs import find_valkey, version_of
from medic8.local.valkey_server import GUARDED, ValkeyServer, start_valkey, wait_for_valkey

#: Nothing on disk; so a replica loads its first copy at once, too, and not a second later, when it looks
#: whether the file of it is there.
_FORGETFUL = {"save": '""', "appendonly": "no", "repl-diskless-load": "on-empty-db"}
_TRIES = 3

#: What servers have since Redis 7.0, and will not start with before.
_SINCE_7 = frozenset({"enable-debug-command", "enable-module-command"})


class ScratchValkey:
    """
    A Valkey server that lives as long as a ``with`` block, on a free port and a Unix socket.

    It keeps nothing on disk unless *config* says so, and can be killed and started again on the same port and
    data.

    Args:
        folder: An existing folder for its files. As root, where the servers' user cannot reach it, they lie
            in a folder elsewhere that goes when the server goes; the log is always here.
        config: Directives beyond the guarded ones, each value as it would stand in ``valkey.conf``:
            ``{"maxmemory": "20mb", "save": '""', "replicaof": "127.0.0.1 6390"}``.
        engine: Another server program that the servers' user can run; None is the embedded one.
    """

    def __init__(
        self, folder: Path, *, config: Mapping[str, str] | None = None, engine: Path | None = None
    ) -> None:
        self._folder = folder.absolute()
        guarded = GUARDED if engine is None else known_to(engine, GUARDED)
        self._config = {**guarded, **_FORGETFUL, **(config or {})}
        self._engine = engine
        self._account = server_account()
        self._server: ValkeyServer | None = None
        self._rooms: list[Path] = []

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def server(self) -> ValkeyServer:
        """What was started last, whether it still runs or not."""
        if self._server is None:
            raise UnreachableError("this scratch Valkey was not started")
        return self._server

    @property
    def url(self) -> str:
        """Address by TCP."""
        return self.server.url

    @property
    def socket_url(self) -> str:
        """Address by Unix socket."""
        return self.server.socket_url

    @property
    def port(self) -> int:
        """Its port on loopback."""
        return self.server.port

    @property
    def pid(self) -> int:
        """Number of its process."""
        return self.server.pid

    @property
    def data(self) -> Path:
        """Folder with its configuration, RDB and AOF files."""
        return self.server.data

    @property
    def log(self) -> Path:
        """Where it writes."""
        return self.server.log

    def start(self) -> Self:
        """Start it, or start it again after `stop` or `kill`, and wait until it answers."""
        data, sockets = self._make_rooms()
        program = self._engine or find_valkey(data.parent, self._account)
        for left in reversed(range(_TRIES)):
            known = () if self._server is None else (self._server.port,)
            start_valkey(
                program,
                data,
                sockets=sockets,
                port=free_port(known),
                log=self._folder / "valkey.log",
                account=self._account,
                config=self._config,
                record=self._remember,
            )
            try:
                wait_for_valkey(self.server, timeout_s=20)
            except UnreachableError:
                self.kill()
                if not left:  # somebody may have taken the port meanwhile
                    raise
            else:
                break
        return self

    def stop(self) -> None:
        """Shut it down as a person would; it saves if its configuration says so."""
        if self._server is not None:
            stop(self._server.identity, patience_s=10)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._server is not None:
            stop(self._server.identity, first=signal.SIGKILL, patience_s=10)

    def close(self) -> None:
        """Stop it and remove what lies outside of its folder."""
        try:
            self.stop()
        finally:
            while self._rooms:
                remove_folder(self._rooms.pop())

    def _remember(self, server: ValkeyServer) -> None:
        self._server = server

    def _make_rooms(self) -> tuple[Path, Path]:
        if self._server is not None:
            return self._server.data, self._server.socket.parent
        room = self._folder
        if self._account is not None and not is_reachable(room, self._account):
            room = Path(tempfile.mkdtemp(prefix="medic8-scratch-", dir="/var/tmp"))
            self._rooms.append(room)
            room.chmod(0o711)
        data = own_folder(room / "valkey", self._account)
        sockets = room / "sockets"
        self._rooms.append(sockets)
        return data, socket_folder(sockets, self._account)


@contextmanager
def scratch_valkey(
    folder: Path, *, config: Mapping[str, str] | None = None, engine: Path | None = None
) -> Iterator[ScratchValkey]:
    """
    Get a running throw-away Valkey server that is gone after the block, however the block ends.

    Args:
        folder: An existing folder for its files, such as pytest's ``tmp_path``.
        config: Directives; see `ScratchValkey`.
        engine: Another server program; see `ScratchValkey`.
    """
    with ScratchValkey(folder, config=config, engine=engine) as server:
        yield server


def known_to(program: Path, directives: Mapping[str, str]) -> dict[str, str]:
    """Those of *directives* that a server of that version starts with."""
    is_old = int(version_of(program).partition(".")[0]) < 7  # noqa: PLR2004 - Redis 7.0
    return {name: value for name, value in directives.items() if not (is_old and name in _SINCE_7)}
