"""What waits for a person is listed, agreed to or denied, and forwarded as a link."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medic8.cli.pause import this_person
from medic8.errors import TransientError
from medic8.model.approval import ApprovalRequest, Decided, Decision
from medic8.model.approving import Approvals
from medic8.model.resolution import Outcome, Treatment
from medic8.recovery import approvals
from medic8.recovery.journal import Journal
from tests.recovery.asking import wanted

if TYPE_CHECKING:
    from tests.cli.conftest import Answers, Medic8, Samples


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[ApprovalRequest]:
    """Get a plan for the teapot that somebody is asked about now."""
    journal = Journal(f"sqlite:///{tmp_path}/home/journal.sqlite")
    yield approvals.ask(journal, wanted(), Approvals(), datetime.now(UTC))
    journal.dispose()


def found(tmp_path: Path, request: ApprovalRequest) -> ApprovalRequest:
    journal = Journal(f"sqlite:///{tmp_path}/home/journal.sqlite")
    return approvals.find(journal, request.digest, datetime.now(UTC))


def test_what_waits_is_listed_and_denied_with_who_and_why(
    medic8: Medic8, asked: ApprovalRequest, answers: Answers, tmp_path: Path
) -> None:
    """Without Prefect, by a part of the digest; the second word is refused."""
    digest = asked.digest[:12]
    listed = medic8("approvals")
    assert (listed.code, digest in listed.out) == (1, True)
    assert medic8("deny", digest).code == 2  # why?
    assert medic8("deny", digest, "--reason", " ").code == 2
    assert medic8("deny", "0" * 12, "--reason", "r").code == 2
    denied = medic8("deny", digest, "--reason", "not tonight", "--json").document["denied"]
    assert (denied["decision"], denied["by"], denied["reason"]) == ("denied", this_person(), "not tonight")
    again = medic8("deny", digest, "--reason", "r", "--by", "ann")
    assert (again.code, "was denied by" in again.err) == (1, True)
    assert medic8("approvals").code == 0
    assert "not tonight" in medic8("approvals", "--all").out
    assert (answers.asked, found(tmp_path, asked).decision) == ([], Decision.DENIED)


def test_what_is_approved_is_handed_to_the_flow_and_what_came_of_it_is_shown(
    medic8: Medic8, asked: ApprovalRequest, answers: Answers, samples: type[Samples]
) -> None:
    """Who and why go with it; a run, or the beginning of one, names it as well."""
    well = samples.a_report()
    treatment = Treatment(
        target="pot",
        kind="teapot",
        before=well,
        resolutions=(samples.a_resolution(Outcome.RESOLVED),),
        after=well,
    )
    answers.decided = Decided(request=asked, treatment=treatment)
    done = medic8("approve", asked.run[:8], "--reason", " it is night ", "--by", "ann")
    assert (done.code, answers.asked) == (0, [("approve", asked.digest, "it is night", "ann")])
    assert "resolved" in done.out
    answers.decided = Decided(request=asked)
    assert medic8("approve", asked.digest, "--reason", "r").code == 1  # left to another worker
    answers.decided = TransientError("it is away")
    assert medic8("approve", asked.digest, "--reason", "r").code != 0
    answers.decided = KeyboardInterrupt()
    assert medic8("approve", asked.digest, "--reason", "r").code == 130


def test_a_link_is_made_for_whoever_shall_decide(
    medic8: Medic8, asked: ApprovalRequest, tmp_path: Path
) -> None:
    """It leads to the gateway of the configuration, and decides nothing by being made."""
    file = tmp_path / "medic8.toml"
    file.write_text(f'[approvals]\nurl = "https://heal.example/"\n{file.read_text()}')
    link = medic8("approvals", "--link", asked.digest[:12], "--json").document["link"]
    head, _, token = link.rpartition("/")
    assert head == f"https://heal.example/approve/{asked.digest}"
    journal = Journal(f"sqlite:///{tmp_path}/home/journal.sqlite")
    assert approvals.behind(journal, asked.digest, token, datetime.now(UTC)) == asked
    for wrong in ('url = "ftp://x"', "expires_s = 0", "quiet_s = -1", "link = 1"):
        file.write_text(f"[approvals]\n{wrong}\n")
        assert medic8("approvals").code == 2
