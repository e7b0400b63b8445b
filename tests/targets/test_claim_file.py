"""Of all who would repair one thing of this host, exactly one does, until it gives it back."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from medic8.errors import ClaimedError, ClaimGoneError, FencedError, RefusedError, TransientError
from medic8.model.recovery import Claim, Fence
from medic8.owner import boot_id
from medic8.targets import claim_file
from medic8.targets.claim_file import ClaimFile, claim_folder, folders_of_others

NAMES = ("process:1", "supervised:web")


def a_claim(journal: str = "j1", number: int = 1) -> Claim:
    return Claim(journal=journal, recovery=f"{journal}-r{number}", fence=Fence(number=number, nonce="0" * 32))


#: Takes the lock of the file that it is given, and holds it.
_HOLDS = """
import fcntl, sys, time
file = open(sys.argv[1])
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


class Clock:
    """Seconds since boot, as a test says."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def file_in(
    folder: Path, *names: str, others: tuple[Path, ...] = (), clock: Clock | None = None
) -> ClaimFile:
    return ClaimFile(
        "process web", names or NAMES, folder=folder, others=others, clock=clock or claim_file.boot_clock
    )


def test_of_many_who_claim_at_once_one_is_let_in(tmp_path: Path) -> None:
    """Eight journals, each under another of the thing's names first."""
    outcomes: list[str] = []

    def attempt(number: int) -> None:
        names = NAMES if number % 2 else NAMES[::-1]
        try:
            file_in(tmp_path, *names).take(a_claim(f"j{number}"), lasts_s=60)
            outcomes.append("taken")
        except ClaimedError:
            outcomes.append("refused")

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(outcomes) == ["refused"] * 7 + ["taken"]


def test_one_name_in_common_is_enough_to_be_kept_out(tmp_path: Path) -> None:
    """Two configurations may name one process differently."""
    file_in(tmp_path, "process:1", "supervised:web").take(a_claim(), lasts_s=60)
    other = file_in(tmp_path, "process:1", "unit:web.service")
    with pytest.raises(
        ClaimedError, match=r"process web is being repaired by recovery j1-r1 .* lapses in 60 s"
    ):
        other.take(a_claim("j2"), lasts_s=60)
    assert len(list(tmp_path.glob("*.claim"))) == 2


def test_a_claim_lapses_by_the_hosts_clock_and_shuts_its_owner_out(tmp_path: Path) -> None:
    """An owner that was stopped for longer finds that it holds nothing, and then that another does."""
    clock = Clock()
    mine = file_in(tmp_path, clock=clock)
    mine.take(a_claim(), lasts_s=60)
    clock.now_s += 59
    mine.renew(a_claim(), lasts_s=60)
    clock.now_s += 59
    assert mine.holds(a_claim())
    clock.now_s += 2
    with pytest.raises(ClaimGoneError, match="recovery j1-r1 on process web was lost: it is gone"):
        mine.renew(a_claim(), lasts_s=60)
    file_in(tmp_path, clock=clock).take(a_claim("j2"), lasts_s=60)
    with pytest.raises(FencedError, match="recovery j2-r1 holds it"), mine.held(a_claim()):
        pytest.fail("it was let in")
    mine.release(a_claim())
    assert file_in(tmp_path, clock=clock).holds(a_claim("j2"))


def test_the_same_journal_replaces_its_older_claim_and_never_a_newer_one(tmp_path: Path) -> None:
    """A process that was stopped goes on after its recovery was taken over."""
    file = file_in(tmp_path)
    file.take(a_claim(number=1), lasts_s=60)
    file.take(a_claim(number=2), lasts_s=60)
    with pytest.raises(FencedError, match="recovery j1-r2 has claimed process web since"):
        file.take(a_claim(number=1), lasts_s=60)
    assert file.holds(a_claim(number=2))


def test_a_claim_of_an_earlier_boot_is_none(tmp_path: Path) -> None:
    """The folder may lie on a disk; whoever held it is gone with the machine."""
    file_in(tmp_path).take(a_claim(), lasts_s=1e9)
    for each in tmp_path.glob("*.claim"):
        each.write_text(each.read_text().replace(boot_id(), "an earlier boot"))
    file_in(tmp_path).take(a_claim("j2"), lasts_s=60)


def test_giving_back_leaves_nothing_and_nobody_elses_is_taken(tmp_path: Path) -> None:
    """A thing that was restarted has another name: what was claimed under the old one goes too."""
    file_in(tmp_path, "process:1", "supervised:web").take(a_claim(), lasts_s=60)
    file_in(tmp_path, "process:9").take(a_claim("j2"), lasts_s=60)
    later = a_claim().model_copy(update={"fence": Fence(number=2, nonce="1" * 32)})
    anew = file_in(tmp_path, "process:2", "supervised:web")
    anew.take(later, lasts_s=60)
    anew.release(a_claim())
    assert anew.holds(later)
    anew.release(later)
    assert len(list(tmp_path.glob("*.claim"))) == 1
    assert file_in(tmp_path, "process:9").holds(a_claim("j2"))


def test_who_repairs_from_another_folder_is_seen(tmp_path: Path) -> None:
    """Root and the process's own user keep claims in different folders; of the two one is kept out."""
    root, user = tmp_path / "root", tmp_path / "user"
    root.mkdir()
    user.mkdir()
    file_in(root, others=(user,)).take(a_claim(), lasts_s=60)
    with pytest.raises(ClaimedError):
        file_in(user, others=(root,)).take(a_claim("j2"), lasts_s=60)
    assert not list(user.glob("*.claim"))


def test_what_is_no_claim_lets_nobody_in(tmp_path: Path) -> None:
    """Fails closed: it says what to remove."""
    file = file_in(tmp_path)
    file.take(a_claim(), lasts_s=60)
    for each in tmp_path.glob("*.claim"):
        each.write_text("{")
    with pytest.raises(RefusedError, match="if nobody repairs there: rm "):
        file.take(a_claim("j2"), lasts_s=60)
    with pytest.raises(RefusedError), file.held(a_claim()):
        pytest.fail("it was let in")
    for each in tmp_path.glob("*.claim"):
        each.unlink()
        os.mkfifo(each)
    with pytest.raises(RefusedError, match="if nobody repairs there: rm "):
        file.take(a_claim("j2"), lasts_s=60)


def test_nobody_takes_over_while_an_act_is_under_way_and_a_death_lets_go(
    tmp_path: Path,
) -> None:
    """The owner is killed inside its act: the kernel takes the lock back, and the next one goes on."""
    file_in(tmp_path).take(a_claim(), lasts_s=60)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            _HOLDS,
            str(tmp_path / "lock"),
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(TransientError, match=r"lock for more than 0\.2 s"):
            ClaimFile("process web", NAMES, folder=tmp_path, wait_s=0.2).take(a_claim(number=2), lasts_s=60)
    finally:
        holder.kill()
        holder.communicate(timeout=120)
    file_in(tmp_path).take(a_claim(number=2), lasts_s=60)


def test_the_body_of_an_act_runs_under_the_lock(tmp_path: Path) -> None:
    """What is done under a claim is done before anybody else may look at it."""
    file = file_in(tmp_path)
    file.take(a_claim(), lasts_s=60)
    with file.held(a_claim()), (tmp_path / "lock").open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    """Who can write there can take a claim away."""
    made = claim_folder(tmp_path / "deep" / "claims")
    assert made.stat().st_mode & 0o077 == 0
    made.chmod(0o777)
    with pytest.raises(RefusedError, match=r"can be written by others: owner [0-9]+, mode 777"):
        claim_folder(made)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(RefusedError, match="file, where things of this host are claimed, cannot be made"):
        claim_folder(file)


def test_root_and_users_look_into_each_others_folders(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Root's folder is seen by all, a user's by root, and only that of the user whose thing it is."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert folders_of_others(Path("/run/medic8"), {0, 1000}) == (Path("/run/user/1000/medic8"),)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    runtime = {"XDG_RUNTIME_DIR": str(tmp_path)}
    monkeypatch.setattr(claim_file, "RUN_OF_USERS", tmp_path / "none")
    assert folders_of_others(tmp_path / "medic8", {1000}) == (Path("/run/medic8"),)
    with pytest.raises(RefusedError, match="no folder to claim things of this host in"):
        claim_folder(None, {})
    monkeypatch.undo()
    if os.geteuid():
        assert claim_folder(None, runtime) == tmp_path / "medic8"
