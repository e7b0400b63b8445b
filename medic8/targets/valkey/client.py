"""Open connections to a Valkey or Redis server, and translate its client's errors into ours."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast
from urllib.parse import unquote, urlsplit

import valkey
import valkey.backoff
import valkey.connection
import valkey.exceptions
import valkey.retry

from medic8.errors import ConfigurationError, RefusedError, TransientError, UnreachableError
from medic8.model.wording import shown
from medic8.targets.valkey.address import SCHEMES, redact

#: Name that connections which change a server show in its ``CLIENT LIST``; once they are claimed for a
#: recovery, followed by that and its fence's number.
RECOVERY = "medic8-recovery"

#: What a node of a cluster answers for keys that it does not have.
#: Source: Valkey documentation, Cluster specification, MOVED and ASK redirection.
_ELSEWHERE = ("MOVED ", "ASK ")

#: Longest text of an error that is shown; who calls a script or a module may choose it.
_MOST_OF_AN_ANSWER = 300

#: Reads of whole 64 KiB values are half as fast with the client's default of 64 KiB.
_SOCKET_READ_BYTES = 1 << 20


class _OneConnectionMixin:
    """
    A connection that is opened once and never again.

    The client reconnects silently after a server restart and goes on writing,
    into a server that may have lost what was just verified. Whoever changes a
    target must learn of the loss instead.
    """

    _was_connected = False

    def connect(self) -> None:
        if self._was_connected and self._sock is None:  # type: ignore[attr-defined]
            raise valkey.exceptions.ConnectionError("the one connection to the server was lost")
        super().connect()  # type: ignore[misc]
        self._was_connected = True


class _OneTcpConnection(_OneConnectionMixin, valkey.connection.Connection):
    pass


class _OneTlsConnection(_OneConnectionMixin, valkey.connection.SSLConnection):
    pass


class _OneUnixConnection(_OneConnectionMixin, valkey.connection.UnixDomainSocketConnection):
    pass


def connect(url: str, *, timeout_s: float = 5.0, name: str = "medic8") -> valkey.Valkey:
    """
    A client on one connection that never reconnects and never retries.

    Args:
        url: ``valkey://[user]:[password]@host:port/db``, ``valkeys://`` for TLS,
            ``unix://[user@]/path?db=0``; ``redis`` is read as ``valkey``.
        timeout_s: Longest wait for the connection and for each reply.
        name: Shown in the server's ``CLIENT LIST``.
    Raises:
        ConfigurationError: the URL has another scheme or does not parse.
        UnreachableError: the server did not answer or did not let us in.
    """
    client = _client(url, timeout_s)
    with closing_on_error(client), reaching(url, connecting=True):
        client.ping()
        with contextlib.suppress(valkey.exceptions.ResponseError):
            client.client_setname(name)  # a courtesy to whoever reads CLIENT LIST; not everybody may
        if name == RECOVERY:
            # A server that closes clients for want of memory shall not close whoever can undo that.
            with contextlib.suppress(valkey.exceptions.ResponseError):  # before version 7, or not allowed
                client.execute_command("CLIENT", "NO-EVICT", "ON")
    return client


def _client(url: str, timeout_s: float) -> valkey.Valkey:
    """A client as `connect` makes it, without connecting."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ConfigurationError(
            f"server address {redact(url)!r}: scheme {parts.scheme!r} is not one of {', '.join(SCHEMES)}"
        )
    secure = parts.scheme in {"valkeys", "rediss"}
    one = _OneUnixConnection if parts.scheme == "unix" else _OneTlsConnection if secure else _OneTcpConnection
    options = options_of(url)
    pool = valkey.ConnectionPool(
        connection_class=one,
        max_connections=1,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_read_size=_SOCKET_READ_BYTES,
        retry=valkey.retry.Retry(valkey.backoff.NoBackoff(), 0),
        **options,
    )
    return valkey.Valkey(connection_pool=pool, single_connection_client=False)


def options_of(url: str) -> dict[str, Any]:
    """
    What *url* says, as the client library reads it: host, port or path, db, username, password.

    Raises:
        ConfigurationError: it does not parse.
    """
    scheme = urlsplit(url).scheme
    known = {"unix": "unix", "valkeys": "valkeys", "rediss": "valkeys"}.get(scheme, "valkey")
    try:
        # urlsplit keeps "unix:///path" only with an explicit empty authority.
        options = dict(valkey.connection.parse_url(_with_scheme(url, known)))
    except ValueError as exc:
        raise ConfigurationError(f"server address {redact(url)!r}: {exc}") from exc
    options.pop("connection_class", None)
    return options


@contextlib.contextmanager
def connection(url: str, *, timeout_s: float = 5.0, name: str = "medic8") -> Iterator[valkey.Valkey]:
    """Like `connect`, closed at the end, with the client's errors translated by `reaching`."""
    client = connect(url, timeout_s=timeout_s, name=name)
    try:
        with reaching(url):
            yield client
    finally:
        _hang_up(client)


@contextlib.contextmanager
def unasked_connection(url: str, *, timeout_s: float) -> Iterator[valkey.Valkey]:
    """Like `connection`, without the PING that a busy server refuses."""
    client = _client(url, timeout_s)
    try:
        with reaching(url):
            yield client
    finally:
        _hang_up(client)


@contextlib.contextmanager
def first_connection(url: str, *, timeout_s: float) -> Iterator[Any]:
    """
    The client library's bare connection, logged in, on which nothing has been asked yet.

    Args:
        url: As for `connect`.
        timeout_s: Longest wait for the connection and for each reply.
    Raises:
        ConfigurationError: the URL has another scheme or does not parse.
        UnreachableError: the server did not answer or did not let us in.
        TransientError: in the body: it stopped answering.
    """
    client = _client(url, timeout_s)
    try:
        with reaching(url, connecting=True):
            bare = client.connection_pool.get_connection("_")
        with reaching(url):
            yield bare
    finally:
        _hang_up(client)


def _hang_up(client: valkey.Valkey) -> None:
    """Close the socket now, and not when the client is thrown away, where an interruption would be lost."""
    client.close()
    client.connection_pool.disconnect()


def user_of(url: str) -> str:
    """As whom *url* logs in."""
    return unquote(urlsplit(url).username or "") or "default"


def info(client: valkey.Valkey, section: str) -> Mapping[str, Any]:
    """One section of ``INFO``, numbers as numbers."""
    return cast("Mapping[str, Any]", client.info(section))


def replicas_in(replication: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The replicas that a primary lists in the section ``replication`` of ``INFO``."""
    return [replication[f"slave{number}"] for number in range(int(replication["connected_slaves"]))]


def setting(client: valkey.Valkey, name: str) -> str | None:
    """The present value of one setting; None if the server has none of that name."""
    return cast("Mapping[str, str]", client.config_get(name)).get(name)


@contextlib.contextmanager
def closing_on_error(client: valkey.Valkey) -> Iterator[None]:
    """Close *client* if the body raises."""
    try:
        yield
    except BaseException:
        client.close()
        raise


@contextlib.contextmanager
def reaching(url: str, *, connecting: bool = False) -> Iterator[None]:
    """
    Translate the client library's errors into ours.

    Raises:
        UnreachableError: nothing was sent: no connection, no log-in.
        TransientError: the connection broke or timed out after something was sent, or the
            server has no memory for it at present.
        RefusedError: the server answered with an error, such as a missing permission; it changed
            nothing.
    """
    where = redact(url)
    try:
        yield
    except (valkey.exceptions.AuthenticationError, valkey.exceptions.AuthorizationError) as exc:
        raise UnreachableError(f"{where} does not let us in: {exc}") from exc
    except valkey.exceptions.OutOfMemoryError as exc:
        raise TransientError(f"{where} has no memory for it: {exc}") from exc
    except (
        valkey.exceptions.ConnectionError,
        valkey.exceptions.TimeoutError,
        valkey.exceptions.InvalidResponse,  # whoever answers is no Valkey server
        OSError,
    ) as exc:
        if connecting:
            raise UnreachableError(f"{where} does not answer: {exc}") from exc
        raise TransientError(f"{where} stopped answering: {exc}") from exc
    except valkey.exceptions.WatchError as exc:
        if not was_cut_off(exc):
            raise
        raise TransientError(f"{where} stopped answering: {exc.__context__}") from exc
    except valkey.exceptions.ResponseError as exc:
        answer = shown(str(exc), _MOST_OF_AN_ANSWER)
        if answer.startswith(_ELSEWHERE):
            raise RefusedError(
                f"{where} is one node of a cluster and has not all of the keys ({answer}): Medic8 reads each "
                "node by itself, and neither a grid nor a repair that is spread over several"
            ) from exc
        raise RefusedError(f"{where} answered: {answer}") from exc


def was_cut_off(exc: valkey.exceptions.WatchError) -> bool:
    """
    Whether *exc* says that the connection was lost while keys were watched, and nothing of a change to them.

    The client raises the same error for both; what was sent last may have been carried out.
    """
    return isinstance(exc.__context__, valkey.exceptions.ConnectionError | valkey.exceptions.TimeoutError)


Call = TypeVar("Call", bound=Callable[..., Any])


def reached(method: Call) -> Call:
    """A method of something with a ``url``, with the client's errors translated at once."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        with reaching(self.url):
            return method(self, *args, **kwargs)

    return cast("Call", call)


def _with_scheme(url: str, scheme: str) -> str:
    return scheme + url[url.index(":") :]
