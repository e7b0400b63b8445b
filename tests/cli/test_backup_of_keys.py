"""The lines of docs/backups-of-keys.md, typed in their order against a real server and a real disk."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import valkey

from medic8.cli.run import run

GUIDE = Path(__file__).parents[2] / "docs" / "backups-of-keys.md"


@pytest.fixture
def medic8(
    tmp_path: Path, valkey_url: str, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], int]:
    """Get what types a command line at a site with the server of the guide."""
    (tmp_path / "medic8.toml").write_text(
        f'[[target]]\nname = "cache"\nkind = "valkey"\nurl = "{valkey_url}"\n\n'
        f'[backups]\nfolder = "{tmp_path / "srv"}"\n'
    )
    monkeypatch.chdir(tmp_path)
    environ = {
        "MEDIC8_HOME": str(tmp_path / "home"),
        "MEDIC8_CONFIG": str(tmp_path / "medic8.toml"),
        "PREFECT_API_URL": prefect_api,
        "PATH": "/usr/bin",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    def type_in(line: str) -> int:
        program, *arguments = shlex.split(line, comments=True)
        assert program == "medic8"
        return run(arguments, environ=environ)

    return type_in


def test_the_lines_of_the_guide_are_true(
    medic8: Callable[[str], int], valkey_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is gone comes back, what is newer stays, and what is overwritten is kept in its own backup."""
    (block,) = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    said = []
    with valkey.Valkey.from_url(valkey_url) as client:
        client.mset({"session:1": "old", "session:2": "old", "user:\xff".encode("latin-1"): "old"})
        for line in block.splitlines():
            if line.startswith("medic8 backup restore"):
                client.delete("session:1", "user:\xff".encode("latin-1"))
                client.set("session:2", "new")
            assert medic8(line) == 0, capsys.readouterr()
            said.append(capsys.readouterr().out)
        assert "3 keys" in said[0]
        assert "2 keys" in said[1]
        assert "sound" in said[3]
        assert re.search(r"written +2 keys", said[4])
        assert "1 key (--overwrite replaces them)" in said[4]
        assert re.search(r"written +1 key", said[5])
        assert re.search(r"written +2 keys", said[6])
        assert re.search(r"written +1 key", said[7])
        assert client.get("session:2") == b"old"
        assert medic8("medic8 backup list cache --json") == 0
        backups = json.loads(capsys.readouterr().out)["backups"]
    saved = backups[0]["keyspace"]
    assert (saved["count"], saved["is_by_name"]) == (1, True)
    assert saved["by_type"] == {"string": 1}


def test_a_wrong_name_is_a_wrong_call(
    medic8: Callable[[str], int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Told before anything is looked at."""
    assert medic8(r"medic8 backup create cache --prefix 'a\n'") == 2
    assert "after a backslash" in capsys.readouterr().err
