"""A diagnosis that watches, through the flow, and what it keeps for the next one."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.run import run
from medic8.model.issue import Severity
from tests.flows.server_site import Configure
from tests.targets.valkey.test_growth import writing

pytestmark = pytest.mark.usefixtures("prefect_api")


def test_what_grows_is_told_within_the_seconds_that_were_asked_for(
    configure: Configure, valkey_url: str, tmp_path: Path
) -> None:
    """By the prefix that grows; and a sample is kept under Medic8's home for the next diagnosis."""
    configure()
    with writing(valkey_url, lambda client, number: client.set(f"session:{number}", "x" * 40_000)):
        report = run("diagnose", target="server", watch_s=6.0)
    (told,) = [each for each in report.analysis.findings if each.about == "growth"]
    assert (told.code, told.severity) == ("memory.grows", Severity.INFO)
    assert told.advice
    assert (tmp_path / "home" / "samples" / "server.jsonl").read_text().count("\n") == 1
