"""
From an alert to the first step and to a healed target, one at a time, beside ansible-rulebook.

Everybody is sent the same webhooks of Alertmanager, and takes the same first step: it asks the target, an
HTTP server in this process that notes when. Medic8 is a gateway, Prefect with PostgreSQL, and in turn the
responder and Prefect's process worker, which asks for work every second or, as it does unless it is told
otherwise, every ten. ansible-rulebook is run from its own packages; where it cannot be had, its rows are
left out and the reason is printed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil
import valkey

from benchmarks.measuring import Results, Table, ms, parser, percentile
from benchmarks.rulebook import Rulebook, rulebook, why_left_out
from benchmarks.scratch_site import TOKEN, Alerts, Asked, Site, scratch_site, until
from medic8.local.scratch import scratch_valkey

WARM, TUNED, STOCK = "Medic8", "Medic8, process worker asking each 1 s", "Medic8, process worker as it comes"
OTHER = "ansible-rulebook"
QUEUES = {WARM: "default", TUNED: "tuned", STOCK: "stock"}

#: One run alone of each so many rounds; the slow ones seldom, since each takes its time.
SELDOM = {WARM: 1, OTHER: 1, TUNED: 3, STOCK: 6}

SENDERS = 8
SETTING, FOUND, GOOD = "slowlog-max-len", "10", "1000"

#: Aims, with nothing else on the machine.
P50_S, P99_S = 0.2, 0.5

HEAL = """
    - name: set it
      ansible.builtin.shell:
        executable: /bin/bash
        cmd: "exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'CONFIG SET {name} {good}\\r\\n' >&3; head -1 <&3"
      when: ansible_eda.event.payload.alerts[0].labels.target == 'cache'
"""


@dataclass
class Contender:
    """
    Who answers alerts.

    Attributes:
        name: For the table.
        url: Where alerts are sent to.
        target: Whom they are about, alone.
        sick: Whom they are about when something is to be healed.
        rest: Waits until nothing goes on.
        begun: When the first task of the newest run about a target began, by its own record; None = none.
        processes: What it consists of.
    """

    name: str
    url: str
    target: str
    sick: str
    rest: Callable[[], None]
    begun: Callable[[str], float | None] = lambda _: None
    processes: list[psutil.Process] = field(default_factory=list)


class Sender:
    """Sends alerts, and says how long each answer took."""

    def __init__(self) -> None:
        self.alerts = Alerts()
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False, timeout=httpx.Timeout(600)
        )

    def send(self, url: str, body: dict[str, Any]) -> tuple[float, float]:
        """When it was sent, and how long until it was taken, in seconds."""
        began_s, began = time.time(), time.perf_counter()
        self._client.post(url, json=body).raise_for_status()
        return began_s, time.perf_counter() - began

    def about(self, url: str, target: str) -> tuple[float, float]:
        """The same of a new alert about *target*."""
        return self.send(url, self.alerts.about(target))

    def many(self, url: str, bodies: Sequence[dict[str, Any]]) -> list[tuple[float, float]]:
        """The same of all of them, by several senders at once."""
        with ThreadPoolExecutor(SENDERS) as pool:
            return list(pool.map(lambda body: self.send(url, body), bodies))


def first_task_s(site: Site, target: str) -> float | None:
    """When the first task of the newest run about *target* began, by Prefect's record."""
    (newest, *_) = site.runs(target)
    asked = {"flow_runs": {"id": {"any_": [newest["id"]]}}, "sort": "EXPECTED_START_TIME_ASC"}
    deadline_s = time.monotonic() + 10  # it is told of tasks by events, a while later
    while time.monotonic() < deadline_s:
        found = site.api.post("/task_runs/filter", json=asked).raise_for_status().json()
        if begun := [each["start_time"] for each in found if each["start_time"]]:
            return datetime.fromisoformat(min(begun)).timestamp()
        time.sleep(0.2)
    return None


def targets(asked: Asked, cache_url: str) -> str:
    """The configuration's: for each way of working one to look at, and one to heal."""
    made = list[str]()
    for queue in QUEUES.values():
        made.append(
            f'[[target]]\nname = "{queue}-alone"\nkind = "endpoint"\nqueue = "{queue}"\n'
            f'url = "{asked.url(f"{queue}-alone")}"\n'
        )
        made.append(
            f'[[target]]\nname = "{queue}-cache"\nkind = "valkey"\nqueue = "{queue}"\nurl = "{cache_url}"\n'
            f'mode = "act"\nallow = ["set_settings"]\n'
            f'[[target.setting]]\nname = "{SETTING}"\nminimum = {GOOD}\n'
        )
    return "\n".join(made)


def playbooks(one: Rulebook) -> Contender:
    """The other one."""
    return Contender(OTHER, one.url, "alone", "cache", lambda: others_rest(one))


def others_rest(one: Rulebook) -> None:
    """Wait until no playbook runs, looked for twice, since one may begin between."""
    for _ in range(2):
        until(lambda: not one.is_busy(), "end of all playbooks", every_s=0.1)
        time.sleep(0.2)


@contextmanager
def medic8(site: Site) -> Iterator[list[Contender]]:
    """The three ways in which Medic8's runs are carried out, behind one gateway."""
    with ExitStack() as around:
        url, gateway = around.enter_context(site.gateway())
        workers = {
            WARM: around.enter_context(site.responder()),
            TUNED: around.enter_context(site.stock_worker(QUEUES[TUNED], 1)),
            STOCK: around.enter_context(site.stock_worker(QUEUES[STOCK], 10)),
        }
        yield [
            Contender(
                name=name,
                url=url,
                target=f"{queue}-alone",
                sick=f"{queue}-cache",
                rest=site.rest,
                begun=lambda target: first_task_s(site, target),
                processes=[gateway, workers[name], *site.servers()],
            )
            for name, queue in QUEUES.items()
        ]


def alone(
    contenders: Sequence[Contender], rounds: int, one: Callable[[Contender], dict[str, float]]
) -> dict[str, list[dict[str, float]]]:
    """What *one* says of each contender, in turn, after a first round that does not count."""
    found: dict[str, list[dict[str, float]]] = {each.name: [] for each in contenders}
    for number in range(-1, rounds):
        for each in contenders:
            if number % SELDOM[each.name]:
                continue
            seen = one(each)
            each.rest()
            if number >= 0:
                found[each.name].append(seen)
    return found


def both(waits: Sequence[float]) -> str:
    """Half of them took no longer, and 99 in 100."""
    return f"{ms(percentile(waits, 50))} / {ms(percentile(waits, 99))}" if waits else ""


def to_first_step(results: Results, contenders: Sequence[Contender], asked: Asked, rounds: int) -> None:
    """From an alert to the first step, alone."""
    sender = Sender()

    def one(each: Contender) -> dict[str, float]:
        asked.forget()
        began_s, post_s = sender.about(each.url, each.target)
        first_s = asked.first_s([each.target])[each.target]
        each.rest()
        begun_s = each.begun(each.target)
        return {"post": post_s, "asked": first_s - began_s} | ({"task": begun_s - began_s} if begun_s else {})

    found = alone(contenders, rounds, one)
    rows, numbers = [], dict[str, Any]()
    for name, seen in found.items():
        waits = {what: [each[what] for each in seen if what in each] for what in ("task", "asked", "post")}
        numbers[name] = {
            "runs": len(seen),
            **{
                f"{what}_p{percent}_s": percentile(values, percent)
                for what, values in waits.items()
                for percent in (50, 99)
                if values
            },
        }
        rows.append(
            (
                name,
                str(len(seen)),
                both(waits["task"]),
                both(waits["asked"]),
                ms(percentile(waits["post"], 50)),
            )
        )
    ours = numbers[WARM]
    lines = [
        results.aim("alert to first task, p50", ours.get("task_p50_s", float("inf")), P50_S, " s"),
        results.aim("alert to first task, p99", ours.get("task_p99_s", float("inf")), P99_S, " s"),
    ]
    lines += [
        f"{name} takes {numbers[name]['asked_p50_s'] / ours['asked_p50_s']:.1f} times as long as {WARM} (p50)"
        for name in numbers
        if name != WARM
    ]
    heads = ("who", "alerts", "first task, p50 / p99", "target asked, p50 / p99", "alert taken, p50")
    results.add(
        Table("From an alert to the first step", heads, tuple(rows), tuple(lines)), first_step=numbers
    )


def to_healed(results: Results, contenders: Sequence[Contender], cache: valkey.Valkey, rounds: int) -> None:
    """From an alert to a setting that is right again."""
    sender = Sender()

    def one(each: Contender) -> dict[str, float]:
        cache.config_set(SETTING, FOUND)
        began_s, _ = sender.about(each.url, each.sick)
        until(lambda: cache.config_get(SETTING)[SETTING] == GOOD, f"healing by {each.name}", every_s=0.005)
        healed_s = time.time()
        each.rest()
        return {"healed": healed_s - began_s, "over": time.time() - began_s}

    found = alone(contenders, rounds, one)
    numbers = {
        name: {
            "runs": len(seen),
            "healed_p50_s": percentile((each["healed"] for each in seen), 50),
            "healed_p99_s": percentile((each["healed"] for each in seen), 99),
            "over_p50_s": percentile((each["over"] for each in seen), 50),
        }
        for name, seen in found.items()
    }
    ours_s = numbers[WARM]["healed_p50_s"]
    rows = tuple(
        (
            name,
            str(each["runs"]),
            f"{ms(each['healed_p50_s'])} / {ms(each['healed_p99_s'])}",
            ms(each["over_p50_s"]),
        )
        for name, each in numbers.items()
    )
    lines = [
        f"{name} takes {each['healed_p50_s'] / ours_s:.1f} times as long as {WARM} (p50)"
        for name, each in numbers.items()
        if name != WARM
    ]
    lines.append(
        "not comparable: the playbook sets the value and that is all; Medic8 diagnoses the whole server, "
        "claims it, saves what was there, sets the value, diagnoses again and keeps the record"
    )
    heads = ("who", "alerts", "setting right, p50 / p99", "all over, p50")
    results.add(Table("From an alert to a healed server", heads, rows, tuple(lines)), healed=numbers)


def main() -> int:
    """Measure, and print tables and JSON; 1 if an aim is missed."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, help="alerts to each")
    said = options.parse_args()
    rounds = said.rounds or (6 if said.quick else 18)
    results, why_not = Results("road"), why_left_out()
    if why_not:
        print(f"left out: {why_not}\n")
    with ExitStack() as around:
        asked = around.enter_context(Asked())
        folder = Path(around.enter_context(TemporaryDirectory()))
        server = around.enter_context(scratch_valkey(folder))
        cache = around.enter_context(valkey.Valkey.from_url(server.url, decode_responses=True))
        site = around.enter_context(scratch_site())
        site.configure(targets(asked, server.url))
        contenders = around.enter_context(medic8(site))
        if not why_not:
            heal = HEAL.format(port=server.port, name=SETTING, good=GOOD)
            contenders.insert(1, playbooks(around.enter_context(rulebook(asked.port, more=heal))))
        to_first_step(results, contenders, asked, rounds)
        to_healed(results, contenders, cache, max(2, rounds // 2))
    results.numbers["left_out"] = why_not
    return results.end(said)


if __name__ == "__main__":
    sys.exit(main())
