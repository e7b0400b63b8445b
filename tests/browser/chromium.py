"""A headless Chromium, driven by its own protocol (Chrome DevTools), without another library."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from medic8.errors import ConfigurationError

#: Longest wait for a page to show something; the machine may be busy with other tests.
PATIENCE_S = 120.0

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str:
    """
    The program.

    Raises:
        ConfigurationError: it is not installed.
    """
    for name in _PROGRAMS:
        if found := shutil.which(name):
            return found
    raise ConfigurationError("no chromium is installed; on Debian: apt-get install chromium")


class Page:
    """One page of the browser."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    def go(self, url: str) -> None:
        """Open *url*; what it shows is waited for by `wait`."""
        self._call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    @property
    def text(self) -> str:
        """What a person reads on the page."""
        return str(self.run("document.body ? document.body.innerText : ''"))

    def wait(self, *words: str) -> str:
        """Wait until all of *words* are on the page; its text."""
        deadline = time.monotonic() + PATIENCE_S
        while missing := [each for each in words if each not in (text := self.text)]:
            assert time.monotonic() < deadline, f"{missing} not on the page, which says:\n{text[:3000]}"
            time.sleep(0.2)
        return text

    def click(self, words: str, tag: str = "button, a, [role=combobox], [role=option], label") -> None:
        """Click what says *words*; where several do, the innermost last one."""
        script = f"""(() => {{
            const all = [...document.querySelectorAll({json.dumps(tag)})]
                .filter(each => each.innerText && each.innerText.trim() === {json.dumps(words)});
            if (!all.length) return false;
            const each = all[all.length - 1];
            each.scrollIntoView({{block: "center"}});
            const box = each.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()"""
        deadline = time.monotonic() + PATIENCE_S
        while not (place := self.run(script)):
            assert time.monotonic() < deadline, (
                f"nothing to click says {words!r}; the page: {self.text[:2000]}"
            )
            time.sleep(0.2)
        self.click_at(*place)

    def click_at(self, x: float, y: float) -> None:
        """Press and release the mouse."""
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, words: str) -> None:
        """Write *words* where the cursor is."""
        self._call("Input.insertText", text=words)

    def picture(self, file: Path, *, height: int = 1400) -> None:
        """Keep what is seen as a PNG."""
        self._call(
            "Emulation.setDeviceMetricsOverride", width=1300, height=height, deviceScaleFactor=1, mobile=False
        )
        time.sleep(0.5)
        file.write_bytes(base64.b64decode(self._call("Page.captureScreenshot")["data"]))

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            said = json.loads(self._socket.recv(timeout=PATIENCE_S))
            if said.get("id") == number:
                assert "error" not in said, said
                return dict(said["result"])


@contextmanager
def browsing(folder: Path) -> Iterator[Page]:
    """A page of a browser of its own, which keeps its state in *folder*."""
    command = [find_chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += ["--no-first-run", "--no-proxy-server", "--disable-background-networking", "--mute-audio"]
    # Nothing but what this machine serves is asked for: a page would wait for what nobody answers.
    command += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    command += [
        "--window-size=1300,1400",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder}",
        "about:blank",
    ]
    (folder / "DevToolsActivePort").unlink(missing_ok=True)
    with (folder / "chromium.log").open("wb") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        page = _first_page(_port(folder, child))
        with connect(page, max_size=None, open_timeout=PATIENCE_S) as socket:
            yield Page(socket)
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(20)


def _port(folder: Path, child: subprocess.Popen[bytes]) -> int:
    file = folder / "DevToolsActivePort"
    deadline = time.monotonic() + PATIENCE_S
    while not (file.exists() and file.read_text().count("\n")):
        assert child.poll() is None, (folder / "chromium.log").read_text()[-2000:]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return int(file.read_text().splitlines()[0])


def _first_page(port: int) -> str:
    with httpx.Client(trust_env=False, timeout=PATIENCE_S) as client:
        pages = client.get(f"http://127.0.0.1:{port}/json/list").json()
    return str(next(each["webSocketDebuggerUrl"] for each in pages if each["type"] == "page"))
