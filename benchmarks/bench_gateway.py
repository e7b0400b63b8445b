"""
How many alerts a second the gateway takes, in webhooks of 20 to 50, and how long a single one waits.

A gateway in a process of its own on SQLite with full sync, senders in this one; Prefect is away, so that
nothing is started. Aims: 2,000 alerts/s; 200 single requests/s with p99 under 100 ms; nothing lost. Then the
knee is looked for: the rate at which p99 crosses 100 ms, or anything is lost.
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
from typing import Any, NamedTuple

import httpx

from medic8.alerts.inbox import Inbox
from medic8.local.loopback import free_port
from medic8.recovery.journal import Journal
from medic8.settings import load_settings

TOKEN = "a token for the benchmark"  # noqa: S105 - it is
TARGETS = 50

#: What is sent, and how many alerts are in one request.
SINGLE, BATCHES = "single alerts", "webhooks of 20 to 50"
SIZES = {SINGLE: (1, 1), BATCHES: (20, 50)}

#: Fewer requests have no percentiles.
_FEWEST = 2

#: What one in a hundred waits for at most before the knee.
KNEE_MS = 100.0

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


class Offer:
    """Alerts that nobody has sent before."""

    def __init__(self) -> None:
        self.sent = 0
        self._rng = random.Random(7)

    def bodies(self, alerts_per_s: float, seconds: float, sizes: tuple[int, int]) -> list[dict[str, Any]]:
        """What is sent in so many seconds, of these sizes."""
        made, count = list[dict[str, Any]](), 0
        while count < seconds * alerts_per_s or len(made) < _FEWEST:
            size = self._rng.randint(*sizes)
            made.append(webhook(self.sent, size))
            self.sent, count = self.sent + size, count + size
        return made


class Taken(NamedTuple):
    """
    What became of an offer.

    Attributes:
        offered_per_s: Alerts a second.
        taken_per_s: The same, from the first request to the last answer.
        p50_ms: Half of the requests took no longer, from when they were due.
        p99_ms: The same of 99 in 100.
        lost: Requests that were not taken: another answer than 200, or none.
    """

    offered_per_s: float
    taken_per_s: float
    p50_ms: float
    p99_ms: float
    lost: int

    @property
    def is_kept_up(self) -> bool:
        """Whether this is still before the knee."""
        return self.p99_ms <= KNEE_MS and not self.lost


async def send(url: str, bodies: list[dict[str, Any]], per_s: float) -> tuple[list[float], int]:
    """Send *bodies* at a rate, whatever the answers take; ms since each was due, and how many were lost."""
    taken_ms: list[float] = []
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=30) as client:

        async def one(body: dict[str, Any], due_s: float) -> None:
            with contextlib.suppress(httpx.TransportError):
                answer = await client.post("/v1/alerts/prometheus", json=body)
                if answer.status_code == httpx.codes.OK:
                    taken_ms.append((time.perf_counter() - due_s) * 1000)

        began_s = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number, body in enumerate(bodies):
                due_s = began_s + number / per_s
                await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
                group.create_task(one(body, due_s))
    return taken_ms, len(bodies) - len(taken_ms)


def offered(url: str, offer: Offer, what: str, alerts_per_s: float, seconds: float) -> Taken:
    """Offer that many for so long, and print a line about it."""
    bodies = offer.bodies(alerts_per_s, seconds, SIZES[what])
    alerts = sum(len(each["alerts"]) for each in bodies)
    began_s = time.perf_counter()
    taken_ms, lost = asyncio.run(send(url, bodies, len(bodies) / seconds))
    took_s = time.perf_counter() - began_s
    p = statistics.quantiles(taken_ms, n=100) if len(taken_ms) > 1 else [float("inf")] * 99
    alerts_taken = alerts * len(taken_ms) / len(bodies)
    taken = Taken(alerts / seconds, alerts_taken / took_s, p[49], p[98], lost)
    print(
        f"| {what} | {taken.offered_per_s:.0f}/s | {taken.taken_per_s:.0f}/s | {taken.p50_ms:.0f} | "
        f"{taken.p99_ms:.0f} | {lost} |",
        flush=True,
    )
    return taken


def knee(url: str, offer: Offer, what: str, first_per_s: float, seconds: float) -> tuple[Taken | None, Taken]:
    """
    The highest offer that was kept up with, and the lowest that was not, no more than a tenth apart.

    Twice as many each time until it breaks, or half as many until it does not, then half way between. None
    was kept up with if a 64th of the first was not.
    """
    best: Taken | None = None
    tried = offered(url, offer, what, rate := first_per_s, seconds)
    while tried.is_kept_up:
        best, rate = tried, rate * 2
        tried = offered(url, offer, what, rate, seconds)
    broken, high = tried, rate
    while best is None and rate > first_per_s / 64:
        rate /= 2
        tried = offered(url, offer, what, rate, seconds)
        if tried.is_kept_up:
            best = tried
        else:
            broken, high = tried, rate
    low = high / 2
    while best is not None and high > low * 1.1:
        middle = (low + high) / 2
        tried = offered(url, offer, what, middle, seconds)
        if tried.is_kept_up:
            best, low = tried, middle
        else:
            broken, high = tried, middle
    return best, broken


def main() -> None:
    """Offer more and more, and print what was taken; then look for the knee."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--knee-seconds", type=float, default=5.0, help="for each try; 0 looks for none")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "medic8.toml").write_text(SITE)
        environ = {
            **os.environ,
            "ALERT_TOKEN": TOKEN,
            "MEDIC8_HOME": name,
            "MEDIC8_CONFIG": f"{name}/medic8.toml",
        }
        offer, lost, knees = Offer(), 0, list[str]()
        with gateway(environ) as url:
            print("| what | offered | taken | p50 ms | p99 ms | lost |\n|---|---|---|---|---|---|")
            asyncio.run(send(url, offer.bodies(50, 1, (1, 1)), 100))  # imports, first pages
            for alerts_per_s in (0, 1000, 2000, 3000, 4000):
                what = BATCHES if alerts_per_s else SINGLE
                lost += offered(url, offer, what, alerts_per_s or 200, asked.seconds).lost
            inbox = Inbox(Journal(load_settings(environ=environ).journal_url))
            kept, runs = len(inbox.rows(limit=offer.sent + 1)), len(inbox.waiting())
            print(f"{offer.sent} alerts about {TARGETS} targets sent, {kept} kept, {runs} runs wanted")
            assert (kept, runs, lost) == (offer.sent, TARGETS, 0)
            for what, first_per_s in ((SINGLE, 100), (BATCHES, 1000)) if asked.knee_seconds else ():
                best, broken = knee(url, offer, what, first_per_s, asked.knee_seconds)
                until = "none" if best is None else f"{best.offered_per_s:.0f}/s (p99 {best.p99_ms:.0f} ms)"
                knees.append(
                    f"knee of {what}: {until} is kept up with; {broken.offered_per_s:.0f}/s is not "
                    f"(p99 {broken.p99_ms:.0f} ms, {broken.lost} of its requests lost)"
                )
        print("\n".join(knees))


if __name__ == "__main__":
    main()
