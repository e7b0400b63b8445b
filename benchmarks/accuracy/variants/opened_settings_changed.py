"""Settings that somebody changed for the worse, of a site that has said what they have to be."""

from __future__ import annotations

import time

from benchmarks.accuracy.site import Site
from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_means import setting


def break_fewer_clients(stage: Stage) -> str:
    """Somebody has pasted the settings of a test machine."""
    stage.client().config_set("maxclients", stage.strength)
    return ""


def site_clients(_: Stage) -> Site:
    """The site needs thousands."""
    return Site(setting=(("maxclients", 5000, None),))


def clients_lowered(stage: Stage) -> bool:
    """The setting is below what the site asks for."""
    return int(setting(stage.client(), "maxclients")) < 5000


def break_timeout(stage: Stage) -> str:
    """Connections are cut that have rested for seconds, under pools that keep them for minutes."""
    stage.client().config_set("timeout", stage.strength)
    time.sleep(0.1)
    return ""


def site_timeout(_: Stage) -> Site:
    """Pools keep connections for ten minutes."""
    return Site(setting=(("timeout", 900, None),))


def timeout_lowered(stage: Stage) -> bool:
    """The setting is out of its range."""
    return 0 < int(setting(stage.client(), "timeout")) < 900


def truth_fewer(_: Stage) -> Truth:
    """The site has said what is right."""
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.SETTING,
        objects=("maxclients",),
        also_cause=(Cause.MANY_CLIENTS,),
        healable=True,
    )


def truth_timeout(_: Stage) -> Truth:
    """Clients see it as connections that break; the type is a matter of taste."""
    return Truth(
        Answer.NETWORK,
        Cause.SETTING,
        objects=("timeout",),
        also_answer=(Answer.RESOURCE_EXHAUSTION, Answer.SLOW_OPERATIONS),
        also_cause=(Cause.WAY_CUT,),
        healable=True,
    )


VARIANTS = (
    Variant(
        "connections_limited_as_on_a_test_machine",
        "valkey",
        (80, 900),
        truth_fewer,
        break_fewer_clients,
        clients_lowered,
        site=site_clients,
        alone=True,
    ),
    Variant(
        "resting_connections_cut_in_seconds",
        "valkey",
        (3, 60),
        truth_timeout,
        break_timeout,
        timeout_lowered,
        site=site_timeout,
        alone=True,
    ),
)
