"""Faults on the way to the lab's server, made by a proxy."""

from __future__ import annotations

import random

from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import Fault, Harm


def proxy_delays(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Bring each answer *strength* milliseconds late."""
    return bench.start("proxy", seed=rng.randrange(1 << 30), amount=strength, style="delays")


def proxy_drops(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Let *strength* per cent of all connections wait for ever."""
    return bench.start("proxy", seed=rng.randrange(1 << 30), amount=strength, style="drops")


def proxy_resets(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Reset *strength* per cent of all connections when they first ask for something."""
    return bench.start("proxy", seed=rng.randrange(1 << 30), amount=strength, style="resets")


def expiring_certificate(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Open a door with TLS whose certificate ends in *strength* days."""
    return bench.start("expiring", amount=strength)


def flapping(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Open a door for *strength* milliseconds, close it for as long, and so on."""
    return bench.start("flapping", amount=strength)


FAULTS = (
    Fault(
        "proxy_delays",
        "a proxy brings each answer late",
        "milliseconds",
        120,
        "",
        proxy_delays,
        "way",
        "look at the network between: it is not the server that is slow",
        5000,
    ),
    Fault(
        "proxy_drops",
        "a proxy lets connections wait for ever, as a firewall does that drops",
        "per cent of connections",
        100,
        "",
        proxy_drops,
        "way",
        "look for a firewall or a host that is gone between",
        100,
    ),
    Fault(
        "proxy_resets",
        "a proxy resets connections",
        "per cent of connections",
        100,
        "",
        proxy_resets,
        "way",
        "look at what is between: it ends connections that the server would keep",
        100,
    ),
    Fault(
        "expiring_certificate",
        "a door with TLS presents a certificate that ends soon",
        "days left",
        3,
        "",
        expiring_certificate,
        "way",
        "renew the certificate, and have what presents it read it again",
        29,
    ),
    Fault(
        "flapping",
        "a door to the server comes and goes",
        "milliseconds open, and as many closed",
        300,
        "",
        flapping,
        "way",
        "look who starts or moves what is behind the address, again and again",
        1000,
    ),
)
