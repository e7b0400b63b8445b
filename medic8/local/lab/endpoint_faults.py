"""Faults of HTTP endpoints, each a real service of the lab."""

from __future__ import annotations

import random
from collections.abc import Callable

from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import Fault, Harm

_SEEDS = 1 << 30

_CERTIFICATE = "renew the certificate, and have the service read it again"


def _serving(style: str) -> Callable[[Bench, random.Random, int], tuple[Harm, ...]]:
    """Start a service that is ill in a way."""

    def make(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
        return bench.start("service", seed=rng.randrange(_SEEDS), amount=strength, style=style)

    return make


def _fault(
    name: str, summary: str, advice: str, *, counts: str = "1", usual: int = 1, most: int = 1
) -> Fault:
    style = name.removeprefix("endpoint_")
    return Fault(name, summary, counts, usual, "", _serving(style), "endpoint", advice, most)


FAULTS = (
    _fault("endpoint_fails", "a service answers every request with status 500", "look at the service's log"),
    _fault(
        "endpoint_busy",
        "a service says that it is too busy, and not for how long",
        "look at its load; have it send Retry-After",
    ),
    _fault(
        "endpoint_slow",
        "a service answers late",
        "look at what the service waits for",
        counts="milliseconds",
        usual=1500,
        most=4000,
    ),
    _fault(
        "endpoint_flaps",
        "a service answers some requests with status 500",
        "look whether one of several servers behind the address is ill",
        counts="per cent of requests",
        usual=50,
        most=90,
    ),
    _fault("endpoint_silent", "a service takes requests and never answers", "look at the service's process"),
    _fault(
        "endpoint_half_open",
        "a port of TLS opens connections, and nothing is behind it: no handshake is answered",
        "look at what is behind the proxy or address: it hangs, or is gone",
    ),
    _fault(
        "endpoint_endless",
        "a service answers without end",
        "have the url name a small answer, such as /health",
    ),
    _fault(
        "endpoint_expired",
        "a service presents a certificate that has expired",
        _CERTIFICATE,
        counts="days ago",
        usual=3,
        most=60,
    ),
    _fault(
        "endpoint_ending",
        "a service presents a certificate that ends soon",
        _CERTIFICATE,
        counts="days left",
        usual=5,
        most=29,
    ),
    _fault(
        "endpoint_other_name",
        "a service presents a certificate of another name",
        "have the certificate issued for this name",
    ),
)
