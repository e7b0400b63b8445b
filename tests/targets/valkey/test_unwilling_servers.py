"""Servers that show nothing, have other commands, or die and come back while they are looked at."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest
import valkey
from looking_at import found, look, report_on

from medic8.errors import RefusedError, TransientError, UnreachableError
from medic8.local.scratch import ScratchValkey, scratch_valkey
from medic8.model.report import Health
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.diagnostics import DIAGNOSTICS

RULE = {"name": "slowlog-max-len", "minimum": 1}
REFUSED = ("CONFIG", "CLIENT", "EVAL", "DEBUG", "INFO", "SCAN", "MEMORY", "OBJECT")


@pytest.mark.parametrize("refused", [("INFO",), ("OBJECT",), REFUSED])
def test_whatever_a_user_may_not_do_costs_no_more_than_it_would_tell(
    valkey_url: str, refused: tuple[str, ...]
) -> None:
    """All diagnostics come to an end; without INFO nobody reads healthy, without OBJECT everybody does."""
    with connection(valkey_url) as client:
        client.set("session:1", "value", ex=10_000)
        client.execute_command(
            *("ACL", "SETUSER", "limited", "reset", "on", "nopass", "~*", "&*", "+@all"),
            *(f"-{name.lower()}" for name in refused),
        )
    url = valkey_url.replace("valkey://", "valkey://limited:any@")
    report = report_on(url, setting=[RULE], expiry=[{"prefix": "session:", "after": 86_400}])
    assert set(report.results) == set(DIAGNOSTICS)
    blind = {each.about for each in report.analysis.findings if each.code == "diagnostic.refused"}
    assert ("memory" in blind) is ("INFO" in refused)
    assert ("settings" in blind) is ("CONFIG" in refused)
    assert report.analysis.health is (Health.DEGRADED if blind else Health.HEALTHY)


def test_a_server_whose_commands_were_renamed_is_looked_at_all_the_same(tmp_path: Path) -> None:
    """What it lacks is said, and who took it away is taken for its owner."""
    names = (
        "CONFIG",
        "CLIENT",
        "EVAL",
        "EVALSHA",
        "SCAN",
        "MEMORY",
        "OBJECT",
        "SLOWLOG",
        "COMMANDLOG",
        "DEBUG",
    )
    renamed = "\nrename-command ".join(f'{name} "hidden-{name.lower()}"' for name in names)
    with scratch_valkey(tmp_path, config={"rename-command": renamed}) as server:
        with valkey.Valkey.from_url(server.url) as client:
            client.set("key", "value")
        report = report_on(server.url)
        assert set(report.results) == set(DIAGNOSTICS)
        assert [text for text in report.analysis.unseen if "no command SCAN, or not by that name" in text]
        assert not [each for each in report.analysis.findings if each.code.startswith("diagnostic.")]
        assert found(report.results["controller"], "controller.recognised").about.startswith("somebody who")


def test_a_server_that_dies_and_comes_back_all_the_time_breaks_no_look(tmp_path: Path) -> None:
    """Between two looks or in the middle of one: a result, that it comes and goes, or another try."""
    with scratch_valkey(tmp_path, config={"appendonly": "yes"}) as server:
        with valkey.Valkey.from_url(server.url) as client:
            client.mset({f"key:{number}": "value" for number in range(2000)})
        url, chance = server.url, random.Random(1)
        ended = threading.Event()
        comes_and_goes = threading.Thread(target=_come_and_go, args=(server, ended))
        comes_and_goes.start()
        taken, missed = 0, 0
        names = [name for name in DIAGNOSTICS if name != "certificate"]
        while not ended.is_set():
            name = chance.choice(names)
            try:
                result = look(url, name)
                is_told = any(each.code == "network.flapping" for each in result.findings)
                taken, missed = taken + (not is_told), missed + is_told
            except (TransientError, UnreachableError):
                missed += 1
        comes_and_goes.join()
    assert taken
    assert missed


def _come_and_go(server: ScratchValkey, ended: threading.Event) -> None:
    try:
        for pause_s in (0.3, 0.15, 0.45):
            threading.Event().wait(pause_s)
            server.kill()
            server.start()
    finally:
        ended.set()


def test_what_a_server_answers_is_fit_to_be_shown(valkey_url: str) -> None:
    """Whoever writes a script chooses the words of its error."""
    evil = b"\x1b[2J\xe2\x80\xaeEVIL [bold]<script>|" + b"x" * 5000
    with pytest.raises(RefusedError) as raised, connection(valkey_url) as client:
        client.eval("return redis.error_reply(ARGV[1])", 0, evil)
    assert str(raised.value).isprintable()
    assert "\\x1b[2J" in str(raised.value)
    assert len(str(raised.value)) < 500
