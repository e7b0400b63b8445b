"""Another server comes to serve an endpoint through a real HAProxy, and is taken back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from medic8.analysis.analyzer import analyze
from medic8.analysis.detector import detect_issues
from medic8.errors import ChangedError, ClaimGoneError, RefusedError, TransientError, VerifyError
from medic8.model.plan import Plan, StepClass
from medic8.model.recovery import Claim, Fence
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.targets.endpoint.haproxy import MAINT, READY, Haproxy
from medic8.targets.endpoint.kind import KIND
from medic8.targets.endpoint.session import open_session
from medic8.targets.endpoint.strategies import plan_fail_over
from medic8.targets.endpoint.upstream_file import SwitchFile, switched
from tests.targets.endpoint.haproxies import Running, haproxy, needs_haproxy
from tests.targets.endpoint.services import (
    NOW,
    answers,
    around,
    endpoint,
    in_turn,
    look,
    service,
    status,
)
from tests.targets.valkey.bad_doors import certify

CLAIM = Claim(journal="j", recovery="r", fence=Fence(number=1, nonce="n"))


def diagnosed(target: Target) -> DiagnosticReport:
    results = {"requests": look(target)}
    analysis = analyze(results.values())
    issues = detect_issues(analysis, KIND.rules, target=target.name, at=NOW)
    return DiagnosticReport(
        target=target.name, kind="endpoint", results=results, analysis=analysis, issues=issues, taken_at=NOW
    )


def planned(target: Target) -> Plan:
    report = diagnosed(target)
    return plan_fail_over(report.issues[0], report, target)


@contextlib.contextmanager
def broken(folder: Path, *, standby: bool = True) -> Iterator[tuple[Running, int, int]]:
    """HAProxy whose first server answers 500, and whose second one answers well, or not."""
    with (
        service(status(500)) as first,
        service(answers() if standby else status(500)) as second,
        haproxy(folder, first, second) as running,
    ):
        yield running, first, second


def by_socket(running: Running, second: int, **fields: object) -> Target:
    hook = {
        "standby": f"http://127.0.0.1:{second}/",
        "haproxy": str(running.socket),
        "backend": "api",
        "server": "first",
        "timeout_s": 5,
        **fields,
    }
    return endpoint(running.url, timeout_s=3, fail_over=hook)


def by_file(running: Running, first: int, second: int, **fields: object) -> Target:
    hook = {
        "standby": f"http://127.0.0.1:{second}/",
        "file": str(running.configuration),
        "active": f"server first 127.0.0.1:{first}",
        "spare": f"server standby 127.0.0.1:{second}",
        "reload": ["kill", "-USR2", str(running.pid)],
        "timeout_s": 10,
        **fields,
    }
    return endpoint(running.url, timeout_s=3, fail_over=hook)


@needs_haproxy
def test_a_server_is_taken_out_of_haproxy_and_put_back(tmp_path: Path) -> None:
    """The endpoint is served well while it is out, and badly again after it was put back."""
    with broken(tmp_path) as (running, _, second):
        target = by_socket(running, second)
        plan = planned(target)
        (step,) = plan.units[0].steps
        assert step.step_class is StepClass.RESTORABLE
        assert not plan.needs_approval
        with open_session(target, around(tmp_path)) as session:
            session.take_claim(CLAIM, lasts_s=60)
            saved = session.capture(step)
            new = session.prepare(step)
            assert (saved, new) == (READY, MAINT)
            session.swap(step, expected=saved, new=new, claim=CLAIM)
            session.verify(plan.units[0])
            assert diagnosed(target).issues == ()
            with pytest.raises(ChangedError, match="is maint by now, and not ready"):
                session.swap(step, expected=saved, new=new, claim=CLAIM)
            session.swap(step, expected=new, new=saved, claim=CLAIM)
            assert session.capture(step) == READY
            with pytest.raises(VerifyError, match="status 500"):
                session.verify(plan.units[0])
            session.release_claim(CLAIM)
            with pytest.raises(ClaimGoneError):
                session.swap(step, expected=saved, new=new, claim=CLAIM)


@needs_haproxy
def test_a_file_is_switched_and_read_and_switched_back(tmp_path: Path) -> None:
    """Byte for byte, with its mode; HAProxy works by it after the reload."""
    with broken(tmp_path) as (running, first, second):
        running.configuration.chmod(0o640)
        before = running.configuration.read_bytes()
        target = by_file(running, first, second)
        plan = planned(target)
        (step,) = plan.units[0].steps
        with open_session(target, around(tmp_path)) as session:
            session.take_claim(CLAIM, lasts_s=60)
            saved, new = session.capture(step), session.prepare(step)
            assert saved == before
            session.swap(step, expected=saved, new=new, claim=CLAIM)
            session.verify(plan.units[0])
            assert running.configuration.read_bytes() == new
            assert running.configuration.stat().st_mode & 0o777 == 0o640
            session.swap(step, expected=new, new=saved, claim=CLAIM)
            assert running.configuration.read_bytes() == before


@needs_haproxy
def test_a_standby_that_does_not_serve_either_changes_nothing(tmp_path: Path) -> None:
    """It is asked before anything is touched."""
    with broken(tmp_path, standby=False) as (running, first, second):
        for target in (by_socket(running, second), by_file(running, first, second)):
            step = planned(target).units[0].steps[0]
            with (
                open_session(target, around(tmp_path)) as session,
                pytest.raises(RefusedError, match=r"the standby .* does not serve either: .*status 500"),
            ):
                session.prepare(step)


@needs_haproxy
def test_states_of_haproxy_go_with_its_process(tmp_path: Path) -> None:
    """Another process stands on other ground, and holds nothing of what was set."""
    with service(answers()) as port:
        with haproxy(tmp_path, port, port) as running:
            one = Haproxy(running.socket, timeout_s=3).process()
            assert one == Haproxy(running.socket, timeout_s=3).process()
            assert Haproxy(running.socket, timeout_s=3).state("api", "nobody") is None
        with haproxy(tmp_path, port, port) as running:
            assert one != Haproxy(running.socket, timeout_s=3).process()


def test_a_file_that_was_changed_and_not_read_is_read_by_whoever_comes_next(tmp_path: Path) -> None:
    """Whoever dies between the two leaves a mark; no file counts as put back before it was read."""
    file, reads = tmp_path / "upstream", tmp_path / "reads"
    file.write_text("server a\n")
    hook = {
        "standby": "http://127.0.0.1:1/",
        "file": str(file),
        "active": "server a",
        "spare": "server b",
        "reload": ["sh", "-c", f"cat {file} >> {reads}; test ! -e {tmp_path / 'fails'}"],
    }
    target = endpoint("http://127.0.0.1:1/", fail_over=hook)
    step = planned(target).units[0].steps[0]
    new = switched(b"server a\n", SwitchFile.model_validate(step.arguments))
    (tmp_path / "fails").touch()
    with open_session(target, around(tmp_path)) as session:
        session.take_claim(CLAIM, lasts_s=60)
        with pytest.raises(VerifyError, match="ended with status 1"):
            session.swap(step, expected=b"server a\n", new=new, claim=CLAIM)
    with open_session(target, around(tmp_path)) as another:
        another.renew_claim(CLAIM, lasts_s=60)
        with pytest.raises(TransientError, match="was changed and not read again"):
            another.capture(step)
        (tmp_path / "fails").unlink()
        assert another.capture(step) == b"server b\n"
        assert reads.read_text() == "server b\n" * 3
        another.capture(step)
        assert reads.read_text() == "server b\n" * 3  # it was read, so not again


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"nothing of it", "0 times"),
        (b"server a, server a", "2 times"),
        (b"server a, server b", "has 'server b' already"),
        (b"server a2; server a.example; server a-2; server ab", "0 times"),
        (None, "is not there"),
    ],
)
def test_a_file_that_does_not_say_who_serves_is_left_alone(content: bytes | None, why: str) -> None:
    """Exactly one place says so, or nothing is changed."""
    with pytest.raises(RefusedError, match=why):
        switched(content, SwitchFile(file="/etc/x", active="server a", spare="server b"))


def test_only_the_whole_name_is_switched() -> None:
    """An address may begin like another one."""
    ask = SwitchFile(file="/etc/x", active="10.0.0.1", spare="10.0.0.2")
    content = b"server 10.0.0.1:80; server 10.0.0.11:80; server 110.0.0.1; # 10.0.0.22"
    assert switched(content, ask) == content.replace(b" 10.0.0.1:", b" 10.0.0.2:")


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    """Whoever may write to the folder leads nobody elsewhere."""
    (tmp_path / "secret").write_text("server a")
    (tmp_path / "upstream").symlink_to(tmp_path / "secret")
    hook = {"standby": "http://127.0.0.1:1/", "file": str(tmp_path / "upstream"), "active": "a", "spare": "b"}
    target = endpoint("http://127.0.0.1:1/", fail_over=hook)
    step = planned(target).units[0].steps[0]
    with open_session(target, around(tmp_path)) as session, pytest.raises(Exception, match="symbolic links"):
        session.capture(step)


def test_whoever_is_served_somehow_is_left_alone() -> None:
    """Slow, now and then, or by one address: nothing is moved."""
    hook = {"standby": "http://127.0.0.1:1/", "file": "/etc/x", "active": "a", "spare": "b"}
    with service(in_turn(answers(), status(500))) as port:
        plan = planned(endpoint(f"http://127.0.0.1:{port}/", fail_over=hook))
    assert plan.units == ()
    with service(status(302, "Location: /login")) as port:
        assert planned(endpoint(f"http://127.0.0.1:{port}/", fail_over=hook)).units == ()
    with service(status(500)) as port:
        assert planned(endpoint(f"http://127.0.0.1:{port}/")).units == ()


def test_what_may_fail_for_us_alone_moves_nothing(tmp_path: Path) -> None:
    """A name that we cannot look up, and a certificate that we do not trust, may be well for others."""
    hook = {"standby": "http://127.0.0.1:1/", "file": "/etc/x", "active": "a", "spare": "b"}
    name = planned(endpoint("http://nobody.invalid/", fail_over=hook, timeout_s=1.5))
    issuer = certify(tmp_path, "issuer")
    with service(answers(), certified=certify(tmp_path, "server", by=issuer)) as port:
        trust = planned(endpoint(f"https://localhost:{port}/", timeout_s=5, fail_over=hook))
    for plan in (name, trust):
        assert plan.units == ()
        assert "for us alone" in plan.summary
    assert planned(endpoint("http://127.0.0.1:1/", fail_over=hook)).units
