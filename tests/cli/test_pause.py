"""A person stops what is begun, sees why something would be refused, and lets it go on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from medic8.cli.pause import parse_until
from medic8.errors import ConfigurationError
from medic8.model.policy import Mandate, Origin, Reservation
from medic8.model.target import Resource
from medic8.owner import this_process
from medic8.recovery.journal import Journal
from tests.recovery.memory import plan_of

if TYPE_CHECKING:
    from tests.cli.conftest import Answers, Medic8, Samples

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def test_a_pause_is_begun_shown_and_ended(medic8: Medic8) -> None:
    """The reason is asked for, since whoever is stopped at night has to know it."""
    assert medic8("pause").code == 2
    assert medic8("pause", "--reason", " ").code == 2
    assert medic8("pause", "pan", "--reason", "r").code == 2
    assert medic8("pause", "tier=web", "--reason", "r").code == 2
    begun = medic8("pause", "pot", "--reason", "it is being descaled", "--until", "2h", "--json")
    assert begun.document["paused"]["on"] == "pot"
    assert medic8("pause", "--reason", "all hands").code == 0
    shown = medic8("policy", "show")
    assert "it is being descaled" in shown.out
    assert "everything" in shown.out
    assert [each["on"] for each in medic8("resume", "--json").document["paused"]] == ["pot"]
    assert medic8("resume").code == 1
    assert medic8("resume", "pot").out.strip() == "nothing is paused"


def test_status_says_what_is_paused_by_whom_and_why(
    medic8: Medic8, environ: dict[str, str], prefect_api: str, tmp_path: Path
) -> None:
    """Whoever wonders at night why nothing is healed looks there first; Prefect's variable counts as well."""
    assert medic8("status", "--json").document["paused"] == []
    medic8("pause", "pot", "--reason", "it is being descaled", "--until", "2h")
    shown = medic8("status").out
    assert ("pot is paused since " in shown, "it is being descaled" in shown, " until " in shown) == (
        True,
    ) * 3
    environ["PREFECT_API_URL"] = prefect_api
    with httpx.Client(base_url=prefect_api, trust_env=False, timeout=60) as client:
        made = client.post("/variables/", json={"name": "medic8_paused", "value": "all hands"}).json()
        try:
            told = medic8("status", "--json").document["paused"]
            assert [(each["on"], each["reason"]) for each in told][1:] == [("", "all hands")]
            assert "all hands" in medic8("policy", "show").out
        finally:
            client.delete(f"/variables/{made['id']}")
    (tmp_path / "medic8.toml").write_text("[recovry]\n")
    unknown = medic8("status")
    assert (unknown.code, "whether something is paused is not known: medic8.toml:1" in unknown.err) == (
        1,
        True,
    )


def test_what_would_be_decided_is_told_with_the_rule_and_its_numbers(medic8: Medic8) -> None:
    """For whoever asks: a person is bound by less than a schedule."""
    assert medic8("policy", "check", "pot", "--strategy", "descale").code == 0
    medic8("pause", "--reason", "all hands")
    refused = medic8("policy", "check", "pot", "--json")
    assert (refused.code, refused.document["refused"]["rule"]) == (1, "pause")
    assert refused.document["refused"]["numbers"][0] == {"what": "paused", "seen": "everything", "limit": ""}
    told = medic8("policy", "check", "pot", "--strategy", "polish")
    assert (told.code, "not on the allow-list" in told.out, "all hands" in told.out) == (1, True, True)
    for wrong in (("--issue", "rust"), ("--origin", "cat")):
        assert medic8("policy", "check", "pot", *wrong).code == 2


def test_a_check_is_about_the_issue_that_was_treated_most(medic8: Medic8, tmp_path: Path) -> None:
    """Nobody knows a fingerprint by heart; a person is told what binds only others."""
    assert medic8("policy", "check", "pot").code == 0
    journal = Journal(f"sqlite:///{tmp_path}/home/journal.sqlite")
    at = datetime.now(UTC) - timedelta(hours=2)
    for number in range(5):
        journal.open(
            plan_of((("a", "b"),)),
            (Resource(identity=f"pot:{number}", carries="the pot"),),
            this_process(),
            stands_on="",
            at=at,
            admit=lambda _, opened: Reservation(
                recovery=opened.id,
                target="pot",
                issue="1" * 16,
                issue_type="network",
                mandate=Mandate(origin=Origin.ALERT),
                reserved_at=at,
            ),
        )
    flapping = medic8("policy", "check", "pot", "--issue", "network", "--json").document["rules"][-1]
    assert (flapping["rule"], flapping["numbers"][0]["seen"]) == ("flapping", "5")
    journal.dispose()


def test_a_timer_says_so_and_a_person_says_why(
    medic8: Medic8, answers: Answers, samples: type[Samples]
) -> None:
    """What is given goes through the door; an override is nothing for a timer."""
    from medic8.model.resolution import Treatment

    answers.treatment = Treatment(target="pot", kind="teapot", before=samples.a_report())
    assert medic8("heal", "pot", "--origin", "alert").code == 0
    assert medic8("heal", "pot", "--override", "it burns").code == 0
    assert answers.asked == [("heal", "pot", False, "alert"), ("heal", "pot", False, "it burns")]
    assert medic8("heal", "pot", "--origin", "alert", "--override", "it burns").code == 2
    assert medic8("heal", "pot", "--origin", "alert", "--approve", "0" * 12).code == 2
    assert medic8("heal", "pot", "--origin", "cat").code == 2


@pytest.mark.parametrize(
    ("text", "end"),
    [("90m", NOW + timedelta(minutes=90)), ("2026-02-01T00:00+00:00", NOW + timedelta(hours=12))],
)
def test_a_pause_ends_after_a_span_or_at_a_time(text: str, end: datetime) -> None:
    """The same letters as those of the history."""
    assert parse_until(text, now=NOW) == end
    for wrong in ("soon", "-2h", "2026-01-31T11:59+00:00"):
        with pytest.raises(ConfigurationError, match="--until"):
            parse_until(wrong, now=NOW)
