"""The document lists what is deployed."""

from __future__ import annotations

import re
from pathlib import Path

from deployments.catalogue import LOOK_S, wanted
from medic8.model.schedule import SiteSchedule
from tests.deployments.sites import site_of

DOCUMENT = (Path(__file__).parents[2] / "docs" / "deployments.md").read_text()

#: A target of a kind that everything is for, and one of the kind that has a flow of its own.
SITE = """
[[target]]
name = "target"
kind = "valkey"
url = "valkey://127.0.0.1:1/0"
mode = "act"
allow = ["set_settings"]
[target.schedule]
backup = 3600
[[target]]
name = "waves"
kind = "grid"
url = "valkey://127.0.0.1:1/0"
[target.schedule]
health = 0
"""


def rows(heading: str) -> list[list[str]]:
    """The cells of the table with *heading*."""
    table = DOCUMENT[DOCUMENT.index(heading) :].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_what_a_person_can_start_is_listed_with_its_form(tmp_path: Path) -> None:
    """In the order of the catalogue."""
    site = site_of(tmp_path, SITE)
    by_hand = [each for each in wanted(site) if " of target" not in each.title and not each.schedule]
    expected = [
        [f"`{each.title}`", " ".join(f"`{name}`" for name in each.form["properties"])] for each in by_hand
    ]
    assert [[row[0], row[2]] for row in rows("| deployment | what it does | form |")] == expected


def test_what_runs_by_itself_is_listed_with_how_often(tmp_path: Path) -> None:
    """As it is where nothing is configured."""
    site = site_of(tmp_path, SITE)
    expected = [each.title.replace("target", "TARGET") for each in wanted(site) if each.schedule]
    listed = rows("| deployment | what it does | every | set by |")
    assert [row[0].strip("`") for row in listed] == expected
    for row in listed:
        assert row[2] == f"{getattr(SiteSchedule(), row[3].strip('`'))} s"
    assert f"looks for {LOOK_S} s" in listed[1][1]
    assert set(re.findall(r"`(\w+)`", " ".join(row[3] for row in listed))) == set(
        SiteSchedule.model_fields
    ) - {"heal"}
