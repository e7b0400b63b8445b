"""What can be done about the issues of a server, by the name that an allow-list spells."""

from __future__ import annotations

from collections.abc import Mapping

from medic8.targets.kind import Strategy
from medic8.targets.valkey.plans.buffers import LIMIT_CLIENT_BUFFERS, plan_limits
from medic8.targets.valkey.plans.certificate import RELOAD_CERTIFICATE, plan_reload
from medic8.targets.valkey.plans.clients import KILL_HOGGING_CLIENT, plan_kill_hogs
from medic8.targets.valkey.plans.dead_clients import (
    KEEP_CONNECTIONS_ALIVE,
    KILL_DEAD_CLIENTS,
    plan_keepalive,
    plan_kill_dead,
)
from medic8.targets.valkey.plans.expiry import EXPIRE_FORGOTTEN_KEYS, plan_expiry
from medic8.targets.valkey.plans.files import REWRITE_FILES, plan_rewrite
from medic8.targets.valkey.plans.limits import (
    KILL_IDLE_CLIENTS,
    RAISE_MEMORY_LIMIT,
    plan_kill_idle,
    plan_raise,
)
from medic8.targets.valkey.plans.memory import FLUSH_SCRIPTS, PURGE_MEMORY, plan_flush, plan_purge
from medic8.targets.valkey.plans.replication import (
    RESIZE_BACKLOG,
    RESYNC_REPLICA,
    plan_backlog,
    plan_resync,
)
from medic8.targets.valkey.plans.scale import SCALE_OUT, plan_scale
from medic8.targets.valkey.plans.settings import SET_SETTINGS, plan_settings
from medic8.targets.valkey.plans.slow import (
    FREE_LAZILY,
    KILL_SCRIPT,
    KILL_SLOW_CLIENT,
    plan_free_lazily,
    plan_kill_script,
    plan_kill_slow,
)

#: The cheapest and safest first.
STRATEGIES: Mapping[str, Strategy] = {
    PURGE_MEMORY: plan_purge,
    RELOAD_CERTIFICATE: plan_reload,
    SET_SETTINGS: plan_settings,
    KEEP_CONNECTIONS_ALIVE: plan_keepalive,
    FREE_LAZILY: plan_free_lazily,
    RESIZE_BACKLOG: plan_backlog,
    LIMIT_CLIENT_BUFFERS: plan_limits,
    EXPIRE_FORGOTTEN_KEYS: plan_expiry,
    RAISE_MEMORY_LIMIT: plan_raise,
    FLUSH_SCRIPTS: plan_flush,
    KILL_DEAD_CLIENTS: plan_kill_dead,
    KILL_HOGGING_CLIENT: plan_kill_hogs,
    KILL_IDLE_CLIENTS: plan_kill_idle,
    KILL_SLOW_CLIENT: plan_kill_slow,
    KILL_SCRIPT: plan_kill_script,
    REWRITE_FILES: plan_rewrite,
    RESYNC_REPLICA: plan_resync,
    SCALE_OUT: plan_scale,
}
