"""Flows of steps that give keys an expiry, for `bench_steps_beside`: Medic8's steps, and bare tasks."""

from __future__ import annotations

import socket

from prefect import flow, task

from medic8.model.recovery import Recovery, StepMark
from medic8.model.target import Target
from medic8.settings import Settings
from tasks.apply import apply_step

_lines = list[socket.socket]()


@task
def change(number: int) -> None:
    """Give one key an expiry, by the connection of the flow."""
    _lines[-1].sendall(f"EXPIRE k:{number} 3600\r\n".encode())
    assert _lines[-1].recv(64) == b":1\r\n"


@flow(name="bare-steps")
def bare(port: int, count: int) -> None:
    """Bare tasks of Prefect."""
    with socket.create_connection(("127.0.0.1", port)) as line:
        _lines.append(line)
        for number in range(count):
            change(number)
        _lines.remove(line)


@flow(name="steps", validate_parameters=False)
def steps(target: Target, recovery: Recovery, site: Settings) -> tuple[StepMark, ...]:
    """Every step of the plan, as the flow `recover` has them done."""
    reached: tuple[StepMark, ...] = ()
    for number, step in enumerate(recovery.plan.units[0].steps):
        reached = apply_step(target, step, recovery, number, site, reached)
    return reached
