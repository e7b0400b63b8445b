"""
How many alerts a second the gateway takes, in webhooks of 20 to 50, and how long a single one waits.

A gateway in a process of its own on SQLite with full sync, senders in this one; Prefect is away, so that
nothing is started. Aims: 2,000 alerts/s; 200 single requests/s with p99 under 100 ms; nothing lost.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from medic8.alerts.inbox import Inbox
from medic8.local.loopback import free_port
from medic8.recovery.journal import Journal
from medic8.settings import load_settings

TOKEN = "a token for the benchmark"  # noqa: S105 - it is
TARGETS = 50

SITE = "".join(
    f'[[target]]\nname = "cache-{n}"\nkind = "valkey"\nurl = "valkey://10.0.0.{n}:6379"\n'
    for n in range(1, TARGETS + 1)
)
SITE += """
[alerts]
per_s = 100000
burst = 1000000
[[alerts.source]]
name = "prometheus"
format = "alertmanager"
token_env = "ALERT_TOKEN"
"""


@contextmanager
def gateway(environ: dict[str, str]) -> Iterator[str]:
    """The program, with no Prefect server; its address."""
    port = free_port(())
    url = f"http://127.0.0.1:{port}"
    words = [sys.executable, "-c", "from medic8.cli import main; main()", "gateway", "--port", str(port)]
    away = {"PREFECT_API_URL": f"http://127.0.0.1:{free_port(())}/api"}
    child = subprocess.Popen(words, env=environ | away, stderr=subprocess.DEVNULL)
    try:
        while True:
            assert child.poll() is None
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{url}/ready", trust_env=False).is_success:
                    break
            time.sleep(0.1)
        yield url
    finally:
        child.terminate()
        child.wait(30)


def webhook(first: int, size: int) -> dict[str, Any]:
    """One of Alertmanager's, with *size* alerts that nobody has sent before."""
    alerts = [
        {
            "status": "firing",
            "labels": {
                "alertname": "RedisDown",
                "instance": f"10.0.0.{number % TARGETS + 1}:6379",
                "n": str(number),
            },
            "annotations": {"summary": "Redis down", "description": "VALUE = 0"},
            "startsAt": "2026-11-23T13:52:43.948891763Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": f"{number:016x}",
        }
        for number in range(first, first + size)
    ]
    return {"version": "4", "alerts": alerts, "truncatedAlerts": 0}


async def send(url: str, bodies: list[dict[str, Any]], per_s: float) -> list[float]:
    """Send *bodies* at a rate, whatever the answers take; how long each took, in ms, from when it was due."""
    taken_ms: list[float] = []
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=30) as client:

        async def one(body: dict[str, Any], due_s: float) -> None:
            answer = await client.post("/v1/alerts/prometheus", json=body)
            assert answer.status_code == httpx.codes.OK, answer.text
            taken_ms.append((time.perf_counter() - due_s) * 1000)

        began_s = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number, body in enumerate(bodies):
                due_s = began_s + number / per_s
                await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
                group.create_task(one(body, due_s))
    return taken_ms


def main() -> None:
    """Offer more and more, and print what was taken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    seconds = parser.parse_args().seconds
    rng = random.Random(7)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "medic8.toml").write_text(SITE)
        environ = {
            **os.environ,
            "ALERT_TOKEN": TOKEN,
            "MEDIC8_HOME": name,
            "MEDIC8_CONFIG": f"{name}/medic8.toml",
        }
        with gateway(environ) as url:
            print("| what | offered | taken | p50 ms | p99 ms |\n|---|---|---|---|---|")
            asyncio.run(send(url, [webhook(number, 1) for number in range(50)], 100))  # imports, first pages
            sent = 50
            for alerts_per_s in (0, 1000, 2000, 3000, 4000):
                bodies = list[dict[str, Any]]()
                count = 0
                while count < seconds * (alerts_per_s or 200):
                    size = rng.randint(20, 50) if alerts_per_s else 1
                    bodies.append(webhook(sent, size))
                    sent, count = sent + size, count + size
                began_s = time.perf_counter()
                taken_ms = asyncio.run(send(url, bodies, len(bodies) / seconds))
                took_s = time.perf_counter() - began_s
                p = statistics.quantiles(taken_ms, n=100)
                what = "webhooks of 20 to 50" if alerts_per_s else "single alerts"
                offered, taken = count / seconds, count / took_s
                print(
                    f"| {what} | {offered:.0f}/s | {taken:.0f}/s | {p[49]:.0f} | {p[98]:.0f} |",
                    flush=True,
                )
        inbox = Inbox(Journal(load_settings(environ=environ).journal_url))
        kept, runs = len(inbox.rows(limit=sent + 1)), len(inbox.waiting())
        print(f"{sent} alerts about {TARGETS} targets sent, {kept} kept, {runs} runs wanted")
        assert (kept, runs) == (sent, TARGETS)


if __name__ == "__main__":
    main()
