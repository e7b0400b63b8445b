"""
What a step costs above what it does: a bare task of Prefect, and a step of ours, in turn in one process.

One flow run on the embedded stack carries them all out, one after the other, so that what else this machine
does meets each alike. A step is given what a diagnostic is given: a target, and a configuration with many.
Aim: a step costs at most 5 ms more than a bare task.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from prefect import flow, task
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_HOME,
    temporary_settings,
)

from medic8.local import stack
from medic8.local.home import make_home
from medic8.local.status import way_to_own
from medic8.model.target import Target
from medic8.settings import Settings, load_settings
from tasks import light
from tasks.attempts import ATTEMPTS
from tasks.track import untagged

AIM_MS = 5.0

SITE = "".join(
    f'[[target]]\nname = "cache-{n}"\nkind = "valkey"\nurl = "valkey://10.0.0.{n}:6379"\n'
    for n in range(1, 41)
)


def look(target: Target, diagnostic: str, site: Settings) -> str:
    """What all of them do: nothing."""
    return f"{diagnostic} of {target.name} at {site.home}"


@task
def bare() -> None:
    """A task as Prefect's first example has it."""


#: As our tasks are made, and as they would be made by Prefect's own decorator.
NAME = "look at {diagnostic} of {target.name}"
ours = light.task(task_run_name=NAME, timeout_seconds=3600, **ATTEMPTS)(look)
looked_through = task(look, task_run_name=NAME, timeout_seconds=3600, **ATTEMPTS)


def contenders(site: Settings) -> dict[str, Callable[[], object]]:
    """Each with what carries out one step of it, inside of a flow."""
    target = site.target("cache-7")
    return {
        "a function": lambda: look(target, "memory", site),
        "a bare task of Prefect": bare,
        "a step of Medic8": lambda: ours(target, "memory", site),
        "the same, looked through by Prefect": lambda: looked_through(target, "memory", site),
    }


@flow(name="steps")
def steps(site: Settings, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Each of them in turn, *rounds* times: seconds by the clock, and of a processor in this thread."""
    found: dict[str, dict[str, list[float]]] = {name: {"clock": [], "cpu": []} for name in contenders(site)}
    for _ in range(rounds):
        for name, step in contenders(site).items():
            began_s, used_s = time.perf_counter(), time.thread_time()
            step()
            found[name]["clock"].append(time.perf_counter() - began_s)
            found[name]["cpu"].append(time.thread_time() - used_s)
    return found


def measured(folder: Path, rounds: int) -> dict[str, dict[str, list[float]]]:
    """All of it, on a stack in *folder*."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    (folder / "medic8.toml").write_text(SITE)
    site = load_settings(folder / "medic8.toml", environ={"MEDIC8_HOME": str(folder / "home")})
    home = make_home(folder / "home")
    status = stack.up(home, progress=lambda _: None, environment=clean)
    try:
        way = way_to_own(status.home, str(status.prefect_api_url), clean)
        with (
            temporary_settings(
                {
                    PREFECT_API_URL: way.api_url,
                    PREFECT_API_AUTH_STRING: way.auth_string,
                    PREFECT_HOME: folder / "prefect",
                    PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
                }
            ),
            untagged(),
        ):
            steps(site, 10)
            return steps(site, rounds)
    finally:
        for worker in (APILogWorker, EventsWorker):
            worker.drain_all(timeout=10)
        stack.remove(home, progress=lambda _: None)


def main() -> None:
    """Measure, and print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = measured(Path(name), said.rounds)
    medians = {
        name: {kind: 1000 * statistics.median(all_s) for kind, all_s in kinds.items()}
        for name, kinds in found.items()
    }
    bare_ms = medians["a bare task of Prefect"]
    print("| one step | ms | ms more than a bare task | ms of a processor |\n|---|---|---|---|")
    for name, ms in medians.items():
        print(f"| {name} | {ms['clock']:.2f} | {ms['clock'] - bare_ms['clock']:+.2f} | {ms['cpu']:.2f} |")
    more_ms = medians["a step of Medic8"]["clock"] - bare_ms["clock"]
    print(json.dumps({"benchmark": "steps", "medians_ms": medians, "more_ms": more_ms, "aim_ms": AIM_MS}))


if __name__ == "__main__":
    main()
