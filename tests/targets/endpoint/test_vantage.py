"""An endpoint is asked from several places: other addresses of this host, and real HTTP proxies."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from medic8.analysis.analyzer import UNREACHABLE
from medic8.analysis.judging import fact
from medic8.local.loopback import free_port
from medic8.model.endpoint import HttpRequest, Vantage
from medic8.model.issue import Severity
from medic8.model.report import DiagnosticResult
from medic8.model.target import Target
from medic8.targets.endpoint.address import place_of
from medic8.targets.endpoint.asking import Reply
from medic8.targets.endpoint.asking_often import Asked, Name
from medic8.targets.endpoint.endings import MAY_BE_OURS, Ending
from medic8.targets.endpoint.kind import KIND
from medic8.targets.endpoint.vantage import Seen, View, told_by, view_of, where
from tests.targets.endpoint.services import Behaviour, answers, endpoint, look, only, service, status
from tests.targets.endpoint.test_fail_over import planned
from tests.targets.valkey.bad_doors import HOST, certify

OTHER = "127.0.0.2"
HOOK = {"standby": "http://127.0.0.1:1/", "file": "/etc/x", "active": "a", "spare": "b"}
SIDE = {"name": "side", "from": OTHER}
DROPPED = Asked(
    place_of("http://h/"), Name((HOST,), 0.0, Ending.ANSWERED), (Reply(HOST, Ending.DROPPED, "", {}),)
)


def by_caller(well: Callable[[str], bool]) -> Behaviour:
    """Serve whom *well* says, by their address, and no others."""

    def serve(near: socket.socket) -> None:
        (answers() if well(near.getpeername()[0]) else status(500))(near)

    return serve


def proxy(*, reaches: bool = True, user: str = "") -> Behaviour:
    """A real proxy: passes requests on, and tunnels; or reaches nobody, or wants to know who asks."""

    def serve(near: socket.socket) -> None:
        request = near.recv(1 << 16)
        if not request:
            return
        line, _, rest = request.partition(b"\r\n")
        method, url, _ = line.decode().split(" ")
        if user and f"Basic {user}".encode() not in rest:
            near.sendall(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
            return
        if not reaches:
            near.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        host, _, port = url.removeprefix("http://").partition("/")[0].partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as far:
            if method == "CONNECT":
                near.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                far.sendall(request)
            while True:
                for side in select.select([near, far], [], [], 10)[0]:
                    said = side.recv(1 << 16)
                    if not said:
                        return
                    (far if side is near else near).sendall(said)

    return serve


def asked_from(port: int, *places: dict[str, Any], **fields: Any) -> Target:
    return endpoint(f"http://{HOST}:{port}/", timeout_s=5, vantage=places, fail_over=HOOK, **fields)


def test_what_fails_from_here_only_is_told_and_moves_nothing() -> None:
    """Whoever comes from another address is served: it is our way, and not the service."""
    with service(by_caller(lambda caller: caller == OTHER)) as port:
        target = asked_from(port, SIDE)
        result, plan = look(target), planned(target)
    assert only(result).text.endswith("; it fails from here only; it is served from side")
    assert (result.reading("places.failing").value, result.reading("places.asked_from").value) == (1, 2)
    assert plan.units == ()
    assert "It fails from 1 of 2 places: no majority" in plan.summary


def test_what_fails_from_everywhere_is_told_and_may_be_moved() -> None:
    """Also through a proxy that stands elsewhere, and says in its own way that it reaches nobody."""
    with service(status(500)) as port, service(proxy()) as passes, service(proxy(reaches=False)) as gate:
        places = [SIDE, *({"name": f"p{each}", "proxy": f"http://{HOST}:{each}"} for each in (passes, gate))]
        target = asked_from(port, *places)
        finding = only(look(target))
        assert finding.text.endswith(
            f"; it fails from everywhere: from here and from side, p{passes}, p{gate}"
        )
        assert {fact.what: fact.seen for fact in finding.evidence}[f"from p{gate}"] == "fails (status 502)"
        assert len(planned(target).units) == 1


def test_a_place_that_cannot_tell_does_not_agree() -> None:
    """A proxy that is gone, or does not know us, and an address that is not ours: perhaps our way is gone."""
    gone = f"http://{HOST}:{free_port(())}"
    with service(status(500)) as port, service(proxy(user="bWU6aHVzaA==")) as known:
        places = (
            {"name": "gone", "proxy": gone},
            {"name": "stranger", "proxy": f"http://{HOST}:{known}"},
            {"name": "not ours", "from": "192.0.2.1"},
        )
        result = look(asked_from(port, *places))
        plan = planned(asked_from(port, *places))
        with_password = {"name": "friend", "proxy": f"http://me:hush@{HOST}:{known}"}
        told = look(asked_from(port, with_password))
    assert only(result).text.endswith("no other place can tell")
    assert [line.partition(":")[0] for line in result.unseen] == [
        "from gone",
        "from stranger",
        "from not ours",
    ]
    assert plan.units == ()
    assert "from everywhere: from here and from friend" in only(told).text
    assert "hush" not in told.model_dump_json()


def test_a_place_whose_own_way_or_trust_may_be_gone_does_not_agree() -> None:
    """It is told that it fails from there; our own way may be gone as well, and then it is nobody's fault."""
    for ending in MAY_BE_OURS:
        seen = view_of("side", [Reply(HOST, ending, "", {})], HttpRequest(), DROPPED)
        assert (seen.view, seen.may_be_its_own) == (View.FAILS, True)
        assert told(seen) == (1, 2)
    mixed = [Reply(HOST, Ending.NO_ROUTE, "", {}), Reply(HOST, Ending.SILENT, "", {})]
    assert told(view_of("side", mixed, HttpRequest(), DROPPED)) == (2, 2)


def test_a_proxy_that_forbids_in_its_own_name_does_not_agree() -> None:
    """Of an answer over plain HTTP nobody can tell whose it is, unless the endpoint says so here as well."""
    forbidden = Reply(HOST, Ending.ANSWERED, "", {}, 403)
    here = DROPPED._replace(replies=(forbidden,))
    assert view_of("proxy", [forbidden], HttpRequest(), DROPPED, has_proxy=True).view is View.UNKNOWN
    assert view_of("proxy", [forbidden], HttpRequest(), here, has_proxy=True).view is View.FAILS
    assert view_of("side", [forbidden], HttpRequest(), DROPPED).view is View.FAILS


def told(seen: Seen) -> tuple[object, object]:
    """How many places fail, and how many there are, where nobody is served from here."""
    findings = fact(UNREACHABLE, Severity.ERROR, "it is gone", about="the endpoint")
    result = DiagnosticResult(diagnostic="requests", findings=findings, taken_at=datetime.now(UTC))
    result = told_by(result, [seen], DROPPED.place)
    return result.reading("places.failing").value, result.reading("places.asked_from").value


def test_what_is_served_from_here_and_not_from_elsewhere_is_found() -> None:
    """A warning, and an error where most places are not served; nothing is moved."""
    with service(by_caller(lambda caller: caller == HOST)) as port, service(proxy()) as passes:
        through = {"name": "proxy", "proxy": f"http://{HOST}:{passes}"}
        one = only(look(asked_from(port, SIDE, through)))
        most = only(look(asked_from(port, SIDE, {"name": "again", "from": "127.0.0.3"})))
        plan = planned(asked_from(port, SIDE))
    assert (one.code, one.severity, most.severity) == ("endpoint.elsewhere", Severity.WARNING, Severity.ERROR)
    assert one.text.endswith("is served from here, and fails from side")
    assert plan.units == ()


def test_what_all_are_served_by_has_no_finding_also_through_a_tunnel(tmp_path: Path) -> None:
    """TLS is from end to end through a proxy, and the certificate is judged as from here."""
    issuer = certify(tmp_path, "issuer")
    certified = certify(tmp_path, "localhost", by=issuer)
    with service(answers(), certified=certified) as port, service(proxy()) as passes:
        through = {"name": "proxy", "proxy": f"http://{HOST}:{passes}"}
        url = f"https://localhost:{port}/"
        trusted = {"ca_file": str(issuer.certificate)}
        well = look(endpoint(url, timeout_s=5, vantage=[through], request=trusted))
        distrusted = look(endpoint(url, timeout_s=5, vantage=[through]))
        with service(status(403)) as forbids:
            place = {"name": "proxy", "proxy": f"http://{HOST}:{forbids}"}
            forbidden = look(endpoint(url, timeout_s=5, vantage=[place], request=trusted))
    assert (well.findings, well.unseen) == ((), ())
    assert "from everywhere" in only(distrusted).text
    assert forbidden.findings == ()
    assert forbidden.unseen == ("from proxy: the proxy does not let us through: 403 Said",)


@pytest.mark.parametrize(
    ("views", "words"),
    [
        ("FF", "it fails from everywhere: from here and from a, b"),
        ("SS", "it fails from here only; it is served from a, b"),
        ("FS", "it fails from here and from a; it is served from b"),
        ("FU", "it fails from here and from a; b cannot tell"),
        ("SU", "it fails from here only; it is served from a; b cannot tell"),
        ("UU", "no other place can tell"),
    ],
)
def test_it_is_said_from_where_it_fails(views: str, words: str) -> None:
    """Never 'everywhere' or 'only' on the word of a place that cannot tell."""
    told = {"F": View.FAILS, "S": View.SERVED, "U": View.UNKNOWN}
    assert where([Seen(name, told[view]) for name, view in zip("ab", views, strict=True)]) == words


def test_places_that_cannot_be_meant_are_refused() -> None:
    """One of both, an address, an HTTP proxy, and no name twice; passwords are not repeated."""
    for wrong in ({}, {"from": OTHER, "proxy": "http://a:1"}, {"from": "lo"}):
        with pytest.raises(ValidationError):
            Vantage.model_validate({"name": "a", **wrong})
    places = [{"name": "a", "proxy": "socks5://me:hush@a:1"}, {"name": "a", "from": OTHER}]
    problems = KIND.requires(endpoint("http://a/", vantage=places))
    assert [each.partition(":")[0] for each in problems] == ["vantage 'a' is there twice", "vantage 'a'"]
    assert "hush" not in "".join(problems)
    again = Target.model_validate(endpoint("http://a/", vantage=[SIDE]).model_dump())
    assert again.vantage[0].source == OTHER
