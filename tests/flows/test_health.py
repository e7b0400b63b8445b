"""Looking after a target by schedule, and treating it by one strategy alone."""

from __future__ import annotations

import pytest

from flows.run import run
from medic8.model.report import Health
from tests.flows.server_site import Configure, settings_of

pytestmark = pytest.mark.usefixtures("prefect_api")


def test_a_health_flow_only_looks_until_it_is_told_to_heal(configure: Configure, valkey_url: str) -> None:
    """Also on a target that lets Medic8 act; then it does what the target allows."""
    configure()
    before = settings_of(valkey_url)
    ill = run("health", target="server")
    assert ill.issues
    assert settings_of(valkey_url) == before
    run("health", target="server", heal_allowed=True)
    assert settings_of(valkey_url) != before


def test_a_health_flow_heals_nothing_on_a_target_that_is_only_observed(
    configure: Configure, valkey_url: str
) -> None:
    """Whatever the form said."""
    configure(mode="observe")
    before = settings_of(valkey_url)
    assert run("health", target="server", heal_allowed=True).analysis.health is not Health.HEALTHY
    assert settings_of(valkey_url) == before


def test_one_strategy_that_was_chosen_is_the_only_one_that_is_tried(
    configure: Configure, valkey_url: str
) -> None:
    """What it is not for is left as it is, and is no resolution."""
    configure(allow='"set_settings", "purge_memory"')
    before = settings_of(valkey_url)
    other = run("heal", target="server", strategy="purge_memory")
    assert other.resolutions == ()
    assert settings_of(valkey_url) == before
    chosen = run("heal", target="server", strategy="set_settings")
    assert {each.plan.strategy for each in chosen.resolutions} == {"set_settings"}
    assert settings_of(valkey_url) != before
