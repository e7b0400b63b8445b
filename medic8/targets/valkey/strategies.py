"""What can be done about the issues of a server, by the name that an allow-list spells."""

from __future__ import annotations

from collections.abc import Mapping

from medic8.targets.kind import Strategy
from medic8.targets.valkey.plans.clients import KILL_HOGGING_CLIENT, plan_kill_hogs
from medic8.targets.valkey.plans.files import REWRITE_FILES, plan_rewrite
from medic8.targets.valkey.plans.memory import PURGE_MEMORY, plan_purge
from medic8.targets.valkey.plans.replication import (
    RESIZE_BACKLOG,
    RESYNC_REPLICA,
    plan_backlog,
    plan_resync,
)
from medic8.targets.valkey.plans.settings import SET_SETTINGS, plan_settings

#: The cheapest and safest first.
STRATEGIES: Mapping[str, Strategy] = {
    PURGE_MEMORY: plan_purge,
    SET_SETTINGS: plan_settings,
    RESIZE_BACKLOG: plan_backlog,
    KILL_HOGGING_CLIENT: plan_kill_hogs,
    REWRITE_FILES: plan_rewrite,
    RESYNC_REPLICA: plan_resync,
}
