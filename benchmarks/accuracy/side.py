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
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import valkey

from benchmarks.accuracy import oracle
from benchmarks.accuracy.catalogue import catalogue
from benchmarks.accuracy.variant import Answer, Cause, Site, Stage, Truth, Variant
from medic8.local.lab.reset import reset
from medic8.local.scratch import scratch_valkey
from medic8.targets.grid.format import CELL

_LETTERS = "bcdfghjklmnpqrstvwxz"


def main() -> int:
    """Serve one run."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    order = json.loads(sys.stdin.readline())
    found, _ = catalogue()
    with ExitStack() as cleanup:
        run = Run([found[name] for name in order["variants"]], order, cleanup)
        _say(run.ready())
        acts = {"break": run.break_it, "judge": run.judge, "truth": run.truth}
        for line in sys.stdin:
            try:
                _say(acts[line.strip()]())
            except Exception as exc:  # noqa: BLE001 - whoever asked is told
                _say({"error": f"{type(exc).__name__}: {exc}"})
    return 0


def _say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


def _word(rng: random.Random) -> str:
    return "".join(rng.choice(_LETTERS) for _ in range(6))


class Run:
    """One server with an application on it, broken and judged."""

    def __init__(self, variants: list[Variant], order: dict[str, Any], cleanup: ExitStack) -> None:
        rng = random.Random(order["seed"])
        self._folder = Path(order["folder"])
        self._variants = variants
        self._app = _word(rng)
        config = dict(pair for each in variants for pair in each.config)
        server = cleanup.enter_context(scratch_valkey(self._folder, config=config))
        self._grid = _word(rng) if variants and variants[0].kind == "grid" else ""
        self._url = server.url
        self._stages = []
        for number, strength in enumerate(order["strengths"]):
            folder = self._folder / f"fault-{number}"
            folder.mkdir()
            self._stages.append(
                Stage(
                    url=server.url,
                    folder=folder,
                    data=server.data,
                    server_pid=server.pid,
                    grid=self._grid,
                    prefix=_word(rng),
                    word=_word(rng),
                    strength=strength,
                    rng=random.Random(rng.random()),
                    cleanup=cleanup,
                )
            )
        client = cleanup.enter_context(valkey.Valkey.from_url(server.url))
        if self._grid:
            stock = np.random.default_rng(order["seed"]).integers(0, 256, (8, 65_536), dtype=np.uint8)
            cells = stock.view(CELL)
            reset(client, self._grid, lambda block: cells[block % 8], depth=8)
        oracle.fill(client, self._app)
        self._keys = oracle.static_keys(self._app)
        self._original = oracle.contents(client, self._keys)
        self._broken = self._original
        self._log = self._folder / "load.jsonl"
        words = [sys.executable, oracle.__file__, server.url, self._app, str(order["seed"]), str(self._log)]
        load = subprocess.Popen(words)
        cleanup.callback(load.wait)
        cleanup.callback(load.kill)
        while not self._log.exists() or not self._log.stat().st_size:
            time.sleep(0.02)

    def ready(self) -> dict[str, Any]:
        """Where the server is, and what the site has configured."""
        sites = [each.site(stage) for each, stage in zip(self._variants, self._stages, strict=True)]
        return {
            "url": self._url,
            "grid": self._grid,
            "setting": sorted({tuple(rule) for each in sites for rule in each.setting}, key=str),
            "expiry": sorted({tuple(rule) for each in sites for rule in each.expiry}),
            "timeout_s": min((each.timeout_s for each in sites), default=Site().timeout_s),
        }

    def break_it(self) -> dict[str, Any]:
        """Break it; the address to diagnose, and whether each fault is there."""
        urls = [each.break_it(stage) for each, stage in zip(self._variants, self._stages, strict=True)]
        there = self._there()
        self._broken = self._contents() or self._original
        return {"url": next((url for url in urls if url), self._url), "there": there}

    def judge(self) -> dict[str, Any]:
        """Whether each fault is still there, what was harmed since, and how the application is served."""
        after, since_s = self._contents(), time.monotonic() - 1.5
        service = oracle.service(self._log, after_s=since_s)
        return {
            "there": self._there(),
            "harm": oracle.harm(self._original, self._broken, after) if after else ["nothing can be read"],
            "is_served": service.is_met,
            "p95_ms": service.p95_ms,
            "errors": service.errors,
        }

    def truth(self) -> dict[str, Any]:
        """What the authors say is true."""
        told = [each.truth(stage) for each, stage in zip(self._variants, self._stages, strict=True)]
        return {"truths": [dataclasses.asdict(each) for each in told]}

    def _there(self) -> list[bool]:
        return [each.is_there(stage) for each, stage in zip(self._variants, self._stages, strict=True)]

    def _contents(self) -> dict[str, str]:
        """Empty if the server answers nobody."""
        try:
            with valkey.Valkey.from_url(self._url, socket_timeout=5, retry=None) as client:
                return oracle.contents(client, self._keys)
        except valkey.exceptions.ValkeyError:
            return {}


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
