"""The lab for people: what can be broken, what was, and what was made good."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType

from medic8.cli.render import bullets, facts, line, section, table, text

if TYPE_CHECKING:
    from medic8.local.lab.actors import Actor
    from medic8.local.lab.breakage import Breakage, Fault, State
    from medic8.local.lab.reset import LabReset

_PARTS = {
    "grid": "Faults of the grid",
    "server": "Faults of its server",
    "replica": "Faults of a replica of the server",
    "way": "Faults on the way to the server",
    "process": "Faults of a process",
    "host": "Faults of the host",
    "endpoint": "Faults of an endpoint",
}

#: Kinds of the targets that meet a fault at an address of its own.
_KINDS = {"process": "process", "endpoint": "endpoint"}

_HEALTHY = {
    "grid": "Healthy states of the grid, and left alone",
    "server": "Healthy states of its server, and left alone",
    "process": "Healthy states of a process, and left alone",
    "host": "Healthy states of the host, and left alone",
    "endpoint": "Healthy states of an endpoint, and left alone",
}


def render_breakage(breakage: Breakage, fault: Fault, watcher: str) -> Iterator[RenderableType]:
    """What was broken, and how to see it; *watcher* is the target to diagnose, empty if there is none."""
    yield line(
        text(breakage.target, "bold"), text(f"broken by {breakage.fault}", "red"), f"seed {breakage.seed}"
    )
    yield bullets(breakage.what)
    if breakage.url and not (watcher and fault.part == "process"):
        kind = _KINDS.get(fault.part, "valkey")
        yield section(
            "Next",
            text(f"a target of kind {kind} at this address meets it:"),
            text(f'url = "{breakage.url}"', "bold"),
            text("medic8 lab reset"),
        )
    elif watcher:
        healing = f"medic8 heal {watcher}" if fault.healed_by else fault.advice
        looking = f"medic8 diagnose {watcher}" + (" --watch 10" if fault.part == "process" else "")
        yield section("Next", text(looking), text(healing), text("medic8 lab reset"))


def render_state(staged: Breakage, state: State, watcher: str) -> Iterator[RenderableType]:
    """What was brought about, and what it must not be taken for."""
    yield line(text(staged.target, "bold"), text(f"shows {staged.fault}", "green"), f"seed {staged.seed}")
    yield bullets(staged.what)
    yield text(f"It looks like {state.looks_like}, and nothing is to be healed.")
    if watcher:
        yield section("Next", text(f"medic8 diagnose {watcher}"), text("medic8 lab reset"))


def render_list(
    faults: Sequence[Fault], states: Sequence[State], actors: Sequence[Actor]
) -> Iterator[RenderableType]:
    """One table for each part that can be broken, one of healthy states, and who acts at present."""
    for part, heading in _PARTS.items():
        listed = table("fault", "what it does", "strength", "healed by")
        for fault in faults:
            if fault.part == part:
                healed_by = text(fault.healed_by) if fault.healed_by else text(fault.advice, "dim")
                listed.add_row(text(fault.name, "bold"), text(fault.summary), _size(fault), healed_by)
        yield section(heading, listed)
    for part, heading in _HEALTHY.items():
        healthy = table("state", "what happens", "strength", "looks like")
        for state in states:
            if state.part == part:
                words = text(state.name, "bold"), text(state.summary), _size(state), text(state.looks_like)
                healthy.add_row(*words)
        yield section(heading, healthy)
    if actors:
        yield section("Actors that run", bullets(actor.shown for actor in actors))
    yield section(
        "Next",
        facts(
            (
                ("medic8 lab reset", "ends all faults, and makes the grid, or makes it anew"),
                ("medic8 lab break flip_bits --strength 20", "breaks it"),
                ("medic8 lab stage doubled_traffic", "shows what is to be left alone"),
                ("medic8 backup create lab", "before what parity cannot heal"),
            )
        ),
    )


def render_reset(made: LabReset, target: str) -> Iterator[RenderableType]:
    """The grid that there is now, and what was taken back."""
    yield line(
        text(target, "bold"),
        text("as good as new", "green"),
        f"grid {made.grid}, {made.depth} layers, {made.blocks:,} blocks",
    )
    if made.taken_back:
        yield bullets(made.taken_back)
    yield section("Next", text("medic8 lab list"))


def _size(what: Fault | State) -> RenderableType:
    return text("always 1" if what.strength == "1" else f"{what.strength}, {what.default:,} by default")
