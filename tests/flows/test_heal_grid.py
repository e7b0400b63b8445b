"""The whole road on a real grid and a real Prefect API: parity first, then the backup, then what is left."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import valkey
from PIL import Image
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

from flows.run import run
from medic8.errors import ConfigurationError
from medic8.local.scratch import ScratchValkey
from medic8.model.grid import GridReport
from medic8.model.issue import Severity
from medic8.model.recovery import StepState
from medic8.model.report import Health
from medic8.model.resolution import Outcome
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import role_key, sums_key
from medic8.targets.valkey.client import connection
from tasks.track import history

pytestmark = pytest.mark.usefixtures("prefect_api")

NAME = "lab"
GROUPS = (0, 1, 2)

CONFIGURATION = """
[[target]]
name = "lab"
kind = "grid"
url = "{url}"
grid = "lab"
mode = "act"
allow = ["rebuild_from_parity", "restore_from_backup"]

[[target]]
name = "server"
kind = "valkey"
url = "{url}"
"""


@pytest.fixture
def client(
    valkey_url: str, valkey_server: ScratchValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[valkey.Valkey]:
    """Get a client of a server with a grid of three whole groups, which is configured as a target."""
    (tmp_path / "medic8.toml").write_text(CONFIGURATION.format(url=valkey_url))
    monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDIC8_CONFIG", str(tmp_path / "medic8.toml"))
    with connection(valkey_server.socket_url) as client:
        rng = np.random.default_rng(1)
        Grid.create(client, NAME, 32).fill(
            lambda _: rng.integers(0, 256, 65_536, dtype=np.uint8).view(CELL), groups=GROUPS
        )
        yield client


def values_of(client: valkey.Valkey) -> dict[str, bytes | None]:
    keys = [role_key(NAME, group, role) for group in GROUPS for role in range(18)]
    keys += [sums_key(NAME, group) for group in GROUPS]
    return dict(zip(keys, client.mget(keys), strict=True))


def test_a_healthy_grid_is_reported_by_the_words_of_the_guide(client: valkey.Valkey) -> None:
    """Health, consistency, performance."""
    assert client.ping()
    report = run("diagnose_grid", target="lab")
    assert isinstance(report, GridReport)
    assert report.health.blocks_existing == 48
    assert report.consistency.is_consistent
    assert report.performance.reads_timed > 0


def test_a_diagnosis_shows_a_map_of_what_is_broken_and_of_what_was_rebuilt(client: valkey.Valkey) -> None:
    """A picture inside the artifact, as Prefect's pages show it; and rows of marks in the report."""
    client.delete(role_key(NAME, 1, 2))
    assert run("heal", target="lab").is_healed
    for member in (3, 7, 11):
        client.delete(role_key(NAME, 2, member))
    report = run("diagnose_grid", target="lab")
    marks = {row.label: row.cells.strip("·") for row in report.map.bands[0].rows}
    assert (marks["4-5"], marks["6-7"], marks["P"]) == ("■R■", "■■X", "■■■")
    assert report.map.beyond_parity == (2,)
    with get_client(sync_client=True) as prefect:
        (shown,) = prefect.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["map-lab"])),
            sort=ArtifactSort.CREATED_DESC,
            limit=1,
        )
    assert shown.description == "lost, beyond parity: 3 blocks"
    encoded = re.search(r"\(data:image/png;base64,([^)]+)\)", shown.data)[1]
    image = Image.open(io.BytesIO(base64.b64decode(encoded)))
    assert image.text["Title"].startswith("Map of grid lab, 32 layers")
    assert "- rebuilt: 1 block" in shown.data
    assert len(shown.data) < 200_000
    run("diagnose", target="lab")
    with get_client(sync_client=True) as prefect:
        keys = [artifact.key for artifact in prefect.read_artifacts(sort=ArtifactSort.CREATED_DESC, limit=2)]
    assert "map-lab" in keys


def test_only_a_grid_can_be_diagnosed_as_one(client: valkey.Valkey) -> None:
    """The error names the kind seen and the kind expected."""
    assert client.ping()
    with pytest.raises(ConfigurationError, match="'valkey', not 'grid'"):
        run("diagnose_grid", target="server")


def test_parity_first_then_the_backup_until_the_grid_is_bit_for_bit_what_it_was(
    client: valkey.Valkey,
) -> None:
    """Two strategies, two resolutions, cheapest first; each is one run in the history."""
    run("back_up", target="lab")
    good = values_of(client)
    client.setrange(role_key(NAME, 0, 4), 70, b"flipped")
    client.delete(role_key(NAME, 1, 2))
    for member in (3, 7, 11):
        client.delete(role_key(NAME, 2, member))
    treatment = run("heal", target="lab")
    assert treatment.before.issues[0].severity is Severity.CRITICAL
    assert [(each.plan.strategy, each.outcome) for each in treatment.resolutions] == [
        ("rebuild_from_parity", Outcome.PARTLY_RESOLVED),
        ("restore_from_backup", Outcome.RESOLVED),
    ]
    assert treatment.is_healed
    assert values_of(client) == good
    assert {step.state for each in treatment.resolutions for step in each.steps} == {StepState.COMMITTED}
    entries = history(target="lab", issue="grid_corruption", limit=2)
    assert [(each.strategy, each.outcome) for each in entries] == [
        ("restore_from_backup", "resolved"),
        ("rebuild_from_parity", "partly_resolved"),
    ]


def test_what_no_source_proves_stays_as_found_and_is_said(client: valkey.Valkey) -> None:
    """Three blocks of a group are gone, there is no backup, and giving up is not allowed: nothing is done."""
    for member in (3, 7, 11):
        client.delete(role_key(NAME, 2, member))
    damaged = values_of(client)
    treatment = run("heal", target="lab")
    (resolution,) = treatment.resolutions
    assert resolution.outcome is Outcome.REFUSED
    assert resolution.plan is not None
    assert "Give up 48 pages in 1 parity group" in resolution.plan.summary
    assert "quarantine_lost_pages is not on the allow-list" in resolution.reason
    assert values_of(client) == damaged
    assert not treatment.is_healed


def test_a_target_whose_grid_is_not_there_is_failing(client: valkey.Valkey) -> None:
    """Neither manifest: the report says so, and how a grid is made."""
    client.flushall()
    report = run("diagnose", target="lab")
    assert report.analysis.health is Health.FAILING
    assert "medic8 grid create" in report.issues[0].cause
