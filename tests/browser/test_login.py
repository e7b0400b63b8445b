"""What a person meets at the local stack's own Prefect server, which asks for a password."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from medic8.errors import ConfigurationError
from medic8.local import stack
from medic8.local.password import read_password
from medic8.local.stack import StackStatus
from tests.browser.chromium import browsing, find_chromium

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture
def status(tmp_path: Path) -> Iterator[StackStatus]:
    """Get a stack as `medic8 up` starts it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    try:
        yield stack.up(tmp_path / "home", progress=lambda _: None, environment=environment)
    finally:
        stack.remove(tmp_path / "home", progress=lambda _: None)


@pytest.mark.parametrize("interface", ["", "/v2"])
def test_who_pastes_what_status_shows_is_let_in(
    require: Callable[[Callable[[], object]], None], tmp_path: Path, status: StackStatus, interface: str
) -> None:
    """Both interfaces ask first, in a field that shows nothing of it, and then show the runs."""
    try:
        require(find_chromium)
    except ConfigurationError as error:
        pytest.skip(str(error))
    folder = tmp_path / "chromium"
    folder.mkdir()
    with browsing(folder) as page:
        page.go(f"{status.prefect_ui_url}{interface}/runs")
        page.wait("Login")
        field = "document.querySelector('input[type=password]')"
        assert page.run(f"{field} !== null")
        page.run(f"{field}.focus()")
        page.type(str(read_password(status.home)))
        page.click("Login")
        page.wait("Runs", "Deployments")
        pictures = Path(os.environ.get("MEDIC8_PICTURES") or tmp_path / "pictures")
        pictures.mkdir(parents=True, exist_ok=True)
        page.picture(pictures / f"login{interface.replace('/', '-')}.png")
