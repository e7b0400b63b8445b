"""The certificate of a server: its end, its name, and a renewed one that waits; by real handshakes."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import valkey
from looking_at import a_target, found

from medic8.analysis.analyzer import analyze
from medic8.analysis.detector import detect_issues
from medic8.backups.place import BackupPlace
from medic8.errors import ChangedError, RefusedError, VerifyError
from medic8.model.issue import IssueType, Severity
from medic8.model.plan import Plan, StepClass
from medic8.model.recovery import Claim, Fence
from medic8.model.report import DiagnosticReport, DiagnosticResult
from medic8.targets.certificates import days_left
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.actions import open_session
from medic8.targets.valkey.kind import KIND
from medic8.targets.valkey.looks.certificate import look_at_certificate
from medic8.targets.valkey.looks.certificate_files import Files, read_certificate, rehearse
from medic8.targets.valkey.looks.certificate_trust import why_trust_may_change
from medic8.targets.valkey.plans.certificate import plan_reload
from tests.targets.valkey.bad_doors import Certified, certify
from tests.targets.valkey.tls_servers import needs_tls, put, serial_of, tls_server

CLAIM = Claim(journal="j", recovery="r", fence=Fence(number=1, nonce="n"))


def around() -> Surroundings:
    return Surroundings(backups=BackupPlace(url="/nonexistent"), now=datetime.now(UTC))


def look(url: str) -> DiagnosticResult:
    return look_at_certificate(a_target(url), around())


def plan_of(url: str) -> Plan:
    result = look(url)
    analysis = analyze([result])
    (issue,) = detect_issues(analysis, KIND.rules, target="server", at=datetime.now(UTC))
    assert (issue.issue_type, issue.about) == (IssueType.NETWORK, "certificate")
    report = DiagnosticReport(
        target="server",
        kind="valkey",
        results={"certificate": result},
        analysis=analysis,
        issues=(issue,),
        taken_at=datetime.now(UTC),
    )
    return plan_reload(issue, report, a_target(url))


@needs_tls
@pytest.mark.parametrize(
    ("days", "severity"), [(3, Severity.ERROR), (20, Severity.WARNING), (80, None)], ids=["3", "20", "80"]
)
def test_the_end_of_a_certificate_is_seen_coming(
    tmp_path: Path, days: float, severity: Severity | None
) -> None:
    """A warning a month before, an error in the last week."""
    issuer = certify(tmp_path, "issuer")
    mine = certify(tmp_path, "server", by=issuer, days=days)
    with tls_server(tmp_path, mine, issuer) as url:
        result = look(url)
    left = result.reading("certificate.days_left")
    assert left is not None
    assert float(left.value) == pytest.approx(days, abs=0.2)
    assert [(each.code, each.severity) for each in result.findings] == (
        [("certificate.expiring", severity)] if severity else []
    )


@needs_tls
def test_an_expired_certificate_is_seen_where_nothing_is_verified(tmp_path: Path) -> None:
    """With ssl_cert_reqs=none we get in, and say what others meet; with it, nobody gets in at all."""
    issuer = certify(tmp_path, "issuer")
    mine = certify(tmp_path, "server", by=issuer, days=-1, begun_days_ago=10)
    with tls_server(tmp_path, mine, issuer) as url:
        result = look(f"{url}&ssl_cert_reqs=none")
    assert found(result, "certificate.expiring").severity is Severity.ERROR
    assert "expired" in found(result, "certificate.refused").text


@needs_tls
def test_a_name_that_only_some_clients_check_is_found(tmp_path: Path) -> None:
    """The url does not ask for the name; programs that do are refused."""
    issuer = certify(tmp_path, "issuer")
    mine = certify(tmp_path, "server", by=issuer, hosts=("elsewhere.example",))
    with tls_server(tmp_path, mine, issuer) as url:
        assert "localhost" in found(look(url), "certificate.refused").text


def test_a_server_without_tls_has_no_certificate(valkey_url: str) -> None:
    """Nothing is read, and nothing is missing."""
    result = look(valkey_url)
    assert (result.readings, result.findings, result.unseen) == ((), (), ())


def renewed_under(folder: Path) -> tuple[Certified, Certified, Certified]:
    """An issuer, a certificate that ends in 20 days, and its successor in other files."""
    issuer = certify(folder, "issuer")
    old = certify(folder, "server", by=issuer, days=20)
    return issuer, old, certify(folder, "renewed", by=issuer)


@needs_tls
def test_a_renewed_certificate_that_was_not_read_is_found_and_loaded(tmp_path: Path) -> None:
    """By the serial in a new handshake; open connections stay, and the next look finds nothing."""
    issuer, old, new = renewed_under(tmp_path)
    with (
        tls_server(tmp_path, old, issuer) as url,
        valkey.Valkey.from_url(url.replace("valkeys", "rediss")) as before,
    ):
        before.client_setname("before")
        put(new, old)
        plan = plan_of(url)
        (step,) = plan.units[0].steps
        assert step.step_class is StepClass.HARMLESS
        assert not plan.needs_approval
        assert (step.arguments["presented"], step.arguments["renewed"]) == (
            serial_of_file(url),
            serial_of(new),
        )
        with open_session(a_target(url), around()) as session:
            session.take_claim(CLAIM, lasts_s=60)
            with pytest.raises(VerifyError, match="presents certificate"):
                session.verify(plan.units[0])
            assert session.prepare(step) is None
            session.swap(step, expected=None, new=None, claim=CLAIM)
            session.verify(plan.units[0])
        assert look(url).findings == ()
        assert serial_of_file(url) == serial_of(new)
        assert before.client_getname() in {"before", b"before"}


def serial_of_file(url: str) -> str:
    serial = look(url).reading("certificate.serial")
    assert serial is not None
    return str(serial.value)


@needs_tls
def test_what_is_not_fit_is_told_and_not_loaded(tmp_path: Path) -> None:
    """The key of another, an issuer that we do not trust, no certificate at all."""
    issuer, old, new = renewed_under(tmp_path)
    stranger = certify(tmp_path, "stranger")
    strange = certify(tmp_path, "strange", by=stranger)
    with tls_server(tmp_path, old, issuer) as url:
        old.certificate.write_bytes(new.certificate.read_bytes())  # and not its key
        assert "not fit" in found(look(url), "certificate.stale").text
        assert plan_of(url).units == ()
        put(strange, old)
        stale = found(look(url), "certificate.stale")
        assert stale.objects == ()
        assert any("issuer" in each.seen for each in stale.evidence)
        old.certificate.write_text("nonsense\x1b[2J")
        result = look(url)
        assert [each.code for each in result.findings] == ["certificate.expiring"]
        assert any("file of the server's certificate" in text for text in result.unseen)
        assert "\x1b" not in "".join(result.unseen)
        old.certificate.unlink()
        assert any("No such file" in text for text in look(url).unseen)


@needs_tls
def test_a_plan_whose_files_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    """Another certificate, a key that does not go with it, other paths: nothing is sent."""
    issuer, old, new = renewed_under(tmp_path)
    newest = certify(tmp_path, "newest", by=issuer)
    with tls_server(tmp_path, old, issuer) as url:
        was = serial_of_file(url)
        put(new, old)
        (step,) = plan_of(url).units[0].steps
        with open_session(a_target(url), around()) as session:
            put(newest, old)
            with pytest.raises(ChangedError, match="by now"):
                session.prepare(step)
            put(new, old)
            old.key.write_bytes(newest.key.read_bytes())
            with pytest.raises(RefusedError, match=r"(?i)key"):
                session.prepare(step)
            other = step.model_copy(update={"arguments": {**step.arguments, "key": "/etc/hostname"}})
            with pytest.raises(ChangedError, match="other files"):
                session.prepare(other)
        assert serial_of_file(url) == was


def known_before(ca: Certified) -> None:
    """Let the second pass in which the file of *ca* was written, so that the server starts after it."""
    deadline_s = time.monotonic() + 60
    while int(time.time()) <= int(ca.certificate.stat().st_ctime):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def of_a_client(url: str, issuer: Certified, app: Certified) -> str:
    trusts = f"{url.partition('?')[0]}?ssl_ca_certs={issuer.certificate}"
    return f"{trusts}&ssl_certfile={app.certificate}&ssl_keyfile={app.key}"


def gets_in(url: str) -> bool:
    try:
        with valkey.Valkey.from_url(url.replace("valkeys", "rediss")) as client:
            return bool(client.ping())
    except valkey.exceptions.ConnectionError:
        return False


@needs_tls
@pytest.mark.parametrize("auth", ["yes", "optional"])
def test_a_renewal_that_shuts_clients_out_is_not_loaded(tmp_path: Path, auth: str) -> None:
    """Whom the server trusts is read again as well: a changed file of issuers is left to a person."""
    issuer, old, new = renewed_under(tmp_path)
    ca, other = certify(tmp_path, "ca", by=issuer), certify(tmp_path, "other")
    app = certify(tmp_path, "app", by=issuer)
    put(issuer, ca)
    known_before(ca)
    with tls_server(tmp_path, old, ca, "--tls-auth-clients", auth) as plain_url:
        url = of_a_client(plain_url, issuer, app)
        put(new, old)
        (step,) = plan_of(url).units[0].steps
        put(other, ca)
        plan = plan_of(url)
        assert plan.units == ()
        assert "shut out" in plan.left_open[0]
        assert f"tls-auth-clients {auth}" in plan.left_open[0]
        assert "for a person" in found(look(url), "certificate.stale").text
        with open_session(a_target(url), around()) as session:
            session.take_claim(CLAIM, lasts_s=60)
            with pytest.raises(RefusedError, match="shut out"):
                session.prepare(step)
            with pytest.raises(RefusedError, match="shut out"):
                session.swap(step, expected=None, new=None, claim=CLAIM)
        assert gets_in(url)


@needs_tls
def test_clients_with_certificates_get_in_after_a_reload(tmp_path: Path) -> None:
    """What was there before the server started is what it has loaded."""
    issuer, old, new = renewed_under(tmp_path)
    app = certify(tmp_path, "app", by=issuer)
    known_before(issuer)
    with tls_server(tmp_path, old, issuer, "--tls-auth-clients", "yes") as plain_url:
        url = of_a_client(plain_url, issuer, app)
        put(new, old)
        plan = plan_of(url)
        assert plan.left_open == ()
        (step,) = plan.units[0].steps
        with open_session(a_target(url), around()) as session:
            session.take_claim(CLAIM, lasts_s=60)
            session.prepare(step)
            session.swap(step, expected=None, new=None, claim=CLAIM)
            session.verify(plan.units[0])
        assert gets_in(url)


def test_only_issuers_from_before_the_start_are_known_to_be_loaded(tmp_path: Path) -> None:
    """Files and what is in folders; unreadable or untold is not known. Who asks nobody shuts nobody out."""
    folder, file = tmp_path / "issuers", tmp_path / "ca.pem"
    folder.mkdir()
    (folder / "one.pem").write_text("")
    file.write_text("")
    soon_s = int(time.time()) + 100
    os.utime(folder, (soon_s + 1, soon_s + 1))
    told = {"tls-auth-clients": "yes", "tls-replication": "no", "tls-cluster": "no", "dir": str(tmp_path)}
    by_file, by_folder = {"tls-ca-cert-file": "ca.pem"}, {"tls-ca-cert-dir": "issuers"}
    assert why_trust_may_change({**told, **by_file}.get, soon_s) == ""
    assert "started is not told" in why_trust_may_change({**told, **by_file}.get, None)
    assert "changed since" in why_trust_may_change({**told, **by_folder}.get, soon_s)
    os.utime(folder)
    assert why_trust_may_change({**told, **by_folder}.get, soon_s) == ""
    os.utime(folder / "one.pem", (soon_s, soon_s))
    assert "changed since" in why_trust_may_change({**told, **by_folder}.get, soon_s)
    assert "No such file" in why_trust_may_change({**told, "tls-ca-cert-file": "none"}.get, soon_s)
    nobody = {**told, "tls-auth-clients": "no", **by_folder}
    assert why_trust_may_change(nobody.get, soon_s) == ""
    assert "tls-cluster yes" in why_trust_may_change({**nobody, "tls-cluster": "yes"}.get, soon_s)
    assert "tls-auth-clients ?" in why_trust_may_change({**nobody, "tls-auth-clients": None}.get, soon_s)


def test_files_are_tried_in_memory_as_we_would_meet_them(tmp_path: Path) -> None:
    """The chain, the name if the url asks for it, the key; and nothing that is no file is opened."""
    issuer, stranger = certify(tmp_path, "issuer"), certify(tmp_path, "stranger")
    mine = certify(tmp_path, "server", by=issuer, hosts=("elsewhere.example",))
    files = Files(str(mine.certificate), str(mine.key))
    url = f"valkeys://localhost:1/0?ssl_ca_certs={issuer.certificate}"
    rehearse(files, url)
    with pytest.raises(RefusedError, match="localhost"):
        rehearse(files, f"{url}&ssl_check_hostname=true")
    with pytest.raises(RefusedError, match="issuer"):
        rehearse(files, url.replace(str(issuer.certificate), str(stranger.certificate)))
    with pytest.raises(RefusedError, match=r"(?i)key"):
        rehearse(Files(files.certificate, str(issuer.key)), url)
    with pytest.raises(RefusedError, match="regular file"):
        rehearse(Files("/dev/zero", files.key), url)
    with pytest.raises(RefusedError, match="regular file"):
        read_certificate("/dev/zero")
    (tmp_path / "large").write_bytes(b"x" * (2 << 20))
    with pytest.raises(RefusedError, match="more than"):
        read_certificate(str(tmp_path / "large"))
    assert days_left(mine.made, mine.made.not_valid_after_utc - timedelta(days=2)) == pytest.approx(2)
