"""The page behind links, on a real server on the loopback interface."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import httpx
import uvicorn
from fastapi import FastAPI

from medic8.alerts.approving import build_approving
from medic8.recovery.journal import Journal


@contextmanager
def approving_page(journal: Journal, now: Callable[[], datetime]) -> Iterator[httpx.Client]:
    """A client of the page that decides in *journal*, whose clock *now* is."""
    app = FastAPI()
    app.include_router(build_approving(journal, now, lambda: 0.0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", http="h11", ws="none", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as place:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
        thread.start()
        address = f"http://127.0.0.1:{place.getsockname()[1]}"
        try:
            with httpx.Client(base_url=address, trust_env=False, timeout=60) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()
