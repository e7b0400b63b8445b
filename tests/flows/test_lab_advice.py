"""What the lab says of faults that are for a person is true: they are left with advice."""

from __future__ import annotations

import pytest

from flows.run import run
from medic8.local.lab.faults import FAULTS
from medic8.model.resolution import Outcome
from tests.local.broken_lab import Lab
from tests.local.test_lab_faults_of_servers import EXPECTED, WATCHED_S, client_of

pytestmark = pytest.mark.usefixtures("prefect_api")

ADVISED = [name for name in EXPECTED if not FAULTS[name].healed_by and name not in WATCHED_S]


@pytest.mark.parametrize("fault", ADVISED)
def test_a_fault_that_is_for_a_person_is_left_as_found_with_advice(lab: Lab, fault: str) -> None:
    """Nothing is changed, and what a person can do is in the resolution."""
    is_there, issue_type, about = EXPECTED[fault]
    lab.make(fault)
    with client_of(lab.server.url) as client:
        assert is_there(client)
        treatment = run("heal", target="server")
        of_fault = [each for each in treatment.resolutions if each.issue.about == about]
        assert [(each.issue.issue_type, each.outcome) for each in of_fault] == [
            (issue_type, Outcome.UNSUPPORTED)
        ]
        assert of_fault[0].left
        assert is_there(client)


@pytest.mark.parametrize("fault", WATCHED_S)
def test_a_fault_that_shows_while_one_watches_comes_with_advice(lab: Lab, fault: str) -> None:
    """As the table says; nothing that heals would be started by a watch."""
    is_there, issue_type, about = EXPECTED[fault]
    lab.make(fault)
    report = run("diagnose", target="server", watch_s=WATCHED_S[fault])
    (issue,) = [each for each in report.issues if each.about == about]
    assert issue.issue_type is issue_type
    assert any("XADD medic8-lab-events:all MAXLEN" in line for line in issue.advice)
    with client_of(lab.server.url) as client:
        assert is_there(client)
