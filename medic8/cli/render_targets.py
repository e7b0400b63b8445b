"""Targets and kinds of target for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from rich.console import RenderableType

from medic8.cli.render import bullets, section, table, text
from medic8.model.target import Target
from medic8.settings import Settings
from medic8.targets.kind import TargetKind
from medic8.targets.registry import kind_named


def render_targets(settings: Settings) -> Iterator[RenderableType]:
    """One line for each target, then what keeps one from being used."""
    if not settings.targets:
        return
    listed = table("target", "kind", "mode", "may apply", "labels")
    for target in settings.targets:
        labels = ", ".join(f"{name}={value}" for name, value in target.labels.items())
        listed.add_row(
            text(target.name, "bold red" if target.name in settings.unusable else "bold"),
            text(target.kind),
            text(target.mode),
            text(", ".join(target.allow) if target.mode == "act" and target.allow else "nothing"),
            text(labels),
        )
    yield listed
    if limits := [_limits(target) for target in settings.targets if target.threshold]:
        yield section("Judged by limits of your own", bullets(chain.from_iterable(limits)))
    if settings.unusable:
        yield section("Cannot be used", *(text(each, "red") for each in settings.unusable.values()))


def _limits(target: Target) -> Iterator[str]:
    """One line for each threshold that *target* has other limits for."""
    known = kind_named(target.kind).thresholds
    for rule in target.threshold:
        threshold = known[rule.name].set_by(rule)
        yield f"{target.name}: {rule.name}: {threshold.limits} ({threshold.what})"


def render_kinds(kinds: Sequence[TargetKind]) -> Iterator[RenderableType]:
    """One line for each strategy of each kind."""
    listed = table("kind", "what", "strategies")
    for kind in kinds:
        listed.add_row(
            text(kind.name, "bold"), text(kind.summary), text(", ".join(kind.strategies) or "none")
        )
    yield listed
