"""The HTTP side: who is let in, what each answer means, and that nothing that is sent breaks it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medic8.alerts.gateway import MOST_UNKNOWN, build_gateway
from medic8.alerts.inbox import Inbox
from medic8.alerts.metrics import Metrics
from medic8.recovery.journal import Journal
from medic8.settings import Settings, load_settings

Answer = TypeVar("Answer")

CONFIGURATION = """
[[target]]
name = "cache-1"
kind = "valkey"
url = "valkey://127.0.0.1:6379/0"

[alerts]
max_body_kib = 64

[[alerts.heartbeat]]
name = "watchdog"
match = { alertname = "Watchdog" }
"""

TOKEN, KEY = "a token of 24 characters", "a key of 21 characters"
FORMATS = ("alertmanager", "grafana", "generic", "cloudevents", "pagerduty", "monitoring")
CAPTURED = Path(__file__).parent / "captured"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("gateway")
    sources = [
        f'[[alerts.source]]\nname = "{each}"\nformat = "{each}"\ntoken_env = "TOKEN"' for each in FORMATS
    ]
    signed = '[[alerts.source]]\nname = "signed"\nformat = "grafana"\nkey_env = "KEY"'
    (folder / "medic8.toml").write_text("\n".join((CONFIGURATION, *sources, signed)))
    environ = {"MEDIC8_HOME": str(folder / "home"), "TOKEN": TOKEN, "KEY": KEY}
    return load_settings(folder / "medic8.toml", environ=environ, cwd=folder)


def ask(site: Settings, question: Callable[[httpx.AsyncClient], Awaitable[Answer]]) -> Answer:
    """Ask a gateway of its own; an error within it is raised here."""

    async def asked() -> Answer:
        app = build_gateway(site, Inbox(Journal(site.journal_url)), metrics=Metrics())
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway") as client,
        ):
            return await question(client)

    return asyncio.run(asked())


def post(site: Settings, source: str, body: bytes, **headers: str) -> httpx.Response:
    return ask(site, lambda client: client.post(f"/v1/alerts/{source}", content=body, headers=headers))


def let_in() -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKEN}"}


def test_a_webhook_is_durable_before_it_is_answered(site: Settings) -> None:
    body = (CAPTURED / "captured-1.json").read_bytes()
    assert post(site, "alertmanager", body, **let_in()).json()["accepted"] == 1
    (row,) = Inbox(Journal(site.journal_url)).rows(limit=1)
    assert (row.alert.name, row.target) == ("RedisOutOfConfiguredMaxmemory", "cache-1")


@pytest.mark.parametrize(
    "said", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xff"]
)
def test_a_wrong_token_is_401_and_a_counter_and_nothing_more(site: Settings, said: str) -> None:
    async def question(client: httpx.AsyncClient) -> tuple[httpx.Response, str]:
        headers = [(b"authorization", said.encode("latin-1"))]
        answer = await client.post("/v1/alerts/generic", content=b'{"target": "x"}', headers=headers)
        return answer, (await client.get("/metrics")).text

    answer, metrics = ask(site, question)
    assert (answer.status_code, answer.json()) == (401, {"detail": "not let in"})
    assert 'medic8_gateway_refused_total{source="generic",why="not let in"} 1.0' in metrics
    assert TOKEN not in metrics


@pytest.mark.parametrize(
    ("source", "headers"),
    [
        ("generic", {}),
        ("generic", {"Authorization": "Bearer wrong"}),
        ("signed", {}),
        ("signed", {"X-Grafana-Alerting-Signature": "sha256=short"}),
    ],
)
def test_of_who_is_not_let_in_nothing_is_read(site: Settings, source: str, headers: dict[str, str]) -> None:
    """Else anybody could fill the memory."""
    read = list[int]()

    async def body() -> AsyncIterator[bytes]:
        for part in range(3):
            read.append(part)
            yield b" " * (32 << 10)

    answer = ask(site, lambda client: client.post(f"/v1/alerts/{source}", content=body(), headers=headers))
    assert (answer.status_code, read) == (401, [])


def test_a_body_that_says_it_is_too_large_is_not_read_either(site: Settings) -> None:
    read = list[int]()

    async def body() -> AsyncIterator[bytes]:
        read.append(1)
        yield b"x"

    headers = {**let_in(), "Content-Length": str(65 << 10)}
    answer = ask(site, lambda client: client.post("/v1/alerts/generic", content=body(), headers=headers))
    assert (answer.status_code, read) == (413, [])


def test_bodies_that_only_a_signature_vouches_for_are_read_a_few_at_a_time(site: Settings) -> None:
    """Who made up a signature is known at the end; so many bodies are in memory, and no more."""
    read = list[int]()

    async def question(client: httpx.AsyncClient) -> list[httpx.Response]:
        refused, all_here = list[httpx.Response](), asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            read.append(1)
            await all_here.wait()
            yield b"{}"

        async def send() -> httpx.Response:
            headers = {"X-Grafana-Alerting-Signature": "0" * 64}
            return await client.post("/v1/alerts/signed", content=body(), headers=headers)

        sending = [asyncio.create_task(send()) for _ in range(MOST_UNKNOWN + 3)]
        for _ in range(3):
            done, _ = await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
            refused += [each.result() for each in done]
            sending = [each for each in sending if each not in done]
            if len(refused) >= 3:
                break
        all_here.set()
        return [*refused, *[await each for each in sending]]

    answers = ask(site, question)
    assert [each.status_code for each in answers] == [503] * 3 + [401] * MOST_UNKNOWN
    assert len(read) == MOST_UNKNOWN


def test_the_metrics_tell_no_secret_and_nothing_that_was_sent(site: Settings) -> None:
    """Labels come from the configuration alone: nobody outside can put a word there, or a new line."""

    async def question(client: httpx.AsyncClient) -> str:
        body = b'{"target": "word of a sender", "name": "alert of a sender", "summary": "text of a sender"}'
        await client.post("/v1/alerts/generic", content=body, headers=let_in())
        await client.post("/v1/alerts/path of a sender", content=body, headers=let_in())
        await client.post("/v1/alerts/signed", content=body, headers={"Authorization": f"Bearer {KEY}"})
        return (await client.get("/metrics")).text

    metrics = ask(site, question)
    assert 'medic8_gateway_refused_total{source="",why="unknown source"} 1.0' in metrics
    assert not any(each in metrics for each in (TOKEN, KEY, "of a sender", site.journal_url))
    labels = set(re.findall(r'source="([^"]*)"', metrics))
    assert labels <= {*FORMATS, "signed", ""}


@pytest.mark.parametrize("spelled", ["{}", "sha256={}", "v1=00,v1={}"])
def test_a_signature_is_over_the_very_bytes(site: Settings, spelled: str) -> None:
    body = b'{"alerts": [ ]}'
    signature = spelled.format(hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest())
    name = "X-Grafana-Alerting-Signature"
    assert post(site, "signed", body, **{name: signature}).status_code == 200
    assert post(site, "signed", body + b" ", **{name: signature}).status_code == 401
    assert post(site, "signed", body).status_code == 401


def test_each_answer_means_what_the_document_says(site: Settings) -> None:
    """Never 429, on which Alertmanager gives up; 422 says what is wrong."""
    assert post(site, "nobody", b"{}").status_code == 404
    assert post(site, "generic", b" " * (65 << 10), **let_in()).status_code == 413
    answer = post(site, "alertmanager", b'{"alerts": 7}', **let_in())
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        'field "alerts" is a number, expected a list',
    )
    slow = site.model_copy(update={"alerts": site.alerts.model_copy(update={"per_s": 1, "burst": 1})})

    async def two(client: httpx.AsyncClient) -> list[httpx.Response]:
        sent = [client.post("/v1/alerts/generic", content=b'{"target": "x"}', headers=let_in()) for _ in "ab"]
        return [await each for each in sent]

    first, second = ask(slow, two)
    assert (first.status_code, second.status_code, second.headers["retry-after"]) == (200, 503, "5")


def test_a_heartbeat_is_kept_and_nothing_is_done_about_it(site: Settings) -> None:
    body = json.dumps({"name": "Watchdog", "labels": {"instance": "cache-1"}}).encode()
    assert post(site, "generic", body, **let_in()).json()["ignored"] == 1


def test_it_says_how_it_is_and_what_it_takes(site: Settings) -> None:
    async def question(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.get(path) for path in paths]

    paths = ("/health", "/ready", "/openapi.json", f"/approve/{'0' * 64}/{'x' * 43}")
    health, ready, described, page = ask(site, question)
    assert (health.status_code, ready.status_code) == (200, 200)
    assert (page.status_code, "this link is not good" in page.text) == (403, True)
    answers = described.json()["paths"]["/v1/alerts/{source}"]["post"]["responses"]
    assert {"200", "401", "404", "413", "422", "503"} <= set(answers)
    assert "429" not in answers


def test_an_inbox_that_cannot_be_written_is_503(site: Settings, tmp_path: Path) -> None:
    """The sender repeats what was not taken; the gateway goes on."""
    broken = site.model_copy(update={"journal_url": f"sqlite:///{tmp_path / 'journal.sqlite'}"})
    journal = Journal(broken.journal_url)

    async def question(client: httpx.AsyncClient) -> list[httpx.Response]:
        journal.dispose()
        (tmp_path / "journal.sqlite").write_bytes(b"")
        for name in ("journal.sqlite-wal", "journal.sqlite-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        body, send = b'{"target": "x"}', client.post
        return [await send("/v1/alerts/generic", content=body, headers=let_in()), await client.get("/ready")]

    taken, ready = ask(broken, question)
    assert (taken.status_code, ready.status_code) == (503, 503)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
_LIKELY = st.fixed_dictionaries(
    {},
    optional={
        "alerts": st.lists(
            st.fixed_dictionaries({"status": st.just("firing")}, optional={"labels": _JSON, "target": _JSON})
            | _JSON,
            max_size=3,
        ),
        "event": st.fixed_dictionaries(
            {
                "event_type": st.just("incident.triggered"),
                "data": st.fixed_dictionaries({"id": _JSON, "title": _JSON}),
            }
        )
        | _JSON,
        "specversion": st.just("1.0"),
        "HOSTNAME": _JSON,
        "HOSTSTATE": st.just("DOWN"),
        "target": _JSON,
    },
)


def test_nothing_is_asked_of_an_address_that_a_payload_names(site: Settings) -> None:
    """Neither of the pages nor of the target; somebody listens there, and hears nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        there = f"127.0.0.1:{listening.getsockname()[1]}"
        captured = (CAPTURED / "captured-1.json").read_bytes()
        body, count = re.subn(rb'https?://[^/"]+', f"http://{there}".encode(), captured)
        assert count > 1
        asked = {"labels": {"alertname": "RedisDown", "instance": there}, "url": f"http://{there}/"}
        for source, each in (("alertmanager", body), ("generic", json.dumps({"alerts": [asked]}).encode())):
            assert post(site, source, each, **let_in()).status_code == 200
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(
    sent=st.lists(
        st.tuples(
            st.sampled_from(FORMATS),
            st.binary(max_size=80) | (_LIKELY | _JSON).map(lambda each: json.dumps(each).encode()),
        ),
        min_size=8,
        max_size=8,
    )
)
def test_nothing_that_is_sent_breaks_it(site: Settings, sent: list[tuple[str, bytes]]) -> None:
    """No answer but those that are described, and no error within."""

    async def question(client: httpx.AsyncClient) -> list[int]:
        posts = [client.post(f"/v1/alerts/{source}", content=body, headers=let_in()) for source, body in sent]
        return [(await each).status_code for each in posts]

    assert set(ask(site, question)) <= {200, 422}
