"""What can be done about the issues of a process, by the names that an allow-list spells."""

from __future__ import annotations

from collections.abc import Mapping

from medic8.targets.kind import Strategy
from medic8.targets.process.plans.reload import RELOAD_PROCESS, plan_reload
from medic8.targets.process.plans.restart import RESTART_PROCESS, plan_restart
from medic8.targets.process.plans.weigh import WEIGH_DOWN, plan_weigh

#: The cheapest and safest first.
STRATEGIES: Mapping[str, Strategy] = {
    WEIGH_DOWN: plan_weigh,
    RELOAD_PROCESS: plan_reload,
    RESTART_PROCESS: plan_restart,
}
