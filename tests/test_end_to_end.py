"""The whole story on real servers, as a newcomer sees it: the demo, from nothing."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import valkey

from medic8.local import stack
from medic8.local.account import server_account
from medic8.local.home import make_home, server_room
from medic8.local.programs import find_postgres, find_valkey
from tests.alerts.alertmanager_process import AMTOOL, alertmanager, needs_alertmanager
from tests.alerts.gateway_process import wait_for

ROOT = Path(__file__).parents[1]
PROGRAM = Path(sys.executable).with_name("medic8")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Get the environment of somebody who has a home for Medic8 and no Prefect."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MEDIC8_"))}
    return kept | {"MEDIC8_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}


@pytest.fixture
def home(environ: dict[str, str], require: Callable[[Callable[[], object]], None]) -> Iterator[Path]:
    """Get a home whose servers and data are gone after the test."""
    home = make_home(Path(environ["MEDIC8_HOME"]))
    require(lambda: find_the_wheels(home))
    yield home
    stack.remove(home, progress=lambda _: None)


def find_the_wheels(home: Path) -> None:
    account = server_account()
    room = server_room(home, account)
    find_valkey(room, account)
    find_postgres(room, account)


def helpers_of(home: Path) -> list[str]:
    """The command lines of the demo's writer and agent that still run on this home."""
    return [
        " ".join(process.info["cmdline"])
        for process in psutil.process_iter(["cmdline"])
        if any("medic8.local.demo." in word for word in process.info["cmdline"] or ())
        and any(str(home) in word or "valkey.sock" in word for word in process.info["cmdline"])
    ]


@pytest.mark.timeout(420)
def test_the_demo_proves_every_claim_and_leaves_only_the_stack(
    home: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    """From an empty home: damage, healing under a writer, every bit compared, a recovery undone."""
    played = subprocess.run(
        [PROGRAM, "demo", "--json", "--seed", "8"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environ,
        cwd=tmp_path,
    )
    assert played.returncode == 0, played.stdout + played.stderr
    report = json.loads(played.stdout)
    claims = [claim for phase in report["phases"] for claim in phase["claims"]]
    assert report["is_proven"]
    assert len(claims) == 14
    assert all(claim["is_true"] for claim in claims)
    assert {breakage["fault"] for breakage in report["breakages"]} == {"flip_bits", "delete_blocks"}
    assert sum(len(breakage["what"]) for breakage in report["breakages"]) == 20
    assert report["writer"]["acknowledged"] > 100
    assert report["writer"]["waiting"] == 0

    status = stack.status(home, environment=environ)
    assert status.is_up
    for page in report["pages"]:
        assert page["url"].startswith(f"{status.prefect_ui_url}/runs/flow-run/")
    with valkey.Valkey.from_url(str(status.valkey_url), decode_responses=True) as client:
        assert client.keys() == []
        assert client.config_get("slowlog-max-len", "tcp-keepalive") == {
            "slowlog-max-len": "128",
            "tcp-keepalive": "300",
        }
    assert helpers_of(home) == []

    asked = subprocess.run(
        [PROGRAM, "history", "--json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env=environ,
        cwd=tmp_path,
    )
    outcomes = [entry["outcome"] for entry in json.loads(asked.stdout)["history"]]
    assert outcomes == ["restored", "resolved", "planned"]


@pytest.mark.timeout(420)
@needs_alertmanager
def test_an_alert_of_a_real_alertmanager_is_healed_with_no_hand_touching_it(
    home: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    """By what the README says: its settings for Alertmanager, and its words for amtool."""
    readme = (ROOT / "README.md").read_text()

    def medic8(*words: str) -> Any:
        done = subprocess.run(
            [PROGRAM, *words, "--json"], capture_output=True, text=True, check=False, timeout=200, env=environ
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    gateway = medic8("up")["gateway_url"]

    def is_as_configured() -> bool:
        with valkey.Valkey.from_url(str(stack.status(home, environment=environ).valkey_url)) as server:
            now = server.config_get("tcp-keepalive", "slowlog-max-len")
        return 60 <= int(now["tcp-keepalive"]) <= 300 and int(now["slowlog-max-len"]) >= 128

    assert is_as_configured()
    medic8("lab", "break", "setting_out_of_range")
    assert not is_as_configured()
    [settings] = re.findall(r"```yaml\n(route: .*?)```", readme, re.DOTALL)
    settings = settings.replace("http://127.0.0.1:4290", gateway).replace("HOME", str(home), 1)
    [alert] = re.findall(r"^amtool --alertmanager.url \S+ (alert add .*)$", readme, re.MULTILINE)
    with alertmanager(tmp_path, settings) as client:
        words = [AMTOOL, "--alertmanager.url", str(client.base_url), *shlex.split(alert)]
        subprocess.run(words, check=True, timeout=60)
        [answer] = wait_for(
            lambda: [
                each["answer"] for each in medic8("alerts")["alerts"] if (each["answer"] or {}).get("outcome")
            ],
            within_s=200,
        )
    assert answer["outcome"] == "healed"
    [resolution] = medic8("history")["history"]
    assert (resolution["target"], resolution["strategy"]) == ("lab-server", "set_settings")
    assert resolution["outcome"] == "resolved"
    assert is_as_configured()
