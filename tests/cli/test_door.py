from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from medic8.cli.door import PrefectDoor
from medic8.cli.run import run
from medic8.local.prefect_access import PrefectAccess


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
        f'[[target]]\nname = "cache"\nkind = "valkey"\nurl = "{valkey_url}"\nmode = "act"\n'
        'allow = ["set_settings"]\n[[target.setting]]\nname = "hz"\nminimum = 20\n'
    )
    monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDIC8_CONFIG", str(config))

    def medic8(*arguments: str) -> tuple[int, dict]:
        code = run(
            [*arguments, "--json"], open_door=lambda _: PrefectDoor(access(prefect_api)), environ=os.environ
        )
        return code, json.loads(capsys.readouterr().out)

    assert [medic8("diagnose", "cache")[0], medic8("plan", "cache")[0]] == [1, 1]
    code, treatment = medic8("heal", "cache")
    assert (code, [each["outcome"] for each in treatment["resolutions"]]) == (0, ["resolved"])
    assert medic8("diagnose", "cache")[0] == 0
    _, found = medic8("history", "--target", "cache", "--outcome", "resolved", "--since", "1h")
    (entry,) = found["history"]
    code, shown = medic8("show", entry["run"][:8])
    assert (code, shown["entry"]["run"]) == (0, entry["run"])
    assert [step["state"] for step in shown["resolution"]["steps"]] == ["done"]
    assert entry["run"] in shown["url"]


def test_a_prefect_server_that_is_gone_is_an_error_of_ours(
    prefect_api: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Not a traceback of Prefect's client."""
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    gone = "http://127.0.0.1:1/api"
    environ = {"MEDIC8_HOME": str(tmp_path)}
    with temporary_settings({PREFECT_API_URL: gone, PREFECT_CLIENT_MAX_RETRIES: 0}):
        code = run(["history"], open_door=lambda _: PrefectDoor(access(gone)), environ=environ)
    assert (code, prefect_api == gone) == (1, False)
    assert f"medic8: the Prefect server at {gone} stopped answering" in capsys.readouterr().err
