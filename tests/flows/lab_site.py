"""The lab as a site where every strategy is allowed, and a heal that is told yes to one of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.run import run
from medic8.local.lab.faults import FAULTS
from medic8.model.issue import IssueType
from medic8.model.resolution import Outcome
from medic8.settings import load_settings
from medic8.targets.registry import kind_named
from medic8.targets.treatment import choose_plan
from medic8.targets.valkey.diagnostics import DIAGNOSTICS
from tests.local.broken_lab import Lab
from tests.local.test_lab_faults_of_servers import EXPECTED, client_of, skip_where_it_cannot_be
from tests.targets.valkey.looking_at import AROUND, report_of

KIND = kind_named("valkey")
#: A damaged snapshot goes the same road as a damaged append-only file, which takes seconds.
HEALED = [
    name for name in EXPECTED if FAULTS[name].healed_by in KIND.strategies and name != "damaged_snapshot"
]

#: The one half of them, whose tests take as long as the other's.
OF_CLIENTS = [name for name in HEALED if EXPECTED[name][1] in {IssueType.MEMORY_LEAK, IssueType.NETWORK}]

SITE = """
[[target]]
name = "server"
kind = "valkey"
url = "{url}"
mode = "act"
allow = [{allow}]
idle_client_age_s = 1

[[target.expiry]]
prefix = "medic8-lab-session:"
after = 3600

[[target]]
name = "lab"
kind = "grid"
url = "{url}"
mode = "act"
allow = [{of_grids}]
"""


def write_site(folder: Path, url: str, patch: pytest.MonkeyPatch) -> None:
    """Configure the lab's server at *url* and its grid."""
    allow = ", ".join(f'"{name}"' for name in KIND.strategies)
    of_grids = ", ".join(f'"{name}"' for name in kind_named("grid").strategies)
    (folder / "medic8.toml").write_text(SITE.format(url=url, allow=allow, of_grids=of_grids))
    patch.setenv("MEDIC8_HOME", str(folder / "home"))
    patch.setenv("MEDIC8_CONFIG", str(folder / "medic8.toml"))


def assert_healed_as_the_table_says(lab: Lab, fault: str) -> None:
    """Under load, end to end, after a yes to exactly that plan where it needs one."""
    skip_where_it_cannot_be(fault)
    is_there, issue_type, _ = EXPECTED[fault]
    strategy = FAULTS[fault].healed_by
    lab.make("background_load")
    lab.make(fault)
    with client_of(lab.server.url) as client:
        assert is_there(client)
        agreed = _agreed(strategy)
        for _ in range(3):
            treatment = run("heal", target="server", approved=agreed)
            tried = [each for each in treatment.resolutions if each.plan and each.plan.strategy == strategy]
            asked = [each.plan.digest for each in tried if each.outcome is Outcome.AWAITING_APPROVAL]
            if not asked:
                break
            agreed += asked  # since it looked, the server has changed, and the plan with it
        (resolution,) = tried
        assert resolution.issue.issue_type is issue_type
        assert resolution.outcome in {Outcome.RESOLVED, Outcome.PARTLY_RESOLVED}, resolution.reason


def _agreed(strategy: str) -> list[str]:
    """Digests of what *strategy* would do about the server as it is; without the flows, which cost more."""
    target = load_settings().target("server")
    around = replace(AROUND, now=datetime.now(UTC))
    report = report_of(*(look(target, around) for look in DIAGNOSTICS.values()))
    plans = [choose_plan(KIND, issue, report, target) for issue in report.issues]
    return [plan.digest for plan in plans if plan and plan.strategy == strategy and plan.needs_approval]
