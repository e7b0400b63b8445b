from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medic8.errors import ConfigurationError, RefusedError, TransientError, UndoError, UnreachableError
from medic8.model.plan import StepClass
from medic8.model.report import Health
from medic8.model.resolution import Approval, Outcome, Treatment

if TYPE_CHECKING:
    from tests.cli.conftest import Answers, Medic8, Samples

    Indexed = Callable[..., None]

# --- exit codes ---


@pytest.mark.parametrize(
    ("health", "code"),
    [(Health.HEALTHY, 0), (Health.DEGRADED, 1), (Health.FAILING, 1), (Health.UNREACHABLE, 3)],
)
def test_diagnose_exits_by_the_health(
    medic8: Medic8, answers: Answers, samples: type[Samples], health: Health, code: int
) -> None:
    """A script can tell the four cases apart without reading."""
    issues = () if health is Health.HEALTHY else (samples.an_issue(),)
    answers.report = samples.a_report(health, *issues)
    assert medic8("diagnose", "pot").code == code
    assert medic8("diagnose", "pot", "--json").code == code
    assert answers.asked == [("diagnose", "pot")] * 2
    assert medic8("diagnose", "pot", "--watch", "60").code == code
    assert answers.asked[-1] == ("diagnose", "pot", 60)


@pytest.mark.parametrize(
    ("arguments", "is_dry_run"),
    [(("plan", "pot"), True), (("heal", "pot", "--dry-run"), True), (("heal", "pot"), False)],
)
def test_plan_and_dry_run_never_ask_to_act(
    medic8: Medic8, answers: Answers, samples: type[Samples], arguments: tuple[str, ...], is_dry_run: bool
) -> None:
    """Both spell the same question."""
    answers.treatment = Treatment(target="pot", kind="teapot", before=samples.a_report())
    assert medic8(*arguments).code == 0
    assert answers.asked == [("heal", "pot", is_dry_run)]


def test_heal_carries_every_yes_and_refuses_what_is_none(
    medic8: Medic8, answers: Answers, samples: type[Samples]
) -> None:
    """Digests as plan shows them; a word is a mistake of the call, and nothing is asked then."""
    answers.treatment = Treatment(target="pot", kind="teapot", before=samples.a_report())
    assert medic8("heal", "pot", "--approve", "0123456789AB", "--approve", "c" * 64).code == 0
    assert answers.asked == [("heal", "pot", False, "0123456789ab", "c" * 64)]
    ended = medic8("heal", "pot", "--approve", "yes")
    assert (ended.code, len(answers.asked)) == (2, 1)
    assert "12 to 64 hexadecimal digits" in ended.err


def test_a_plan_that_cannot_be_taken_back_shows_its_digest_and_a_treatment_who_said_yes(
    medic8: Medic8, answers: Answers, samples: type[Samples]
) -> None:
    """The digits that --approve takes, beside the words that there is no way back."""
    resolution = samples.a_resolution(Outcome.PLANNED)
    plan = resolution.plan
    assert plan is not None
    step = plan.units[0].steps[0].model_copy(update={"step_class": StepClass.ONE_WAY})
    plan = plan.model_copy(update={"units": (plan.units[0].model_copy(update={"steps": (step,)}),)})
    approval = Approval(
        digest=plan.digest[:12], by="holder of the command line", at=samples.a_report().taken_at
    )
    answers.treatment = Treatment(
        target="pot",
        kind="teapot",
        before=samples.a_report(Health.FAILING, samples.an_issue()),
        resolutions=(resolution.model_copy(update={"plan": plan, "approval": approval}),),
    )
    out = medic8("plan", "pot").out
    assert f"digest    {plan.digest[:12]}" in out
    assert "needed: it cannot be taken back" in out
    assert f"{plan.digest[:12]} by the holder of the command line" in out


@pytest.mark.parametrize(
    ("after", "code"), [(Health.HEALTHY, 0), (Health.FAILING, 1), (Health.UNREACHABLE, 3), (None, 1)]
)
def test_heal_exits_by_the_health_at_the_end(
    medic8: Medic8, answers: Answers, samples: type[Samples], after: Health | None, code: int
) -> None:
    """A resolved issue is not enough while another is left."""
    before = samples.a_report(Health.FAILING, samples.an_issue())
    answers.treatment = Treatment(
        target="pot",
        kind="teapot",
        before=before,
        resolutions=(samples.a_resolution(),),
        after=None if after is None else samples.a_report(after),
    )
    assert medic8("heal", "pot").code == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnreachableError("tea://kitchen does not answer"), 3),
        (RefusedError("not on the allow-list"), 1),
        (TransientError("stopped answering"), 1),
        (UndoError("undo stopped", ("descale by hand",)), 1),
        (ConfigurationError("not so"), 2),
    ],
)
def test_an_error_is_one_message_and_an_exit_code(
    medic8: Medic8, answers: Answers, error: Exception, code: int
) -> None:
    """No traceback, and nothing on standard output."""
    answers.report = error
    ended = medic8("diagnose", "pot")
    assert (ended.code, ended.out) == (code, "")
    assert ended.err == "a library prints while it works\n" + "".join(
        f"{line}\n" for line in f"medic8: {error}".splitlines()
    )


def test_with_json_an_error_is_one_document(medic8: Medic8, answers: Answers) -> None:
    """Whoever parses standard output never meets an empty one."""
    answers.report = UnreachableError("tea://kitchen does not answer")
    ended = medic8("diagnose", "pot", "--json")
    assert ended.document == {
        "error": {"name": "UnreachableError", "message": "tea://kitchen does not answer", "exit_code": 3}
    }


def test_a_traceback_is_shown_on_demand_only(medic8: Medic8, answers: Answers) -> None:
    """Also for a mistake of ours, which is named as one."""
    answers.report = ZeroDivisionError("by zero")
    ended = medic8("diagnose", "pot")
    assert ended.code == 1
    assert "Traceback" not in ended.err
    assert "medic8: ZeroDivisionError: by zero; this should not happen" in ended.err
    assert "Traceback" in medic8("--debug", "diagnose", "pot").err


def test_ctrl_c_ends_with_130_and_a_short_message(medic8: Medic8, answers: Answers) -> None:
    """A heal says what became of a recovery that was under way; a diagnosis had none."""
    answers.report = answers.treatment = KeyboardInterrupt()
    ended = medic8("diagnose", "pot")
    assert ended.code == 130
    assert ended.err.endswith("medic8: interrupted\n")
    assert "put back" not in ended.err
    healing = medic8("heal", "pot")
    assert healing.code == 130
    assert "what had been begun was put back" in healing.err
    assert "Traceback" not in ended.err
    assert medic8("diagnose", "pot", "--json").document["error"]["exit_code"] == 130


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "a command is missing"),
        (("diagnose",), "Missing argument 'TARGET'. (see \"medic8 diagnose --help\")"),
        (("diagnos", "pot"), "No such command 'diagnos'."),
        (("diagnose", "pot", "--jsn"), "No such option: --jsn"),
        (("diagnose", "pat"), 'target "pat" is not known; known are "pot"; did you mean "pot"?'),
        (("heal", "pat"), 'target "pat" is not known'),
        (("--config", "none.toml", "targets"), "none.toml: there is no such file (--config names it)"),
        (("history", "--issue", "leak"), '--issue: got "leak", expected one of grid_corruption, memory_leak'),
        (("history", "--outcome", "good"), '--outcome: got "good", expected one of resolved, '),
        (("history", "--since", "soon"), '--since: got "soon", expected 30m, 12h, 7d or 2w, or a time'),
        (("show", "run-9"), 'run "run-9" is not known'),
    ],
)
def test_a_wrong_call_exits_with_2_and_says_what_was_expected(
    medic8: Medic8, answers: Answers, indexed: Indexed, arguments: tuple[str, ...], message: str
) -> None:
    """With --json the same message is the document."""
    indexed()
    ended = medic8(*arguments)
    assert ended.code == 2
    assert message in ended.err
    assert "Traceback" not in ended.err
    if arguments:
        error = medic8(*arguments, "--json").document["error"]
        assert (error["exit_code"], message in error["message"]) == (2, True)
    assert not answers.asked


def test_a_wrong_configuration_ends_every_command_before_prefect_is_asked(
    medic8: Medic8, answers: Answers, tmp_path: Path
) -> None:
    """Validated at the start, and told with file and line."""
    (tmp_path / "medic8.toml").write_text("[recovry]\n")
    for arguments in (("diagnose", "pot"), ("heal", "pot"), ("history",), ("show", "run-1"), ("targets",)):
        ended = medic8(*arguments)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err == 'medic8: medic8.toml:1: "recovry": not known; did you mean "recovery"?\n'
    assert not answers.asked


# --- JSON ---


def test_json_is_one_document_and_nothing_else(
    medic8: Medic8, answers: Answers, samples: type[Samples], indexed: Indexed
) -> None:
    """Whatever libraries print on standard output meanwhile."""
    issue = samples.an_issue()
    answers.report = samples.a_report(Health.FAILING, issue)
    answers.treatment = Treatment(
        target="pot", kind="teapot", before=answers.report, resolutions=(samples.a_resolution(),)
    )
    answers.entries = [samples.an_entry()]
    answers.resolution = samples.a_resolution()
    assert medic8("diagnose", "pot", "--json").document == json.loads(answers.report.model_dump_json())
    assert medic8("heal", "pot", "--json").document == json.loads(answers.treatment.model_dump_json())
    assert medic8("plan", "pot", "--json").document == json.loads(answers.treatment.model_dump_json())
    indexed(samples.tracked())
    assert medic8("history", "--json").document == {
        "history": [json.loads(answers.entries[0].model_dump_json())]
    }
    shown = medic8("show", "run-1", "--json").document
    assert shown["entry"]["run"] == "run-1"
    assert shown["resolution"]["outcome"] == "resolved"
    assert shown["url"] == "http://prefect/runs/run-1"


def test_no_output_shows_the_password_of_a_target(medic8: Medic8) -> None:
    """The address stays out of the list of targets altogether."""
    for ended in (medic8("targets"), medic8("targets", "--json"), medic8("--debug", "diagnose", "pat")):
        assert "hunter2" not in ended.out + ended.err
    (pot,) = medic8("targets", "--json").document["targets"]
    assert (pot["name"], pot["mode"], pot["allow"], "url" in pot) == ("pot", "act", ["descale"], False)


def test_targets_show_the_limits_that_a_site_has_set(medic8: Medic8, tmp_path: Path) -> None:
    """Each with its target, both limits, and whose they are."""
    (tmp_path / "medic8.toml").write_text(
        '[[target]]\nname = "cache"\nkind = "valkey"\nurl = "valkey://kitchen"\n'
        '[[target.threshold]]\nname = "clients_used"\nwarning = 0.605\n'
    )
    line = "cache: clients_used: warning from 60.5% (configured), error from 95%"
    assert line in " ".join(medic8("targets").out.split())
    (cache,) = medic8("targets", "--json").document["targets"]
    assert cache["threshold"] == [{"name": "clients_used", "warning": 0.605, "error": None}]


def test_targets_without_a_configuration_says_what_to_do(medic8: Medic8, tmp_path: Path) -> None:
    """An empty list alone would leave one where one was."""
    (tmp_path / "medic8.toml").unlink()
    ended = medic8("targets", "--json")
    assert (ended.code, ended.document) == (0, {"source": None, "targets": []})
    assert 'start a local grid to try with "medic8 up"' in ended.err


def test_a_warning_about_the_configuration_goes_to_standard_error(medic8: Medic8, tmp_path: Path) -> None:
    """It must not end up in a pipe."""
    (tmp_path / "medic8.toml").chmod(0o644)
    ended = medic8("targets", "--json")
    assert ended.document["targets"]
    assert ended.err.startswith("warning: medic8.toml holds a password and can be read by others")


# --- history ---


def test_history_lists_what_its_filters_choose(
    medic8: Medic8, answers: Answers, samples: type[Samples], indexed: Indexed
) -> None:
    """From the index, whether Prefect answers or not; a span is counted back from now, a date is local."""
    now = datetime.now(UTC)
    others = {"target": "pan", "issue": "memory_leak", "strategy": "restart", "outcome": "restored"}
    rows = [samples.tracked(run="run-0", started_at=now - timedelta(minutes=119))]
    rows += [
        samples.tracked(run=f"run-{name}", started_at=now, **{name: other}) for name, other in others.items()
    ]
    indexed(*rows, samples.tracked(run="run-old", started_at=now - timedelta(minutes=121)))
    for name, other in others.items():
        (found,) = medic8("history", f"--{name}", other, "--json").document["history"]
        assert (found["run"], found[name]) == (f"run-{name}", other)
    pot = ("--target", "pot", "--issue", "network", "--strategy", "descale", "--outcome", "resolved")
    shown = medic8("history", *pot, "--since", "2h", "--json").document["history"]
    assert [each["run"] for each in shown] == ["run-0"]
    assert len(medic8("history", "--limit", "2", "--json").document["history"]) == 2
    tomorrow = (now.astimezone() + timedelta(days=1)).date().isoformat()
    assert medic8("history", "--since", tomorrow).out == "no resolution matches\n"
    assert answers.asked == []


def test_what_only_reads_says_that_there_is_no_journal_and_makes_none(
    medic8: Medic8, answers: Answers, tmp_path: Path
) -> None:
    """A wrong MEDIC8_HOME looks like nothing ever happened; the path says where was looked."""
    lists = ("history", "stats", "alerts", "recoveries list", "approvals", "policy show")
    for asked in (*lists, "show 01234567"):
        told = medic8(*asked.split())
        assert f"there is no journal at {tmp_path}/home/journal.sqlite yet" in told.err
        assert "name its home with MEDIC8_HOME" in told.err
        assert (told.code, (tmp_path / "home").exists()) == (2 if asked.startswith("show") else 0, False)
    assert answers.asked == []


def test_history_completes_the_index_first_if_it_is_told_to(medic8: Medic8, answers: Answers) -> None:
    """Which makes a journal that is not there yet."""
    assert "put 3 runs into the index" in medic8("history", "--complete").err
    assert answers.asked == [("complete_index",)]


# --- stats ---


def test_stats_show_each_strategy_with_its_interval_and_all_together(
    medic8: Medic8, samples: type[Samples], indexed: Indexed
) -> None:
    """Of those that tried; a dash where nothing was measured."""
    outcomes = ["resolved"] * 8 + ["restored"] * 2 + ["refused"] * 5
    rows = [
        samples.tracked(run=f"run-{number}", outcome=outcome, heal_s=0.5 if outcome == "resolved" else None)
        for number, outcome in enumerate(outcomes)
    ]
    indexed(*rows, samples.tracked(run="undo", issue="", strategy="undo", outcome="", heal_s=None))
    told = medic8("stats")
    lines = [" ".join(line.split()) for line in told.out.splitlines()]
    numbers = "8 of 10 49%-94% 0 2 0 5 250 ms 250 ms 500 ms 500 ms"
    assert f"network descale 15 {numbers}" in lines
    assert any(line.startswith("- undo 1 - - 0 0 0 0") for line in lines)
    assert lines[3] == f"all 16 {numbers}"
    document = medic8("stats", "--json").document
    assert (document["missing"], document["total"]["success"]["of"]) == (0, 10)


def test_stats_count_what_their_filters_choose(
    medic8: Medic8, samples: type[Samples], indexed: Indexed
) -> None:
    """The same as those of the history; words that mean nothing are told."""
    indexed(samples.tracked())
    filters = ("--target", "pot", "--issue", "network", "--strategy", "descale", "--outcome", "restored")
    assert medic8("stats", *filters, "--since", "2026-01-31").out == "no resolution matches\n"
    assert medic8("stats", *filters[:-2], "--since", "2026-01-31", "--json").document["total"]["count"] == 1
    assert (medic8("stats", "--outcome", "good").code, medic8("stats", "--issue", "leak").code) == (2, 2)


# --- for people ---


def test_a_report_shows_health_issue_evidence_and_what_was_not_seen(
    medic8: Medic8, answers: Answers, samples: type[Samples]
) -> None:
    """Everything somebody on call asks for."""
    answers.report = samples.a_report(Health.FAILING, samples.an_issue())
    out = medic8("diagnose", "pot").out
    for expected in (
        "pot (teapot)  failing  1 issue",
        "error  The spout of pot is blocked",
        "limescale",
        "Connection failures",
        "flow      0 ml/s  20 ml/s",
        "The bottom could not be seen.",
        "medic8 plan pot",
    ):
        assert expected in out
    assert "\x1b" not in out


def test_a_plan_shows_steps_classes_risk_what_stays_open_and_why_nothing_is_applied(
    medic8: Medic8, answers: Answers, samples: type[Samples]
) -> None:
    """Everything somebody who has to say yes or no asks for."""
    resolution = samples.a_resolution(Outcome.PLANNED).model_copy(update={"reason": "mode is observe"})
    answers.treatment = Treatment(
        target="pot",
        kind="teapot",
        before=samples.a_report(Health.FAILING, samples.an_issue()),
        resolutions=(resolution,),
    )
    out = medic8("plan", "pot").out
    for expected in (
        "Descale the spout with vinegar.",
        "medium",
        "1 unit, 1 step",
        "the spout  proves itself",
        "descale the spout  ",
        "restorable",
        "The lid rattles.",
        "Nothing was applied",
        "mode is observe",
    ):
        assert expected in out


def test_a_treatment_shows_the_numbers_before_and_after(
    medic8: Medic8, answers: Answers, samples: type[Samples]
) -> None:
    """And what is left for a person."""
    answers.treatment = Treatment(
        target="pot",
        kind="teapot",
        before=samples.a_report(Health.FAILING, samples.an_issue()),
        resolutions=(samples.a_resolution(),),
        after=samples.a_report(),
    )
    out = medic8("heal", "pot").out
    for expected in ("resolved", "flow  0 ml/s  25 ml/s", "Buy vinegar.", "pot  failing  →  healthy"):
        assert expected in out


def test_a_shown_run_has_the_times_and_digests_of_its_steps(
    medic8: Medic8,
    answers: Answers,
    samples: type[Samples],
    indexed: Indexed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Shortened digests, and local times with their zone."""
    indexed()
    monkeypatch.setenv("TZ", "UTC")
    answers.entries, answers.resolution = [samples.an_entry()], samples.a_resolution()
    out = medic8("show", "run-1").out
    for expected in ("committed", "12:00:00", "aaaaaaaaaaaa", "bbbbbbbbbbbb", "http://prefect/runs/run-1"):
        assert expected in out
    assert "a" * 13 not in out


def test_a_run_that_died_is_shown_as_one(
    medic8: Medic8, answers: Answers, samples: type[Samples], indexed: Indexed
) -> None:
    """There is no resolution to show."""
    answers.entries = [samples.an_entry(outcome="", state="Crashed")]
    indexed(samples.tracked(outcome="", state="Crashed"))
    assert "the run ended before it could say" in medic8("show", "run-1").out
    assert "Crashed" in medic8("history").out


def test_text_from_a_target_is_shown_and_never_obeyed(
    medic8: Medic8, answers: Answers, samples: type[Samples]
) -> None:
    """Neither by Rich nor by the terminal."""
    nasty = samples.an_issue(title="[red]key[/red] \x1b]0;owned\x07 :boom: \u202egnp.exe\nnext")
    answers.report = samples.a_report(Health.FAILING, nasty)
    out = medic8("diagnose", "pot").out
    assert r"[red]key[/red] \x1b]0;owned\x07 :boom: \u202egnp.exe\nnext" in out
    answers.report = UnreachableError("server said \x1b[2J[bold]")
    assert r"server said \x1b[2J[bold]" in medic8("diagnose", "pot").err


def test_a_target_without_its_password_stops_nobody_elses_commands(
    medic8: Medic8, answers: Answers, samples: type[Samples], tmp_path: Path
) -> None:
    """Whoever is on call for one target need not have the secrets of all; the list marks what is closed."""
    file = tmp_path / "medic8.toml"
    other = '[[target]]\nname = "pan"\nkind = "teapot"\nurl = "tea://cellar"\npassword_env = "NONE"\n'
    file.write_text(file.read_text() + other)
    answers.report = samples.a_report()
    assert medic8("diagnose", "pot").code == 0
    assert medic8("history").code == 0
    said = 'medic8.toml:11: target "pan": field "password_env": environment variable "NONE" is not set'
    closed = medic8("diagnose", "pan")
    assert (closed.code, closed.err) == (2, f"medic8: {said}\n")
    listed = medic8("targets", "--json")
    assert (listed.code, [each["problem"] for each in listed.document["targets"]]) == (0, ["", said])
    assert said in medic8("targets").out
    assert answers.asked == [("diagnose", "pot")]
