"""What the network left behind is set right through the flows, on real servers with real faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.run import run
from medic8.model.guard import Verdict
from medic8.model.resolution import Outcome, Resolution, Treatment
from medic8.targets.valkey.client import connection, setting
from tests.flows.server_site import Configure
from tests.raw_clients import RawClient
from tests.targets.valkey.bad_doors import certify
from tests.targets.valkey.tls_servers import needs_tls, put, serial_of, tls_server
from tests.targets.valkey.vanishing import VanishingClient, needs_vanishing

pytestmark = pytest.mark.usefixtures("prefect_api")


def about(treatment: Treatment, what: str) -> Resolution:
    (resolution,) = [each for each in treatment.resolutions if each.issue.about == what]
    return resolution


@needs_vanishing
def test_dead_clients_are_closed_when_a_person_agrees_and_the_living_stay(
    configure: Configure, valkey_url: str
) -> None:
    """Keep-alive is put on without asking; who vanished is closed by the plan that was agreed to."""
    configure(allow='"keep_connections_alive", "kill_dead_clients"')
    with (
        connection(valkey_url) as client,
        VanishingClient(valkey_url, "job").vanish() as dead,
        RawClient(valkey_url, "job") as living,
    ):
        client.config_set("tcp-keepalive", 0)
        asked = run("heal", target="server")
        assert about(asked, "tcp-keepalive").outcome is Outcome.RESOLVED
        assert about(asked, "tcp-keepalive").verdict is Verdict.BETTER
        assert setting(client, "tcp-keepalive") == "120"  # what the site's rule makes of 300
        waiting = about(asked, "dead clients")
        assert waiting.outcome is Outcome.AWAITING_APPROVAL
        assert waiting.plan is not None
        assert dead.is_connected
        done = about(run("heal", target="server", approved=[waiting.plan.digest[:12]]), "dead clients")
        assert (done.outcome, done.verdict) == (Outcome.RESOLVED, Verdict.BETTER), done.reason
        assert not dead.is_connected
        assert living.is_connected


@needs_vanishing
def test_nobody_is_closed_unless_the_site_allows_it(configure: Configure, valkey_url: str) -> None:
    """Off by default, as every strategy."""
    configure(allow="")
    with VanishingClient(valkey_url, "job").vanish() as dead:
        refused = about(run("heal", target="server"), "dead clients")
        assert refused.outcome is Outcome.REFUSED
        assert "allow-list" in refused.reason
        assert dead.is_connected


@needs_tls
def test_a_renewed_certificate_is_read_again_without_asking(configure: Configure, tmp_path: Path) -> None:
    """Harmless, so the allow-list is enough: the new one is presented, and the issue is gone."""
    issuer = certify(tmp_path, "issuer")
    old, new = certify(tmp_path, "server", by=issuer, days=3), certify(tmp_path, "renewed", by=issuer)
    with tls_server(tmp_path, old, issuer) as url:
        configure(allow='"reload_certificate"', url=url)
        put(new, old)
        done = about(run("heal", target="server"), "certificate")
        assert (done.outcome, done.verdict) == (Outcome.RESOLVED, Verdict.BETTER), done.reason
        serial = run("diagnose", target="server").results["certificate"].reading("certificate.serial")
        assert serial is not None
        assert serial.value == serial_of(new)
