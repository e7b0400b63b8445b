"""What was registered, for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from medic8.cli.render import bullets, line, section, table, text, word
from medic8.model.registration import Change, Registration

_DONE = {
    Change.CREATED: "created",
    Change.CHANGED: "changed",
    Change.REMOVED: "removed",
    Change.UNCHANGED: "unchanged",
}


def render_registration(done: Registration) -> Iterator[RenderableType]:
    """What is other than before, each with its fields; then who is to work for it."""
    if done.is_dry_run:
        yield text("Nothing is changed: this would be.", "yellow")
    if done.is_new_pool:
        yield line(word("created"), text(f"work pool {done.pool}", "bold"))
    changed = [each for each in done.changes if each.change is not Change.UNCHANGED]
    if changed:
        listed = table("change", "deployment", "queue", "every", "")
        for each in changed:
            every = f"{each.every_s} s" if each.every_s else "-"
            fields = ", ".join(field.field for field in each.fields)
            listed.add_row(
                word(each.change.value), text(each.deployment, "bold"), text(each.queue), every, text(fields)
            )
        yield listed
    counts = ", ".join(f"{done.count(each)} {said}" for each, said in _DONE.items() if done.count(each))
    yield line(text(f"{counts}, on {done.server}"))
    yield section(
        "Each queue needs a worker, on a machine that reaches its targets:",
        bullets(
            f"prefect worker start --type process --pool {done.pool} --work-queue {queue}"
            for queue in done.queues
        ),
    )
