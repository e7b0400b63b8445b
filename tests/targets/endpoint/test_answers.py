"""Every way in which an endpoint can fail is told apart, in bounded time, on real sockets."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from medic8.analysis.analyzer import UNREACHABLE
from medic8.errors import ConfigurationError
from medic8.local.loopback import free_port
from medic8.model.endpoint import HttpRequest
from medic8.model.issue import Finding, Severity
from medic8.model.target import Target
from medic8.targets.endpoint.address import Place, address_problems, place_of
from medic8.targets.endpoint.answers import judge
from medic8.targets.endpoint.asking import MOST_BODY, Phase, Reply
from medic8.targets.endpoint.asking_often import Asked, Name, ask_often, redirected
from medic8.targets.endpoint.busy import told_clients
from medic8.targets.endpoint.endings import ENDING_WORDS, Ending
from medic8.targets.endpoint.policy import POLICY
from medic8.targets.endpoint.replies import that_count, wrong_with
from tests.targets.endpoint.services import (
    SHORT,
    Behaviour,
    answers,
    drip_headers,
    endpoint,
    flood,
    flood_headers,
    hang_up,
    in_turn,
    keep_silent,
    look,
    only,
    reset,
    service,
    speak_no_http,
    status,
    stream,
)
from tests.targets.valkey.bad_doors import HOST, certify, full_queue

PLACE = Place("http", "api.example", 80, "/")


def test_a_healthy_endpoint_has_no_finding_and_its_times_are_told() -> None:
    """Each part of the request has a median; nothing else is said."""
    with service(answers()) as port:
        result = look(endpoint(f"http://{HOST}:{port}/health", timeout_s=10))
    assert result.findings == ()
    readings = {reading.name: reading.value for reading in result.readings}
    assert (readings["requests.made"], readings["requests.failed"], readings["requests.status"]) == (
        2,
        0,
        200,
    )
    assert {"requests.connect", "requests.wait", "requests.body", "requests.median"} <= set(readings)


def greet(near: socket.socket) -> None:
    """Say who one is and wait, as servers of mail, shells and databases do."""
    near.sendall(b"220 mail.example ESMTP\r\n")
    keep_silent(near)


@pytest.mark.parametrize(
    ("treat", "ending"),
    [
        (keep_silent, Ending.SILENT),
        (drip_headers, Ending.SILENT),
        (hang_up, Ending.CLOSED),
        (reset, Ending.RESET),
        (flood_headers, Ending.NO_HTTP),
        (speak_no_http, Ending.NO_HTTP),
        (greet, Ending.NO_HTTP),
        (answers(b"HTTP/1.1 200 O"), Ending.CLOSED),
    ],
)
def test_each_way_of_not_answering_is_told_apart(treat: Behaviour, ending: Ending) -> None:
    """What is wrong is in the words of the ending, not in a traceback."""
    limit = SHORT if ending is Ending.SILENT else {}
    with service(treat) as port:
        found = only(look(endpoint(f"http://{HOST}:{port}/", **limit)))
    assert (found.code, found.severity) == (UNREACHABLE, Severity.CRITICAL)
    assert f"({ending})" in found.text
    assert found.advice == ENDING_WORDS[ending].advice


def test_nobody_listens_and_nobody_accepts() -> None:
    """A port that is closed refuses at once; a queue that is full swallows what comes."""
    assert "(refused)" in only(look(endpoint(f"http://{HOST}:{free_port(())}/"))).text
    with full_queue() as listener:
        found = only(look(endpoint(f"http://{HOST}:{listener.getsockname()[1]}/", **SHORT)))
    assert "(time-out of the connection)" in found.text


def test_a_name_that_leads_nowhere() -> None:
    """Nothing was sent to anybody."""
    found = only(look(endpoint("http://nobody.invalid/", **SHORT)))
    assert found.code == UNREACHABLE
    assert any(word in found.text for word in ("(name not found)", "(time-out of the name server)"))


@pytest.mark.parametrize("treat", [stream, drip_headers, keep_silent])
def test_whoever_streams_for_ever_is_left_in_time(treat: Behaviour) -> None:
    """One limit is around all of a request, however often a byte comes."""
    with service(treat) as port:
        began_s = time.monotonic()
        result = look(endpoint(f"http://{HOST}:{port}/", **SHORT))
    # Two requests of 1.2 s each; the bound has room for a machine under load.
    assert time.monotonic() - began_s < 60
    assert result.findings


def test_a_body_without_end_is_a_finding_of_its_own() -> None:
    """It began to answer, so it was reached."""
    with service(stream) as port:
        found = only(look(endpoint(f"http://{HOST}:{port}/", **SHORT)))
    assert (found.code, found.severity) == ("endpoint.endless", Severity.ERROR)


@pytest.mark.parametrize(
    "treat",
    [
        answers(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nhalf of it"),
        answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
    ],
    ids=["by length", "in chunks"],
)
def test_an_answer_that_is_cut_off_is_told_from_another_protocol(treat: Behaviour) -> None:
    """The service speaks HTTP, and dies of its answer."""
    with service(treat) as port:
        found = only(look(endpoint(f"http://{HOST}:{port}/")))
    assert (found.code, found.severity) == ("endpoint.cut_off", Severity.ERROR)
    assert found.text == ENDING_WORDS[Ending.CUT].means


def test_of_a_flood_only_so_much_is_read() -> None:
    """Memory is bounded whatever is sent."""
    with service(flood) as port:
        target = endpoint(f"http://{HOST}:{port}/", timeout_s=10, request={"body": "never there"})
        tracemalloc.start()
        try:
            found = only(look(target))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert found.code == "endpoint.body"
    assert peak < 40 * MOST_BODY


@pytest.mark.parametrize("code", [301, 404, 500])
def test_a_status_that_is_not_good_is_an_error(code: int) -> None:
    """Good is 200 to 299 unless the target says otherwise."""
    with service(status(code)) as port:
        found = only(look(endpoint(f"http://{HOST}:{port}/")))
        assert (found.code, found.severity) == ("endpoint.status", Severity.ERROR)
        assert str(code) in found.text
        assert look(endpoint(f"http://{HOST}:{port}/", request={"status": [code]})).findings == ()


def test_who_is_too_busy_should_say_when_to_come_back() -> None:
    """The retry policy of clients needs Retry-After."""
    with service(status(503)) as port:
        without = only(look(endpoint(f"http://{HOST}:{port}/")))
    with service(status(503, "Retry-After: 7")) as port:
        told = only(look(endpoint(f"http://{HOST}:{port}/")))
    assert any("Retry-After" in line for line in without.advice)
    assert not any("Retry-After" in line for line in told.advice)
    assert any(fact.seen == "7" for fact in told.evidence)
    with service(in_turn(answers(), status(429))) as port:
        now_and_then = only(look(endpoint(f"http://{HOST}:{port}/")))
    assert now_and_then.code == "endpoint.flapping"
    assert any("Retry-After" in line for line in now_and_then.advice)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("120", ""),
        ("Fri, 02 Jan 2026 03:05:00 GMT", ""),
        ("0", "at once"),
        ("Fri, 02 Jan 2026 03:00:00 GMT", "at once"),
        ("86400", "away for"),
        ("9" * 400, "away for"),
        ("soon", "neither"),
        ("-5", "neither"),
        ("٣", "neither"),
        ("", "neither"),
    ],
)
def test_what_clients_cannot_do_as_told_is_said(value: str, problem: str) -> None:
    """A Retry-After must be seconds or a date, later than the answer, and no day away."""
    headers = {"retry-after": value, "date": "Fri, 02 Jan 2026 03:04:00 GMT"}
    told = told_clients([Reply("127.0.0.1", Ending.ANSWERED, "", {}, status=503, headers=headers)])
    assert (len(told.advice) == 2, problem in told.evidence[0].seen) == (bool(problem), True)
    assert told_clients([Reply("127.0.0.1", Ending.ANSWERED, "", {}, status=500)]) == ((), ())


def test_the_body_must_contain_what_the_target_says() -> None:
    """A page that says that it is well, with the status of one that is."""
    with service(status(200, body=b'{"state": "degraded"}')) as port:
        url = f"http://{HOST}:{port}/"
        assert look(endpoint(url, request={"body": "degraded"})).findings == ()
        found = only(look(endpoint(url, request={"body": '"ok"'})))
    assert found.code == "endpoint.body"
    assert any("degraded" in fact.seen for fact in found.evidence)


def test_hostile_bodies_and_headers_are_shown_escaped() -> None:
    """Nothing that a terminal obeys gets through."""
    evil = b"\x1b]0;pwned\x07\xff\xfe[bold]"
    with service(status(302, "Location: http://elsewhere/\x1b[31m", body=evil)) as port:
        found = only(look(endpoint(f"http://{HOST}:{port}/")))
        texts = [found.text, *(fact.seen for fact in found.evidence), *found.advice]
    with service(status(200, body=evil)) as port:
        found = only(look(endpoint(f"http://{HOST}:{port}/", request={"body": "ok"})))
        texts += [found.text, *(fact.seen for fact in found.evidence)]
    assert not [text for text in texts if not text.isprintable()]


@contextlib.contextmanager
def redirecting() -> Iterator[int]:
    """``/circle`` leads to itself, ``/away`` to another host, ``/moved`` to ``/here``, which answers."""
    leads = {
        "/circle": "/circle?",
        "/circle?": "/circle",
        "/away": "http://192.0.2.1/",
        "/moved": "/here",
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            to = leads.get(self.path)
            self.send_response(302 if to else 200)
            if to:
                self.send_header("Location", to)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(timeout=60)


def test_redirects_are_followed_to_the_same_server_only_and_never_in_a_circle() -> None:
    """Nobody is asked whose address comes from an answer."""
    with redirecting() as port:
        url = f"http://{HOST}:{port}"
        follows = {"follows": True}
        assert look(endpoint(f"{url}/moved", request=follows)).findings == ()
        assert only(look(endpoint(f"{url}/moved"))).code == "endpoint.redirects"
        circle = only(look(endpoint(f"{url}/circle", request=follows)))
        assert (circle.code, circle.text) == ("endpoint.redirects", ENDING_WORDS[Ending.CIRCLE].means)
        away = only(look(endpoint(f"{url}/away", request=follows)))
    assert any(fact.seen == "http://192.0.2.1/" for fact in away.evidence)


def test_one_that_fails_now_and_then_is_neither_well_nor_gone() -> None:
    """Half of its requests fail, and it says which half."""
    with service(in_turn(answers(), status(502))) as port:
        found = only(look(endpoint(f"http://{HOST}:{port}/", request={"count": 6})))
    assert (found.code, found.severity) == ("endpoint.flapping", Severity.ERROR)
    assert "3 of 6 requests failed (status 502)" in found.text


def test_a_slow_answer_is_told_from_one_that_fails_and_where_the_time_goes() -> None:
    """It waits for the answer, not for the connection."""
    with service(answers(after_s=0.2)) as port:
        slow = only(
            look(
                endpoint(
                    f"http://{HOST}:{port}/", timeout_s=5, threshold=[{"name": "answer", "warning": 0.1}]
                )
            )
        )
        assert look(endpoint(f"http://{HOST}:{port}/", timeout_s=5)).findings == ()
    assert (slow.code, slow.severity) == ("endpoint.slow", Severity.WARNING)
    assert str(Phase.WAIT) in slow.text


def test_certificates_are_judged_by_issuer_name_and_end(tmp_path: Path) -> None:
    """A handshake that fails is told apart by why, and one that ends soon is found before."""
    issuer = certify(tmp_path, "issuer")
    good = certify(tmp_path, "good", by=issuer)
    trust = {"ca_file": str(issuer.certificate)}
    with service(answers(), certified=good) as port:
        url = f"https://localhost:{port}/"
        assert look(endpoint(url, timeout_s=5, request=trust)).findings == ()
        assert look(endpoint(url, timeout_s=5, request=trust), "certificate").findings == ()
        assert f"({Ending.TLS_ISSUER})" in only(look(endpoint(url, timeout_s=5))).text
    for name, fields, ending in (
        ("expired", {"days": -0.5}, Ending.TLS_EXPIRED),
        ("early", {"begun_days_ago": -1.0}, Ending.TLS_NOT_YET),
        ("other", {"hosts": ("elsewhere.example",)}, Ending.TLS_NAME),
    ):
        bad = certify(tmp_path, name, by=issuer, **fields)  # type: ignore[arg-type]
        with service(answers(), certified=bad) as port:
            found = only(look(endpoint(f"https://localhost:{port}/", timeout_s=5, request=trust)))
        assert f"({ending})" in found.text
    soon = certify(tmp_path, "soon", by=issuer, days=5)
    with service(answers(), certified=soon) as port:
        found = only(look(endpoint(f"https://localhost:{port}/", timeout_s=5), "certificate"))
    assert (found.code, found.severity) == ("endpoint.certificate_ends", Severity.ERROR)


def test_tls_where_there_is_none() -> None:
    """A service that speaks plain HTTP is not taken for one that is down."""
    with service(answers()) as port:
        assert f"({Ending.TLS_OTHER})" in only(look(endpoint(f"https://{HOST}:{port}/"))).text


def test_a_file_of_issuers_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    """The message names the target, the field and the file."""
    missing = tmp_path / "missing.pem"
    with pytest.raises(ConfigurationError, match=r"target 'api': ca_file '.*missing.pem' cannot be used"):
        look(endpoint("https://127.0.0.1:1/", request={"ca_file": str(missing)}))


def test_a_password_is_sent_and_never_shown() -> None:
    """It goes into the header, and into no finding."""
    got: list[bytes] = []

    def keep(near: socket.socket) -> None:
        got.append(near.recv(1 << 16))
        near.sendall(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")

    with service(keep) as port:
        found = only(look(endpoint(f"http://ann:s3cr%3At@{HOST}:{port}/?token=alsosecret")))
    assert b"Authorization: Basic YW5uOnMzY3I6dA==" in got[0]
    shown = found.model_dump_json()
    assert "s3cr" not in shown
    assert "alsosecret" not in shown


def test_what_the_service_repeats_of_the_url_is_not_shown() -> None:
    """As pages of errors and redirects to a login do."""
    body = b"at /?token=also%20secret or also secret, by YW5uOnMzY3I6dA==, s3cr:t"
    location = "Location: //ann:s3cr%3At@x/login?next=%2F%3Ftoken%3Dalso%2520secret&session=7777"
    for answer in (status(500, body=body), status(200, body=body), status(302, location)):
        with service(answer) as port:
            url = f"http://ann:s3cr%3At@{HOST}:{port}/?token=also%20secret"
            shown = only(look(endpoint(url, request={"body": "well"}))).model_dump_json()
        for secret in ("secret", "s3cr", "YW5u", "7777"):
            assert secret not in shown, answer


def reply(address: str, ending: Ending = Ending.ANSWERED, code: int = 200) -> Reply:
    answered = ending is Ending.ANSWERED
    return Reply(address, ending, "", {Phase.CONNECT: 0.001}, code if answered else 0)


def asked(*replies: Reply) -> Asked:
    return Asked(PLACE, Name(tuple({each.address for each in replies}), 0.001, Ending.ANSWERED), replies)


def test_one_address_that_is_down_is_named() -> None:
    """Others serve, so the endpoint is reachable, and some of its clients fail."""
    (found,) = judge(asked(reply("192.0.2.1"), reply("192.0.2.2", Ending.DROPPED)), HttpRequest())
    assert (found.code, found.about) == ("endpoint.address_down", "192.0.2.2")


def test_some_slow_answers_are_found_though_the_median_is_well() -> None:
    """One client in three waits; one slow answer of all may be chance."""
    fast, slow = reply("192.0.2.1"), reply("192.0.2.1")._replace(phases_s={Phase.WAIT: 1.5, Phase.BODY: 0.1})
    (found,) = judge(asked(*[fast] * 4, *[slow] * 2), HttpRequest())
    assert found.code == "endpoint.slow"
    assert found.text.startswith(
        "2 of 6 answers took longer than others: an answer takes 1.6 s, most of it waiting"
    )
    assert judge(asked(*[fast] * 4, slow), HttpRequest()) == ()
    assert judge(asked(*[fast] * 18, *[slow] * 2), HttpRequest()) == ()


def test_an_answer_that_sends_to_itself_is_a_circle_that_nobody_need_follow() -> None:
    """To elsewhere is only something that nobody has called well."""
    sent = reply("192.0.2.1", code=301)
    itself = sent._replace(headers={"location": PLACE.at(PLACE.host)})
    (found,) = judge(asked(itself, itself), HttpRequest())
    assert (found.code, found.severity) == ("endpoint.redirects", Severity.ERROR)
    assert found.text == ENDING_WORDS[Ending.CIRCLE].means
    further = sent._replace(headers={"location": "https://login.example/"})
    assert judge(asked(further, further), HttpRequest())[0].severity is Severity.WARNING


def test_of_several_ways_not_to_be_reached_the_usual_one_is_told() -> None:
    """One reset among requests that nobody answers is not what is wrong."""
    ways = [reply("192.0.2.1", each) for each in (Ending.RESET, Ending.SILENT, Ending.SILENT)]
    assert f"({Ending.SILENT})" in judge(asked(*ways), HttpRequest())[0].text


@pytest.mark.parametrize(
    "odd", [reply("::1", Ending.REFUSED), reply("2001:db8::1", Ending.NO_ROUTE)], ids=["loopback", "no IPv6"]
)
def test_an_address_that_every_client_passes_over_is_no_finding(odd: Reply) -> None:
    """A service on 127.0.0.1 alone, and a host without IPv6, are well."""
    assert judge(asked(reply("127.0.0.1"), odd), HttpRequest()) == ()
    # Where nothing answers, it is not passed over.
    alone = that_count((odd,))
    assert alone == (odd,)


def test_one_of_two_loopback_addresses_of_a_name_is_meant_to_serve() -> None:
    """Nobody lists a second one of the same family for a service that is only at the first."""
    (found,) = judge(asked(reply("127.0.0.1"), reply("127.0.0.2", Ending.REFUSED)), HttpRequest())
    assert (found.code, found.about) == ("endpoint.address_down", "127.0.0.2")


def test_a_service_of_this_host_that_is_refused_now_and_then_is_no_address_that_is_passed_over() -> None:
    """It answers at the same address, so whoever comes in between is turned away."""
    is_over, port, deadline_s = threading.Event(), free_port(()), time.monotonic() + 60
    found: tuple[Finding, ...] = ()

    def come_and_go() -> None:
        while not is_over.wait(0.3):
            with socket.create_server(("127.0.0.1", port)) as server:
                server.settimeout(0.3)
                with contextlib.suppress(OSError):
                    while True:
                        with server.accept()[0] as connection:
                            connection.settimeout(0.3)
                            connection.recv(4096)
                            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                            if is_over.is_set() or time.monotonic() % 1 > 0.5:
                                break

    serving = threading.Thread(target=come_and_go)
    serving.start()
    try:
        target = Target(
            name="shop",
            kind="endpoint",
            url=SecretStr(f"http://127.0.0.1:{port}/"),
            timeout_s=2.0,
            request=HttpRequest(count=20),
        )
        while not found and time.monotonic() < deadline_s:
            found = tuple(
                each for each in judge(ask_often(target), target.request) if each.code == "endpoint.flapping"
            )
    finally:
        is_over.set()
        serving.join()
    assert "requests failed (refused)" in found[0].text


@given(
    st.lists(
        st.builds(
            reply,
            st.sampled_from(["192.0.2.1", "192.0.2.2"]),
            st.sampled_from(Ending),
            st.sampled_from([200, 503]),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_whatever_comes_back_is_judged_and_only_good_answers_are_none(replies: list[Reply]) -> None:
    """No combination of endings fails, and there is a finding exactly if a request failed."""
    request = HttpRequest()
    found = judge(asked(*replies), request)
    assert bool(found) == any(wrong_with(each, request) for each in replies)


@given(st.text(max_size=60))
def test_any_url_is_taken_or_refused_in_words(text: str) -> None:
    """Nothing but a problem or a place comes of a url."""
    for url in (text, f"http://{text}", f"https://host/{text}"):
        if problems := address_problems(url):
            assert all(problem.startswith("field 'url': ") for problem in problems)
        else:
            assert place_of(url).host


@given(st.text(max_size=60))
def test_any_location_leads_to_the_same_server_or_nowhere(location: str) -> None:
    """What a hostile service sends in Location is never followed to somebody else."""
    further = redirected(PLACE, Reply("192.0.2.1", Ending.ANSWERED, "", {}, 302, {"location": location}))
    assert further is None or (further.scheme, further.host, further.port) == ("http", "api.example", 80)


def test_the_document_has_the_endings_and_limits_of_the_code() -> None:
    """Every ending and every limit stands in the document as it is in the code."""
    text = (Path(__file__).parents[3] / "docs" / "diagnosis-of-endpoints.md").read_text()
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    for ending, words in ENDING_WORDS.items():
        assert rows[ending].split("|")[2].strip() == words.means
    for name, threshold in POLICY:
        _, _, what, warning, error, source, _ = (cell.strip() for cell in rows[f"`{name}`"].split("|"))
        assert (what, source) == (threshold.what, threshold.source)
        assert threshold.limits == f"warning {warning}, error {error}"
