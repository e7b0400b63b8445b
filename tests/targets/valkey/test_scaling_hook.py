"""What the answers of a site's own command or service mean: real processes, and a real server for HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import ValidationError

from medic8.model.target import Scale
from medic8.targets.valkey.acts.scaling_hook import Answer, ask

ABOUT = {"target": "server", "issue": "it is full"}


@pytest.mark.parametrize(
    ("script", "answer", "said"),
    [
        ("echo fine; exit 0", Answer.DONE, "exit status 0: fine"),
        ("echo no more; exit 2", Answer.REFUSED, "exit status 2: no more"),
        ("exit 1", Answer.UNKNOWN, "exit status 1: "),
        ("kill -9 $$", Answer.UNKNOWN, "exit status -9: "),
        ("printf '\\033[2Jevil'", Answer.DONE, "exit status 0: \\x1b[2Jevil"),
        ("sleep 60 & sleep 60", Answer.UNKNOWN, "it was ended after 0.5 s"),
    ],
)
def test_an_exit_status_says_what_is_known(script: str, answer: Answer, said: str) -> None:
    """0: done. 2: refused, nothing changed. Anything else: nobody knows. What is said is shown escaped."""
    hook = Scale(command=("sh", "-c", script), timeout_s=0.5 if "sleep" in script else 20)
    assert ask(hook, ABOUT, is_trial=False) == (answer, said)


def test_a_command_is_told_what_for_and_no_shell_reads_it(tmp_path: Path) -> None:
    """By its environment; a word with spaces and dollars stays one."""
    told = tmp_path / "told"
    script = 'printf "%s|" "$MEDIC8_TARGET" "$MEDIC8_ISSUE" "$MEDIC8_DRY_RUN" "$1" > "$0"'
    hook = Scale(
        command=("sh", "-c", script, str(told), "$HOME; x"), dry_run=("sh", "-c", script, str(told), "")
    )
    ask(hook, ABOUT, is_trial=False)
    assert told.read_text() == "server|it is full|0|$HOME; x|"
    ask(hook, ABOUT, is_trial=True)
    assert told.read_text() == "server|it is full|1||"


def test_a_command_that_cannot_be_started_has_changed_nothing() -> None:
    """A slip of the pen in the configuration."""
    found = ask(Scale(command=("/nonexistent/scale",)), ABOUT, is_trial=False)
    assert found.answer is Answer.REFUSED


@pytest.fixture
def service() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """Get the address of a service that answers with the status in its path, and what it was asked."""
    asked: list[dict[str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(int(self.path[1:]))
            self.end_headers()
            self.wfile.write(b"said")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, Answer.DONE),
        (202, Answer.DONE),
        (302, Answer.UNKNOWN),
        (409, Answer.REFUSED),
        (500, Answer.UNKNOWN),
    ],
)
def test_an_http_status_says_what_is_known(
    service: tuple[str, list[dict[str, object]]], status: int, answer: Answer
) -> None:
    """2xx: done. 4xx: refused, nothing changed. Anything else: nobody knows."""
    url, asked = service
    found = ask(Scale.model_validate({"url": f"{url}/{status}"}), ABOUT, is_trial=False)
    assert found == (answer, f"HTTP {status}: said")
    assert asked == [{**ABOUT, "dry_run": False}]


def test_a_service_that_is_not_reached_has_changed_nothing_and_its_address_is_not_shown() -> None:
    """It may hold a secret."""
    hook = Scale.model_validate({"url": "http://user:hunter2@127.0.0.1:1/"})
    found = ask(hook, ABOUT, is_trial=True)
    assert found == (Answer.REFUSED, "it was not reached: ConnectError")
    assert "hunter2" not in repr(hook)


@pytest.mark.parametrize(
    "fields", [{}, {"command": ["x"], "url": "http://x"}, {"url": "http://x", "dry_run": ["x"]},
               {"command": ["x"], "timeout_s": 91}],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(fields: dict[str, object]) -> None:
    """One of both; a trial goes with a command; and a call never outlasts the claim."""
    with pytest.raises(ValidationError):
        Scale.model_validate(fields)
