from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path

from medic8.alerts.gateway import _ANSWERS
from medic8.alerts.routing import PLACES
from medic8.alerts.serving import PORT
from medic8.model.alerting import SIGNATURE_HEADER, SIGNATURE_HEADERS, Alerting, Format
from tests.test_docs import ROOT

DOCUMENT = (Path(ROOT) / "docs" / "alerts.md").read_text()


def rows(heading: str) -> list[list[str]]:
    part = DOCUMENT.split(f"\n{heading}\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def test_every_format_is_in_the_table_with_the_header_that_it_signs_in() -> None:
    said = {row[0]: row[3] for row in rows("## Senders")}
    assert said == {each.value: SIGNATURE_HEADERS.get(each, SIGNATURE_HEADER) for each in Format}


def test_every_answer_is_in_the_table() -> None:
    assert {HTTPStatus(int(row[0])) for row in rows("## Answers")} == {*_ANSWERS}


def test_every_setting_is_in_the_table_with_its_default() -> None:
    fields = Alerting.model_fields.items()
    known = {name: str(field.default) for name, field in fields if isinstance(field.default, int)}
    assert {row[0]: row[1] for row in rows("## Settings")} == known


def test_every_label_that_says_where_is_named_in_order() -> None:
    part = DOCUMENT.split("Without one, the labels ")[1].split(" are tried")[0]
    assert tuple(re.findall(r"`(\w+)`", part)) == PLACES


def test_the_port_is_that_of_the_program() -> None:
    assert f"127.0.0.1:{PORT}" in DOCUMENT
