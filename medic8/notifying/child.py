"""
Send messages with Apprise, in a process of its own that whoever started it may end at any time.

Reads one JSON object a line, answers with one a line. An address comes in by that and by nothing that others
see; what Apprise and the libraries below it log stays here, but for warnings, which say why something failed.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys


class _Heard(logging.Handler):
    """Keeps the newest warning."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.last = record.getMessage()


def main() -> None:
    """Answer until nobody asks any more."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    heard = _Heard()
    log = logging.getLogger("apprise")
    log.addHandler(heard)
    log.propagate = False
    log.setLevel(logging.WARNING)
    for line in sys.stdin:
        asked = json.loads(line)
        heard.last = ""
        # Whoever started this process ends it in time, unless that one was ended itself.
        signal.alarm(asked["ends_after_s"])
        try:
            reason = _send(asked["url"], asked["title"], asked["body"], asked["type"], heard)
        except Exception as exc:  # noqa: BLE001 - whatever a service's module raises
            reason = f"{type(exc).__name__}: {exc}"
        signal.alarm(0)
        answers.write(json.dumps({"reason": reason}) + "\n")
        answers.flush()


def _send(url: str, title: str, body: str, kind: str, heard: _Heard) -> str:
    """Why it was not sent; empty if the service took it."""
    import apprise  # noqa: PLC0415 - a quarter of a second; the process may be there before it is asked

    service = apprise.Apprise(asset=apprise.AppriseAsset(secure_logging=True, app_id="Medic8"))
    if not service.add(url):
        return heard.last or "Apprise knows no service with such an address"
    # As text: what servers and keys are called is no markup, whatever it looks like.
    if service.notify(body=body, title=title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT):
        return ""
    return heard.last or "the service did not take it"


if __name__ == "__main__":
    main()
