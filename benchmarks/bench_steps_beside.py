"""
What a step costs: Medic8's, one that its contract alone carries out, a bare Prefect task, and a DBOS step.

All give keys of the same server an expiry, one in each step. A step of Medic8 also says in its journal what
it is about to do, reads and compares, sees that the target is still its own, and renews that.
Runs of few and of many steps are made in turn; what counts is the difference, so that starting a run is no
part of it. DBOS keeps its steps in SQLite and in PostgreSQL; where it cannot be installed, its rows are
left out.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import valkey

from benchmarks.bench_journal import postgres_in
from benchmarks.measuring import Results, Table, in_turns, median_ratio, ms, parser
from benchmarks.others import LeftOutError, python_of
from benchmarks.scratch_site import scratch_site
from medic8.backups.place import BackupPlace
from medic8.local.scratch import ScratchValkey, scratch_valkey
from medic8.model.plan import Plan, Step, Unit
from medic8.model.recovery import Recovery, RecoveryState, StepMark
from medic8.model.target import Target
from medic8.owner import this_process
from medic8.recovery import contract
from medic8.recovery.journal import Journal
from medic8.settings import Settings, load_settings
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.actions import open_session
from medic8.targets.valkey.acts.expiry import EXPIRE_KEY

FEW, MANY = 5, 45
MOST_OVER_BARE_S = 0.005

BARE, OURS, CONTRACT = "bare Prefect task", "Medic8's step", "its contract alone, without Prefect"

NOT_COMPARABLE = (
    "not comparable: what survives. A DBOS step writes its result when it is done, and is done again if it "
    "died before; a bare task writes nothing; Medic8's writes what it is about to do, and compares"
)

#: Wall time, and time of this side's processor, of a run.
Spent = tuple[float, float]


def spent(act: Callable[[], object]) -> Spent:
    """What *act* takes."""
    began_s, used_s = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - began_s, time.process_time() - used_s


def plan_of(count: int) -> Plan:
    """A plan that gives so many keys an expiry."""
    steps = tuple(
        Step(
            title=f"have key k:{number} of server expire in an hour",
            action=EXPIRE_KEY,
            arguments={"key": f"k:{number}".encode().hex(), "after_s": 3600},
            touches=f"expiry of key k:{number}",
        )
        for number in range(count)
    )
    unit = Unit(title="expiry", steps=steps, proves_itself=True)
    return Plan(target="server", strategy="expire", issue_fingerprint="0", summary="Expire.", units=(unit,))


class Ours:
    """A plan of so many steps is opened, its state saved; then the steps alone are timed."""

    def __init__(self, server: ScratchValkey, site: Settings, folder: Path) -> None:
        self.target = Target(name="server", kind="valkey", url=server.url)  # type: ignore[arg-type]
        self.site, self.folder = site, folder
        self.journal = Journal(site.journal_url)
        self.around = Surroundings(backups=BackupPlace.of(folder / "backups"), now=datetime.now(UTC))

    def run(self, count: int, steps: Callable[[Recovery], tuple[StepMark, ...]]) -> Spent:
        """One recovery of *count* steps, which *steps* carries out."""
        at = datetime.now(UTC)
        with open_session(self.target, self.around) as session:
            recovery = contract.open_recovery(self.journal, session, plan_of(count), this_process(), at=at)
            recovery = contract.save_state(
                self.journal, session, recovery, folder=self.folder / "saved", limit_bytes=1 << 20
            )
            reached = list[tuple[StepMark, ...]]()
            took = spent(lambda: reached.append(steps(recovery)))
            contract.close(self.journal, session, recovery, RecoveryState.HEALTHY, at=at, reached=reached[0])
        return took

    def by_contract(self, recovery: Recovery) -> tuple[StepMark, ...]:
        """The steps, with a connection for each as tasks have."""
        reached: tuple[StepMark, ...] = ()
        for number in range(len(recovery.plan.units[0].steps)):
            with open_session(self.target, self.around) as session:
                reached = contract.apply_step(
                    self.journal,
                    session,
                    recovery,
                    number,
                    clock=lambda: datetime.now(UTC),
                    reached=reached,
                )
        return reached


@contextmanager
def dbos(url: str, port: int) -> Iterator[Callable[[int], Spent]]:
    """
    A program that runs workflows of DBOS.

    Raises:
        LeftOutError: it cannot be installed.
    """
    words = [str(python_of("dbos")), str(Path(__file__).with_name("dbos_steps.py")), url, str(port)]
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        answers = child.stdout
        while (line := answers.readline()).strip() != "ready":
            assert line, f"DBOS does not start on {url}"

        def run(count: int) -> Spent:
            child.stdin.write(f"{count}\n")
            child.stdin.flush()
            took_s, used_s = map(float, answers.readline().split())
            return took_s, used_s

        yield run
        child.stdin.close()


def main() -> int:
    """Measure, and print a table and JSON; 1 if a step costs too much."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int)
    said = options.parse_args()
    results, left_out = Results("steps_beside"), list[str]()
    with ExitStack() as around:
        folder = Path(around.enter_context(TemporaryDirectory()))
        server = around.enter_context(scratch_valkey(folder))
        client = around.enter_context(valkey.Valkey.from_url(server.url))
        scratch = around.enter_context(scratch_site())
        (scratch.folder / "medic8.toml").write_text("")
        os.environ.update(scratch.stock_environ, PREFECT_LOGGING_LEVEL="WARNING")
        # Prefect reads its settings when it is imported.
        from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings  # noqa: PLC0415

        from benchmarks import step_flows  # noqa: PLC0415

        around.enter_context(temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}))
        site = load_settings()
        ours = Ours(server, site, folder)
        runs: dict[str, Callable[[int], Spent]] = {
            BARE: lambda count: spent(lambda: step_flows.bare(server.port, count)),
            OURS: lambda count: ours.run(
                count, lambda recovery: step_flows.steps(ours.target, recovery, site)
            ),
            CONTRACT: lambda count: ours.run(count, ours.by_contract),
        }
        try:
            runs["DBOS step, SQLite"] = around.enter_context(dbos(f"sqlite:///{folder}/dbos.db", server.port))
            (folder / "database").mkdir()
            way = around.enter_context(postgres_in(folder / "database"))
            sockets = way.partition("unix_sock=")[2].removesuffix("/.s.PGSQL.5432")
            url = f"postgresql://postgres@/postgres?host={sockets}"
            runs["DBOS step, PostgreSQL"] = around.enter_context(dbos(url, server.port))
        except LeftOutError as exc:
            left_out.append(f"left out: {exc}")

        def a_step(name: str) -> Spent:
            took = list[Spent]()
            for count in (FEW, MANY):
                client.mset({f"k:{number}": "x" for number in range(count)})
                took.append(runs[name](count))
            (few_s, few_used_s), (many_s, many_used_s) = took
            return (many_s - few_s) / (MANY - FEW), (many_used_s - few_used_s) / (MANY - FEW)

        turns = {name: (lambda name=name: a_step(name)) for name in runs}
        in_turns(1, turns)
        found = in_turns(said.rounds or (3 if said.quick else 9), turns)
    report(results, found, left_out)
    return results.end(said)


def report(results: Results, found: dict[str, list[Spent]], left_out: list[str]) -> None:
    """A table of what each step takes."""
    took = {name: statistics.median(each[0] for each in spent) for name, spent in found.items()}
    used = {name: statistics.median(each[1] for each in spent) for name, spent in found.items()}
    over_s = statistics.median(
        ours - bare for (ours, _), (bare, _) in zip(found[OURS], found[BARE], strict=True)
    )
    task_s = statistics.median(
        ours - bare - contract
        for (ours, _), (bare, _), (contract, _) in zip(found[OURS], found[BARE], found[CONTRACT], strict=True)
    )
    ratios = {
        name: median_ratio([each[0] for each in spent], [each[0] for each in found[BARE]])
        for name, spent in found.items()
    }
    rows = tuple((name, ms(took[name]), ms(used[name]), f"{ratios[name]:.2f}") for name in found)
    lines = (
        f"a step of Medic8 on top of a bare task: {ms(over_s)}",
        results.aim(
            "the same without what the contract takes, which writes durably",
            task_s * 1000,
            MOST_OVER_BARE_S * 1000,
            " ms",
        ),
        f"runs of {FEW} and of {MANY} steps; CPU is that of the side that asks, without servers",
        NOT_COMPARABLE,
        *left_out,
    )
    heads = ("step", "wall", "CPU", "against a bare task")
    results.add(
        Table("What a step costs", heads, rows, lines),
        steps={name: {"wall_s": took[name], "cpu_s": used[name], "ratio": ratios[name]} for name in found},
        over_bare_s=over_s,
        over_bare_and_contract_s=task_s,
        left_out=left_out,
    )


if __name__ == "__main__":
    sys.exit(main())
