"""ansible-rulebook with a webhook and one rule, whose playbook takes the same first step as ours."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.others import LeftOutError, java, python_of
from benchmarks.scratch_site import running, until
from medic8.local.loopback import HOST, free_port

RULEBOOK = """
- name: alerts
  hosts: all
  sources:
    - eda.builtin.webhook:
        host: 127.0.0.1
        port: {port}
  rules:
    - name: answer
      condition: event.payload.alerts is defined
      action:
        run_playbook:
          name: {playbook}
"""

#: Its first task asks the target from the playbook's own process, which is the soonest that Ansible can: a
#: module would be packed, and started in a process of its own.
PLAYBOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    ansible_python_interpreter: {python}
  tasks:
    - name: ask the target
      ansible.builtin.debug:
        msg: "{{{{ lookup('ansible.builtin.url',
          'http://127.0.0.1:{port}/' ~ ansible_eda.event.payload.alerts[0].labels.target) }}}}"
{more}
"""

INVENTORY = """
all:
  hosts:
    localhost:
      ansible_connection: local
"""


def why_left_out() -> str:
    """Why it cannot be had here; empty if it can."""
    try:
        python_of("ansible-rulebook")
        java()
    except LeftOutError as exc:
        return str(exc)
    return ""


@contextmanager
def rulebook(asked_port: int, *, is_parallel: bool = False, more: str = "") -> Iterator[Rulebook]:
    """
    A running ansible-rulebook whose playbook asks the server on *asked_port*, and then does *more*.

    Raises:
        LeftOutError: it cannot be had.
    """
    python, java_home = python_of("ansible-rulebook"), java().parents[1]
    with tempfile.TemporaryDirectory(prefix="medic8-rulebook-") as name:
        folder, port = Path(name), free_port(())
        (folder / "playbook.yml").write_text(PLAYBOOK.format(port=asked_port, python=python, more=more))
        (folder / "rulebook.yml").write_text(RULEBOOK.format(port=port, playbook=folder / "playbook.yml"))
        (folder / "inventory.yml").write_text(
            "all:\n  hosts:\n    localhost:\n      ansible_connection: local\n"
        )
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "ANSIBLE"))}
        environ = kept | {
            "PATH": f"{python.parent}{os.pathsep}{kept.get('PATH', '')}",
            "JAVA_HOME": str(java_home),
            "HOME": name,
            "ANSIBLE_HOME": f"{name}/ansible",
            "NO_PROXY": HOST,
            "no_proxy": HOST,
        }
        words = [str(python.parent / "ansible-rulebook"), "--rulebook", str(folder / "rulebook.yml")]
        words += ["--inventory", str(folder / "inventory.yml")]
        words += ["--execution-strategy", "parallel" if is_parallel else "sequential"]
        with running(words, folder / "rulebook.log", environ) as process:
            made = Rulebook(f"http://{HOST}:{port}/alerts", process, folder / "rulebook.log")
            until(lambda: made.listens(port), "webhook of ansible-rulebook")
            yield made


class Rulebook:
    """
    One that runs.

    Attributes:
        url: Where alerts are sent to.
        process: The program; its playbooks are processes under it.
        log: Where it writes.
    """

    def __init__(self, url: str, process: psutil.Process, log: Path) -> None:
        self.url, self.process, self.log = url, process, log

    def listens(self, port: int) -> bool:
        """Whether its webhook is there."""
        assert self.process.is_running(), self.log.read_text()[-3000:]
        assert self.process.status() != psutil.STATUS_ZOMBIE, self.log.read_text()[-3000:]
        with socket.socket() as probe:
            return probe.connect_ex((HOST, port)) == 0

    def is_busy(self) -> bool:
        """Whether a playbook runs."""
        return any("ansible-playbook" in " ".join(each.cmdline()) for each in self._living())

    def _living(self) -> list[psutil.Process]:
        return [
            each for each in self.process.children(recursive=True) if each.status() != psutil.STATUS_ZOMBIE
        ]
