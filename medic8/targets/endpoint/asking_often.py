"""Ask every address of an endpoint several times, within a bounded time."""

from __future__ import annotations

import asyncio
import base64
import queue
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit

from medic8.errors import ConfigurationError
from medic8.model.endpoint import HttpRequest
from medic8.model.target import Target
from medic8.model.wording import shown
from medic8.targets.endpoint.address import Place, place_of
from medic8.targets.endpoint.asking import Reply, Wish, ask
from medic8.targets.endpoint.endings import Ending
from medic8.targets.endpoint.replies import wrong_with

#: Of a name with more addresses only the first are asked.
MOST_ADDRESSES = 4

#: So often an address is asked while it is watched, at most: one failure in forty is mostly met.
MOST_WATCHED = 100

#: So often one is asked that answers and never well, so that it is not taken for one that always fails.
MOST_UNSURE = 20

#: Between two requests to one address: together they are no load.
_PAUSE_S = 0.05

#: All requests of a look are over after so many times the limit of one.
_ROUNDS_OF_TIME = 2

_MOST_REDIRECTS = 5

#: Source: RFC 9110, section 15.4.
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


#: Shorter words are no secrets, and part of many others.
_LEAST_SECRET = 4
_HIDDEN = b"***"


class Name(NamedTuple):
    """
    What came of looking up a name.

    Attributes:
        addresses: In the order in which a client would try them.
        took_s: Seconds; 0 where the url has an address.
        ending: How it ended; `Ending.ANSWERED` if there are addresses.
        said: What the error said.
    """

    addresses: tuple[str, ...]
    took_s: float
    ending: Ending
    said: str = ""


class Asked(NamedTuple):
    """
    All that was seen of an endpoint.

    Attributes:
        place: Where it is.
        name: What its name led to.
        replies: In the order of the requests.
        unasked: Addresses that were left out.
        secrets: What of the url is never shown, also where answers repeat it.
    """

    place: Place
    name: Name
    replies: tuple[Reply, ...]
    unasked: tuple[str, ...] = ()
    secrets: tuple[bytes, ...] = ()


def ask_often(target: Target, lasts_s: float = 0.0) -> Asked:
    """
    Ask each address of the host of *target* as often as it says, all addresses at once.

    It is over after two time limits of one request and what the name takes, or *lasts_s*, at the latest.

    Args:
        target: The endpoint.
        lasts_s: For so long it is asked on, `MOST_WATCHED` times at most, if somebody watches.

    Raises:
        ConfigurationError: its url or its file of issuers cannot be used.
    """
    place = place_of(target.address)
    name = look_up(place, timeout_s=target.timeout_s)
    asked = name.addresses[:MOST_ADDRESSES]
    if not asked:
        return Asked(place, name, (), (), secrets_of(target.address))
    replies = ask_each(place, asked, wish_of(target, place), target.request, lasts_s)
    return Asked(place, name, replies, name.addresses[MOST_ADDRESSES:], secrets_of(target.address))


def ask_each(
    place: Place, addresses: tuple[str, ...], wish: Wish, request: HttpRequest, lasts_s: float = 0.0
) -> tuple[Reply, ...]:
    """Ask the first `MOST_ADDRESSES` of *addresses*, all at once, as often as `ask_often` does."""
    # A loop of its own in a thread of its own: the caller may be inside of a running one.
    with ThreadPoolExecutor(1) as pool:
        asking = _all(place, addresses[:MOST_ADDRESSES], wish, request, lasts_s)
        return tuple(pool.submit(asyncio.run, asking).result())


def wish_of(target: Target, place: Place) -> Wish:
    """
    How *target* is to be asked.

    Raises:
        ConfigurationError: its file of issuers cannot be used.
    """
    return Wish(
        method=target.request.method,
        context=context_of(target) if place.is_secure else None,
        timeout_s=target.timeout_s,
        authorization=_authorization(target.address),
    )


def context_of(target: Target) -> ssl.SSLContext:
    """
    Whom *target* has us trust.

    Raises:
        ConfigurationError: its file of issuers cannot be used.
    """
    context = ssl.create_default_context()
    if target.request.ca_file is not None:
        try:
            context.load_verify_locations(target.request.ca_file)
        except (OSError, ssl.SSLError, ValueError) as exc:
            raise ConfigurationError(
                f"target {target.name!r}: ca_file {str(target.request.ca_file)!r} cannot be used: {exc}"
            ) from exc
    return context


def look_up(place: Place, *, timeout_s: float) -> Name:
    """The addresses of the host of *place*; over after *timeout_s* seconds, though the system may go on."""
    began_s = time.perf_counter()
    found: queue.SimpleQueue[Name] = queue.SimpleQueue()

    def resolve() -> None:
        try:
            infos = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            late = isinstance(exc, socket.gaierror) and exc.errno == socket.EAI_AGAIN
            ending = Ending.NAME_SERVER if late else Ending.UNRESOLVED
            found.put(Name((), time.perf_counter() - began_s, ending, shown(str(exc), 200)))
            return
        addresses = tuple(dict.fromkeys(str(each[4][0]) for each in infos))
        took_s = 0.0 if addresses == (place.host,) else time.perf_counter() - began_s
        found.put(Name(addresses, took_s, Ending.ANSWERED))

    # The system's resolver cannot be interrupted, and nobody waits for this thread.
    threading.Thread(target=resolve, name=f"look up {place.host}", daemon=True).start()
    try:
        return found.get(timeout=timeout_s)
    except queue.Empty:
        return Name((), timeout_s, Ending.NAME_SERVER, f"no answer within {timeout_s:g} s")


async def _all(
    place: Place, addresses: tuple[str, ...], wish: Wish, request: HttpRequest, lasts_s: float
) -> list[Reply]:
    series = [_series(place, address, wish, request, lasts_s) for address in addresses]
    return [reply for replies in await asyncio.gather(*series) for reply in replies]


async def _series(
    place: Place, address: str, wish: Wish, request: HttpRequest, lasts_s: float
) -> list[Reply]:
    watched_s = time.perf_counter() + lasts_s
    ends_s = time.perf_counter() + max(lasts_s, _ROUNDS_OF_TIME * wish.timeout_s + 1)
    replies: list[Reply] = []
    while (
        len(replies) < request.count
        or (time.perf_counter() < watched_s and len(replies) < MOST_WATCHED)
        or (len(replies) < MOST_UNSURE and _all_answer_badly(replies, request))
    ):
        # Each has its full time, and the first is always made.
        if replies and ends_s - time.perf_counter() < wish.timeout_s:
            break
        follow = _ask_following if request.follows else ask
        replies.append(await follow(place, address, wish))
        await asyncio.sleep(max(_PAUSE_S, lasts_s / MOST_WATCHED))
    return replies


def _all_answer_badly(replies: list[Reply], request: HttpRequest) -> bool:
    """Whether somebody answers, and never well so far: of a service that mostly fails, five are no rarity."""
    return all(reply.ending is Ending.ANSWERED and wrong_with(reply, request) for reply in replies)


async def _ask_following(place: Place, address: str, wish: Wish) -> Reply:
    """Also where the answer sends us, as long as that is the same server."""
    ends_s = time.perf_counter() + wish.timeout_s
    been, at = {place}, place
    reply = await ask(place, address, wish)
    spent_s = dict(reply.phases_s)
    while (further := redirected(at, reply)) is not None:
        left_s = ends_s - time.perf_counter()
        if further in been or len(been) > _MOST_REDIRECTS or left_s <= 0:
            return reply._replace(ending=Ending.CIRCLE, phases_s=spent_s)
        been.add(further)
        at = further
        reply = await ask(at, address, wish._replace(timeout_s=left_s))
        for phase, took_s in reply.phases_s.items():
            spent_s[phase] = spent_s.get(phase, 0.0) + took_s
    return reply._replace(phases_s=spent_s)


def sends_to_itself(place: Place, reply: Reply) -> bool:
    """Whether *reply* sends whoever asked *place* there again: nobody need follow to see that circle."""
    return redirected(place, reply) == place


def redirected(place: Place, reply: Reply) -> Place | None:
    """
    Where *reply* sends whoever asked *place*; None if nowhere, or to another server.

    Nobody is asked whose address comes from an answer.
    """
    location = reply.headers.get("location")
    if reply.status not in _REDIRECTS or location is None:
        return None
    try:
        further = place_of(urljoin(place.at(place.host), location).partition("#")[0])
    except (ConfigurationError, ValueError):
        return None
    is_same = (further.scheme, further.host, further.port) == (place.scheme, place.host, place.port)
    return further if is_same else None


def secrets_of(url: str) -> tuple[bytes, ...]:
    """What of *url* is never shown, in each way that an answer may repeat it; the longest first."""
    parts = urlsplit(url)
    header = _authorization(url).encode().removeprefix(b"Basic ")
    values = [value for _, _, value in (each.partition("=") for each in parts.query.split("&"))]
    told = [parts.query, *values, parts.password or ""]
    every = {header, *(each.encode() for each in told), *(unquote(each).encode() for each in told)}
    every |= {quote(each, safe="").encode() for each in told}
    return tuple(sorted((each for each in every if len(each) >= _LEAST_SECRET), key=lambda each: -len(each)))


def without(secrets: tuple[bytes, ...], text: bytes) -> bytes:
    """*text* that may be shown: an answer may repeat what was asked, as pages of errors do."""
    for each in secrets:
        text = text.replace(each, _HIDDEN)
    return text


def _authorization(url: str) -> str:
    """What the header ``Authorization`` says; empty without credentials. Source: RFC 7617."""
    parts = urlsplit(url)
    if parts.username is None and parts.password is None:
        return ""
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"
