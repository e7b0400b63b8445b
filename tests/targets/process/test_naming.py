"""A configuration names one process of this host, or says what is wrong with it."""

from __future__ import annotations

import os
import subprocess
from datetime import datetime
from pathlib import Path

import pytest

from medic8.errors import ConfigurationError, RefusedError, UnreachableError
from medic8.model.target import ProcessCare, Target
from medic8.settings import load_settings
from medic8.targets.process.keepers.commands import Commands
from medic8.targets.process.keepers.keeper import KeptState
from medic8.targets.process.keepers.supervisord import starts_in
from medic8.targets.process.keepers.systemd import kept_of
from medic8.targets.process.kind import KIND, requires
from medic8.targets.process.naming import CommandLine, PidFile, Supervised, Unit, name_of
from medic8.targets.process.policy import POLICY
from tests.targets.process.supervised import until

DOCUMENT = Path(__file__).parents[3] / "docs" / "diagnosis-of-processes.md"

NAMES = {
    "supervisor+unix:///run/s.sock?program=web": Supervised("web", socket="/run/s.sock"),
    "supervisor+unix://ann:h%40sh@/run/s.sock?program=web:web_00": Supervised(
        "web:web_00",
        socket="/run/s.sock",
        user="ann",
        password="h@sh",  # noqa: S106 - nobody's
    ),
    "supervisor+http://127.0.0.1:9001?program=web": Supervised("web", host="127.0.0.1", port=9001),
    "supervisor+http://[::1]:9001/RPC2?program=web": Supervised("web", host="::1", port=9001),
    "systemd:web@1.service": Unit("web@1.service"),
    "systemd+user:web.service": Unit("web.service", is_users=True),
    "pidfile:/run/web.pid": PidFile("/run/web.pid"),
    'command:/usr/bin/web --port * --title "a b"': CommandLine(
        ("/usr/bin/web", "--port", "*", "--title", "a b")
    ),
}

WRONG = (
    "web",
    "http://127.0.0.1:9001?program=web",
    "supervisor+http://10.0.0.7:9001?program=web",
    "supervisor+http://127.0.0.1?program=web",
    "supervisor+unix:///run/s.sock",
    "supervisor+unix:///run/s.sock?program=web&x=1",
    "supervisor+unix:run/s.sock?program=web",
    "systemd:web",
    "systemd:--root=/x.service",
    "pidfile:web.pid",
    "command:",
    "command:'",
    "command:* --port 80",
)


@pytest.mark.parametrize("address", NAMES)
def test_each_way_of_naming_is_read(address: str) -> None:
    """By its supervisor, a file, or its command line."""
    assert name_of(address) == NAMES[address]
    assert "h@sh" not in name_of(address).in_words


@pytest.mark.parametrize("address", WRONG)
def test_what_names_no_process_of_this_host_is_refused(address: str) -> None:
    """A number means nothing on another host, and a pattern that begins with anything means anything."""
    with pytest.raises(ConfigurationError, match="field 'url'"):
        name_of(address)


def test_a_target_says_what_does_not_belong_to_it() -> None:
    """A command for what a supervisor starts."""
    target = Target(
        name="web", kind="process", url="systemd:web.service", process=ProcessCare(start=("web",))
    )
    assert requires(target) == ("field 'process.start': unit web.service is started by its supervisor",)
    assert requires(Target(name="web", kind="process", url="web"))[0].startswith("field 'url': expected ")


def keeper(name: PidFile | CommandLine, **care: object) -> Commands:
    return Commands(name, ProcessCare.model_validate(care), timeout_s=5)


def test_one_process_must_have_the_command_line_and_no_other() -> None:
    """Of two, nobody can tell which is meant."""
    words = ("sleep", f"60.{os.getpid()}")
    by_words = keeper(CommandLine(("sleep", f"60.{os.getpid()}*")))
    assert by_words.look().state is KeptState.STOPPED
    with subprocess.Popen(words) as one:
        try:
            until(lambda: by_words.look().pid == one.pid, "it runs")
            with subprocess.Popen(words) as other:
                try:
                    until(lambda: other.poll() is None, "it runs")
                    with pytest.raises(UnreachableError, match="2 processes have the command line sleep"):
                        until(lambda: by_words.look() is None, "both are seen", 5)
                finally:
                    other.kill()
        finally:
            one.kill()


def test_a_file_names_the_process_that_wrote_it_and_no_later_one(tmp_path: Path) -> None:
    """The number may have been given again since; and a file may hold anything."""
    file = tmp_path / "web.pid"
    by_file = keeper(PidFile(str(file)))
    assert by_file.look().state is KeptState.STOPPED
    file.write_text(f"{os.getpid()}\n")
    assert by_file.look().pid == os.getpid()
    os.utime(file, (1, 1))
    with pytest.raises(UnreachableError, match="was given the number, or the clock was set"):
        by_file.look()
    file.write_text("999999999\n")
    assert by_file.look().pid is None
    file.write_text("web")
    with pytest.raises(UnreachableError, match="holds web, which is no number of a process"):
        by_file.look()


def test_a_file_that_others_may_write_names_no_process_but_their_own(tmp_path: Path) -> None:
    """Else whoever may write it would choose whom we stop; and a pipe in its place would have us wait."""
    file = tmp_path / "web.pid"
    os.mkfifo(file)
    with pytest.raises(UnreachableError, match=r"is no file \(prw"):
        keeper(PidFile(str(file))).look()
    file.unlink()
    file.write_text("1")
    file.chmod(0o666)
    if os.geteuid() == 0:
        file.chmod(0o644)
        os.chown(file, 65534, 65534)
    with pytest.raises(UnreachableError, match=r"process 1 is user 0's, and .* can be written by others"):
        keeper(PidFile(str(file))).look()


def test_commands_of_the_site_stop_and_start_it_with_what_it_had(tmp_path: Path) -> None:
    """A start command may be the process itself: it goes on by itself, with the environment it is given."""
    words = ("sleep", f"61.{os.getpid()}")
    by_words = Commands(CommandLine(words), ProcessCare(start=words), timeout_s=0.2)
    by_words.start({b"SECRET": b"hush"})
    pid = by_words.look().pid
    assert pid is not None
    try:
        assert Path(f"/proc/{pid}/environ").read_bytes() == b"SECRET=hush\0"
        by_words.start({})
        assert by_words.look().pid == pid
    finally:
        by_words.stop()
        os.waitpid(pid, 0)
    assert by_words.look().state is KeptState.STOPPED
    assert by_words.why_no_restart() == ""
    failing = keeper(PidFile(str(tmp_path / "none")), start=("sh", "-c", "exit 3"))
    with pytest.raises(RefusedError, match="sh ended with exit status 3"):
        failing.start({})
    assert "no command is configured" in keeper(PidFile("/x")).why_no_restart()


def test_starts_are_counted_by_the_supervisors_log() -> None:
    """Of this program and of the last ten minutes."""
    lines = [
        "2026-11-27 10:00:00,123 INFO spawned: 'web' with pid 11",
        "2026-11-27 10:09:00,123 INFO spawned: 'web' with pid 12",
        "2026-11-27 10:09:01,123 INFO spawned: 'other' with pid 13",
        "2026-11-27 10:09:02,123 WARN exited: web (exit status 1; not expected)",
        "2026-11-27 10:12:00,123 INFO spawned: 'web' with pid 14",
    ]
    assert starts_in(lines, "web", datetime.fromisoformat("2026-11-27 10:12:30")) == 2


def test_what_systemd_says_is_read() -> None:
    """Its own words go into the report; a unit that is not loaded is none."""
    text = (
        "LoadState=loaded\nActiveState=active\nSubState=running\nResult=success\nMainPID=77\n"
        "ExecMainStartTimestampMonotonic=5000000\n"
    )
    kept = kept_of("web.service", text, 65.0)
    assert (kept.state, kept.pid, kept.age_s, kept.says) == (
        KeptState.RUNS,
        77,
        60.0,
        "active running success",
    )
    again = text.replace("active\n", "activating\n").replace("running", "auto-restart").replace("=77", "=0")
    assert kept_of("web.service", again, 65.0).state is KeptState.FAILS
    with pytest.raises(UnreachableError, match=r"systemd has no unit web.service: it is not-found"):
        kept_of("web.service", text.replace("=loaded", "=not-found"), 65.0)


def test_the_document_lists_the_thresholds_and_the_looks_of_the_code() -> None:
    """All of them, word by word, in their order."""
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    thresholds = [
        f"| `{name}` | {each.what} | {each.limits} | {each.source} |" for name, each in POLICY.named()
    ]
    assert [row for row in rows if row in thresholds] == thresholds
    named = dict.fromkeys(row.split("`")[1] for row in rows)
    assert [each for each in named if each in KIND.diagnostics] == list(KIND.diagnostics)
    for name in KIND.strategies:
        assert f"`{name}`: " in DOCUMENT.read_text()


def test_what_is_wrong_with_the_table_of_a_process_is_said_with_its_line(tmp_path: Path) -> None:
    """As of every other table."""
    file = tmp_path / "medic8.toml"
    file.write_text(
        '[[target]]\nname = "web"\nkind = "process"\nurl = "web"\n[target.process]\nreload = "KILL"\n'
        'stop = ["web", "stop"]\n'
    )
    with pytest.raises(ConfigurationError) as caught:
        load_settings(file, environ={"MEDIC8_HOME": str(tmp_path)})
    assert 'medic8.toml:6: target "web": field "process.reload"' in str(caught.value)
    file.write_text(
        '[[target]]\nname = "web"\nkind = "process"\nurl = "pidfile:/run/web.pid"\nmode = "act"\n'
        'allow = ["restart_process"]\n[target.process]\nstart = ["web", "start"]\ncheck = ["true"]\n'
    )
    (target,) = load_settings(file, environ={"MEDIC8_HOME": str(tmp_path)}).targets
    assert target.process == ProcessCare(start=("web", "start"), check=("true",))
