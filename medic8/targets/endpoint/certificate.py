"""The certificate that an endpoint presents, and for how long it is good."""

from __future__ import annotations

import contextlib
import socket
import ssl
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
    presented = presented_by(place, timeout_s=target.timeout_s)
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
        findings=judge_end(presented, around.now, policy_of(target)),
        taken_at=around.now,
    )


def judge_end(presented: x509.Certificate, now: datetime, policy: EndpointPolicy) -> tuple[Finding, ...]:
    """Whether *presented* ends soon, or has ended."""
    left, end = days_left(presented, now), moment(presented.not_valid_after_utc)
    return over(
        "endpoint.certificate_ends",
        policy.certificate_days,
        round(left, 1),
        f"the certificate {HAS_ENDED} on {end}"
        if left < 0
        else f"the certificate ends on {end}: {{seen}} are left",
        about="certificate",
        advice=(
            "renew the certificate, and have the service read it again",
            "if it is renewed by a program: look whether that still runs, such as certbot renew --dry-run",
        ),
        also=(Evidence(what="serial", seen=f"{presented.serial_number:x}"),),
    )


def presented_by(place: Place, *, timeout_s: float) -> x509.Certificate:
    """
    What is presented in a handshake, whatever it is worth, by the first address that makes one.

    It may be made again: whether handshakes fail is told by the requests, which never are.

    Raises:
        UnreachableError: none does.
    """
    return CALLS.read(
        f"the TLS of {place.host_header}", lambda: _presented_by(place, timeout_s), within_s=timeout_s
    )


def _presented_by(place: Place, timeout_s: float) -> x509.Certificate:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for address in look_up(place, timeout_s=timeout_s).addresses:
        with (
            contextlib.suppress(OSError, ValueError),
            socket.create_connection((address, place.port), timeout=timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=place.host) as talk,
        ):
            return x509.load_der_x509_certificate(talk.getpeercert(binary_form=True) or b"")
    raise UnreachableError(f"{place.shown} presents no certificate")
