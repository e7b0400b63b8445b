"""The certificate that an endpoint presents, and for how long it is good."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509

from medic8.analysis.judging import over
from medic8.errors import UnreachableError
from medic8.model.issue import Evidence, Finding
from medic8.model.report import DiagnosticResult, Reading
from medic8.model.target import Target
from medic8.model.wording import moment, shown
from medic8.targets.calls import CALLS
from medic8.targets.certificates import days_left
from medic8.targets.endpoint.address import Place, place_of
from medic8.targets.endpoint.asking_often import look_up
from medic8.targets.endpoint.policy import EndpointPolicy, policy_of
from medic8.targets.kind import Surroundings

#: Source: CPython, Modules/_ssl/cert.c, PY_SSL_ENCODING_DER.
_DER = 2

#: Said of one that is no good any more.
HAS_ENDED = "has ended"


def look_at_certificate(target: Target, around: Surroundings) -> DiagnosticResult:
    """
    The certificate of an endpoint whose url asks for TLS; whether it is accepted is told by its requests.

    Raises:
        UnreachableError: no handshake could be made.
    """
    place = place_of(target.address)
    if not place.is_secure:
        return DiagnosticResult(diagnostic="certificate", taken_at=around.now)
    chain = presented_by(place, timeout_s=target.timeout_s)
    presented = chain[0]
    return DiagnosticResult(
        diagnostic="certificate",
        readings=(
            Reading(
                name="certificate.days_left", value=round(days_left(presented, around.now), 1), unit="days"
            ),
            Reading(name="certificate.serial", value=f"{presented.serial_number:x}"),
            Reading(name="certificate.subject", value=shown(presented.subject.rfc4514_string())),
            Reading(name="certificate.issuer", value=shown(presented.issuer.rfc4514_string())),
        ),
        findings=judge_chain(chain, around.now, policy_of(target)),
        taken_at=around.now,
    )


def judge_chain(
    chain: Sequence[x509.Certificate], now: datetime, policy: EndpointPolicy
) -> tuple[Finding, ...]:
    """
    Whether the certificate ends soon, or has ended; or one of those that it rests on ends sooner than it.

    Others may be presented that no client needs any more: those that it does not rest on, and those that have
    ended, are left to the requests, which tell whether clients mind.

    Args:
        chain: What is presented, the certificate of the service first.
        now: The time.
        policy: The limits of the target.
    """
    found, at = judge_end(chain[0], now, policy), chain[0]
    for _ in chain:
        issuer = next((each for each in chain[1:] if each.subject == at.issuer and each != at), None)
        if found or issuer is None:
            break
        at = issuer
        if days_left(at, now) >= 0:
            found = judge_end(at, now, policy, of=f" of its issuer {shown(at.subject.rfc4514_string())}")
    return found


def judge_end(
    presented: x509.Certificate, now: datetime, policy: EndpointPolicy, of: str = ""
) -> tuple[Finding, ...]:
    """Whether *presented* ends soon, or has ended; *of* says whose it is if not the service's own."""
    left, end = days_left(presented, now), moment(presented.not_valid_after_utc)
    return over(
        "endpoint.certificate_ends",
        policy.certificate_days,
        round(left, 1),
        f"the certificate{of} {HAS_ENDED} on {end}"
        if left < 0
        else f"the certificate{of} ends on {end}: {{seen}} are left",
        about="certificate",
        advice=(
            "renew the certificate, and have the service read it again",
            "if it is renewed by a program: look whether that still runs, such as certbot renew --dry-run",
        ),
        also=(Evidence(what="serial", seen=f"{presented.serial_number:x}"),),
    )


def presented_by(place: Place, *, timeout_s: float) -> tuple[x509.Certificate, ...]:
    """
    What is presented in a handshake, whatever it is worth, by the first address that makes one.

    The certificate of the service comes first; of those after it only where this Python tells them.

    It may be made again: whether handshakes fail is told by the requests, which never are.

    Raises:
        UnreachableError: none does.
    """
    return CALLS.read(
        f"the TLS of {place.host_header}", lambda: _presented_by(place, timeout_s), within_s=timeout_s
    )


def _presented_by(place: Place, timeout_s: float) -> tuple[x509.Certificate, ...]:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for address in look_up(place, timeout_s=timeout_s).addresses:
        with (
            contextlib.suppress(OSError, ValueError),
            socket.create_connection((address, place.port), timeout=timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=place.host) as talk,
        ):
            own = talk.getpeercert(binary_form=True) or b""
            return tuple(x509.load_der_x509_certificate(each) for each in (own, *_after(own, talk)))
    raise UnreachableError(f"{place.shown} presents no certificate")


def _after(own: bytes, talk: ssl.SSLSocket) -> list[bytes]:
    """What is presented after the service's *own* certificate; Python before 3.13 has no public way."""
    tell = getattr(talk, "get_unverified_chain", None)
    if tell is None:
        inner = getattr(getattr(talk, "_sslobj", None), "get_unverified_chain", None)
        told = [each.public_bytes(_DER) for each in inner() or ()] if inner is not None else []
    else:
        told = tell()
    return [each for each in told if each != own]
