"""Ask a Prefect server of the user's whether it is there and lets us in."""

from __future__ import annotations

import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from medic8.errors import RefusedError, TransientError
from medic8.local.prefect_access import PrefectAccess
from medic8.model.frozen import Frozen

if TYPE_CHECKING:
    import httpx

_REPLY_TIMEOUT_S = 3.0
_LONGEST_VERSION = 40
#: The server whose flows, tags and artifacts ours are made for.
_MAJOR = "3."
_REFUSALS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class PrefectAnswer(Frozen):
    """
    What came of asking.

    Attributes:
        problem: Why it cannot be used, as the end of a sentence that begins with its name; empty if it can.
        version: Of its program; empty if it does not say, as Prefect Cloud does not.
    """

    problem: str = ""
    version: str = ""


def ask(access: PrefectAccess) -> PrefectAnswer:
    """
    Get what the server of *access* answers to the question that only those are answered whom it lets in.

    ``/api/health`` and ``/api/ready`` are open to everybody, so they say nothing about that.
    """
    import httpx  # noqa: PLC0415  # only who has a server of his own pays for it

    try:
        with client_of(access, timeout_s=_REPLY_TIMEOUT_S) as client:
            answer = client.get(f"{access.api_url}/admin/version")
            if answer.status_code == HTTPStatus.NOT_FOUND:
                return _without_version(client.get(f"{access.api_url}/health"), access)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as exc:
        return PrefectAnswer(problem=_unreached(exc, access))
    return _judge(answer, access)


def client_of(access: PrefectAccess, *, timeout_s: float) -> httpx.Client:
    """
    Open a client that speaks to the server as Prefect's own does, so that what works here works there.

    Raises:
        OSError: The file of authorities is missing or holds none.
    """
    import httpx  # noqa: PLC0415  # as above

    trusted = ssl.create_default_context(cafile=access.certificates) if access.certificates else True
    return httpx.Client(
        headers=access.all_headers,
        verify=trusted if access.is_verified else False,
        timeout=timeout_s,
        follow_redirects=True,
    )


def refusal(access: PrefectAccess, status: int) -> str:
    """Why a server answers *status* to us, and which setting says who we are; never what it says."""
    if not access.credentials:
        return (
            f"does not let us in ({status}): it wants credentials, and neither PREFECT_API_AUTH_STRING nor "
            "PREFECT_API_KEY is set"
        )
    unused = " (PREFECT_API_KEY is set too, and not used)" if access.auth_string and access.key else ""
    return f"does not let us in ({status}): {access.credentials} is not what it wants{unused}"


def content_of(
    answer: httpx.Response, asked: str, server: str, *, missing_is_none: bool = False, most: int = 300
) -> Any:
    """
    What an answer of the API holds, as JSON; None if that is nothing.

    Args:
        answer: It let us in.
        asked: What was asked, for people.
        server: Who, for people.
        missing_is_none: Whether None is the answer about what the server does not know, instead of an error.
        most: Of a refusal no more characters are shown.
    Raises:
        TransientError: the server has failed.
        RefusedError: it does not take what it was given.
    """
    if answer.status_code == HTTPStatus.NOT_FOUND and missing_is_none:
        return None
    if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise TransientError(f"{server} answers {asked} with status {answer.status_code}")
    if answer.is_error:
        raise RefusedError(f"{server} refuses {asked} ({answer.status_code}): {answer.text[:most]}")
    return answer.json() if answer.content else None


def _judge(answer: httpx.Response, access: PrefectAccess) -> PrefectAnswer:
    if answer.status_code in _REFUSALS:
        return PrefectAnswer(problem=refusal(access, answer.status_code))
    if answer.status_code != HTTPStatus.OK:
        return PrefectAnswer(problem=f"answers with status {answer.status_code}")
    try:
        version = answer.json()
    except ValueError:
        version = None
    if not isinstance(version, str) or len(version) > _LONGEST_VERSION:
        return PrefectAnswer(problem='is no Prefect API; the address of one mostly ends in "/api"')
    if not version.startswith(_MAJOR):
        return PrefectAnswer(problem=f"is a Prefect {version}; Medic8 needs Prefect 3", version=version)
    return PrefectAnswer(version=version)


def _without_version(answer: httpx.Response, access: PrefectAccess) -> PrefectAnswer:
    if answer.status_code in _REFUSALS:
        return PrefectAnswer(problem=refusal(access, answer.status_code))
    if answer.status_code != HTTPStatus.OK:
        return PrefectAnswer(problem='is no Prefect API; the address of one mostly ends in "/api"')
    return PrefectAnswer()


def _unreached(error: Exception, access: PrefectAccess) -> str:
    import httpx  # noqa: PLC0415  # as above

    match error:
        case httpx.TimeoutException():
            return f"does not answer within {_REPLY_TIMEOUT_S:g} s"
        case httpx.HTTPError() if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return f"is not trusted ({error}): PREFECT_API_SSL_CERT_FILE names the file of its authority"
        case httpx.HTTPError() if not isinstance(error, httpx.UnsupportedProtocol):
            return f"does not answer: {error}"
        case OSError():  # the file that PREFECT_API_SSL_CERT_FILE or SSL_CERT_FILE names
            return f"cannot be asked: {access.certificates} holds no certificates: {error}"
        case _:
            return "is no address that begins with http:// or https://"
