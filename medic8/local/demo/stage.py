"""What the demo is played on and before, and how each phase of it is told and timed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from medic8.local.demo.pages import Pages
from medic8.local.demo.report import Claim, Phase
from medic8.model.report import DiagnosticReport
from medic8.model.resolution import Treatment
from medic8.settings import Settings
from medic8.targets.grid.grid import Source


class Flows(Protocol):
    """What the demo asks of the flows."""

    def diagnose(self, target: str) -> DiagnosticReport:
        """Look at *target*."""

    def heal(self, target: str, *, dry_run: bool) -> Treatment:
        """Treat *target*; with *dry_run* only plan."""


class Audience(Protocol):
    """Whoever the story is told to."""

    def working(self, title: str) -> AbstractContextManager[None]:
        """Show that the phase *title* is under way."""

    def told(self, number: int, phase: Phase) -> None:
        """Show what happened in a phase."""


@dataclass
class Scene:
    """A phase under way: what is told of it and checked in it so far."""

    lines: list[str] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)

    def say(self, *lines: str) -> None:
        """Tell something."""
        self.lines += lines

    def list(self, lines: tuple[str, ...], most: int) -> None:
        """Tell the first of many things, and how many more there are."""
        self.lines += [f"- {line}" for line in lines[:most]]
        if len(lines) > most:
            self.lines.append(f"- and {len(lines) - most} more")

    def check(self, claim: str, is_true: bool, seen: str) -> None:  # noqa: FBT001  # the point of the call
        """Say that *claim* was looked at, and what was seen."""
        self.claims.append(Claim(claim=claim, is_true=is_true, seen=seen))


@dataclass
class Stage:
    """
    What the demo is played on.

    Attributes:
        folder: Of the demo's own files.
        settings: The demo's own.
        valkey_url: Of the lab's server; by its Unix socket, which is faster.
        flows: The way to them.
        audience: Whoever it is told to.
        pages: Finds what to look at afterwards.
        waves: What the grid is filled with.
        depth: Layers of the grid; 2 MiB of data each.
        seed: Chooses what is broken and written.
        is_kept: Whether the grid stays afterwards.
        phases: What was told so far.
    """

    folder: Path
    settings: Settings
    valkey_url: str
    flows: Flows
    audience: Audience
    pages: Pages
    waves: Source
    depth: int
    seed: int
    is_kept: bool
    phases: list[Phase] = field(default_factory=list)

    @contextlib.contextmanager
    def phase(self, title: str) -> Iterator[Scene]:
        """Play one phase; it is told when it has ended well."""
        scene = Scene()
        began = time.monotonic()
        with self.audience.working(title):
            yield scene
        self.add(title, scene, time.monotonic() - began)

    def add(self, title: str, scene: Scene, duration_s: float) -> None:
        """Tell a phase that was played."""
        told = Phase(
            title=title,
            lines=tuple(scene.lines),
            claims=tuple(scene.claims),
            duration_s=round(duration_s, 3),
        )
        self.phases.append(told)
        self.audience.told(len(self.phases), told)

    @property
    def is_proven(self) -> bool:
        """Whether every claim so far is true."""
        return all(claim.is_true for phase in self.phases for claim in phase.claims)
