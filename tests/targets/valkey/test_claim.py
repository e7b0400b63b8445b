"""Of all who would repair one server, exactly one does, whatever they call it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import valkey
import valkey.exceptions

from medic8.backups.place import BackupPlace
from medic8.errors import ClaimedError, ClaimGoneError, FencedError, TransientError
from medic8.local.scratch import ScratchValkey, scratch_valkey
from medic8.model.plan import Plan, Step, Unit
from medic8.model.recovery import Claim, Fence, RecoveryState
from medic8.model.target import Target
from medic8.owner import this_process
from medic8.recovery import contract, undo
from medic8.recovery.busy import BusyError
from medic8.recovery.hand_over import hand_over
from medic8.recovery.journal import Journal
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.actions import open_session
from medic8.targets.valkey.acts.settings import SET_SETTING
from medic8.targets.valkey.claim import CLAIM_KEY
from tests.recovery.memory import AT

AROUND = Surroundings(backups=BackupPlace(url="/nonexistent"), now=AT)


def named(url: str, name: str = "server") -> Target:
    return Target(name=name, kind="valkey", url=url)


def a_plan(*values: str) -> Plan:
    found = ("10", *values)
    steps = tuple(
        Step(
            title=f"set hz to {value}",
            action=SET_SETTING,
            arguments={"name": "hz", "found": before, "value": value},
            touches="setting hz",
        )
        for before, value in zip(found, values, strict=False)
    )
    return Plan(
        target="server",
        strategy="set_settings",
        issue_fingerprint="0" * 16,
        summary="Set hz.",
        units=(Unit(title="hz", steps=steps),),
    )


def hz(client: valkey.Valkey) -> str:
    return str(client.config_get("hz")["hz"])


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(f"sqlite:///{tmp_path}/journal.sqlite")


@pytest.fixture
def client(valkey_url: str) -> valkey.Valkey:
    return valkey.Valkey.from_url(valkey_url, decode_responses=True)


def test_of_two_journals_exactly_one_proceeds_by_whatever_name_and_database(
    valkey_server: ScratchValkey, valkey_url: str, tmp_path: Path
) -> None:
    """By TCP and by socket, in database 0, 3 and 5: sixteen at once, and one of them is let in."""
    urls = [valkey_url, valkey_server.socket_url, f"{valkey_url[:-1]}3", f"{valkey_server.socket_url[:-1]}5"]
    journals = [Journal(f"sqlite:///{tmp_path}/{number}.sqlite") for number in range(4)]
    outcomes: list[str] = []

    def attempt(journal: Journal, url: str) -> None:
        try:
            with open_session(named(url), AROUND) as session:
                contract.open_recovery(journal, session, a_plan("20"), this_process(url), at=AT)
            outcomes.append("granted")
        except (ClaimedError, BusyError):
            outcomes.append("refused")

    threads = [threading.Thread(target=attempt, args=(journal, url)) for journal in journals for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(outcomes) == ["granted", *["refused"] * 15]
    assert sum(len(journal.holding()) for journal in journals) == 1


def test_what_is_changed_in_another_database_is_guarded_there_and_claimed_for_all(
    valkey_url: str, client: valkey.Valkey, journal: Journal, tmp_path: Path
) -> None:
    """The server's claim keeps others away; the one beside it is what each change is compared with."""
    with open_session(named(f"{valkey_url[:-1]}3"), AROUND) as session:
        recovery = contract.open_recovery(journal, session, a_plan("20", "30"), this_process(), at=AT)
        recovery = contract.save_state(journal, session, recovery, folder=tmp_path / "s", limit_bytes=1000)
        assert client.get(CLAIM_KEY) == recovery.claim.content.decode()
        beside = valkey.Valkey.from_url(f"{valkey_url[:-1]}3")
        assert beside.get(CLAIM_KEY) == recovery.claim.content
        step = recovery.plan.units[0].steps[0]
        beside.set(CLAIM_KEY, b"journal-2 recovery-2 9:0")
        with pytest.raises(FencedError, match="recovery-2 holds it"):
            session.swap(step, expected=b"10", new=b"20", claim=recovery.claim)
        assert hz(client) == "10"
        beside.delete(CLAIM_KEY)
        contract.close(journal, session, recovery, RecoveryState.RESTORED, at=AT)
        assert client.get(CLAIM_KEY) is None


def test_a_claim_that_is_gone_is_told_from_one_that_is_anothers(
    valkey_url: str, client: valkey.Valkey, journal: Journal
) -> None:
    """FLUSHALL, eviction, or its own expiry: then the journal decides, and not the target."""
    with open_session(named(valkey_url), AROUND) as session:
        recovery = contract.open_recovery(journal, session, a_plan("20"), this_process(), at=AT)
        client.flushall()
        with pytest.raises(ClaimGoneError):
            session.renew_claim(recovery.claim, lasts_s=60)
        client.set(CLAIM_KEY, "journal-2 recovery-2 9:0")
        with pytest.raises(FencedError) as caught:
            session.renew_claim(recovery.claim, lasts_s=60)
        assert not isinstance(caught.value, ClaimGoneError)


def test_a_recovery_goes_on_when_its_claim_was_flushed_away(
    valkey_url: str, client: valkey.Valkey, journal: Journal, tmp_path: Path
) -> None:
    """The claim is put there again, since the journal says that the recovery is still ours."""
    with open_session(named(valkey_url), AROUND) as session:
        recovery = contract.open_recovery(journal, session, a_plan("20", "30"), this_process(), at=AT)
        recovery = contract.save_state(journal, session, recovery, folder=tmp_path / "s", limit_bytes=1000)
        client.flushall()
        contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
        assert (hz(client), client.get(CLAIM_KEY)) == ("20", recovery.claim.content.decode())


def test_an_older_fence_never_takes_the_place_of_a_newer_one(
    valkey_url: str, client: valkey.Valkey, journal: Journal
) -> None:
    """A process that was stopped asks the journal, is stopped again, and goes on after it was taken over."""
    with open_session(named(valkey_url), AROUND) as session:
        old = contract.open_recovery(journal, session, a_plan("20"), this_process(), at=AT)
        journal.renew(old.id, old.owner, lease_s=0.0)
        new = journal.taken_over(old, this_process("another run"))
        with open_session(named(valkey_url), AROUND) as another:
            another.take_claim(new.claim, lasts_s=60)
        with pytest.raises(FencedError, match=f"recovery {new.id} has claimed the server since"):
            session.take_claim(old.claim, lasts_s=60)
        assert client.get(CLAIM_KEY) == new.claim.content.decode()


def test_a_claim_that_this_journal_gave_out_later_refuses_the_opening(
    valkey_url: str, client: valkey.Valkey, journal: Journal
) -> None:
    """A journal that was put back from a copy counts from an older number: refused until the claim lapses."""
    claim = Claim(journal=journal.identity, recovery="later", fence=Fence(number=99, nonce="0" * 32))
    client.set(CLAIM_KEY, claim.content, px=60_000)
    with open_session(named(valkey_url), AROUND) as session, pytest.raises(ClaimedError, match="later has"):
        contract.open_recovery(journal, session, a_plan("20"), this_process(), at=AT)
    assert journal.holding() == ()


def test_a_take_over_closes_the_connections_of_the_owner_before(
    valkey_url: str, client: valkey.Valkey, journal: Journal, tmp_path: Path
) -> None:
    """By their ids, and no others: not those of another recovery, and not a person's."""
    bystander = valkey.Valkey.from_url(
        valkey_url, client_name="medic8-recovery:other:1", single_connection_client=True
    )
    bystander.ping()
    with open_session(named(valkey_url), AROUND) as zombie, open_session(named(valkey_url), AROUND) as ender:
        recovery = contract.open_recovery(journal, zombie, a_plan("20", "30"), this_process(), at=AT)
        recovery = contract.save_state(journal, zombie, recovery, folder=tmp_path / "s", limit_bytes=1000)
        contract.apply_step(journal, zombie, recovery, 0, clock=lambda: AT)
        journal.renew(recovery.id, recovery.owner, lease_s=0.0)
        ended = undo.end_interrupted(journal, ender, recovery, this_process("another run"), clock=lambda: AT)
        assert (ended.state, hz(client)) == (RecoveryState.RESTORED, "10")
        with pytest.raises(TransientError, match="connection"):
            zombie.capture(recovery.plan.units[0].steps[1])
        assert ender.capture(recovery.plan.units[0].steps[1]) == b"10"
    assert "medic8-recovery:other:1" in {each["name"] for each in client.client_list()}
    bystander.close()


def test_who_may_not_close_connections_still_shuts_the_owner_before_out(
    valkey_url: str, client: valkey.Valkey, journal: Journal, tmp_path: Path
) -> None:
    """Without CLIENT LIST and CLIENT KILL, the fence is what guards, as it always is."""
    client.acl_setuser(
        "careful", enabled=True, nopass=True, keys=["*"], categories=["+@all"], commands=["-client"]
    )
    careful = valkey_url.replace("valkey://", "valkey://careful:any@")
    with open_session(named(careful), AROUND) as zombie, open_session(named(careful), AROUND) as ender:
        recovery = contract.open_recovery(journal, zombie, a_plan("20", "30"), this_process(), at=AT)
        recovery = contract.save_state(journal, zombie, recovery, folder=tmp_path / "s", limit_bytes=1000)
        contract.apply_step(journal, zombie, recovery, 0, clock=lambda: AT)
        journal.renew(recovery.id, recovery.owner, lease_s=0.0)
        ended = undo.end_interrupted(journal, ender, recovery, this_process("another run"), clock=lambda: AT)
        assert (ended.state, hz(client)) == (RecoveryState.RESTORED, "10")
        step = recovery.plan.units[0].steps[0]
        with pytest.raises(FencedError):
            zombie.swap(step, expected=b"10", new=b"20", claim=recovery.claim)
    assert hz(client) == "10"


def test_what_needs_a_person_stays_closed_by_any_name_until_it_is_acknowledged(
    valkey_server: ScratchValkey, valkey_url: str, client: valkey.Valkey, journal: Journal, tmp_path: Path
) -> None:
    """By TCP it needed a person; by its socket it is the same server. The command for the person is exact."""
    with open_session(named(valkey_url), AROUND) as session:
        recovery = contract.open_recovery(journal, session, a_plan("20"), this_process(), at=AT)
        recovery = contract.save_state(journal, session, recovery, folder=tmp_path / "s", limit_bytes=1000)
        contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
        ended = hand_over(journal, session, recovery, "nobody can end it", at=AT)
    values = f"{recovery.saved_state}/values.bin"
    assert ended.left[2] == (
        f"by hand: valkey-cli -h 127.0.0.1 -p {valkey_server.port} CONFIG SET hz "
        f'"$(dd if={values} iflag=skip_bytes,count_bytes skip=0 count=2 status=none)"'
    )
    assert Path(values).read_bytes() == b"10"
    other = named(valkey_server.socket_url, "another-name")
    with open_session(other, AROUND) as session:
        with pytest.raises(BusyError, match=f"is closed to automation.*medic8 acknowledge {recovery.id}"):
            contract.open_recovery(journal, session, a_plan("30"), this_process(), at=AT)
        journal.acknowledge(recovery.id)
        opened = contract.open_recovery(journal, session, a_plan("30"), this_process(), at=AT)
    assert opened.state is RecoveryState.OPEN
    assert hz(client) == "20"


def test_a_server_that_is_full_is_claimed_and_its_settings_are_put_back(
    tmp_path: Path, journal: Journal
) -> None:
    """It refuses every write, and has to be helped all the same; another journal's claim stays."""
    with scratch_valkey(tmp_path, config={"maxmemory-policy": "noeviction"}) as server:
        client = valkey.Valkey.from_url(server.url, decode_responses=True)
        with open_session(named(server.url), AROUND) as session:
            recovery = contract.open_recovery(journal, session, a_plan("20"), this_process(), at=AT)
            recovery = contract.save_state(
                journal, session, recovery, folder=tmp_path / "s", limit_bytes=1000
            )
            contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
            client.config_set("maxmemory", 1)
            with pytest.raises(valkey.exceptions.OutOfMemoryError):
                client.set("any", "thing")
            ended = undo.undo(journal, session, recovery, clock=lambda: AT)
            assert (ended.state, hz(client)) == (RecoveryState.RESTORED, "10")
            again = contract.open_recovery(journal, session, a_plan("30"), this_process(), at=AT)
            assert client.get(CLAIM_KEY) == again.claim.content.decode()
            other = Journal(f"sqlite:///{tmp_path}/other.sqlite")
            with pytest.raises(ClaimedError, match="of another journal; its claim lapses in"):
                contract.open_recovery(other, session, a_plan("40"), this_process(), at=AT)
            other.dispose()
        client.close()
