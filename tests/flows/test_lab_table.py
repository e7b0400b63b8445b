"""What the lab says of the faults of a server itself is true: healed by what it names."""

from __future__ import annotations

import pytest

from tests.flows.lab_site import HEALED, OF_CLIENTS, assert_healed_as_the_table_says
from tests.local.broken_lab import Lab

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.mark.parametrize("fault", [fault for fault in HEALED if fault not in OF_CLIENTS])
def test_a_fault_is_healed_by_what_the_table_names(lab: Lab, fault: str) -> None:
    """Under load, end to end, after a yes to exactly that plan where it needs one."""
    assert_healed_as_the_table_says(lab, fault)
