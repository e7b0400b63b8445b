"""
Storms of alerts about a target each, and repeats of one alert, beside ansible-rulebook.

Everybody is sent the same webhooks of Alertmanager by several senders at once, one alert in each, and takes
the same first step: it asks the target, an HTTP server in this process that notes when. ansible-rulebook
is run as it comes, one action after the other, and with its actions side by side; where it cannot be had,
its rows are left out and the reason is printed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from benchmarks.bench_road import OTHER, WARM, Contender, Sender, others_rest
from benchmarks.measuring import Results, Table, cpu_s, ms, parser, percentile
from benchmarks.rulebook import rulebook, why_left_out
from benchmarks.scratch_site import Asked, Site, scratch_site, until

#: So long after the last run Prefect's server may still write what it was told of all of them.
WRITTEN_S = 6.0

DUPLICATES = 200
OTHERS_DUPLICATES = 20

#: Aims, with nothing else on the machine: actions a second, and until an alert is taken.
PER_S, POST_S = 5.0, 0.2


def target(name: str, asked: Asked) -> str:
    """One of the crowd, as the configuration has it."""
    return f'[[target]]\nname = "{name}"\nkind = "endpoint"\nurl = "{asked.url(name)}"\n'


def storm(
    one: Contender, asked: Asked, count: int, patience_s: float, rest: Callable[[], None]
) -> dict[str, float]:
    """*count* alerts at once, about a target each."""
    sender, names = Sender(), [f"t-{number}" for number in range(count)]
    asked.forget()
    used_s, began_s = cpu_s(one.processes), time.time()
    sent = sender.many(one.url, [sender.alerts.about(name) for name in names])
    first_s = asked.first_s(names, patience_s - (time.time() - began_s))
    took_s = (max(first_s.values()) if len(first_s) == count else time.time()) - began_s
    if len(first_s) == count:
        rest()
    waits = [first_s[name] - at for name, (at, _) in zip(names, sent, strict=True) if name in first_s]
    posts = [post_s for _, post_s in sent]
    over_s, done = time.time() - began_s, len(first_s)
    time.sleep(WRITTEN_S)
    return {
        "alerts": count,
        "begun": done,
        "per_s": done / took_s,
        "p50_s": percentile(waits, 50),
        "p99_s": percentile(waits, 99),
        "post_p50_s": percentile(posts, 50),
        "post_p99_s": percentile(posts, 99),
        "over_s": over_s,
        "cpu_per_run_s": (cpu_s(one.processes) - used_s) / done,
    }


def storms(
    results: Results, site: Site, asked: Asked, sizes: Sequence[int], patience_s: float, why_not: str
) -> None:
    """Storms of these sizes; of ansible-rulebook as it comes, and with its playbooks side by side."""
    found = list[tuple[str, dict[str, float]]]()
    with site.gateway() as (url, gateway), site.responder() as responder:
        ours = Contender(WARM, url, "", "", site.rest, processes=[gateway, responder, *site.servers()])
        storm(ours, asked, 4, patience_s, site.rest)
        for size in sizes:
            found.append((WARM, storm(ours, asked, size, patience_s, site.rest)))
            site.rest(600)
    for name, is_parallel in ((OTHER, False), (f"{OTHER}, in parallel", True)):
        for size in sizes if not why_not else ():
            if size > sizes[0] and not is_parallel:
                continue
            with rulebook(asked.port, is_parallel=is_parallel) as one:
                theirs = Contender(name, one.url, "", "", lambda: None, processes=[one.process])
                storm(theirs, asked, 1, patience_s, lambda one=one: others_rest(one))
                found.append((name, storm(theirs, asked, size, patience_s, lambda one=one: others_rest(one))))
    rows = tuple(
        (
            name,
            f"{each['begun']:.0f} of {each['alerts']:.0f}",
            f"{each['per_s']:.2f}",
            f"{each['p50_s']:.1f} s / {each['p99_s']:.1f} s",
            f"{ms(each['post_p50_s'])} / {ms(each['post_p99_s'])}",
            f"{each['cpu_per_run_s']:.2f} s",
        )
        for name, each in found
    )
    first = next(each for _, each in found if each["alerts"] == sizes[0])
    lines = [
        results.aim("a storm, seconds for each action", 1 / first["per_s"], 1 / PER_S, " s"),
        results.aim("an alert of a storm is taken, p99", first["post_p99_s"], POST_S, " s"),
    ]
    lines += [
        f"{WARM} begins {first['per_s'] / each['per_s']:.1f} times as many actions a second as {name}"
        for name, each in found
        if name != WARM and each["alerts"] == sizes[0]
    ]
    if any(each["begun"] < each["alerts"] for _, each in found):
        lines.append(f"who had not begun all after {patience_s:g} s was not waited for")
    if not why_not:
        lines.append(f"{OTHER} as it comes takes one action after the other, so the larger storm is left out")
    heads = ("who", "begun", "actions/s", "to first step, p50 / p99", "alert taken, p50 / p99", "CPU per run")
    numbers = [{"who": name, **each} for name, each in found]
    results.add(Table("A storm of alerts about a target each", heads, rows, tuple(lines)), storms=numbers)


def duplicates(results: Results, site: Site, asked: Asked, why_not: str) -> None:
    """How many runs come of the same alert many times, and of many alerts about one target."""
    sender, rows, numbers = Sender(), [], dict[str, Any]()
    with site.gateway() as (url, _), site.responder():
        for what, target, bodies in (
            ("repeats of one alert", "t-0", [sender.alerts.about("t-0")] * DUPLICATES),
            ("alerts about one target", "t-1", [sender.alerts.about("t-1") for _ in range(DUPLICATES)]),
        ):
            before = len(site.runs(target))
            sender.many(url, bodies)
            site.rest()
            runs = len(site.runs(target)) - before
            numbers[f"medic8, {what}"] = {"alerts": len(bodies), "runs": runs}
            rows.append((WARM, f"{len(bodies)} {what}", str(runs)))
    if not why_not:
        with rulebook(asked.port, is_parallel=True) as one:
            asked.forget()
            sender.many(one.url, [sender.alerts.about("t-0")] * OTHERS_DUPLICATES)
            until(lambda: asked.times("t-0") >= OTHERS_DUPLICATES, "playbooks for repeats")
            others_rest(one)
            runs = asked.times("t-0")
        numbers[OTHER] = {"alerts": OTHERS_DUPLICATES, "runs": runs}
        rows.append((OTHER, f"{OTHERS_DUPLICATES} repeats of one alert", str(runs)))
    lines = (
        "ansible-rulebook has `throttle` for a rule, for a fixed time; without it each event is an action",
    )
    results.add(
        Table("Repeats", ("who", "what is sent", "runs"), tuple(rows), () if why_not else lines),
        duplicates=numbers,
    )


def main() -> int:
    """Measure, and print tables and JSON; 1 if an aim is missed."""
    options = parser(__doc__)
    options.add_argument("--sizes", type=int, nargs="+", help="alerts in each storm")
    options.add_argument("--patience", type=float, default=150.0, help="longest storm, in seconds")
    said = options.parse_args()
    sizes = said.sizes or ([40] if said.quick else [40, 400])
    results, why_not = Results("storm"), why_left_out()
    if why_not:
        print(f"left out: {why_not}\n")
    with ExitStack() as around:
        asked = around.enter_context(Asked())
        site = around.enter_context(scratch_site())
        site.configure("".join(target(f"t-{number}", asked) for number in range(max(sizes))))
        storms(results, site, asked, sizes, said.patience, why_not)
        duplicates(results, site, asked, why_not)
    results.numbers["left_out"] = why_not
    return results.end(said)


if __name__ == "__main__":
    sys.exit(main())
