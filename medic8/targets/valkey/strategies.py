"""What can be done about the issues of a server, by the name that an allow-list spells."""

from __future__ import annotations

from collections.abc import Mapping

from medic8.targets.kind import Strategy
from medic8.targets.valkey.plans.buffers import LIMIT_CLIENT_BUFFERS, plan_limits
from medic8.targets.valkey.plans.clients import KILL_HOGGING_CLIENT, plan_kill_hogs
from medic8.targets.valkey.plans.memory import FLUSH_SCRIPTS, PURGE_MEMORY, plan_flush, plan_purge
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
    LIMIT_CLIENT_BUFFERS: plan_limits,
    FLUSH_SCRIPTS: plan_flush,
    KILL_HOGGING_CLIENT: plan_kill_hogs,
    RESYNC_REPLICA: plan_resync,
}
