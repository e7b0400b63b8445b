"""What would be registered, from the configuration alone."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from deployments.catalogue import wanted
from deployments.wanted import Wanted
from medic8.errors import ConfigurationError
from tasks.tell import SIGNED
from tests.deployments.sites import SITE, site_of


@pytest.fixture
def all_wanted(tmp_path: Path) -> tuple[Wanted, ...]:
    """Get the deployments of the site."""
    return wanted(site_of(tmp_path))


def words(schema: object) -> Iterator[str]:
    """Every key and every text in a schema."""
    if isinstance(schema, dict):
        for name, value in schema.items():
            yield str(name)
            yield from words(value)
    elif isinstance(schema, list | tuple):
        for value in schema:
            yield from words(value)
    else:
        yield str(schema)


def test_each_has_a_name_of_its_own_and_runs_on_the_queue_of_its_target(
    all_wanted: tuple[Wanted, ...],
) -> None:
    """What a person starts is there once for each queue that has a target for it."""
    titles = [each.title for each in all_wanted]
    assert len(set(titles)) == len(titles)
    queues = {each.title: each.queue for each in all_wanted}
    assert queues["heal/heal a target"] == "default"
    assert queues["heal/heal a target at rack-7"] == "rack-7"
    assert queues["health/health of box"] == "default"
    assert queues["health/health of cache"] == queues["back_up/backup of cache"] == "rack-7"
    assert {
        "restore_interrupted/end interrupted recoveries at rack-7",
        "watch_schedules/watch schedules",
    } <= set(titles)
    assert "diagnose_grid/diagnose a grid at rack-7" not in titles
    assert "diagnose/samples of waves" not in titles  # no samples are kept of grids
    assert {"back_up/backup of waves", "prune_backups/prune backups of waves"}.isdisjoint(
        titles
    )  # not configured


def test_forms_have_choices_switches_numbers_and_text_and_nothing_else(
    all_wanted: tuple[Wanted, ...],
) -> None:
    """A union is a box for JSON in one of Prefect's interfaces, and a secret is plain text."""
    for each in all_wanted:
        assert not {"anyOf", "oneOf", "allOf", "$ref"} & set(words(each.form))
        for name, field in each.form["properties"].items():
            assert field["type"] in {"string", "boolean", "number"}, (each.title, name)
            assert field["title"]
            assert field["description"]
            # One of the interfaces shows what makes text bold or code as it is.
            assert not set("`*") & set(field["description"]), (each.title, name)
        assert set(each.form["required"]) == {
            name for name, field in each.form["properties"].items() if "default" not in field
        }
        jsonschema.validate(each.parameters, {**each.form, "required": []})


def test_no_address_and_no_secret_is_told_to_the_server(all_wanted: tuple[Wanted, ...]) -> None:
    """Everybody who reaches the server reads deployments."""
    told = json.dumps([{**each.fields, "title": each.title} for each in all_wanted])
    assert "hunter2" not in told
    assert "valkey://" not in told


def test_targets_and_strategies_are_the_ones_that_are_configured(all_wanted: tuple[Wanted, ...]) -> None:
    """Each queue offers its own; the only target is chosen already."""
    forms = {each.title: each.form["properties"] for each in all_wanted}
    assert forms["heal/heal a target"]["target"]["enum"] == ["box", "waves"]
    assert forms["heal/heal a target"]["strategy"]["enum"] == ["any"]
    there = forms["heal/heal a target at rack-7"]
    assert (there["target"]["enum"], there["target"]["default"]) == (["cache"], "cache")
    assert there["strategy"]["enum"] == ["any", "purge_memory", "set_settings"]
    assert forms["diagnose_grid/diagnose a grid"]["target"]["enum"] == ["waves"]


def test_what_changes_something_is_a_dry_run_by_hand_until_a_person_says_otherwise(
    all_wanted: tuple[Wanted, ...],
) -> None:
    """Who clicks through a form has changed nothing."""
    by_hand = {each.title: each.parameters for each in all_wanted}
    for title in (
        "heal/heal a target",
        "undo/undo a resolution",
        "prune_backups/prune backups",
        "prune_saved_state/prune saved state",
    ):
        assert by_hand[title]["dry_run"] is True
    schedules = {each.title: each.schedule for each in all_wanted if each.schedule}
    assert schedules["prune_saved_state/prune saved state"].parameters == {"dry_run": False}


def test_a_schedule_heals_only_where_that_was_asked_for(
    all_wanted: tuple[Wanted, ...], tmp_path: Path
) -> None:
    """And nothing where the target does not let anybody act, whatever the schedule says."""
    heals = {each.title: each.parameters.get("heal_allowed") for each in all_wanted if each.flow == "health"}
    assert heals == {
        "health/health of box": False,
        "health/health of cache": True,
        "health/health of waves": False,
    }
    observing = site_of(tmp_path, SITE.replace('mode = "act"', 'mode = "observe"'))
    assert not any(each.parameters.get("heal_allowed") for each in wanted(observing))


def test_a_flow_takes_what_its_form_gives_with_the_flows_own_default_unless_that_is_said(
    all_wanted: tuple[Wanted, ...],
) -> None:
    """A worker finds it by its name, and it is the flow that the deployment says."""
    changed = {"dry_run", "heal_allowed", "watch_s", "queue", "target"}
    for each in all_wanted:
        module, _, name = each.entrypoint.rpartition(".")
        flow = getattr(importlib.import_module(module), name)
        assert flow.name == each.flow
        given = inspect.signature(flow.fn).parameters
        assert set(each.form["properties"]) <= set(given)
        left_out = set(given) - set(each.form["properties"])
        assert all(given[name].default is not inspect.Parameter.empty for name in left_out)
        for parameter, value in each.parameters.items():
            default = given[parameter].default
            assert parameter in changed or value == default or not (value or default), (each.title, parameter)


def test_every_flow_that_a_person_can_name_is_deployed(all_wanted: tuple[Wanted, ...]) -> None:
    """But those that are only a part of others."""
    from flows.run import FLOWS

    assert {each.flow for each in all_wanted} == set(FLOWS)


def test_a_run_that_died_keeps_nobody_out_for_ever(all_wanted: tuple[Wanted, ...]) -> None:
    """It is signed, so that whoever looks for the dead sees it; and whoever does so has places to spare."""
    limited = [each for each in all_wanted if each.at_a_time]
    assert {each.flow for each in limited} <= set(SIGNED)
    for each in limited:
        flow = getattr(importlib.import_module(each.entrypoint.rpartition(".")[0]), each.flow)
        assert {hook.__name__ for hook in flow.on_running_hooks} & {"sign", "sign_deployed"}
    rescuers = [each.at_a_time for each in limited if each.flow in {"restore_interrupted", "watch_schedules"}]
    assert min(rescuers) > 1


def test_intervals_count_from_a_fixed_time_and_targets_do_not_begin_together(tmp_path: Path) -> None:
    """So that deploying again tomorrow changes nothing, and a fleet is no stampede."""
    text = "".join(f'[[target]]\nname = "host-{n}"\nkind = "host"\nurl = "host:local"\n' for n in range(50))
    first, second = (
        {each.title: each.schedule for each in wanted(site_of(tmp_path, text)) if each.flow == "health"}
        for _ in range(2)
    )
    assert first == second
    offsets = [each.offset_s for each in first.values() if each]
    assert all(0 <= each < 300 for each in offsets)
    assert len(set(offsets)) > 30


def test_nothing_runs_by_itself_where_all_is_zero(tmp_path: Path) -> None:
    """What a person starts is still there."""
    none = "\n".join(
        f"{name} = 0" for name in ("health", "samples", "restore_interrupted", "watch_schedules", "prune")
    )
    text = f'[schedule]\n{none}\n[[target]]\nname = "box"\nkind = "host"\nurl = "host:local"\n'
    found = wanted(site_of(tmp_path, text))
    assert not any(each.schedule for each in found)
    assert {"heal/heal a target", "restore_interrupted/end interrupted recoveries"} <= {
        each.title for each in found
    }


def test_another_pool_has_names_of_its_own(tmp_path: Path) -> None:
    """Two sites share a server."""
    ours = {each.title for each in wanted(site_of(tmp_path))}
    theirs = wanted(site_of(tmp_path, f'[deployments]\npool = "north"\n{SITE}'))
    assert ours.isdisjoint(each.title for each in theirs)
    assert {each.pool for each in theirs} == {"north"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[schedule]\nhealth = 5\n",
            r'2: \[schedule\]: field "health": 5 seconds is less than 10; 0 is never',
        ),
        (
            '[deployments]\npool = "A b"\n',
            r'2: \[deployments\]: field "pool": got "A b", expected lower-case',
        ),
        (
            '[[target]]\nname = "box"\nkind = "host"\nurl = "host:local"\n[target.schedule]\nbackup = 60\n',
            r'6: target "box": field "schedule.backup": targets of kind "host" are not backed up',
        ),
        (
            '[[target]]\nname = "box"\nkind = "host"\nurl = "host:local"\n[target.schedule]\nsample = 60\n',
            r'6: target "box": field "schedule.sample": not known; did you mean "samples"\?',
        ),
    ],
)
def test_a_schedule_that_is_wrong_is_said_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    """Before anything is deployed."""
    with pytest.raises(ConfigurationError, match=said):
        site_of(tmp_path, text)


def test_deciding_what_to_deploy_imports_no_prefect() -> None:
    """medic8 up registers the flows each time, and Prefect alone takes more than a second to import."""
    look = "import sys, deployments; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0
