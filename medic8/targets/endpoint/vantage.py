"""
Whether an endpoint fails from everywhere or from here only: ask it from other places as well.

A place is another source address of this host, so that another way is taken, or an HTTP proxy that stands
elsewhere. One that cannot be used itself tells nothing of the endpoint.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from medic8.analysis.analyzer import UNREACHABLE
from medic8.analysis.judging import fact
from medic8.model.endpoint import HttpRequest, Vantage
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, Reading
from medic8.model.target import Target
from medic8.model.wording import shown
from medic8.targets.endpoint.address import Place
from medic8.targets.endpoint.asking import Reply
from medic8.targets.endpoint.asking_often import Asked, ask_each, wish_of, without
from medic8.targets.endpoint.endings import MAY_BE_OURS
from medic8.targets.endpoint.replies import wrong_with

#: Findings after which nobody is served from here.
SERVES_NOBODY = frozenset(
    {UNREACHABLE, "endpoint.status", "endpoint.body", "endpoint.cut_off", "endpoint.endless"}
)

#: What a proxy says that does not serve us. Source: RFC 9110, sections 15.5.4 and 15.5.8.
_REFUSES = ("403", "407")

_FORBIDDEN, _PROXY_AUTHENTICATION = 403, 407


class View(StrEnum):
    """What one place says of the endpoint."""

    SERVED = "is served"  #: at least now and then
    FAILS = "fails"  #: by every request
    UNKNOWN = "cannot tell"


class Seen(NamedTuple):
    """
    What was seen from one place.

    Attributes:
        name: Of the place.
        view: What it says.
        why: How the requests fail, or why it cannot tell; fit to be shown.
        may_be_its_own: Whether they fail as that place alone may: then it agrees to nothing.
    """

    name: str
    view: View
    why: str = ""
    may_be_its_own: bool = False


def look_from_elsewhere(target: Target, asked: Asked) -> tuple[Seen, ...]:
    """
    What each of the places says that *target* names, in their order, each asked as often as here.

    Args:
        target: The endpoint.
        asked: What was seen of it from here.
    """
    return tuple(_seen_from(vantage, target, asked) for vantage in target.vantage)


def _seen_from(vantage: Vantage, target: Target, asked: Asked) -> Seen:
    wish = wish_of(target, asked.place)
    addresses: tuple[str, ...] = (asked.place.host,)
    if vantage.proxy is not None:
        # It looks the name up itself, as others do.
        wish = wish._replace(proxy=vantage.proxy.get_secret_value())
        problem = _wrong_with_proxy(urlsplit(wish.proxy), target.timeout_s)
    else:
        source = vantage.source or ""
        wish = wish._replace(source=source)
        family = ipaddress.ip_address(source).version
        known = asked.name.addresses
        addresses = tuple(
            each for each in known if ipaddress.ip_address(each.partition("%")[0]).version == family
        )
        problem = _wrong_with_source(source) or (
            "" if addresses else f"{asked.place.host} has no address of its kind"
        )
    if problem:
        return Seen(vantage.name, View.UNKNOWN, problem)
    replies = ask_each(asked.place, addresses, wish, target.request)
    return view_of(vantage.name, replies, target.request, asked, has_proxy=bool(wish.proxy))


def view_of(
    name: str, replies: Sequence[Reply], request: HttpRequest, asked: Asked, *, has_proxy: bool = False
) -> Seen:
    """
    What *replies* say of the endpoint.

    Args:
        name: Of the place.
        replies: What was answered there; at least one.
        request: What counts as well.
        asked: What was seen from here.
        has_proxy: Whether a proxy was asked, which may refuse in its own name.
    """
    problems = [wrong_with(reply, request) for reply in replies]
    if not all(problems):
        return Seen(name, View.SERVED)
    first = replies[0]
    if first.status == _PROXY_AUTHENTICATION or first.said.startswith(_REFUSES):
        return Seen(name, View.UNKNOWN, f"the proxy does not let us through: {first.said or first.status}")
    if has_proxy and first.status == _FORBIDDEN and all(each.status != _FORBIDDEN for each in asked.replies):
        return Seen(name, View.UNKNOWN, "status 403, which may be the proxy's own")
    said = shown(without(asked.secrets, first.said.encode()), 200)
    return Seen(
        name,
        View.FAILS,
        f"{problems[0]}: {said}" if said else problems[0],
        may_be_its_own=all(reply.ending in MAY_BE_OURS for reply in replies),
    )


def _wrong_with_source(source: str) -> str:
    kind = socket.AF_INET6 if ":" in source else socket.AF_INET
    try:
        with socket.socket(kind) as trial:
            trial.bind((source, 0))
    except OSError as exc:
        return f"address {source} cannot be used: {exc.strerror or exc}"
    return ""


def _wrong_with_proxy(proxy: SplitResult, timeout_s: float) -> str:
    try:
        socket.create_connection((proxy.hostname or "", proxy.port or 0), timeout=timeout_s).close()
    except OSError as exc:
        return f"the proxy does not answer: {exc.strerror or exc}"
    return ""


def told_by(result: DiagnosticResult, seen: Sequence[Seen], place: Place) -> DiagnosticResult:
    """*result* with what was seen from elsewhere: in its findings, readings, and what was not seen."""
    if not seen:
        return result
    fails_here = any(each.code in SERVES_NOBODY for each in result.findings)
    # As from here: one whose own way, name server or trust may be gone says nothing against the endpoint.
    failing = sum(each.view is View.FAILS and not each.may_be_its_own for each in seen) + fails_here
    findings = (
        tuple(_widened(each, seen) if each.code in SERVES_NOBODY else each for each in result.findings)
        if fails_here
        else (*result.findings, *_fails_elsewhere(seen, place))
    )
    return result.model_copy(
        update={
            "findings": findings,
            "readings": (
                *result.readings,
                Reading(name="places.asked_from", value=1 + len(seen), unit="count"),
                Reading(name="places.failing", value=failing, unit="count"),
            ),
            "unseen": (
                *result.unseen,
                *(f"from {each.name}: {each.why}" for each in seen if each.view is View.UNKNOWN),
            ),
        }
    )


def where(seen: Sequence[Seen]) -> str:
    """From where an endpoint fails that fails from here, for people."""
    names = {view: [each.name for each in seen if each.view is view] for view in View}
    if not names[View.SERVED] and not names[View.FAILS]:
        return "no other place can tell"
    if not names[View.SERVED] and not names[View.UNKNOWN]:
        return f"it fails from everywhere: from here and from {', '.join(names[View.FAILS])}"
    told = [f"it is served from {', '.join(names[View.SERVED])}"] if names[View.SERVED] else []
    if names[View.FAILS]:
        told.insert(0, f"it fails from here and from {', '.join(names[View.FAILS])}")
    else:
        told.insert(0, "it fails from here only")
    if names[View.UNKNOWN]:
        told.append(f"{', '.join(names[View.UNKNOWN])} cannot tell")
    return "; ".join(told)


def _widened(finding: Finding, seen: Sequence[Seen]) -> Finding:
    return finding.model_copy(
        update={
            "text": f"{finding.text}; {where(seen)}",
            "evidence": (*finding.evidence, *_evidence(seen)),
        }
    )


def _fails_elsewhere(seen: Sequence[Seen], place: Place) -> tuple[Finding, ...]:
    failing = [each for each in seen if each.view is View.FAILS]
    if not failing:
        return ()
    return fact(
        "endpoint.elsewhere",
        Severity.ERROR if 2 * len(failing) > 1 + len(seen) else Severity.WARNING,
        f"{place.shown} is served from here, and fails from {', '.join(each.name for each in failing)}",
        about="places",
        evidence=_evidence(seen),
        advice=(
            "look at the way from there: firewalls, routes and name servers, before the service itself",
            "mtr or traceroute from both places tells where the ways part",
        ),
    )


def _evidence(seen: Sequence[Seen]) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(what=f"from {each.name}", seen=f"{each.view}{f' ({each.why})' if each.why else ''}")
        for each in seen
    )


def vantage_problems(target: Target) -> tuple[str, ...]:
    """What is wrong with the places that *target* names, one sentence each, without credentials."""
    names = [each.name for each in target.vantage]
    wrong = [f"vantage {name!r} is there twice" for name in sorted({n for n in names if names.count(n) > 1})]
    proxies = {each.name: each.proxy.get_secret_value() for each in target.vantage if each.proxy is not None}
    wrong += [
        f"vantage {name!r}: field 'proxy': {problem}"
        for name, url in proxies.items()
        if (problem := _problem_of_proxy(url))
    ]
    return tuple(wrong)


def _problem_of_proxy(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return 'it does not parse, expected "http://HOST:PORT"'
    if parts.scheme != "http" or not parts.hostname or not port or parts.path not in {"", "/"}:
        return 'expected an HTTP proxy: "http://HOST:PORT"'
    return ""
