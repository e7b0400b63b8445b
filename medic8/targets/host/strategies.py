"""What can be done about the issues of a host, by the name that an allow-list spells."""

from __future__ import annotations

from collections.abc import Mapping

from medic8.targets.host.plans.backups import PRUNE_BACKUPS, plan_prune_backups
from medic8.targets.host.plans.files import EMPTY_QUARANTINE, PRUNE_FILES, plan_empty, plan_prune
from medic8.targets.kind import Strategy

#: The cheapest and safest first.
STRATEGIES: Mapping[str, Strategy] = {
    PRUNE_FILES: plan_prune,
    EMPTY_QUARANTINE: plan_empty,
    PRUNE_BACKUPS: plan_prune_backups,
}
