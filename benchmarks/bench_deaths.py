"""
What is left when the executor is killed by SIGKILL: forgotten, done twice, put back.

Medic8's recoveries are killed in the crash laboratory (`tests/crash`), before and after each of their writes,
alone and while others write; an independent reader says where that led. A playbook of three steps that
ansible-rulebook has begun is killed in each of its steps, with all of its processes; the program is started
again, and then the same alert is sent again, as Alertmanager does while it fires.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil

from benchmarks.measuring import Results, Table, parser
from benchmarks.others import LeftOutError
from benchmarks.rulebook import rulebook
from benchmarks.scratch_site import ROOT, Alerts, Asked, until

#: Of a server's settings, of a grid's blocks, of keys.
STRATEGIES = ("set_settings", "rebuild_from_parity", "expire_forgotten_keys")

STEPS = 3
_SEEN_S = 5.0

STEP = """
    - name: step {number}
      ansible.builtin.shell: "echo {number} >> {file}; sleep 2"
"""


def laboratory(sample: int) -> dict[str, dict[str, int]]:
    """The counts of the laboratory for each strategy."""
    words = [sys.executable, "-m", "tests.crash", "--depth", "1", "--sample", str(sample)]
    for strategy in STRATEGIES:
        words += ["--strategy", strategy]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1800)
    assert done.stdout, done.stderr[-3000:]
    counts: dict[str, dict[str, int]] = json.loads(done.stdout.splitlines()[-1])["strategies"]
    return counts


def kill_all(process: psutil.Process) -> None:
    """Kill it and everything under it, at once."""
    for each in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait(30)


def playbook_killed_in(step: int, folder: Path, asked: Asked) -> tuple[list[str], list[str]]:
    """Which steps were done after the program was started again, and after the alert was sent again."""
    file = folder / f"steps-{step}"
    more = "".join(STEP.format(number=number, file=file) for number in range(1, STEPS + 1))
    body = Alerts.about("t")
    with rulebook(asked.port, more=more) as one:
        httpx.post(one.url, json=body, trust_env=False, timeout=60).raise_for_status()
        until(lambda: file.exists() and len(file.read_text().split()) == step, f"step {step}")
        kill_all(one.process)
    with rulebook(asked.port, more=more) as one:
        time.sleep(_SEEN_S)
        alone = file.read_text().split()
        httpx.post(one.url, json=body, trust_env=False, timeout=60).raise_for_status()
        until(lambda: len(file.read_text().split()) == step + STEPS, "end of the playbook")
        again = file.read_text().split()
    return alone, again


def main() -> int:
    """Count, and print a table and JSON; 1 if a recovery of ours did not end as promised."""
    options = parser(__doc__)
    options.add_argument("--sample", type=int, help="deaths of each strategy")
    said = options.parse_args()
    results = Results("deaths")
    counts = laboratory(said.sample or (6 if said.quick else 40))
    heads = (
        "strategy",
        "deaths",
        "not opened",
        "healthy",
        "restored",
        "needs_person",
        "wrong",
        "others' writes lost",
    )
    keys = ("kill points", *heads[2:7], "lost foreign writes")
    rows = [(name, *(str(each[key]) for key in keys)) for name, each in counts.items()]
    wrong = sum(each["wrong"] + each["lost foreign writes"] for each in counts.values())
    lines = (
        results.aim("recoveries that did not end as promised", wrong, 0),
        "wrong: one that is forgotten, left half done, done twice, or not exactly as it was",
        "drawn from all deaths by a seed; `make crash` makes every one",
    )
    results.add(Table("Medic8's executor is killed", heads, tuple(rows), lines), medic8=counts)
    try:
        with TemporaryDirectory() as name, Asked() as asked:
            theirs = {step: playbook_killed_in(step, Path(name), asked) for step in range(1, STEPS + 1)}
    except LeftOutError as exc:
        print(f"left out: {exc}\n")
        results.numbers["left_out"] = str(exc)
        return results.end(said)
    rows = [
        (
            f"in step {step} of {STEPS}",
            "forgotten" if len(alone) == step else "went on",
            " ".join(again),
            str(len(again) - len(set(again))),
            "0",
        )
        for step, (alone, again) in theirs.items()
    ]
    lines = (
        "without its persistence, which needs a database and keeps events and not steps",
        "a playbook has no undo; what was done is as it was left, until somebody looks",
    )
    heads = (
        "ansible-rulebook is killed",
        "started again",
        "steps done, after the alert came again",
        "done twice",
        "put back",
    )
    results.add(Table("A playbook's executor is killed", heads, tuple(rows), lines), playbook=theirs)
    return results.end(said)


if __name__ == "__main__":
    sys.exit(main())
