"""Have a message sent within a time limit, whatever the service at the other end does."""

from __future__ import annotations

import json
import math
import os
import re
import selectors
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self
from urllib.parse import unquote

from pydantic import SecretStr

from medic8.local.loopback import past_proxies
from medic8.model.frozen import Frozen
from medic8.model.wording import visible

#: Longest that one message may take; a service answers within seconds or not at all.
TIMEOUT_S = 15.0

#: Parts of an address from this length on are taken for secrets.
_SHORTEST_SECRET = 4

#: Parts of an address that are in many and are no secrets.
_KNOWN = frozenset({"http", "https", "json", "jsons", "form", "forms", "mailto", "mailtos", "localhost"})

_LONGEST_REASON = 300


class Message(Frozen):
    """
    What is sent.

    Attributes:
        title: Fit for a lock screen.
        body: The rest, in lines.
        kind: As Apprise calls it: ``info``, ``success``, ``warning`` or ``failure``.
    """

    title: str
    body: str
    kind: str = "info"


class Courier:
    """
    A process that sends for one route, started when there is something to send.

    Apprise's services wait as they please, for a connection, for each part of an answer; a process can be
    ended where a thread cannot.
    """

    def __init__(self, environ: Mapping[str, str] | None = None, *, timeout_s: float = TIMEOUT_S) -> None:
        self._environ = os.environ if environ is None else environ
        self._timeout_s = timeout_s
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def send(self, url: SecretStr, message: Message) -> str:
        """Why *message* was not sent, without what is secret in *url*; empty if the service took it."""
        asked: dict[str, object] = {**message.model_dump(exclude={"kind"}), "type": message.kind}
        asked["ends_after_s"] = 2 * math.ceil(self._timeout_s)
        line = json.dumps({**asked, "url": url.get_secret_value()}).encode() + b"\n"
        try:
            answer = self._asked(line)
            reason = str(json.loads(answer)["reason"])
        except TimeoutError:
            self._end()
            return f"no answer within {self._timeout_s:g} s; the message may have arrived"
        except (OSError, ValueError, KeyError) as exc:
            self._end()
            return f"the process that sends ended: {type(exc).__name__}"
        return without_secrets(reason, url)

    def _asked(self, line: bytes) -> bytes:
        until_s = time.monotonic() + self._timeout_s
        child = self._child or self._start()
        if child.stdin is None or child.stdout is None:
            raise OSError("no pipe")
        child.stdin.write(line)
        child.stdin.flush()
        answer = b""
        with selectors.DefaultSelector() as readable:
            readable.register(child.stdout, selectors.EVENT_READ)
            while not answer.endswith(b"\n"):
                if not readable.select(max(0.0, until_s - time.monotonic())):
                    raise TimeoutError
                part = os.read(child.stdout.fileno(), 1 << 16)
                if not part:
                    raise OSError("it has ended")
                answer += part
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        environ = {**self._environ, "no_proxy": past_proxies(self._environ)}
        program = Path(__file__).with_name("child.py")
        self._child = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-I", str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environ,
            start_new_session=True,  # Ctrl-C is for whoever asks, who ends this process himself
        )
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.communicate()


def without_secrets(text: str, url: SecretStr) -> str:
    """*text* in one line, with stars for every part of *url*."""
    address = url.get_secret_value()
    words = {address, unquote(address)}
    for each in re.split(r"[:/?#@&=,+;!|~\s]+", address):
        words |= {each, unquote(each)}
    secrets = [each for each in words if len(each) >= _SHORTEST_SECRET and each.lower() not in _KNOWN]
    for each in sorted(secrets, key=len, reverse=True):
        text = text.replace(each, "***")
    return visible(" ".join(text.split()))[:_LONGEST_REASON]
