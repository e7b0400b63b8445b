"""A responder whose code is updated while it works begins anew by itself, and loses nothing of what runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.deployments.answering import ROOT, Pool, Responder

pytestmark = pytest.mark.timeout(1200)

#: What the responder and the process that runs begin from say to each other.
LANGUAGE = "deployments/responder/orders.py"


@pytest.fixture
def api(prefect_api: str) -> Iterator[httpx.Client]:
    """Get the API."""
    with httpx.Client(base_url=prefect_api, trust_env=False, timeout=60) as client:
        yield client


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """Have a copy of the code, to be changed."""
    copied = tmp_path / "code"
    for name in ("medic8", "flows", "tasks", "deployments", "tests/deployments"):
        shutil.copytree(ROOT / name, copied / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copied


@contextmanager
def working(pool: Pool, api_url: str, code: Path) -> Iterator[Responder]:
    """A responder with *code*, which is ended when the block is left."""
    responder = Responder(pool, api_url, "updated", code=code)
    try:
        yield responder
    finally:
        responder.end()


def change(file: Path, old: str, new: str) -> None:
    """Write *new* in the place of *old*, whole or not at all, as an installer does."""
    text = file.read_text()
    assert old in text
    beside = file.with_suffix(".new")
    beside.write_text(text.replace(old, new))
    beside.replace(file)


def test_an_updated_responder_begins_anew_and_looks_after_its_runs(
    prefect_api: str, api: httpx.Client, tmp_path: Path, code: Path
) -> None:
    """In the same process, with another language; half an update is not taken."""
    pool = Pool(api, "responder-updated", tmp_path / "runs")
    with working(pool, prefect_api, code) as responder:
        began_s = psutil.Process(responder.pid).create_time()
        runs = [pool.create("slow", folder=str(pool.folder)) for _ in range(2)]
        processes = [int(pool.file(each, "begun")) for each in runs]

        worker = code / "deployments/responder/worker.py"
        whole = worker.read_text()
        change(worker, "class Responder(", "raise OSError('half an update')\n\n\nclass Responder(")
        pool.until(lambda: "OSError: half an update" in responder.log.read_text(), "refusal of broken code")
        assert pool.ended(pool.create("once", folder=str(pool.folder)))["type"] == "COMPLETED"
        assert "begins anew" not in responder.log.read_text()

        worker.write_text(whole)
        change(code / LANGUAGE, 'kind: Literal["order"] = "order"', 'kind: Literal["begin"] = "begin"')
        pool.until(lambda: responder.log.read_text().count("works for pool") > 1, "responder of the new code")
        assert psutil.Process(responder.pid).create_time() == began_s, "it is another process"
        after = pool.create("once", folder=str(pool.folder))
        assert pool.ended(after)["type"] == "COMPLETED"
        assert len(pool.file(after, "ran").splitlines()) == 1

        pool.set(runs[0], "CANCELLING", "Cancelling")
        assert pool.ended(runs[0])["type"] == "CANCELLED"
        assert pool.file(runs[0], "undoing")
        os.kill(processes[1], 9)
        assert pool.ended(runs[1])["type"] == "CRASHED"
        for run in runs:
            assert len(pool.file(run, "begun").splitlines()) == 1, "it was begun twice"
        folders = pool.folder / "updated" / "runs"
        pool.until(lambda: not list(folders.iterdir()), "removal of the folders of runs")


def test_no_run_is_lost_or_begun_twice_while_a_responder_begins_anew(
    prefect_api: str, api: httpx.Client, tmp_path: Path, code: Path
) -> None:
    """They are created all the time."""
    pool = Pool(api, "responder-renewed", tmp_path / "runs")
    with working(pool, prefect_api, code) as responder:
        runs = [pool.create("brief", folder=str(pool.folder))]
        pool.ended(runs[0])
        change(code / LANGUAGE, 'kind: Literal["order"] = "order"', 'kind: Literal["begin"] = "begin"')

        def is_renewed() -> bool:
            if sum(pool.state(each)["type"] != "COMPLETED" for each in runs[-4:]) < 4:
                runs.append(pool.create("brief", folder=str(pool.folder)))
            return responder.log.read_text().count("works for pool") > 1

        pool.until(is_renewed, "responder of the new code")
        runs.append(pool.create("brief", folder=str(pool.folder)))
        assert {pool.ended(each)["type"] for each in runs} == {"COMPLETED"}
        begun = [run for what, run in pool.diary() if what == "begins"]
        assert sorted(begun) == sorted(runs)


def test_the_command_line_gives_its_place_to_the_responder(
    prefect_api: str, api: httpx.Client, tmp_path: Path
) -> None:
    """Nothing of it stays; a second one of the name is told so in a sentence."""
    pool = Pool(api, "responder-by-hand", tmp_path / "runs")
    (tmp_path / "medic8.toml").write_text(f'[deployments]\npool = "{pool.name}"\n')
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MEDIC8_"))
    }
    environ = clean | {
        "PYTHONPATH": str(ROOT),
        "PREFECT_API_URL": prefect_api,
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "MEDIC8_CONFIG": str(tmp_path / "medic8.toml"),
        "MEDIC8_HOME": str(tmp_path / "home"),
    }
    words = [sys.executable, "-c", "from medic8.cli import main; main()", "worker", "--name", "by-hand"]
    with (pool.folder / "by-hand.log").open("wb") as output:
        child = subprocess.Popen(words, env=environ, cwd=pool.folder, stdout=output, stderr=output)
    try:
        assert pool.ended(pool.create("once", folder=str(pool.folder)))["type"] == "COMPLETED"
        assert psutil.Process(child.pid).cmdline()[1:4] == ["-P", "-m", "deployments.responder"]
        second = subprocess.run(
            words, env=environ, cwd=pool.folder, check=False, capture_output=True, text=True, timeout=600
        )
        assert (second.returncode, second.stderr.splitlines()[-1][:36]) == (
            1,
            "medic8: a responder called by-hand w",
        )
    finally:
        child.terminate()
        assert child.wait(120) == 0
