"""
What the journal costs each step, and how soon a target is safe after SIGKILL.

The journal's entry for a step is held against a bare insert of the same size, durable by one commit, in
the same database, in turn; its limit is the median of the ratios. The times from SIGKILL are those of real
deaths: a forked executor is killed when it has changed a setting of a real server, and whoever ends its
recovery is warm, as a worker is.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import platform
import secrets
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import event

from medic8.backups.place import BackupPlace
from medic8.local import postgres
from medic8.local.account import server_account
from medic8.local.home import make_home, own_folder, remove_folder, server_room, socket_folder
from medic8.local.programs import find_postgres
from medic8.local.scratch import scratch_valkey
from medic8.model.plan import Plan, Step, Unit
from medic8.model.recovery import Owner, Recovery, RecoveryState, StepMark, StepState
from medic8.model.target import Resource, Target
from medic8.owner import this_process
from medic8.recovery import contract, interrupted, tables
from medic8.recovery.journal import Journal
from medic8.recovery.leases import LEASE_S
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.actions import open_session
from medic8.targets.valkey.client import connection, setting

STEPS = 200
WARM_UP = 20
DEATHS = 9
MOST_COMMITS = 2.0
MOST_RATIO = 1.5
MOST_HERE_S = 1.0
MOST_ELSEWHERE_S = LEASE_S + 2.0


def now() -> datetime:
    """The time, as the flows have it."""
    return datetime.now(UTC)


def plan_of(count: int) -> Plan:
    """A plan of *count* steps that raise ``hz`` one by one."""
    steps = tuple(
        Step(
            title=f"set hz of server from {10 + number} to {11 + number}",
            action="set_setting",
            arguments={"name": "hz", "found": str(10 + number), "value": str(11 + number)},
            touches="setting hz",
        )
        for number in range(count)
    )
    unit = Unit(title="settings", steps=steps)
    return Plan(
        target="server", strategy="set_settings", issue_fingerprint="0", summary="Set.", units=(unit,)
    )


@contextlib.contextmanager
def commits_of(engine: sa.Engine) -> Iterator[list[int]]:
    """Count commits of transactions that changed something."""
    count, changing = [0], [False]

    def executed(_connection: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
        changing[0] |= not statement.lstrip().upper().startswith(("SELECT", "BEGIN"))

    def committed(_connection: sa.Connection) -> None:
        count[0] += changing[0]
        changing[0] = False

    event.listen(engine, "before_cursor_execute", executed)
    event.listen(engine, "commit", committed)
    try:
        yield count
    finally:
        event.remove(engine, "before_cursor_execute", executed)
        event.remove(engine, "commit", committed)


def cost_of_steps(url: str) -> dict[str, float]:
    """Commits for each step, and the median of an entry's time over that of a bare insert."""
    journal, engine = Journal(url), tables.engine_for(url)
    digest = secrets.token_hex(32)
    bare = sa.Table(
        "bare",
        sa.MetaData(),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("state", sa.String(16)),
        sa.Column("digest", sa.String(64)),
        sa.Column("at", sa.DateTime(timezone=True)),
    )
    bare.create(engine)
    resources = (Resource(identity="bench:1", carries="the server"),)
    recovery = journal.open(plan_of(STEPS + WARM_UP), resources, this_process(), stands_on="", at=now())
    marks = [StepMark(number=number, state=StepState.DONE, at=now()) for number in range(STEPS + WARM_UP)]

    def enter(number: int) -> None:
        reached = tuple(marks[number - 1 : number])
        journal.begun(recovery, number, written_digest=digest, at=now(), reached=reached)

    def insert(number: int) -> None:
        row = {"number": number, "state": "begun", "digest": digest, "at": now()}
        with engine.begin() as connection_:
            connection_.execute(bare.insert(), row)

    with commits_of(engine) as count:
        for number in range(STEPS + WARM_UP):
            enter(number)
        commits = count[0] / (STEPS + WARM_UP)
    spent_s: dict[Callable[[int], None], list[float]] = {enter: [], insert: []}
    for number in range(STEPS + WARM_UP):
        for act in (enter, insert) if number % 2 else (insert, enter):
            began_s = time.perf_counter()
            act(number)
            spent_s[act].append(time.perf_counter() - began_s)
    journal.close(recovery, RecoveryState.RESTORED, at=now())
    bare.drop(engine)
    journal.dispose()
    pairs = list(zip(spent_s[enter], spent_s[insert], strict=True))[WARM_UP:]
    return {
        "commits": commits,
        "entry_s": statistics.median(entry_s for entry_s, _ in pairs),
        "insert_s": statistics.median(insert_s for _, insert_s in pairs),
        "ratio": statistics.median(entry_s / insert_s for entry_s, insert_s in pairs),
    }


def die(url: str, target: Target, folder: Path, owner: Callable[[], Owner]) -> None:
    """Carry one step out, and be killed before anything else."""
    journal = Journal(url)
    around = Surroundings(backups=BackupPlace.of(folder / "backups"), now=now())
    with open_session(target, around) as session:
        recovery = contract.open_recovery(journal, session, plan_of(2), owner(), at=now())
        recovery = contract.save_state(journal, session, recovery, folder=folder / "saved", limit_bytes=1000)
        contract.apply_step(journal, session, recovery, 0, clock=now)
        os.kill(os.getpid(), signal.SIGKILL)


def elsewhere() -> Owner:
    """A process on another machine, of which only the lease tells."""
    return this_process().model_copy(update={"machine": "another"})


def seconds_until_safe(url: str, target: Target, folder: Path, owner: Callable[[], Owner]) -> float:
    """From the death to the saved setting being there again, for somebody who looks every 50 ms."""
    around = Surroundings(backups=BackupPlace.of(folder / "backups"), now=now())
    child = multiprocessing.get_context("fork").Process(target=die, args=(url, target, folder, owner))
    child.start()
    child.join(60)
    died_s = time.perf_counter()
    assert child.exitcode == -signal.SIGKILL, child.exitcode
    with connection(target.address) as client:
        assert setting(client, "hz") == "11"
        ended: Recovery | None = None
        while ended is None:
            journal = Journal(url)
            for dead in interrupted.interrupted_on(journal):
                ended = interrupted.end(
                    journal,
                    dead,
                    this_process(),
                    session_of=lambda _: open_session(target, around),
                    clock=now,
                )
            if ended is None:
                time.sleep(0.05)
        safe_s = time.perf_counter()
        assert (setting(client, "hz"), ended.state) == ("10", RecoveryState.RESTORED)
    journal.dispose()
    return safe_s - died_s


@contextlib.contextmanager
def postgres_in(folder: Path) -> Iterator[str]:
    """A PostgreSQL of its own."""
    home, account = make_home(folder / "home"), server_account()
    room = server_room(home, account)
    server = None
    try:
        server = postgres.start_postgres(
            find_postgres(room, account),
            own_folder(room / "postgres", account),
            sockets=socket_folder(room / "postgres-socket", account),
            log=home / "log",
            account=account,
            record=lambda _: None,
        )
        postgres.wait_for_postgres(server, timeout_s=30)
        yield f"postgresql+pg8000://postgres@/postgres?unix_sock={server.sockets}/.s.PGSQL.5432"
    finally:
        if server is not None:
            postgres.stop_postgres(server)
        remove_folder(room / "postgres-socket")
        remove_folder(home / "servers")


def main() -> int:
    """Print a table and JSON; exit status 1 if anything is over its limit."""
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(dir=os.environ.get("MEDIC8_BENCH_DIR")))
        )
        server = stack.enter_context(scratch_valkey(folder))
        urls = {
            "SQLite": f"sqlite:///{folder}/journal.sqlite",
            "PostgreSQL": stack.enter_context(postgres_in(folder)),
        }
        costs = {name: cost_of_steps(url) for name, url in urls.items()}
        target = Target(name="server", kind="valkey", url=server.url)
        deaths: dict[str, dict[str, float]] = {}
        for name, url in urls.items():
            here = [seconds_until_safe(url, target, folder, this_process) for _ in range(DEATHS)]
            away = seconds_until_safe(url, target, folder, elsewhere)
            deaths[name] = {"here_s": max(here), "elsewhere_s": away}
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"The entry of a step beside a bare insert of the same size; medians of {STEPS} in turn")
    print(f"{'journal':>12} {'commits':>9} {'entry':>10} {'insert':>10} {'ratio':>7}")
    for name, cost in costs.items():
        entry, insert = (f"{cost[key] * 1000:>7.2f} ms" for key in ("entry_s", "insert_s"))
        print(f"{name:>12} {cost['commits']:>9.2f} {entry:>10} {insert:>10} {cost['ratio']:>7.2f}")
    print(f"limits: {MOST_COMMITS:.0f} commits, ratio {MOST_RATIO}")
    print(f"From SIGKILL to the setting being put back; the longest of {DEATHS} here, one elsewhere")
    for name, each in deaths.items():
        print(f"{name:>12} here {each['here_s']:>6.2f} s, elsewhere {each['elsewhere_s']:>6.2f} s")
    print(f"limits: {MOST_HERE_S} s here, {MOST_ELSEWHERE_S} s elsewhere (a lease is {LEASE_S} s)")
    is_within = all(
        cost["commits"] <= MOST_COMMITS and cost["ratio"] <= MOST_RATIO for cost in costs.values()
    ) and all(
        each["here_s"] < MOST_HERE_S and each["elsewhere_s"] < MOST_ELSEWHERE_S for each in deaths.values()
    )
    print(json.dumps({"benchmark": "journal", "costs": costs, "deaths": deaths, "is_within": is_within}))
    return 0 if is_within else 1


if __name__ == "__main__":
    sys.exit(main())
