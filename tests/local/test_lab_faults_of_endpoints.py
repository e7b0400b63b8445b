"""Each fault of an endpoint is seen by a plain client, named by a diagnosis, and gone after a reset."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from medic8.analysis.analyzer import UNREACHABLE, analyze
from medic8.analysis.detector import detect_issues
from medic8.local.lab.breakage import Breakage
from medic8.local.lab.faults import FAULTS
from medic8.model.issue import Issue, IssueType
from medic8.model.target import Target
from medic8.targets.registry import kind_named
from tests.local.broken_lab import AROUND, Lab

KIND = kind_named("endpoint")
FIND = {name: fault for name, fault in FAULTS.items() if fault.part == "endpoint"}


def issuer_of(broken: Breakage) -> str | None:
    told = [line for line in broken.what if line.startswith("its issuer is in ")]
    return told[0].split(" ")[4].rstrip(":") if told else None


def found_in(broken: Breakage) -> tuple[list[Issue], str]:
    """What a diagnosis finds: the issues, and all that the findings say."""
    asked = {"count": 8 if broken.fault == "endpoint_flaps" else 2, "ca_file": issuer_of(broken)}
    target = Target.model_validate(
        {"name": "api", "kind": "endpoint", "url": broken.url, "timeout_s": 2, "request": asked}
    )
    results = []
    for look in KIND.diagnostics.values():
        results.append(look(target, replace(AROUND, now=datetime.now(UTC))))
        if any(finding.code == UNREACHABLE for finding in results[-1].findings):
            break
    analysis = analyze(results)
    issues = detect_issues(analysis, KIND.rules, target="api", at=datetime.now(UTC))
    return list(issues), " ".join(finding.model_dump_json() for finding in analysis.findings)


def asked(broken: Breakage, *, timeout_s: float = 4.0) -> tuple[int, float]:
    """Status of an answer, and how long it took, by a client of Python's own; 0 = none in time."""
    place, began_s = urlsplit(broken.url), time.monotonic()
    if place.scheme == "https":
        context = ssl.create_default_context(cafile=issuer_of(broken))
        talk: http.client.HTTPConnection = http.client.HTTPSConnection(
            place.netloc, timeout=timeout_s, context=context
        )
    else:
        talk = http.client.HTTPConnection(place.netloc, timeout=timeout_s)
    try:
        talk.request("GET", "/")
        answer = talk.getresponse()
        answer.read(2)
    except TimeoutError:
        return 0, time.monotonic() - began_s
    finally:
        talk.close()
    return answer.status, time.monotonic() - began_s


def is_refused(reason: str) -> Callable[[Breakage], bool]:
    def look(broken: Breakage) -> bool:
        with pytest.raises(ssl.SSLCertVerificationError, match=reason):
            asked(broken)
        return True

    return look


def opens_and_never_greets(broken: Breakage) -> bool:
    """A connection opens at once, and a second after a greeting nothing has come."""
    place, context = urlsplit(broken.url), ssl.create_default_context()
    with (
        socket.create_connection((place.hostname or "", place.port or 0), timeout=1.0) as plain,
        pytest.raises(TimeoutError),
    ):
        context.wrap_socket(plain, server_hostname=place.hostname)
    return True


#: What a plain client sees, the type of the issue, and a word of its evidence or advice.
EXPECTED: dict[str, tuple[Callable[[Breakage], bool], IssueType, str]] = {
    "endpoint_fails": (lambda broken: asked(broken)[0] == 500, IssueType.NETWORK, "status 500"),
    "endpoint_busy": (lambda broken: asked(broken)[0] == 503, IssueType.NETWORK, "Retry-After"),
    "endpoint_slow": (lambda broken: asked(broken)[1] >= 1.5, IssueType.SLOW_OPERATIONS, "waiting for"),
    "endpoint_flaps": (
        lambda broken: {asked(broken)[0] for _ in range(40)} == {200, 500},
        IssueType.NETWORK,
        "requests failed",
    ),
    "endpoint_silent": (
        lambda broken: asked(broken, timeout_s=1.0)[0] == 0,
        IssueType.NETWORK,
        "time-out of the answer",
    ),
    "endpoint_half_open": (opens_and_never_greets, IssueType.NETWORK, "time-out of the TLS handshake"),
    "endpoint_endless": (lambda broken: asked(broken)[0] == 200, IssueType.NETWORK, "streams without end"),
    "endpoint_expired": (is_refused("expired"), IssueType.NETWORK, "certificate expired"),
    "endpoint_ending": (lambda broken: asked(broken)[0] == 200, IssueType.NETWORK, "certificate ends on"),
    "endpoint_other_name": (is_refused("not valid for"), IssueType.NETWORK, "another name"),
}


@pytest.mark.parametrize("fault", EXPECTED)
def test_a_fault_of_an_endpoint_is_there_is_named_and_is_gone_after_a_reset(lab: Lab, fault: str) -> None:
    """And nothing else is found."""
    is_there, issue_type, word = EXPECTED[fault]
    broken = lab.make(fault)
    assert is_there(broken)
    (issue,), said = found_in(broken)
    assert issue.issue_type is issue_type
    assert word in said
    lab.reset()
    place = urlsplit(broken.url)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((place.hostname or "", place.port or 0), timeout=5)


def test_a_service_that_takes_its_time_is_well(lab: Lab) -> None:
    """And is left alone."""
    well = lab.make("endpoint_well")
    assert asked(well)[0] == 200
    assert found_in(well) == ([], "")


def test_every_fault_of_an_endpoint_is_tried_here() -> None:
    """One that is added is tried as well."""
    assert set(EXPECTED) == set(FIND)
