"""What nobody has decided is refused on real servers, by which rule, and the history says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import numpy as np
import pytest
from prefect import get_client
from prefect.client.schemas.actions import VariableCreate

from flows.health import health
from flows.run import run
from medic8.errors import Medic8Error
from medic8.local.scratch import ScratchValkey, scratch_valkey
from medic8.model.policy import Origin, Pause, Reservation
from medic8.model.recovery import StepState
from medic8.model.resolution import Outcome, Resolution
from medic8.recovery import pauses, reservations
from medic8.recovery.admitting import PolicyError
from medic8.recovery.journal import Journal
from medic8.settings import load_settings
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import role_key
from medic8.targets.valkey.client import connection
from tasks.pause import VARIABLE
from tasks.track import history, resolution_of
from tests.flows.server_site import CONFIGURATION, Configure, set_settings, settings_of
from tests.recovery.forwarder import Forwarder

pytestmark = pytest.mark.usefixtures("prefect_api")

AS_FOUND = ("10", "300")


def heal(target: str = "server", **asked: Any) -> Resolution:
    """The first resolution of a run of `heal`."""
    return next(iter(run("heal", target=target, **asked).resolutions))


def pause(**more: Any) -> None:
    journal = Journal(load_settings().journal_url)
    pauses.begin(journal, Pause(**({"reason": "we upgrade", "by": "ann", "since": datetime.now(UTC)} | more)))


def tags_of_newest(target: str = "server") -> set[str]:
    with get_client(sync_client=True) as client:
        return set(client.read_flow_run(UUID(history(target=target, limit=1)[0].run)).tags)


def test_a_pause_stops_everybody_but_who_says_why(configure: Configure, valkey_url: str) -> None:
    """Refused with its rule and numbers, tracked as that; a person's override is on record."""
    configure()
    pause()
    assert "we upgrade" in heal(dry_run=True, origin=Origin.ALERT).reason
    refused = heal()
    assert (refused.outcome, settings_of(valkey_url)) == (Outcome.REFUSED, AS_FOUND)
    assert refused.refusal is not None
    assert (refused.refusal.rule, refused.refusal.numbers[0].seen) == ("pause", "everything")
    entry = history(target="server", outcome="refused", limit=1)[0]
    assert resolution_of(entry.run)[1] == refused
    assert {"rule:pause", "outcome:refused"} <= tags_of_newest()
    with pytest.raises(PolicyError, match="we upgrade"):
        run("restore_backup", target="server")
    with pytest.raises(Medic8Error, match="there is no backup"):
        run("restore_backup", target="server", override="its data are lost")
    done = heal(override="the disk is full")
    assert (done.outcome, done.mandate.override) == (Outcome.RESOLVED, "the disk is full")


@pytest.fixture
def variable() -> Iterator[None]:
    """Set the variable of Prefect, and take it away."""
    with get_client(sync_client=True) as client:
        client.create_variable(VariableCreate(name=VARIABLE, value="a change is under way"))
        yield
        client.delete_variable_by_name(VARIABLE)


@pytest.mark.usefixtures("variable")
def test_a_variable_of_prefect_pauses_as_well(configure: Configure, valkey_url: str) -> None:
    """Whoever has only the interface at hand stops everything there."""
    configure()
    refused = heal()
    assert (refused.outcome, settings_of(valkey_url)) == (Outcome.REFUSED, AS_FOUND)
    assert "a change is under way" in refused.reason


GRID = """
[[target]]
name = "lab"
kind = "grid"
url = "{url}"
grid = "lab"
mode = "act"
allow = ["rebuild_from_parity"]
"""


def test_a_pause_between_two_units_stops_before_the_second(
    valkey_url: str, valkey_server: ScratchValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first stands, since it proved itself; the second is not begun, and the rule is named."""
    monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDIC8_CONFIG", str(tmp_path / "medic8.toml"))
    lost = [role_key("lab", group, 2) for group in (0, 1)]
    with connection(valkey_server.socket_url) as client, Forwarder(urlsplit(valkey_url).port or 0) as way:
        rng = np.random.default_rng(1)
        Grid.create(client, "lab", 32).fill(
            lambda _: rng.integers(0, 256, 65_536, dtype=np.uint8).view(CELL), groups=(0, 1)
        )
        client.delete(*lost)
        (tmp_path / "medic8.toml").write_text(GRID.format(url=f"valkey://127.0.0.1:{way.port}/0"))

        def pauses_after_the_first(_: bytes) -> bool:
            # The next request after a block is back is the look whether it is right.
            if client.exists(*lost) == 1 and not paused:
                paused.append(True)
                pause(on="lab")
            return False

        paused = list[bool]()
        way.stalls_after = pauses_after_the_first
        resolution = heal("lab", origin=Origin.SCHEDULE)
        assert client.exists(*lost) == 1
    assert resolution.refusal is not None, resolution.reason
    assert (resolution.outcome, resolution.refusal.rule) == (Outcome.PARTLY_RESOLVED, "pause")
    assert [{each.state for each in resolution.steps if each.unit == unit} for unit in (0, 1)] == [
        {StepState.COMMITTED},
        {StepState.PLANNED},
    ]


def test_a_schedule_has_a_budget_and_a_person_has_none(configure: Configure, valkey_url: str) -> None:
    """What a health flow began is a schedule's, although it called the flow that people call."""
    configure()
    file = Path(load_settings().source or "")
    file.write_text(f"[policy]\nper_target = 1\n{file.read_text()}")
    assert health("server", heal_allowed=True).is_healthy
    (reserved,) = [each for each in begun() if each.mandate.origin is Origin.SCHEDULE]
    assert (reserved.end, reserved.issue_type) == ("healthy", "slow_operations")
    set_settings(valkey_url, *AS_FOUND)
    refused = heal(origin=Origin.SCHEDULE)
    assert refused.refusal is not None
    assert (refused.refusal.rule, refused.refusal.numbers[0].seen) == ("budget", "1")
    assert settings_of(valkey_url) == AS_FOUND
    assert heal().outcome is Outcome.RESOLVED


def begun() -> tuple[Reservation, ...]:
    with Journal(load_settings().journal_url).transaction() as connection:
        return reservations.since(connection, datetime(2026, 1, 1, tzinfo=UTC))


def test_a_database_that_is_silent_refuses_and_the_history_says_so(
    configure: Configure, valkey_url: str
) -> None:
    """Without it nobody knows what else is under way."""
    configure()
    file = Path(load_settings().source or "")
    file.write_text(f'[journal]\nurl = "postgresql://nobody@127.0.0.1:1/none"\n{file.read_text()}')
    refused = heal()
    assert (refused.outcome, settings_of(valkey_url)) == (Outcome.REFUSED, AS_FOUND)
    assert refused.refusal is not None
    assert (refused.refusal.rule, "did not answer" in refused.reason) == ("journal", True)
    assert "rule:journal" in tags_of_newest()


def test_a_worker_that_sees_its_targets_turn_ill_at_once_touches_none_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five real servers; of two it only says how they are, and the third makes it suspect itself."""
    monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDIC8_CONFIG", str(tmp_path / "medic8.toml"))
    with ExitStack() as stack:
        servers = {}
        for name in ("s1", "s2", "s3", "s4", "s5"):
            (tmp_path / name).mkdir()
            servers[name] = stack.enter_context(scratch_valkey(tmp_path / name)).url
            set_settings(servers[name], *AS_FOUND)
        tables = [
            CONFIGURATION.format(url=url, mode="act", allow='"set_settings"', more="").replace(
                '"server"', f'"{name}"'
            )
            for name, url in servers.items()
        ]
        # Within a minute is for machines that nobody else is busy on.
        (tmp_path / "medic8.toml").write_text("[observer]\nwithin_s = 3600\n" + "".join(tables))
        for name in ("s1", "s2"):
            assert run("heal", target=name, dry_run=True, origin=Origin.SCHEDULE).before.issues
        refused = [heal(name, origin=Origin.ALERT) for name in ("s3", "s4", "s5")]
        assert {each.outcome for each in refused} == {Outcome.REFUSED}
        rules = [each.refusal for each in refused if each.refusal is not None]
        assert [each.rule for each in rules] == ["observer"] * 3
        assert [each.is_news for each in rules] == [True, False, False]
        assert {settings_of(url) for url in servers.values()} == {AS_FOUND}
