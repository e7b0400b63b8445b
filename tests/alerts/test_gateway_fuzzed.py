"""A real gateway, asked by what is made by lot from the description that it gives of itself."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from medic8.settings import load_settings
from tests.alerts.gateway_process import gateway
from tests.alerts.test_gateway import CONFIGURATION, FORMATS, TOKEN

#: Of each way to ask; by hand more: MEDIC8_FUZZ=2000.
EXAMPLES = int(os.environ.get("MEDIC8_FUZZ", "12"))

#: What the process may grow by meanwhile.
MOST_MIB = 48


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, psutil.Process, Path]]:
    """Get the address of a gateway, its process and what it writes."""
    folder = tmp_path_factory.mktemp("fuzzed")
    sources = [
        f'[[alerts.source]]\nname = "{each}"\nformat = "{each}"\ntoken_env = "TOKEN"' for each in FORMATS
    ]
    (folder / "medic8.toml").write_text("\n".join((CONFIGURATION, *sources)))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environ |= {"MEDIC8_HOME": str(folder / "home"), "MEDIC8_CONFIG": str(folder / "medic8.toml")}
    environ |= {"TOKEN": TOKEN}
    load_settings(environ=environ, cwd=folder)
    with (
        (folder / "errors").open("wb") as errors,
        gateway("http://127.0.0.1:1/api", environ=environ, errors=errors) as client,
    ):
        port = str(client.base_url.port)
        children = psutil.Process().children()  # of other tests some may just be ending
        (child,) = (each for each in children if port in each.as_dict(["cmdline"], ad_value=[])["cmdline"])
        yield str(client.base_url).rstrip("/"), child, folder / "errors"


def test_whatever_its_description_allows_gets_an_answer_that_it_describes(
    served: tuple[str, psutil.Process, Path],
) -> None:
    """No answer is a 5xx or one that is not described, nothing is written as an error, no memory is kept."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library's own
        import requests
        import schemathesis
        from schemathesis.specs.openapi.checks import positive_data_acceptance
    url, child, errors = served
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    asked, session = list[tuple[str, int]](), requests.Session()
    session.trust_env = False

    def ask(case: Any) -> None:
        answer = case.call(session=session)
        asked.append((case.formatted_path, answer.status_code))
        # What is a batch in one format is none in another, and the description is of all of them.
        case.validate_response(answer, excluded_checks=[positive_data_acceptance])
        assert answer.status_code < 500

    def fuzz(case_of: st.SearchStrategy[Any]) -> None:
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=case_of, source=st.sampled_from(FORMATS), is_let_in=st.booleans())
        def one(case: Any, source: str, is_let_in: bool) -> None:
            if "source" in (case.path_parameters or {}) and is_let_in:
                case.path_parameters["source"] = source
                case.headers = {**(case.headers or {}), "Authorization": f"Bearer {TOKEN}"}
            ask(case)

        one()

    operations = [each.ok() for each in schema.get_all_operations()]
    before = child.memory_info().rss
    for operation in operations:
        fuzz(operation.as_strategy())
    assert {each.path for each in operations} == {"/v1/alerts/{source}", "/health", "/ready", "/metrics"}
    assert {200, 404, 422} <= {status for _, status in asked}
    assert child.is_running()
    assert child.memory_info().rss - before < MOST_MIB << 20
    assert "Traceback" not in errors.read_text(errors="replace")
