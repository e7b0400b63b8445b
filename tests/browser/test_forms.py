"""What a person sees in both of Prefect's interfaces: the forms, and a run that has ended."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from deployments import register
from deployments.catalogue import wanted
from deployments.server import opened
from flows.run import run
from medic8.local.prefect_access import PrefectAccess
from medic8.settings import Settings
from tests.browser.chromium import Page, browsing, find_chromium
from tests.deployments.sites import SITE, site_of

POOL = "seen-by-a-test"

#: Where each of the two interfaces is.
INTERFACES = ("", "/v2")

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def page(
    require: Callable[[Callable[[], object]], None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    """Get a page of a browser."""
    try:
        require(find_chromium)
    except Exception as error:  # noqa: BLE001  # as with haproxy: what cannot be had is skipped
        pytest.skip(str(error))
    with browsing(tmp_path_factory.mktemp("chromium")) as opened_page:
        yield opened_page


@pytest.fixture
def site(prefect_api: str, tmp_path: Path) -> Iterator[Settings]:
    """Get a site whose flows are deployed."""
    access = PrefectAccess(api_url=prefect_api, named_by="a test")
    found = site_of(tmp_path, f'[deployments]\npool = "{POOL}"\n{SITE}')
    register(found, access)
    yield found
    with opened(access) as server:
        for each in server.ours(POOL):
            server.remove(each)


def shots(tmp_path: Path) -> Path:
    """Where pictures are kept: a folder that a person names to look at them."""
    folder = Path(os.environ.get("MEDIC8_PICTURES") or tmp_path / "pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_every_form_is_one_that_a_person_can_fill_in(
    page: Page, site: Settings, prefect_api: str, tmp_path: Path
) -> None:
    """Each field is there by its title and its description, and none is a box for JSON."""
    root = prefect_api.removesuffix("/api")
    seen = set[str]()
    for each in wanted(site):
        if each.flow in seen:
            continue
        seen.add(each.flow)
        found = httpx.get(f"{prefect_api}/deployments/name/{each.title}", trust_env=False, timeout=60).json()
        fields = each.form["properties"].values()
        said = [str(field[word]) for field in fields for word in ("title", "description")]
        for interface in INTERFACES:
            page.go(f"{root}{interface}/deployments/deployment/{found['id']}/run")
            page.wait("Run Name", *said)
            page.picture(shots(tmp_path) / f"{each.flow}{interface.replace('/', '-')}.png")
            # An editor of code is what a field becomes that has no simpler form.
            assert page.run("document.querySelectorAll('.cm-editor').length") == 0, (each.flow, interface)
    assert {"heal", "health", "undo", "restore_backup", "watch_schedules"} <= seen


def test_a_run_that_has_ended_says_what_was_found(
    page: Page, prefect_told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, valkey_url: str
) -> None:
    """Its state is the health, its message the reason, and its report an artifact."""
    text = f'[[target]]\nname = "seen"\nkind = "valkey"\nurl = "{valkey_url}"\n'
    found = site_of(tmp_path, text)
    monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDIC8_CONFIG", str(found.source))
    report = run("health", target="seen")
    question = {"flow_runs": {"name": {"any_": ["health of seen"]}}, "sort": "START_TIME_DESC", "limit": 1}
    (ended,) = httpx.post(
        f"{prefect_told}/flow_runs/filter", json=question, trust_env=False, timeout=60
    ).json()
    state = report.analysis.health.value.capitalize()
    assert (ended["state"]["type"], ended["state"]["name"]) == ("COMPLETED", state)
    root = prefect_told.removesuffix("/api")
    for interface in INTERFACES:
        page.go(f"{root}{interface}/runs/flow-run/{ended['id']}")
        page.wait("health of seen", state, "seen is")
        page.picture(shots(tmp_path) / f"run{interface.replace('/', '-')}.png")
