"""The local stack after kills of any part of it: repaired by up, with its data, and nobody left over."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import valkey

from medic8.cli.sample_waves import sample_block
from medic8.errors import ConfigurationError
from medic8.local import postgres, stack, valkey_server
from medic8.local.account import server_account
from medic8.local.children import identify, stop
from medic8.local.home import make_home, own_folder
from medic8.local.leftovers import clear_leftovers
from medic8.local.loopback import HOST, free_port
from medic8.local.mend import mend
from medic8.local.password import read_password
from medic8.local.programs import find_valkey
from medic8.local.records import StackRecord, forget, read_record
from medic8.local.stack import StackStatus
from medic8.local.status import way_to_own
from medic8.local.strays import find_strays
from medic8.local.valkey_server import ValkeyServer
from medic8.targets.grid.grid import Grid
from tests.local.place import Place
from tests.local.ports import of_its_own

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
SERVERS = ("postgres", "prefect", "valkey")

#: Runs what it is given, and dies by SIGKILL before its n-th change to the file system or new process.
DYING = """
import os, signal, sys
from pathlib import Path
from medic8.local import stack
from tests.local.place import Place

left = int(sys.argv[1])
changes = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.chown", "os.chmod",
           "os.truncate", "os.kill", "subprocess.Popen"}

def count(event, arguments):
    global left
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if writes or event in changes:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

home = Path(sys.argv[2])
place = Place(home) if sys.argv[3] == "postgres" else None
sys.addaudithook(count)
if place is not None:
    place.start()
else:
    stack.up(home, progress=lambda said: None)
"""


def quiet(_: str) -> None:
    """Take no notice of progress."""


def up(home: Path) -> StackStatus:
    """Repair the stack, and see that nothing runs that is not on record."""
    status = stack.up(home, progress=quiet, environment=ENVIRONMENT)
    assert status.is_up
    assert find_strays(home, (home / "servers").resolve(), read_record(home)) == ()
    return status


def until(condition: Callable[[], object]) -> None:
    """Wait, with a bound, until *condition* is true."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kill(home: Path, *names: str) -> None:
    """End servers as the kernel does when memory is short: their first process alone, all at once."""
    record = read_record(home)
    servers = [server for name in names if (server := record.server(name)) is not None]
    for server in servers:
        os.kill(server.identity.pid, signal.SIGKILL)
    until(lambda: not any(server.identity.is_alive() for server in servers))


def pids(status: StackStatus) -> dict[str, int | None]:
    """The servers' processes by name."""
    return {server.name: server.pid for server in status.servers}


def children(status: StackStatus, name: str) -> list[psutil.Process]:
    """What descends from the server called *name*."""
    return psutil.Process(status.server(name).pid).children(recursive=True)


def dying(step: int, home: Path, what: str) -> bool:
    """Die before the change number *step*; False if there were not so many, and all is done."""
    ended = subprocess.run(
        [sys.executable, "-c", DYING, str(step), str(home), what],
        check=False,
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert ended.returncode in {0, -signal.SIGKILL}, ended.stderr
    return ended.returncode != 0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Get the home of a stack that the tests of this file break and repair."""
    home = make_home(tmp_path_factory.mktemp("repair") / "home")
    with of_its_own(home):
        try:
            stack.up(home, progress=quiet, environment=ENVIRONMENT)
        except ConfigurationError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))
        try:
            yield home
        finally:
            stack.remove(home, progress=quiet)


@pytest.fixture
def running(home: Path) -> StackStatus:
    """Get the stack, whole."""
    return up(home)


def api(status: StackStatus) -> httpx.Client:
    """A client that says Prefect's password."""
    way = way_to_own(status.home, str(status.prefect_api_url), {})
    return httpx.Client(base_url=way.api_url, headers=way.all_headers, trust_env=False, timeout=30)


class Kept:
    """What must be there after every repair: a filled grid, and a flow run in Prefect's history."""

    def __init__(self, status: StackStatus, name: str) -> None:
        with valkey.Valkey.from_url(status.valkey_url) as client:
            grid = Grid.create(client, name, 1)
            grid.fill(lambda number: sample_block(7, number))
            assert client.execute_command("WAITAOF", 1, 0, 5000)[0] == 1
        with api(status) as client:
            flow = client.post("/flows/", json={"name": name}).json()["id"]
            state = {"type": "COMPLETED", "name": "Completed"}
            made = client.post("/flow_runs/", json={"flow_id": flow, "name": name, "state": state})
            assert made.status_code == 201
        self._run = made.json()["id"]
        self._name = name
        self._keys = self._read(status)
        assert len(self._keys) > 32

    def is_still_in(self, status: StackStatus) -> bool:
        """Whether every byte of the grid and the flow run are as they were."""
        with api(status) as client:
            run = client.get(f"/flow_runs/{self._run}").json()
        assert (run["name"], run["state"]["type"]) == (self._name, "COMPLETED")
        return self._read(status) == self._keys

    @staticmethod
    def _read(status: StackStatus) -> dict[bytes, bytes]:
        with valkey.Valkey.from_url(status.valkey_socket_url) as client:
            return {key: client.dump(key) for key in client.scan_iter(count=1000)}


# --- servers that die ---


def test_all_servers_killed_at_once_come_back_with_every_byte(home: Path, running: StackStatus) -> None:
    """A grid filled before is byte for byte the same, and Prefect's history knows its runs."""
    kept = Kept(running, "all-at-once")
    kill(home, *SERVERS)
    repaired = up(home)
    assert kept.is_still_in(repaired)
    assert (repaired.prefect_api_url, repaired.valkey_url) == (running.prefect_api_url, running.valkey_url)
    # As after a power cut: the machine has booted, and the servers' numbers are other programs' now.
    kill(home, *SERVERS)
    record = json.loads((home / "local.json").read_text())
    with subprocess.Popen(["/bin/sleep", "60"]) as stranger:
        for name in SERVERS:
            record[name]["identity"] |= {"boot_id": "an earlier boot", "pid": stranger.pid}
        (home / "local.json").write_text(json.dumps(record))
        try:
            status = stack.status(home, environment=ENVIRONMENT)
            assert {server.state for server in status.servers} == {"stopped"}
            assert kept.is_still_in(up(home))
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_postmaster_killed_alone_does_not_leave_its_children_in_the_way(
    home: Path, running: StackStatus
) -> None:
    """One of them that cannot end keeps the shared memory, and PostgreSQL would refuse to start."""
    family = children(running, "postgres")
    checkpointer = next(member for member in family if "checkpointer" in " ".join(member.cmdline()))
    checkpointer.suspend()
    kill(home, "postgres")
    said: list[str] = []
    status = stack.up(home, progress=said.append, environment=ENVIRONMENT)
    assert status.is_up
    assert f"process {checkpointer.pid} is a part of postgres and not on record; stopping it" in said
    assert not any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in family)


def test_a_database_whose_number_is_a_zombies_starts(home: Path, running: StackStatus) -> None:
    """Where nobody buries the dead, the lock of the socket names a number that looks alive."""
    lock = Path(running.server("postgres").address.partition("host=")[2]) / ".s.PGSQL.5432.lock"
    lines = lock.read_text().splitlines()
    kill(home, "postgres")
    with subprocess.Popen(["/bin/sh", "-c", "true & exec sleep 60"], stdout=subprocess.PIPE) as parent:
        try:
            until(lambda: psutil.Process(parent.pid).children())
            (zombie,) = psutil.Process(parent.pid).children()
            until(lambda: zombie.status() == psutil.STATUS_ZOMBIE)
            lock.write_text("\n".join((str(zombie.pid), *lines[1:], "")))
            up(home)
        finally:
            parent.kill()


def test_a_killed_backend_costs_no_server(home: Path, running: StackStatus) -> None:
    """PostgreSQL itself throws the others out and recovers; up waits for that and restarts nothing."""
    backend = next(m for m in children(running, "postgres") if "[local]" in " ".join(m.cmdline()))
    backend.kill()
    assert pids(up(home)) == pids(running)


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_was_stopped_by_a_signal_goes_on(home: Path, running: StackStatus, name: str) -> None:
    """It is told as one that does not answer, and it needs no restart."""
    os.kill(int(running.server(name).pid or 0), signal.SIGSTOP)
    try:
        assert stack.status(home, environment=ENVIRONMENT).server(name).answers is False
        said: list[str] = []
        assert pids(stack.up(home, progress=said.append, environment=ENVIRONMENT)) == pids(running)
        assert said == [f"{name} was stopped by a signal; it goes on now"]
    finally:
        os.kill(int(running.server(name).pid or 0), signal.SIGCONT)


def test_a_stopped_server_is_stopped_politely(tmp_path: Path) -> None:
    """It hears the signal that asks only when it goes on; else it would be killed with its data unsaved."""
    script = "trap 'echo saved > saved; exit' TERM; touch ready; while :; do sleep 0.01; done"
    with subprocess.Popen(["/bin/sh", "-c", script], cwd=tmp_path) as server:
        until((tmp_path / "ready").exists)
        identity = identify(server.pid)
        assert identity is not None
        os.kill(server.pid, signal.SIGSTOP)
        assert stop(identity, patience_s=10) is True
    assert (tmp_path / "saved").exists()


# --- the record ---


@pytest.mark.parametrize("left", ["nothing", "half", "zeros", "garbage"])
def test_a_damaged_record_is_made_anew_from_what_runs(home: Path, running: StackStatus, left: str) -> None:
    """No server is started beside a living one, none is restarted, and what was there is kept to look at."""
    record = home / "local.json"
    content = record.read_bytes()
    found = {
        "nothing": b"",
        "half": content[: len(content) // 2],
        "zeros": bytes(len(content)),
        "garbage": b'{"postgres": {"identity": 7}, "notes": []}',
    }[left]
    record.write_bytes(found)
    looked = stack.status(home, environment=ENVIRONMENT)
    assert not looked.is_up
    assert "local.json, is damaged" in looked.problem
    repaired = up(home)
    assert pids(repaired) == pids(running)
    assert [server.version for server in repaired.servers] == [server.version for server in running.servers]
    assert repaired.problem == ""
    assert (home / "local.json.damaged").read_bytes() == found


def test_a_lost_record_is_made_anew_also_with_our_own_address_in_the_environment(
    home: Path, running: StackStatus
) -> None:
    """Whoever was told to set PREFECT_API_URL has not become the owner of a server by that."""
    (home / "local.json").unlink()
    environment = ENVIRONMENT | {"PREFECT_API_URL": str(running.prefect_api_url)}
    assert pids(stack.up(home, progress=quiet, environment=environment)) == pids(running)


def test_down_stops_what_no_record_names(tmp_path: Path, running: StackStatus) -> None:
    """Of this home alone."""
    environment = ENVIRONMENT | {
        "PREFECT_API_URL": str(running.prefect_api_url),
        "PREFECT_API_AUTH_STRING": str(read_password(running.home)),
    }
    home = tmp_path / "home"
    try:
        pid = stack.up(home, progress=quiet, environment=environment).server("valkey").pid
        (home / "local.json").unlink()
        said: list[str] = []
        stack.down(home, progress=said.append, environment=environment)
        assert said == [f"process {pid} is valkey and not on record; it is now", "stopping valkey"]
        assert identify(int(pid or 0)) is None
    finally:
        stack.remove(home, progress=quiet)
    assert stack.status(running.home, environment=ENVIRONMENT).is_up


def test_a_second_server_on_the_same_data_is_stopped(home: Path, running: StackStatus) -> None:
    """Two that write to one folder destroy it, and Valkey itself does not look."""
    account = server_account()
    room = (home / "servers").resolve()
    second: list[ValkeyServer] = []
    valkey_server.start_valkey(
        find_valkey(room, account),
        own_folder(room / "valkey", account),
        sockets=own_folder(room / "second-socket", account),
        port=free_port(()),
        log=home / "logs" / "second.log",
        account=account,
        config={},
        record=second.append,
    )
    valkey_server.wait_for_valkey(second[0])
    assert pids(up(home)) == pids(running)
    assert not second[0].identity.is_alive()


def test_a_shell_in_the_servers_folder_is_nobody_of_ours(home: Path, running: StackStatus) -> None:
    """Whoever looks around there is not taken for a server."""
    room = (home / "servers").resolve()
    with subprocess.Popen(["/bin/sleep", "60"], cwd=room / "valkey") as shell:
        try:
            assert pids(up(home)) == pids(running)
            assert shell.poll() is None
        finally:
            shell.kill()


# --- ports ---


def test_a_port_that_somebody_took_meanwhile_is_given_up(home: Path, running: StackStatus) -> None:
    """The data come back on another port, and the stranger is left alone."""
    kept = Kept(running, "port-taken")
    port = int(str(running.valkey_url).rpartition(":")[2].partition("/")[0])
    kill(home, "valkey")
    with socket.create_server((HOST, port)) as stranger:
        repaired = up(home)
        assert repaired.valkey_url != running.valkey_url
        assert kept.is_still_in(repaired)
        assert stranger.getsockname() == (HOST, port)


# --- the command itself ---


@pytest.mark.parametrize("name", ["postgres", "valkey"])
def test_a_server_on_record_that_ends_before_it_begins_is_started_anew(
    home: Path, running: StackStatus, name: str
) -> None:
    """A starter that was killed between record and start leaves a process that lives for a moment more."""
    assert running.is_up
    kill(home, name)
    with subprocess.Popen(["/bin/sleep", "1"]) as passing:
        identity = identify(passing.pid)
        assert identity is not None
        record = json.loads((home / "local.json").read_text())
        record[name]["identity"] = identity.model_dump()
        (home / "local.json").write_text(json.dumps(record))
        up(home)


def test_a_starter_killed_before_the_server_was_let_run_leaves_nobody(tmp_path: Path) -> None:
    """Its child has a number and is on record, and ends without ever having become the server."""
    code = (
        "import os, signal, sys; from pathlib import Path; from medic8.local.children import launch\n"
        "f = Path(sys.argv[1])\n"
        "def die(identity):\n"
        "    (f / 'pid').write_text(str(identity.pid)); os.kill(os.getpid(), signal.SIGKILL)\n"
        "launch(['/bin/sh', '-c', f'echo > {f}/ran; exec sleep 60'], log=f / 'log', folder=f, environment={},"
        " account=None, record=die)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=30).returncode == -9
    )
    until(lambda: identify(int((tmp_path / "pid").read_text())) is None)
    assert not (tmp_path / "ran").exists()


def test_a_database_being_made_when_its_starter_was_killed_is_made_anew(tmp_path: Path) -> None:
    """The program that makes it lives on for a while; it is stopped before another begins."""
    home = make_home(tmp_path / "home")
    code = (
        "import sys; from pathlib import Path; from tests.local.place import Place\n"
        "Place(Path(sys.argv[1])).start()"
    )
    place = Place(home)
    try:
        with subprocess.Popen([sys.executable, "-c", code, str(home)], cwd=ROOT) as starter:
            until(lambda: list((place.room / "postgres").glob("new-*/base")))
            (initdb,) = psutil.Process(starter.pid).children()
            initdb.suspend()
            starter.kill()
        said: list[str] = []
        mend(home, progress=said.append)
        assert f"process {initdb.pid} is a part of postgres and not on record; stopping it" in said
        assert list((place.room / "postgres").iterdir()) == []
        place.start()
    finally:
        place.close()


def test_a_database_is_whole_or_not_there_wherever_its_maker_was_killed(tmp_path: Path) -> None:
    """Before every change to the file system and every new process, until there is one."""
    place = Place(tmp_path / "home")
    folder = place.room / "postgres"
    step = 0
    try:
        while not (folder / "data").exists():
            step += 1
            assert dying(step, place.home, "postgres")
            mend(place.home, progress=quiet)
            assert {each.name for each in folder.glob("*")} <= {"data"}
        assert postgres.is_ready(place.start())
    finally:
        place.close()
    assert step > 3


def test_a_database_comes_up_wherever_its_starter_was_killed(tmp_path: Path) -> None:
    """Before every change to the file system and every new process, each time after a crash of the server."""
    place = Place(tmp_path / "home")
    step, died = 0, True
    try:
        place.crash(place.start())
        while died:
            step += 1
            died = dying(step, place.home, "postgres")
            record = mend(place.home, progress=quiet)
            server = place.start() if record.postgres is None else record.postgres
            assert postgres.is_ready(server)
            place.crash(server)
            forget(place.home)
    finally:
        place.close()
    assert step > 3


def test_up_may_be_killed_at_any_step(tmp_path: Path) -> None:
    """Each try dies one step later and finds what the one before it left; the last one is whole."""
    home = make_home(tmp_path / "home")
    step = 1
    try:
        while dying(step, home, "stack"):
            step += 1
        status = up(home)
        room = (home / "servers").resolve()
        halves = {each.name for folder in (home, room) for each in folder.iterdir() if each.name[0] == "."}
        assert halves == set()
        assert status.is_up
        ours = [p for p in psutil.process_iter() if _works_in(p, home, room) and "valkey-server" in p.name()]
        assert [each.pid for each in ours] == [status.server("valkey").pid]
    finally:
        stack.remove(home, progress=quiet)
    assert step > 10


def _works_in(process: psutil.Process, *folders: Path) -> bool:
    try:
        return any(Path(process.cwd()).is_relative_to(folder) for folder in folders)
    except psutil.Error:
        return False


def test_a_removal_killed_half_way_leaves_no_half_database(tmp_path: Path) -> None:
    """The next up begins anew instead of stumbling over what is left."""
    home = make_home(tmp_path / "home")
    place = Place(home)
    try:
        stop(place.start().identity, first=signal.SIGINT, patience_s=10)
        data = place.room / "postgres"
        data.rename(place.room / ".postgres.removed")
        (place.room / ".postgres.removed" / "data" / "PG_VERSION").unlink()
        mend(home, progress=quiet)
        assert not (place.room / ".postgres.removed").exists()
        place.start()
    finally:
        place.close()


def test_a_database_without_its_version_is_named(tmp_path: Path) -> None:
    """What is damaged is for a person: nothing is made in its place."""
    place = Place(tmp_path / "home")
    try:
        stop(place.start().identity, first=signal.SIGINT, patience_s=10)
        (place.room / "postgres" / "data" / "PG_VERSION").unlink()
        with pytest.raises(ConfigurationError, match="is damaged, its PG_VERSION cannot be read"):
            place.start()
    finally:
        place.close()


def test_half_saved_data_are_cleared_away_only_while_nobody_writes_them(
    home: Path, running: StackStatus
) -> None:
    """Each is as large as the grid, and a killed server never looks at its own again."""
    assert running.is_up
    half = (home / "servers" / "valkey").resolve() / "temp-4711.rdb"
    half.touch()
    clear_leftovers(home, read_record(home))
    assert half.exists()
    clear_leftovers(home, StackRecord())
    assert not half.exists()
