"""
What gateway and responder take with nothing to do: memory, and time of the processor.

After a first alert has been answered, so that everything is there that work brings with it. Resident counts
what is shared between processes once for each; proportional (PSS) counts it once, and is what would be free
without them.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack

import httpx
import psutil

from benchmarks.measuring import Results, Table, cpu_s, parser
from benchmarks.scratch_site import TOKEN, Alerts, Asked, scratch_site

#: Aims, for both together: of resident memory, and of a core for the responder.
MOST_MIB, MOST_SHARE = 300.0, 0.01


def memory_mib(process: psutil.Process) -> tuple[float, float]:
    """Resident and proportional memory of it and all that live under it."""
    family = [process, *process.children(recursive=True)]
    found = [each.memory_full_info() for each in family]
    return sum(each.rss for each in found) / (1 << 20), sum(each.pss for each in found) / (1 << 20)


def main() -> int:
    """Measure, and print a table and JSON; 1 if an aim is missed."""
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, help="how long nothing is done")
    said = options.parse_args()
    seconds = said.seconds or (15.0 if said.quick else 60.0)
    results = Results("idle")
    with ExitStack() as around:
        asked = around.enter_context(Asked())
        site = around.enter_context(scratch_site())
        url = asked.url("one")
        site.configure(f'[[target]]\nname = "one"\nkind = "endpoint"\nurl = "{url}"\n')
        gateway_url, gateway = around.enter_context(site.gateway())
        responder = around.enter_context(site.responder())
        said_who = {"Authorization": f"Bearer {TOKEN}"}
        body = Alerts.about("one")
        httpx.post(gateway_url, json=body, headers=said_who, trust_env=False).raise_for_status()
        asked.first_s(["one"])
        site.rest()
        time.sleep(5)
        parts = {"gateway": gateway, "responder": responder}
        servers = dict(zip(("Prefect's server", "PostgreSQL"), site.servers(), strict=True))
        before_s = {name: cpu_s([each]) for name, each in (parts | servers).items()}
        time.sleep(seconds)
        share = {name: (cpu_s([each]) - before_s[name]) / seconds for name, each in (parts | servers).items()}
        memory = {name: memory_mib(each) for name, each in (parts | servers).items()}
    both = sum(memory[name][0] for name in parts)
    rows = tuple(
        (name, f"{memory[name][0]:.0f} MiB", f"{memory[name][1]:.0f} MiB", f"{100 * share[name]:.2f} %")
        for name in memory
    )
    lines = (
        results.aim("gateway and responder together, resident", both, MOST_MIB, " MiB"),
        results.aim("responder, of a core", share["responder"] * 100, MOST_SHARE * 100, " %"),
        f"over {seconds:.0f} s; servers are Prefect's own and are there for whoever runs flows",
    )
    results.add(
        Table("With nothing to do", ("what", "resident", "proportional", "of a core"), rows, lines),
        idle={
            name: {"rss_mib": memory[name][0], "pss_mib": memory[name][1], "core": share[name]}
            for name in memory
        },
    )
    return results.end(said)


if __name__ == "__main__":
    sys.exit(main())
