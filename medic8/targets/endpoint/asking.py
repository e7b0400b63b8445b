"""
Ask an endpoint once over HTTP, and keep how long each part of it took.

Each request has a connection of its own, goes to one address of the host, and is over by one time limit,
whatever is sent back and however slowly. Source: RFC 9110 (HTTP semantics), RFC 9112 (HTTP/1.1).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ssl
import time
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import httpx

from medic8.model.wording import shown
from medic8.targets.certificates import Fault, fault_of
from medic8.targets.endpoint.address import Place
from medic8.targets.endpoint.endings import Ending

#: Of an answer no more is read.
MOST_BODY = 256 << 10

_AGENT = "medic8"

#: How an answer of this protocol begins. Source: RFC 9112, section 4.
_BEGINS_HTTP = b"HTTP/"

#: Endings without an answer; something else may have come.
_UNANSWERED = frozenset({Ending.SILENT, Ending.CLOSED, Ending.RESET})

_OF_CONNECT = {
    errno.ECONNREFUSED: Ending.REFUSED,
    errno.ENETUNREACH: Ending.NO_ROUTE,
    errno.EHOSTUNREACH: Ending.NO_ROUTE,
    errno.EHOSTDOWN: Ending.NO_ROUTE,
    errno.ENETDOWN: Ending.NO_ROUTE,
    errno.ETIMEDOUT: Ending.DROPPED,
    errno.ECONNRESET: Ending.RESET,
    errno.EPIPE: Ending.RESET,
}

_OF_CERTIFICATE = {
    Fault.NOT_YET: Ending.TLS_NOT_YET,
    Fault.EXPIRED: Ending.TLS_EXPIRED,
    Fault.ISSUER: Ending.TLS_ISSUER,
    Fault.NAME: Ending.TLS_NAME,
}


class Phase(StrEnum):
    """The parts of a request, in their order."""

    NAME = "looking up the name"
    CONNECT = "opening the connection"
    TLS = "TLS handshake"
    WAIT = "waiting for the answer"
    BODY = "reading the answer"


#: How a request ends that is not over in time, by the part that it has come to.
_OF_TIME = {
    Phase.NAME: Ending.NAME_SERVER,
    Phase.CONNECT: Ending.DROPPED,
    Phase.TLS: Ending.TLS_SILENT,
    Phase.WAIT: Ending.SILENT,
    Phase.BODY: Ending.ENDLESS,
}


class Reply(NamedTuple):
    """
    What came of one request.

    Attributes:
        address: Which address of the host was asked.
        ending: How it ended.
        said: What the error said, fit to be shown; empty if there was none.
        phases_s: Seconds that each part took that was come to, the last one too if it did not end.
        status: HTTP status; 0 if there was none.
        headers: Of the answer, names in lower case; those that matter only.
        body: The first `MOST_BODY` bytes.
    """

    address: str
    ending: Ending
    said: str
    phases_s: Mapping[Phase, float]
    status: int = 0
    headers: Mapping[str, str] = {}
    body: bytes = b""

    @property
    def total_s(self) -> float:
        """All of it, in seconds."""
        return sum(self.phases_s.values())


class Wish(NamedTuple):
    """
    What is asked for.

    Attributes:
        method: ``GET`` or ``HEAD``.
        context: Whom we trust; None without TLS.
        timeout_s: All of it has to be over by then.
        authorization: The header of that name; empty = none.
        source: The address of this host that it is asked from; empty = the system chooses.
        proxy: Url of the HTTP proxy that it is asked through; empty = none.
    """

    method: str
    context: ssl.SSLContext | None
    timeout_s: float
    authorization: str = ""
    source: str = ""
    proxy: str = ""


async def ask(place: Place, address: str, wish: Wish) -> Reply:
    """
    Ask *address* of *place* once.

    Args:
        place: What for.
        address: An IPv4 or IPv6 address of its host; through a proxy the host itself.
        wish: How.
    """
    watch = _Watch()
    status, headers, body = 0, {}, bytearray()
    ending, said = Ending.ANSWERED, ""
    try:
        async with asyncio.timeout(wish.timeout_s), _client(wish) as client:
            request = client.build_request(
                wish.method,
                place.at(address),
                headers={"Host": place.host_header} | _secret(wish),
                extensions={"trace": watch.heard, "sni_hostname": place.host},
            )
            answer = await client.send(request, stream=True)
            try:
                status, headers = answer.status_code, _headers(answer)
                watch.at(Phase.BODY)
                async for chunk in answer.aiter_raw():
                    body += chunk
                    if len(body) >= MOST_BODY:
                        break
            finally:
                await answer.aclose()
    except (TimeoutError, httpx.TimeoutException):
        ending = _OF_TIME[watch.phase]
        await watch.let_go()
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ssl.SSLError, UnicodeError) as exc:
        ending, said = _ending_of(exc, watch.phase), shown(_reason(exc), 200)
    watch.stop()
    if ending in _UNANSWERED and not watch.is_of_http:
        ending = Ending.NO_HTTP
    return Reply(address, ending, said, watch.spent_s, status, headers, bytes(body[:MOST_BODY]))


def _client(wish: Wish) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(
            verify=wish.context if wish.context is not None else False,
            local_address=wish.source or None,
            proxy=wish.proxy or None,
            trust_env=False,
        ),
        # There is one limit around all of it, which also ends who sends one byte a second.
        timeout=wish.timeout_s,
        trust_env=False,  # a proxy or a password of this shell is no part of what is asked
        follow_redirects=False,
        # A body that unpacks to gigabytes is read as it is, up to the limit.
        headers={"User-Agent": _AGENT, "Accept": "*/*", "Accept-Encoding": "identity"},
    )


def _secret(wish: Wish) -> dict[str, str]:
    return {"Authorization": wish.authorization} if wish.authorization else {}


class _Watch:
    """Keeps for how long a request has been in which part of it, by what the client tells."""

    _BEGINS: Mapping[str, Phase] = {
        "connection.connect_tcp.started": Phase.CONNECT,
        "connection.start_tls.started": Phase.TLS,
        "http11.send_request_headers.started": Phase.WAIT,
    }

    #: When one of these has ended, its value is the stream that the answer will come through.
    _OPENS = frozenset({"connection.connect_tcp.complete", "connection.start_tls.complete"})

    def __init__(self) -> None:
        self.phase = Phase.CONNECT
        self.first = b""
        self.spent_s: dict[Phase, float] = {}
        self._since_s = time.perf_counter()
        self._stream: Any = None  # as the client's transport calls it

    async def let_go(self) -> None:
        """Close the connection: a client that is stopped in the middle of a TLS handshake leaves it open."""
        if self._stream is not None:
            with contextlib.suppress(Exception):
                await self._stream.aclose()

    async def heard(self, event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._stream = info["return_value"]
        if event in self._OPENS:
            self._listen(info["return_value"])
        if event not in self._BEGINS:
            return
        if not self.spent_s and self.phase is self._BEGINS[event]:
            self._since_s = time.perf_counter()  # what it took to get the client ready is not the endpoint's
        self.at(self._BEGINS[event])

    def _listen(self, stream: Any) -> None:
        """Keep the first bytes that come: the client tells nothing of an answer that does not end."""
        read, self.first = stream.read, b""

        async def heard(most: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - the client's own name
            came = bytes(await read(most, timeout))
            self.first += came[: len(_BEGINS_HTTP) - len(self.first)]
            return came

        stream.read = heard

    @property
    def is_of_http(self) -> bool:
        """Whether what came so far may be the beginning of an answer; also nothing may."""
        return _BEGINS_HTTP.startswith(self.first)

    def at(self, phase: Phase) -> None:
        if phase is not self.phase:
            self.stop()
        self.phase = phase

    def stop(self) -> None:
        now_s = time.perf_counter()
        self.spent_s[self.phase] = self.spent_s.get(self.phase, 0.0) + now_s - self._since_s
        self._since_s = now_s


def _headers(answer: httpx.Response) -> dict[str, str]:
    wanted = ("location", "retry-after", "server", "content-encoding", "date")
    return {name: answer.headers[name] for name in wanted if name in answer.headers}


def _ending_of(error: BaseException, phase: Phase) -> Ending:
    chain = list(_chain(error))
    for each in chain:
        if isinstance(each, ssl.SSLCertVerificationError):
            fault = fault_of(each)
            return _OF_CERTIFICATE[fault] if fault else Ending.TLS_OTHER
    if any(isinstance(each, ssl.SSLError) for each in chain) or phase is Phase.TLS:
        return Ending.TLS_OTHER
    if phase is Phase.BODY and isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
        return Ending.CUT
    for each in chain:
        if isinstance(each, OSError) and each.errno in _OF_CONNECT:
            return _OF_CONNECT[each.errno]
    return Ending.NO_ROUTE if phase is Phase.CONNECT else _ending_of_answer(error)


def _ending_of_answer(error: BaseException) -> Ending:
    """Of one who was connected and did not come to answer."""
    is_closed = isinstance(error, httpx.RemoteProtocolError) and "disconnected" in str(error)
    if is_closed or isinstance(error, httpx.ReadError | httpx.WriteError):
        return Ending.CLOSED if is_closed else Ending.RESET
    return Ending.NO_HTTP


def _reason(error: BaseException) -> str:
    """The innermost error that says something."""
    said = [str(each) for each in _chain(error) if str(each)]
    return said[-1] if said else type(error).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """*error*, and what it was raised from; several that were tried at once are each looked at."""
    seen = 0
    while error is not None and seen < 20:  # noqa: PLR2004 - errors are never chained so deep
        yield error
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from _chain(each)
        error, seen = error.__cause__ or error.__context__, seen + 1
