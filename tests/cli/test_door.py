from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from medic8.cli.door import PrefectDoor
from medic8.cli.run import run
from medic8.local.prefect_access import PrefectAccess
from medic8.model.statistics import Tracked, Wanted
from medic8.recovery import resolutions, tables
from medic8.recovery.journal import Journal
from medic8.settings import load_settings

#: Runs one call and says on standard error what it imported.
ALONE = """
import json, sys
from medic8.cli.run import run
code = run(sys.argv[1:])
print(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]), file=sys.stderr)
"""


def access(api_url: str) -> PrefectAccess:
    return PrefectAccess(api_url=api_url, named_by="a test")


def test_a_server_is_diagnosed_healed_and_found_in_the_history(
    prefect_api: str,
    valkey_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command line, the flows and the history are one road."""
    config = tmp_path / "medic8.toml"
    config.write_text(
        f'[[target]]\nname = "one-road"\nkind = "valkey"\nurl = "{valkey_url}"\nmode = "act"\n'
        'allow = ["set_settings"]\n[[target.setting]]\nname = "hz"\nminimum = 20\n'
    )
    monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDIC8_CONFIG", str(config))

    def medic8(*arguments: str) -> tuple[int, dict]:
        code = run(
            [*arguments, "--json"], open_door=lambda _: PrefectDoor(access(prefect_api)), environ=os.environ
        )
        return code, json.loads(capsys.readouterr().out)

    assert [medic8("diagnose", "one-road")[0], medic8("plan", "one-road")[0]] == [1, 1]
    code, treatment = medic8("heal", "one-road")
    assert (code, [each["outcome"] for each in treatment["resolutions"]]) == (0, ["resolved"])
    assert medic8("diagnose", "one-road")[0] == 0
    _, found = medic8("history", "--target", "one-road", "--outcome", "resolved", "--since", "1h")
    (entry,) = found["history"]
    code, shown = medic8("show", entry["run"][:8])
    assert (code, shown["entry"]["run"]) == (0, entry["run"])
    assert [step["state"] for step in shown["resolution"]["steps"]] == ["done"]
    assert entry["run"] in shown["url"]
    _, counted = medic8("stats", "--strategy", "set_settings", "--since", "1h")
    assert (counted["total"]["outcomes"], counted["total"]["success"]["of"]) == (
        {"planned": 1, "resolved": 1},
        1,
    )

    # In processes of their own, which read the index and import no Prefect, though they ask a server.
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    journal = Journal(load_settings().journal_url)
    (row,) = resolutions.newest(journal, Wanted(outcome="resolved"), 1)
    resolutions.write(journal, [row.model_copy(update={"state": "", "duration_s": None})])
    for arguments in (("history", "--limit", "1"), ("stats",)):
        alone = subprocess.run(
            [sys.executable, "-c", ALONE, *arguments, "--json"], capture_output=True, text=True, check=True
        )
        told, _, last = alone.stderr.rstrip().rpartition("\n")
        code, imported = json.loads(last)
        assert (code, {"prefect", "tasks", "flows"} & set(imported)) == (0, set())
        document = json.loads(alone.stdout)
        if "history" in document:
            assert [each["state"] for each in document["history"]] == ["Resolved"]
            assert 0 < document["history"][0]["duration_s"] < 60
        else:
            assert (document["total"]["count"], document["missing"] > 0) == (2, "more run" in told)

    # What the index lacks is told, and read from Prefect; an empty one is filled by the first question.
    with journal.transaction() as connection:
        connection.execute(tables.resolutions.delete().where(tables.resolutions.c.run == row.run))
    code = run(["history"], environ=os.environ)
    assert (code, "more run" in (told := capsys.readouterr().err)) == (0, True)
    assert "medic8 history --complete reads" in told
    with journal.transaction() as connection:
        connection.execute(tables.resolutions.delete())
    _, found = medic8("history", "--target", "one-road")
    assert row.run in [each["run"] for each in found["history"]]
    code = run(["history", "--complete"], open_door=lambda _: PrefectDoor(access(prefect_api)))
    assert (code, "more run" in capsys.readouterr().err) == (0, False)


def test_a_prefect_server_that_is_gone_hides_no_history(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The index is on this machine; what only the server knows is said to be unknown."""
    row = Tracked(run="run-1", name="resolve", target="cache", started_at=datetime(2026, 1, 31, tzinfo=UTC))
    resolutions.write(Journal(f"sqlite:///{tmp_path}/journal.sqlite"), [row])
    gone = "http://127.0.0.1:1/api"
    environ = {"MEDIC8_HOME": str(tmp_path), "PREFECT_API_URL": gone}
    assert run(["history", "--json"], environ=environ) == 0
    told = capsys.readouterr()
    assert [each["run"] for each in json.loads(told.out)["history"]] == ["run-1"]
    assert told.err.startswith(f"warning: the Prefect server at {gone} does not answer: ")
    assert told.err.count(gone) == 1


def test_a_prefect_server_that_is_gone_is_an_error_of_ours(
    prefect_api: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Not a traceback of Prefect's client."""
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    gone = "http://127.0.0.1:1/api"
    environ = {"MEDIC8_HOME": str(tmp_path), "PREFECT_API_URL": gone}
    with temporary_settings({PREFECT_API_URL: gone, PREFECT_CLIENT_MAX_RETRIES: 0}):
        code = run(["show", "1"], open_door=lambda _: PrefectDoor(access(gone)), environ=environ)
    assert (code, prefect_api == gone) == (1, False)
    assert f"medic8: the Prefect server at {gone} stopped answering" in capsys.readouterr().err


class Mortal:
    """
    A way to a server that breaks off for good before request number *last*, as the death of a server does.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, port: int, last: int) -> None:
        self._there = port
        self._left = last
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Break off."""
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection(("127.0.0.1", self._there))
                self._open += [here, there]
                for way in ((here, there), (there, here)):
                    threading.Thread(target=self._pump, args=way, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                self._left -= piece.count(b" HTTP/1.1\r\n")
                if self._left <= 0:
                    self.close()
                sink.sendall(piece)


@contextlib.contextmanager
def mortal(api_url: str, last: int) -> Iterator[str]:
    way = Mortal(int(urlsplit(api_url).port or 0), last)
    try:
        yield f"http://127.0.0.1:{way.port}/api"
    finally:
        way.close()


@pytest.mark.parametrize(
    ("arguments", "last", "left"),
    [
        (("history", "--complete"), 1, "nothing was changed on the target"),
        (("show", "1"), 1, "nothing was changed on the target"),
        (("diagnose", "cache"), 1, "nothing was changed on the target"),
        (("plan", "cache"), 2, "nothing was changed on the target"),
        (("heal", "cache"), 2, "what was begun is ended by the next run on the target"),
    ],
)
def test_a_prefect_server_that_dies_in_the_middle_is_told_as_that(
    prefect_api: str,
    valkey_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    last: int,
    left: str,
) -> None:
    """In one sentence, with what became of the target, whatever Prefect's client makes of it."""
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    config = tmp_path / "medic8.toml"
    config.write_text(f'[[target]]\nname = "cache"\nkind = "valkey"\nurl = "{valkey_url}"\n')
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDIC8_CONFIG", str(config))
    with (
        mortal(prefect_api, last) as gone,
        temporary_settings({PREFECT_API_URL: gone, PREFECT_CLIENT_MAX_RETRIES: 0}),
    ):
        code = run(arguments, open_door=lambda _: PrefectDoor(access(gone)), environ=os.environ)
    told = capsys.readouterr().err.splitlines()[-1]
    assert code == 1
    assert told.startswith(f"medic8: the Prefect server at {gone} stopped answering: ")
    assert told.endswith(f"; {left}")
