"""The certificate that a server presents: how long it is good, for whom, and whether a newer one waits."""

from __future__ import annotations

import socket
import ssl
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from pydantic import JsonValue

from medic8.analysis.judging import fact, over
from medic8.errors import RefusedError, UnreachableError
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, Reading, reading
from medic8.model.target import Target
from medic8.model.wording import moment, shown
from medic8.targets.certificates import days_left
from medic8.targets.kind import Surroundings
from medic8.targets.machine import kernel
from medic8.targets.valkey.address import redact
from medic8.targets.valkey.looks.asking import Server, looking
from medic8.targets.valkey.looks.certificate_files import Files, read_certificate, rehearse
from medic8.targets.valkey.looks.certificate_trust import TRUST, started_at_s, why_trust_may_change
from medic8.targets.valkey.policy import POLICY, ServerPolicy, policy_of
from medic8.targets.valkey.tls import is_secure, secured, verdict_of

_ABOUT = "certificate"

#: What the evidence is called that says why nothing is done.
WHY_NOT = "why it is not to be loaded"

_RELOAD = (
    "CONFIG SET tls-cert-file FILE tls-key-file FILE, with the same paths, has the server read them again"
)


class Renewed(NamedTuple):
    """
    A newer certificate that lies where the server would read it.

    Attributes:
        files: Where.
        made: The certificate.
        problem: Why it is not to be loaded; empty if it is fit.
        shuts_out: Why reading it again may shut clients out; empty if it cannot.
    """

    files: Files
    made: x509.Certificate
    problem: str
    shuts_out: str = ""


def look_at_certificate(target: Target, around: Surroundings) -> DiagnosticResult:
    """The certificate of a server whose address asks for TLS, and the one in its file if that lies here."""
    if not is_secure(target.address):
        return DiagnosticResult(diagnostic="certificate", taken_at=around.now)
    with looking(target) as server:
        peer = server.socket.getpeername()
        presented = presented_at(target.address, peer, timeout_s=target.timeout_s)
        verdict = verdict_of(target.address, peer, timeout_s=target.timeout_s)
        renewed = _renewed(server, target, presented, is_here=kernel.is_ours(str(peer[0])))
        readings: tuple[Reading | None, ...] = (
            reading("certificate.days_left", round(days_left(presented, around.now), 1), "days"),
            reading("certificate.serial", f"{presented.serial_number:x}"),
            reading("certificate.subject", shown(presented.subject.rfc4514_string())),
            reading("certificate.issuer", shown(presented.issuer.rfc4514_string())),
        )
        findings = (
            *judge_expiry(presented, around.now, is_renewed=renewed is not None, policy=policy_of(target)),
            *judge_verdict(verdict),
            *(judge_renewed(presented, renewed) if renewed else ()),
        )
        return server.result("certificate", around, readings, findings)


def presented_at(url: str, peer: tuple[str, int], *, timeout_s: float) -> x509.Certificate:
    """
    The certificate that is presented in a new handshake, whatever it is worth.

    Args:
        url: Says which certificate of ours is shown, if any.
        peer: Address and port.
        timeout_s: Longest wait for each step.
    Raises:
        UnreachableError: no handshake could be made.
    """
    try:
        with (
            socket.create_connection(peer[:2], timeout=timeout_s) as plain,
            secured(plain, url, verifies=False) as talk,
        ):
            return x509.load_der_x509_certificate(talk.getpeercert(binary_form=True) or b"")
    except (OSError, ValueError) as exc:
        raise UnreachableError(f"{redact(url)} presents no certificate: {exc}") from exc


def judge_expiry(
    presented: x509.Certificate, now: datetime, *, is_renewed: bool, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether the certificate expires soon, or has.

    Args:
        presented: What the server presents.
        now: The time.
        is_renewed: Whether a newer one lies where the server would read it.
        policy: The limits of the target.
    """
    ends = moment(presented.not_valid_after_utc)
    return over(
        "certificate.expiring",
        policy.certificate_days,
        round(days_left(presented, now), 1),
        f"the certificate that the server presents ends on {ends}: {{seen}} are left",
        about=_ABOUT,
        advice=(_RELOAD,) if is_renewed else ("renew the certificate", _RELOAD),
        also=(Evidence(what="serial", seen=f"{presented.serial_number:x}"),),
    )


def judge_verdict(verdict: ssl.SSLCertVerificationError | None) -> tuple[Finding, ...]:
    """
    Whether clients refuse the certificate that check more than the target's url asks for.

    Args:
        verdict: Why a client that checks issuer and name refuses it; None if it does not.
    """
    if verdict is None:
        return ()
    reason = shown(verdict.verify_message, 200)
    return fact(
        "certificate.refused",
        Severity.WARNING,
        f"a client that checks issuer and name of the certificate refuses it: {reason}",
        about="identity of the certificate",
        evidence=(Evidence(what="verdict of OpenSSL", seen=reason),),
        advice=(
            "have a certificate issued for the name that clients use, by an issuer that they trust",
            "ssl_check_hostname=true in the target's url has Medic8 check the name as well",
        ),
    )


def judge_renewed(presented: x509.Certificate, renewed: Renewed) -> tuple[Finding, ...]:
    """
    The finding about a certificate that was renewed and not read again.

    Args:
        presented: What the server presents.
        renewed: What lies in its file.
    """
    meant: dict[str, JsonValue] = {
        "certificate": renewed.files.certificate,
        "key": renewed.files.key,
        "presented": f"{presented.serial_number:x}",
        "renewed": f"{renewed.made.serial_number:x}",
    }
    evidence = [
        Evidence(what="presented, good until", seen=moment(presented.not_valid_after_utc)),
        Evidence(what="in the file, good until", seen=moment(renewed.made.not_valid_after_utc)),
        Evidence(what="file", seen=shown(renewed.files.certificate, 200)),
    ]
    why = renewed.problem or renewed.shuts_out
    if why:
        evidence.append(Evidence(what=WHY_NOT, seen=shown(why, 500)))
    unfit = "; the new one is not fit to be loaded"
    risky = "; reading it again may shut clients out, so that is for a person to decide"
    return fact(
        "certificate.stale",
        Severity.WARNING,
        "the certificate was renewed on the disk, and the server still presents the old one"
        + (unfit if renewed.problem else risky if why else ""),
        about=_ABOUT,
        evidence=evidence,
        advice=(_RELOAD,),
        objects=() if why else (meant,),
    )


def _renewed(server: Server, target: Target, presented: x509.Certificate, *, is_here: bool) -> Renewed | None:
    """What lies in the server's file, if that is newer than what it presents."""
    settings = server.settings("tls-cert-file", "tls-key-file", "dir", *TRUST)
    certificate, key = settings.get("tls-cert-file", ""), settings.get("tls-key-file", "")
    if not certificate or not key:
        return None
    if not is_here:
        server.unseen.append("the file of the server's certificate: the server is on another machine")
        return None
    folder = Path(settings.get("dir", "/"))
    files = Files(str(folder / certificate), str(folder / key))
    try:
        made = read_certificate(files.certificate)
    except RefusedError as exc:
        server.unseen.append(f"the file of the server's certificate: {shown(str(exc), 200)}")
        return None
    if made.not_valid_after_utc <= presented.not_valid_after_utc:
        return None
    problem = ""
    try:
        rehearse(files, target.address)
    except RefusedError as exc:
        problem = str(exc)
    return Renewed(
        files, made, problem, why_trust_may_change(settings.get, started_at_s(server.info("server")))
    )
