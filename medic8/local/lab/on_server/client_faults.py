"""Faults made by clients: one that does not read, one that watches everybody, too many of them."""

from __future__ import annotations

import random

from medic8.errors import RefusedError
from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import Fault, Harm
from medic8.local.lab.settings import change_setting
from medic8.model.wording import size
from medic8.targets.valkey.client import info, setting

_NEARLY = 0.85
_OUTPUT = "client-output-buffer-limit"
_MIB = 1 << 20

#: A limit for all clients together, 5 % of the memory, is below what waits for one of them.
_LIMIT_PARTS = 15

#: So much more is asked for, since the kernel takes some of it.
_KERNEL_MIB = 8


def background_load(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Read and write *strength* times a second, as applications do; nothing is wrong with that."""
    return bench.start("load", seed=rng.randrange(1 << 30), amount=strength)


def slow_reader(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Ask for much and do not read it, until *strength* MiB of output wait."""
    words = (setting(bench.client, _OUTPUT) or "").split()
    # Classes, each with the most of a client, the most for a while, and that while; 0 is no limit.
    limits = [int(word) for word in words[words.index("normal") + 1 :][:2]] if "normal" in words else []
    if any(0 < limit < (strength + _KERNEL_MIB) * _MIB for limit in limits):
        raise RefusedError(
            f"strength {strength}: setting {_OUTPUT} is '{' '.join(words)}', so that the server would close "
            "such a client"
        )
    return bench.start("slow_reader", amount=strength)


def clients_without_limit(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Have *strength* MiB wait for a client, of a server that limits its memory, and not its clients."""
    limit, used = strength * _LIMIT_PARTS * _MIB, int(info(bench.client, "memory")["used_memory"])
    if used > limit // 2:
        raise RefusedError(
            f"strength {strength}: {size(used)} are in use, and a limit of {size(limit)} would be near"
        )
    change_setting(bench.client, "maxmemory-clients", "0")
    change_setting(bench.client, "maxmemory", str(limit))
    said = Harm(what=f"maxmemory is {size(limit)}, and maxmemory-clients is 0: no limit")
    return (said, *slow_reader(bench, rng, strength))


def forgotten_monitor(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Leave *strength* connections that watch every command."""
    return tuple(harm for _ in range(strength) for harm in bench.start("monitor"))


def too_many_clients(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Lower ``maxclients`` to *strength* more than there are, and open connections until one is refused."""
    limit = _connected(bench) + strength
    change_setting(bench.client, "maxclients", str(limit))
    # One more is turned away; a connection of the lab may leave meanwhile, so there are more to come.
    return (
        Harm(what=f"setting maxclients is {limit:,}"),
        *bench.start("hold", amount=2 * limit, style="full"),
    )


def idle_clients(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Open *strength* connections that do nothing, of the number that 85 % of ``maxclients`` are."""
    harms = bench.start("hold", amount=strength)
    limit = round(_connected(bench) / _NEARLY)
    change_setting(bench.client, "maxclients", str(limit))
    return (*harms, Harm(what=f"setting maxclients is {limit:,}, of which {_NEARLY:.0%} are in use"))


def _connected(bench: Bench) -> int:
    return int(info(bench.client, "clients")["connected_clients"])


FAULTS = (
    Fault(
        "background_load",
        "reads and writes at a steady rate, for other faults to disturb; nothing is wrong with it",
        "operations a second",
        200,
        "",
        background_load,
        "server",
        "nothing is to be healed",
        5000,
    ),
    Fault(
        "slow_reader",
        "a client asks for much and does not read, so that output waits in the server's memory",
        "MiB",
        24,
        "kill_hogging_client",
        slow_reader,
        "server",
        most=256,
    ),
    Fault(
        "clients_without_limit",
        "as slow_reader, of a server that limits its memory, and not that of its clients",
        "MiB",
        24,
        "limit_client_buffers",
        clients_without_limit,
        "server",
        most=256,
    ),
    Fault(
        "forgotten_monitor",
        "a client watches every command (MONITOR)",
        "clients",
        1,
        "kill_hogging_client",
        forgotten_monitor,
        "server",
        most=4,
    ),
    Fault(
        "too_many_clients",
        "connections that do nothing fill the server up to maxclients, until it turns one away",
        "connections",
        100,
        "kill_idle_clients",
        too_many_clients,
        "server",
        most=2000,
    ),
    Fault(
        "idle_clients",
        "connections that do nothing take most of maxclients",
        "connections",
        60,
        "kill_idle_clients",
        idle_clients,
        "server",
        most=2000,
    ),
)
