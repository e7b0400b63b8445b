"""A site with one server of a test's own, on which strategies against slowness and limits are allowed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import valkey
import valkey.exceptions

from flows.run import run
from medic8.local.scratch import ScratchValkey
from medic8.model.resolution import Outcome, Resolution, Treatment
from medic8.settings import load_settings
from medic8.targets.valkey.diagnostics import DIAGNOSTICS
from medic8.targets.valkey.strategies import STRATEGIES
from tests.targets.valkey.looking_at import AROUND, report_of

CONFIGURATION = """
[[target]]
name = "server"
kind = "valkey"
url = "{url}"
mode = "act"
allow = [{allow}]
{more}
"""


class Site:
    """The configuration of one target, in a folder of its own."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._file = folder / "medic8.toml"
        patch.setenv("MEDIC8_HOME", str(folder / "home"))
        patch.setenv("MEDIC8_CONFIG", str(self._file))

    def configure(self, url: str, strategy: str, more: str = "") -> None:
        """Allow *strategy* on the server at *url*."""
        self._file.write_text(CONFIGURATION.format(url=url, allow=f'"{strategy}"', more=more))


def resolution_by(treatment: Treatment, strategy: str) -> Resolution:
    """The one resolution by *strategy*."""
    (found,) = [each for each in treatment.resolutions if each.plan and each.plan.strategy == strategy]
    return found


def heal_as_agreed(strategy: str) -> Resolution:
    """Heal, be asked for approval, agree to exactly that, and heal again; the resolution by *strategy*."""
    asked = resolution_by(run("heal", target="server"), strategy)
    assert asked.outcome is Outcome.AWAITING_APPROVAL, asked.reason
    assert asked.plan is not None
    return resolution_by(run("heal", target="server", approved=[asked.plan.digest]), strategy)


def heal_with_a_yes(strategy: str, *looks: str) -> Resolution:
    """Heal once, with a yes to what *looks* lead to, or all; for tests of what comes after the asking."""
    target = load_settings().target("server")
    around = replace(AROUND, now=datetime.now(UTC))
    report = report_of(*(DIAGNOSTICS[name](target, around) for name in looks or DIAGNOSTICS))
    plans = [STRATEGIES[strategy](issue, report, target) for issue in report.issues]
    agreed = [each.digest for each in plans if each.units]
    assert agreed, [each.title for each in report.issues]
    return resolution_by(run("heal", target="server", approved=agreed), strategy)


def plain(url: str) -> valkey.Valkey:
    """A client that is none of Medic8's."""
    return valkey.Valkey.from_url(url, socket_timeout=60)


def wait_for(condition: Callable[[], object], *, most_s: float = 60.0) -> None:
    """Wait until *condition* holds."""
    deadline_s = time.monotonic() + most_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def fill(server: ScratchValkey) -> None:
    """Write until the server refuses it."""
    with plain(server.url) as client:
        client.config_set("maxmemory", str(32 << 20))
        for number in range(10_000):
            try:
                client.set(f"key:{number}", b"x" * 10_000)
            except valkey.exceptions.OutOfMemoryError:
                return
        raise AssertionError("the server takes more than its limit")
