"""
The side that breaks: a process with a server of its own, which does what it is told a line at a time.

Order (JSON) -> ``ready``; then ``break``, ``judge`` and ``truth``, each answered by a line of JSON. At the
end of its input it ends everything that it started.
"""

from __future__ import annotations

import dataclasses
import json
import random
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.accuracy.catalogue import catalogue
from benchmarks.accuracy.renaming import word
from benchmarks.accuracy.scenery import Scenery, beside, on_a_server
from benchmarks.accuracy.site import together
from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant


def main() -> int:
    """Serve one run."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    order = json.loads(sys.stdin.readline())
    found, _ = catalogue()
    with ExitStack() as cleanup:
        try:
            run = Run([found[name] for name in order["variants"]], order, cleanup)
            _say(run.ready())
        except Exception as exc:  # noqa: BLE001 - whoever asked is told
            _say({"error": f"{type(exc).__name__}: {exc}"})
            return 1
        acts = {"break": run.break_it, "judge": run.judge, "truth": run.truth}
        for line in sys.stdin:
            try:
                _say(acts[line.strip()]())
            except Exception as exc:  # noqa: BLE001 - whoever asked is told
                _say({"error": f"{type(exc).__name__}: {exc}"})
    return 0


def _say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


class Run:
    """An application, with a server or without, and what is broken beside it and judged."""

    def __init__(self, variants: list[Variant], order: dict[str, Any], cleanup: ExitStack) -> None:
        rng = random.Random(order["seed"])
        folder = Path(order["folder"])
        self._variants = variants
        self._kind = variants[0].kind if variants else "valkey"
        app, grid = word(rng), word(rng) if self._kind == "grid" else ""
        if not variants or any(each.needs_server for each in variants):
            config = dict(pair for each in variants for pair in each.config)
            has_replica = any(each.has_replica for each in variants)
            self._scenery: Scenery = on_a_server(
                folder, app, grid, order["seed"], config, cleanup, has_replica=has_replica
            )
        else:
            self._scenery = beside(folder, app, order["seed"], cleanup)
        self._stages = []
        for number, strength in enumerate(order["strengths"]):
            own = folder / f"fault-{number}"
            own.mkdir()
            self._stages.append(
                Stage(
                    url=self._scenery.url,
                    folder=own,
                    data=self._scenery.data or own,
                    server_pid=self._scenery.server_pid,
                    grid=grid,
                    prefix=word(rng),
                    word=word(rng),
                    strength=strength,
                    rng=random.Random(rng.random()),
                    cleanup=cleanup,
                    replica_url=self._scenery.replica_url,
                )
            )
        self._original = self._broken = self._scenery.contents()
        told = [each.prepare(stage) for each, stage in zip(variants, self._stages, strict=True)]
        self._url = next((url for url in told if url), self._usual_url())

    def _usual_url(self) -> str:
        if self._kind == "host":
            return "host:local"
        return self._scenery.url if self._kind in {"valkey", "grid"} else ""

    def ready(self) -> dict[str, Any]:
        """What is to be diagnosed (no address: nothing is there yet), and what the site has configured."""
        sites = [each.site(stage) for each, stage in zip(self._variants, self._stages, strict=True)]
        return {
            "kind": self._kind,
            "url": self._url,
            "grid": self._stages[0].grid if self._stages else "",
            "site": dataclasses.asdict(together(sites)),
        }

    def break_it(self) -> dict[str, Any]:
        """Break it; what is to be diagnosed now, and whether each fault is there."""
        urls = [each.break_it(stage) for each, stage in zip(self._variants, self._stages, strict=True)]
        there = self._there()
        self._broken = self._scenery.contents()
        self._url = next((url for url in urls if url), self._url)
        if not self._url:
            raise ValueError("neither prepare nor break_it has told an address to diagnose")
        return {**self.ready(), "there": there}

    def judge(self) -> dict[str, Any]:
        """Whether each fault is still there, what was harmed since, and how the application is served."""
        service = self._scenery.service()
        return {
            "there": self._there(),
            "harm": self._scenery.harm(self._original, self._broken, self._rewritten()),
            "is_served": service.is_met,
            "p95_ms": service.p95_ms,
            "errors": service.errors,
        }

    def truth(self) -> dict[str, Any]:
        """What the authors say is true."""
        told = [each.truth(stage) for each, stage in zip(self._variants, self._stages, strict=True)]
        return {"truths": [dataclasses.asdict(each) for each in told]}

    def _rewritten(self) -> set[str]:
        return {key for stage in self._stages for key in stage.rewritten}

    def _there(self) -> list[bool]:
        return [each.is_there(stage) for each, stage in zip(self._variants, self._stages, strict=True)]


def truth_of(said: dict[str, Any]) -> Truth:
    """A truth as `Run.truth` sent it."""
    return Truth(
        answer=Answer(said["answer"]),
        cause=Cause(said["cause"]),
        objects=tuple(said["objects"]),
        also_answer=tuple(Answer(each) for each in said["also_answer"]),
        also_cause=tuple(Cause(each) for each in said["also_cause"]),
        healable=said["healable"],
    )


if __name__ == "__main__":
    sys.exit(main())
