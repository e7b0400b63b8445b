"""An owner shows that it lives; one that does not is taken over, and finds that out."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from medic8.errors import FencedError
from medic8.model.recovery import Owner, Recovery, RecoveryState
from medic8.model.target import Resource
from medic8.owner import is_interrupted, this_process
from medic8.recovery import interrupted, tables
from medic8.recovery.journal import Journal
from medic8.recovery.lease import Lease
from tests.recovery.memory import AT, MemoryTarget, plan_of

PLAN = plan_of((("a", "new"),))
SERVER = (Resource(identity="memory:1", carries="its server"),)
ELSEWHERE = Owner(machine="another", boot="b", pid_namespace="p", pid=1, started_at=1)


def opened(journal: Journal, *, owner: Owner | None = None, lease_s: float = 10.0) -> Recovery:
    return journal.open(PLAN, SERVER, owner or this_process(), stands_on="", at=AT, lease_s=lease_s)


def lapses_at_s(journal_url: str, recovery: Recovery) -> float:
    with tables.engine_for(journal_url).begin() as connection:
        found = sa.select(tables.leases.c.lapses_at_s).where(tables.leases.c.recovery == recovery.id)
        return float(connection.scalar(found) or 0)


def eventually(is_so: Callable[[], bool], within_s: float = 20.0) -> bool:
    deadline_s = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.02)
    return True


def test_a_lease_lapses_and_is_renewed_by_its_owner(journal: Journal) -> None:
    """By the clock of whoever keeps the database; one that has lapsed may still be renewed."""
    recovery = opened(journal, lease_s=0.0)
    assert journal.read(recovery.id).has_lapsed
    journal.renew(recovery.id, recovery.owner)
    assert not journal.read(recovery.id).has_lapsed
    journal.renew(recovery.id, recovery.owner, lease_s=0.0)
    assert journal.read(recovery.id).has_lapsed


def test_an_owner_elsewhere_is_taken_for_dead_when_its_lease_has_lapsed(journal: Journal) -> None:
    """Nothing else tells of another machine; as long as it renews, it lives."""
    recovery = opened(journal, owner=ELSEWHERE)
    assert not is_interrupted(journal.read(recovery.id))
    journal.renew(recovery.id, ELSEWHERE, lease_s=0.0)
    assert interrupted.interrupted_on(journal, PLAN.target) == (journal.read(recovery.id),)


def test_only_the_owner_of_an_open_recovery_renews(journal: Journal) -> None:
    """Not after it was taken over, and not after the end."""
    recovery = opened(journal, owner=ELSEWHERE, lease_s=0.0)
    taken = journal.taken_over(recovery, this_process())
    assert not taken.has_lapsed
    assert not journal.read(recovery.id).has_lapsed
    with pytest.raises(FencedError, match="ended or taken over"):
        journal.renew(recovery.id, ELSEWHERE)
    journal.close(taken, RecoveryState.RESTORED, at=AT)
    with pytest.raises(FencedError, match="ended or taken over"):
        journal.renew(recovery.id, taken.owner)
    assert not journal.read(recovery.id).has_lapsed


def test_a_lease_of_an_earlier_boot_has_lapsed(journal: Journal, journal_url: str) -> None:
    """SQLite has the machine's clock, which begins anew with each boot; a server has one of its own."""
    recovery = opened(journal)
    with tables.engine_for(journal_url).begin() as connection:
        boot = connection.scalar(sa.select(tables.leases.c.boot))
        connection.execute(tables.leases.update().values(boot="earlier"))
    assert bool(boot) == journal_url.startswith("sqlite")
    assert journal.read(recovery.id).has_lapsed


def test_a_journal_without_leases_is_brought_up_to_date(journal: Journal, journal_url: str) -> None:
    """What was opened before there were leases is judged by its process alone."""
    recovery = opened(journal, owner=ELSEWHERE)
    engine = tables.engine_for(journal_url)
    tables.leases.drop(engine)
    with engine.begin() as connection:
        connection.execute(tables.about.update().where(tables.about.c.what == "schema").values(value="1"))
    again = Journal(journal_url)
    assert not is_interrupted(again.read(recovery.id))
    again.renew(recovery.id, ELSEWHERE, lease_s=0.0)
    assert is_interrupted(again.read(recovery.id))


def test_a_step_beyond_its_time_limit_is_not_covered(journal: Journal, journal_url: str) -> None:
    """It may hang for ever; the next one that is begun is covered again."""
    now_s = [0.0]
    recovery = opened(journal, lease_s=1.0)
    lease = Lease(journal, recovery, clock=lambda: now_s[0])
    with lease.during(30):
        now_s[0] = 29.9
        assert lease.renew()
        renewed = lapses_at_s(journal_url, recovery)
        now_s[0] = 30.0
        assert lease.renew()
        assert lapses_at_s(journal_url, recovery) == renewed
    with lease.during(30):
        assert lease.renew()
        assert lapses_at_s(journal_url, recovery) > renewed


def test_an_owner_that_was_taken_over_begins_nothing_more(journal: Journal) -> None:
    """Its thread learns it, and the next step is told."""
    recovery = opened(journal, lease_s=0.0)
    lease = Lease(journal, recovery)
    journal.taken_over(recovery, ELSEWHERE)
    assert not lease.renew()
    with pytest.raises(FencedError), lease.during(30):
        raise AssertionError
    with pytest.raises(FencedError):
        lease.require()


def test_the_thread_renews_until_the_body_ends(journal: Journal, journal_url: str) -> None:
    """And no longer."""
    recovery = opened(journal, lease_s=0.4)
    lease = Lease(journal, recovery, lease_s=0.4)
    first = lapses_at_s(journal_url, recovery)
    with lease.kept(), lease.during(60):
        assert eventually(lambda: lapses_at_s(journal_url, recovery) > first + 0.5)
    assert eventually(lambda: journal.read(recovery.id).has_lapsed)


def test_a_stopped_owner_is_taken_over_and_finds_that_out(journal: Journal, journal_url: str) -> None:
    """SIGSTOP: it is no dead process, and its lease lapses. SIGCONT: it begins nothing more."""
    script = f"""
import sys
from medic8.owner import is_interrupted, this_process
from medic8.recovery.journal import Journal
from medic8.recovery.lease import Lease
from medic8.errors import FencedError
from tests.recovery.test_lease import opened

journal = Journal({journal_url!r})
recovery = opened(journal, lease_s=2.0)
lease = Lease(journal, recovery, lease_s=2.0)
with lease.kept(), lease.during(60):
    print(recovery.id, flush=True)
    sys.stdin.readline()
    try:
        while True:
            lease.require()
    except FencedError:
        print("fenced", flush=True)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        recovery_id = child.stdout.readline().strip()
        assert not is_interrupted(journal.read(recovery_id))
        child.send_signal(signal.SIGSTOP)
        assert eventually(lambda: is_interrupted(journal.read(recovery_id)))
        target = MemoryTarget({"a": b"old"})
        (ended,) = interrupted.end_all(
            journal, this_process(), session_of=lambda _: target.session(), clock=lambda: AT
        ).ended
        assert (ended.id, ended.state) == (recovery_id, RecoveryState.RESTORED)
        child.send_signal(signal.SIGCONT)
        child.stdin.write("go on\n")
        child.stdin.flush()
        assert child.stdout.readline() == "fenced\n"
    finally:
        child.kill()
        child.communicate()
