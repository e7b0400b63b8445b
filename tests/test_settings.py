from __future__ import annotations

import tomllib
from pathlib import Path
from textwrap import dedent

import pytest
from pydantic import SecretStr

from medic8.backups.place import BackupPlace
from medic8.backups.repository import Repository
from medic8.errors import ConfigurationError
from medic8.model.saved import Keep
from medic8.model.target import Mode
from medic8.settings import Settings, default_home, load_settings
from medic8.settings.lines import KeyPath, lines_of

TEAPOT = Path(__file__).parent / "plugins" / "teapot"

POT = """\
[[target]]
name = "pot"
kind = "teapot"
url = "tea://kitchen"
"""

#: A server with a limit of its own, which lacks its value.
LIMIT = """\
[[target]]
name = "pot"
kind = "valkey"
url = "valkey://kitchen"
[[target.threshold]]
name = "clients_used"
"""


@pytest.fixture(autouse=True)
def _teapot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the package that brings the kind "teapot" along."""
    monkeypatch.syspath_prepend(str(TEAPOT))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Get a working folder and a home."""
    return Site(tmp_path)


class Site:
    """A working folder, and a home elsewhere, that only the test's environment names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self.home = folder / "home"
        self.home.mkdir()
        self.environ = {"MEDIC8_HOME": str(self.home), "HOME": str(folder)}

    def write(self, text: str, *, mode: int = 0o600) -> Path:
        """Write the configuration of the working folder."""
        path = self.folder / "medic8.toml"
        path.write_text(text)
        path.chmod(mode)
        return path

    def load(self, text: str | None = None, path: Path | None = None) -> Settings:
        """Write *text* if given, and load."""
        if text is not None:
            self.write(text)
        return load_settings(path, environ=self.environ, cwd=self.folder)


def test_without_a_configuration_there_are_no_targets_and_all_state_is_in_the_home(site: Site) -> None:
    """Nothing configured is no error."""
    settings = site.load()
    assert settings == Settings(
        home=site.home,
        backups=BackupPlace(url=str(site.home / "backups")),
        journal_url=f"sqlite:///{site.home}/journal.sqlite",
        saved_state=site.home / "recoveries",
        max_saved_mib=1024,
        keep=Keep(days=30, mib=None),
    )
    with pytest.raises(
        ConfigurationError, match=r'target "pot" is not known: there is no configuration.*medic8 up'
    ):
        settings.target("pot")


def test_a_target_carries_what_the_file_says(site: Site) -> None:
    """Also a kind that another package brings along."""
    settings = site.load(POT + 'mode = "act"\nallow = ["reheat"]\ntimeout_s = 2\n')
    pot = settings.target("pot")
    assert (pot.kind, pot.address, pot.mode, pot.allow) == ("teapot", "tea://kitchen", Mode.ACT, ("reheat",))
    assert settings.source == site.folder / "medic8.toml"
    assert settings.warnings == ()


def test_a_grid_and_a_server_of_our_own_kinds_can_be_configured(site: Site) -> None:
    """The example of the documentation; its strategies are those of the kind."""
    manual = (Path(__file__).parents[1] / "docs" / "configuration.md").read_text()
    example = manual.partition("```toml\n")[2].partition("```")[0]
    (site.folder / "password").write_text("secret")
    settings = site.load(example.replace("/run/credentials/cache-1", "password"))
    lab, cache = settings.targets
    assert (lab.kind, lab.grid, lab.mode, len(lab.allow)) == ("grid", "lab", Mode.ACT, 2)
    assert cache.address == "valkey://medic8:secret@10.0.0.7:6379/0"


def test_without_being_told_medic8_only_observes(site: Site) -> None:
    """Acting is opted into."""
    pot = site.load(POT).target("pot")
    assert (pot.mode, pot.allow) == (Mode.OBSERVE, ())


def test_the_state_goes_where_the_file_says(site: Site) -> None:
    """Relative folders are relative to the configuration, not to whoever reads it."""
    path = site.write("""\
        [backups]
        folder = "backups"
        [journal]
        url = "sqlite:///state/journal.sqlite"
        [recovery]
        folder = "~/saved"
        max_saved_mib = 5
        keep_days = 7
        keep_mib = 100
        claims = "claims"
        """)
    settings = load_settings(path, environ=site.environ, cwd=Path("/"))
    assert settings.backups == BackupPlace(url=str(site.folder / "backups"))
    assert settings.journal_url == f"sqlite:///{site.folder}/state/journal.sqlite"
    assert settings.saved_state == site.home.parent / "saved"
    assert settings.max_saved_mib == 5
    assert settings.keep == Keep(days=7, mib=100)
    assert settings.claims == site.folder / "claims"


def test_backups_go_elsewhere_encrypted_and_are_kept_as_long_as_the_file_says(site: Site) -> None:
    """Secrets of the storage and the key come from outside the file, and are never shown."""
    key = "0f" * 32
    (site.folder / "key").write_text(f"{key}\n")
    (site.folder / "key").chmod(0o600)
    site.environ["STORE_SECRET"] = "hush"  # noqa: S105  # no secret of anybody
    backups = site.load("""\
        [backups]
        url = "s3://bucket/medic8"
        options = { anon = false }
        options_env = { secret = "STORE_SECRET" }
        key_file = "key"
        keep_last = 3
        keep_weekly = 0
        """).backups
    assert (backups.url, backups.options["anon"]) == ("s3://bucket/medic8", False)
    secret = backups.options["secret"]
    assert isinstance(secret, SecretStr)
    assert secret.get_secret_value() == "hush"
    assert backups.key is not None
    assert bytes.fromhex(backups.key.get_secret_value()) == bytes.fromhex(key)
    retention = backups.retention
    assert (retention.keep_last, retention.keep_daily, retention.keep_weekly) == (3, 14, 0)
    assert "hush" not in repr(backups)
    assert key not in repr(backups)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ('folder = "a"\nurl = "s3://b/c"', '"url": field "folder" is given too; keep one of the two'),
        ('url = "backups"', '"url": got "backups", expected an address such as "s3://bucket/prefix"'),
        ('url = "ftp://ann:hush@host/x"', '"url": it spells a password out; give it as "options_env"'),
        ('url = "memory://x"', '"url": what is kept in memory is gone when the command ends'),
        ('key_env = "PW"', '"key_env": the backups\' key must be 32 bytes in hexadecimal (64 digits)'),
        ('key_env = "PW"\nkey_file = "x"', '"key_file": field "key_env" is given too; keep one of the two'),
        ("keep_last = -1", '"keep_last": got -1, expected'),
    ],
)
def test_what_is_wrong_with_the_place_of_backups_is_told(site: Site, fields: str, message: str) -> None:
    """With the field, what was seen and what was expected; no secret is repeated."""
    site.environ["PW"] = "hush"
    with pytest.raises(ConfigurationError) as caught:
        site.load(f"[backups]\n{fields}\n")
    assert f"[backups]: field {message}" in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ('options_env = { secret = "NONE" }', '"options_env": environment variable "NONE" is not set'),
        ('key_env = "NONE"', '"key_env": environment variable "NONE" is not set'),
        ('key_file = "none"', '"key_file": "{folder}/none" cannot be read: No such file or directory'),
    ],
)
def test_a_secret_of_the_backups_that_is_missing_closes_the_backups_alone(
    site: Site, fields: str, message: str
) -> None:
    """Whoever is called at night may have no key, and diagnoses and heals all the same."""
    settings = site.load(f"{POT}[backups]\n{fields}\n")
    assert settings.target("pot").name == "pot"
    with pytest.raises(ConfigurationError) as caught:
        Repository(settings.backups, "grid", "waves")
    assert str(caught.value) == f"[backups]: field {message.format(folder=site.folder)}"


# --- which file is read ---


def test_the_file_is_the_one_asked_for_else_the_working_folders_else_the_homes(site: Site) -> None:
    """Four places, each beating those below it."""
    for number, folder in enumerate((site.home, site.folder)):
        (folder / "medic8.toml").write_text(POT.replace('"pot"', f'"pot-{number}"'))
        assert site.load().targets[0].name == f"pot-{number}"
    for name in ("by-environment", "by-option"):
        (site.folder / name).write_text(POT.replace('"pot"', f'"{name}"'))
    site.environ["MEDIC8_CONFIG"] = "by-environment"
    assert site.load().targets[0].name == "by-environment"
    assert site.load(path=Path("by-option")).targets[0].name == "by-option"


def test_a_file_that_is_asked_for_must_exist(site: Site) -> None:
    """A misspelled file is not the same as no configuration."""
    with pytest.raises(
        ConfigurationError, match=r"/nowhere.toml: there is no such file \(--config names it\)"
    ):
        site.load(path=Path("nowhere.toml"))
    site.environ["MEDIC8_CONFIG"] = "/nowhere.toml"
    with pytest.raises(ConfigurationError, match=r"\(\$MEDIC8_CONFIG names it\)"):
        site.load()


def test_a_folder_is_no_configuration(site: Site) -> None:
    """What cannot be read says why."""
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        site.load(path=site.home)


@pytest.mark.parametrize(
    ("environ", "is_root", "home"),
    [
        ({"MEDIC8_HOME": "/srv/medic8", "HOME": "/home/ann"}, True, "/srv/medic8"),
        ({"MEDIC8_HOME": "~/state", "HOME": "/home/ann"}, False, "/home/ann/state"),
        ({"HOME": "/root", "XDG_DATA_HOME": "/data"}, True, "/var/lib/medic8"),
        ({"HOME": "/home/ann", "XDG_DATA_HOME": "/data"}, False, "/data/medic8"),
        ({"HOME": "/home/ann", "XDG_DATA_HOME": "data"}, False, "/home/ann/.local/share/medic8"),
        ({"HOME": "/home/ann", "MEDIC8_HOME": ""}, False, "/home/ann/.local/share/medic8"),
    ],
)
def test_the_home_follows_from_the_environment(environ: dict[str, str], is_root: bool, home: str) -> None:
    """An empty variable counts as none, and XDG paths only if absolute."""
    assert default_home(environ, is_root=is_root) == Path(home)


# --- what is wrong with it ---


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (POT + 'mode = "fix"\n', '5: target "pot": field "mode": got "fix", expected "observe" or "act"'),
        (POT + 'allw = ["reheat"]\n', '5: target "pot": field "allw": not known; did you mean "allow"?'),
        (
            POT.replace("teapot", "teapt"),
            (
                '3: target "pot": field "kind": got "teapt", expected "grid", "valkey", "process", "host", '
                '"endpoint" or "teapot"'
            ),
        ),
        (
            POT + 'allow = [\n  "reheat",\n  "descal",\n]\n',
            (
                '7: target "pot": field "allow[1]": got "descal", expected a strategy of kind "teapot"; '
                'did you mean "descale"?'
            ),
        ),
        (
            POT + 'allow = ["xyz"]\n',
            (
                '5: target "pot": field "allow[0]": got "xyz", expected a strategy of kind "teapot"; '
                'known are "descale" and "reheat"'
            ),
        ),
        (
            POT + "\n" + POT,
            '7: target "pot": field "name": the target of line 2 has this name too',
        ),
        ('[[target]]\nname = "pot"\nkind = "teapot"\n', '1: target "pot": field "url": it is missing'),
        (
            '\n[[target]]\nkind = "teapot"\nurl = "tea://x"\n',
            '2: target number 1: field "name": it is missing',
        ),
        (
            POT + "timeout_s = 301\n",
            '5: target "pot": field "timeout_s": got 301, expected a number up to 300',
        ),
        (
            POT + 'timeout_s = "soon"\n',
            '5: target "pot": field "timeout_s": got "soon", expected a number',
        ),
        (
            POT.replace("\n", "\r\n") + "timeout_s = 0\r\n",
            '5: target "pot": field "timeout_s": got 0, expected a number above 0',
        ),
        (POT + 'allow = "reheat"\n', '5: target "pot": field "allow": got "reheat", expected an array'),
        (POT + "allow = [true]\n", '5: target "pot": field "allow[0]": got true, expected a string'),
        (POT + "labels = 3\n", '5: target "pot": field "labels": got 3, expected a table'),
        (
            POT + '[[target.setting]]\nname = "hz"\nminimum = 1.5\n',
            '7: target "pot": field "setting[0].minimum": got 1.5, expected a whole number',
        ),
        (
            POT + '[[target.setting]]\nname = "hz"\nminimm = 1\n',
            '7: target "pot": field "setting[0].minimm": not known; did you mean "minimum"?',
        ),
        (
            POT + 'setting = [{ name = "hz" }]\n',
            (
                '5: target "pot": field "setting[0]": setting \'hz\' needs either minimum and/or maximum, '
                "or one_of"
            ),
        ),
        (
            POT.replace('"pot"', '"The Pot"'),
            (
                '2: target "The Pot": field "name": got "The Pot", '
                "expected lower-case letters, digits, '.', '_' or '-', a letter or digit first"
            ),
        ),
        (
            POT + "[target.labels]\nlid = 'on'\n",
            '1: target "pot": field "labels": a teapot needs the label "spout"',
        ),
        (
            LIMIT + "warning = 90\n",
            (
                '7: target "pot": field "threshold[0].warning": "clients_used": got 90, expected a number '
                "from 0.0008 to 1 (connected clients of maxclients)"
            ),
        ),
        (
            LIMIT + "warning = 0.97\n",
            (
                '7: target "pot": field "threshold[0].warning": "clients_used": the warning (0.97) must come '
                "before the error (0.95); set both"
            ),
        ),
        (
            LIMIT.replace("clients_used", "certificate_days") + "error = 31\n",
            (
                '7: target "pot": field "threshold[0].error": "certificate_days": the warning (30) must come '
                "before the error (31); set both"
            ),
        ),
        (
            LIMIT.replace("clients_used", "client_used") + "error = 1\n",
            (
                '6: target "pot": field "threshold[0].name": got "client_used", expected a threshold of kind '
                '"valkey"; did you mean "clients_used"?'
            ),
        ),
        (
            LIMIT + "error = 1\n" + "".join(LIMIT.splitlines(keepends=True)[4:]) + "error = 1\n",
            '9: target "pot": field "threshold[1].name": "clients_used" is set above as well',
        ),
        (
            LIMIT,
            '5: target "pot": field "threshold[0]": threshold \'clients_used\' needs warning, error, or both',
        ),
        (
            LIMIT.replace('"valkey"', '"grid"') + "error = 1\n",
            (
                '6: target "pot": field "threshold[0].name": got "clients_used", expected a threshold of '
                'kind "grid"; known are none'
            ),
        ),
        (
            POT.replace("[[target]]", "[target]"),
            '1: a target begins with "[[target]]", in two pairs of brackets',
        ),
        ("target = [1]\n", "1: target number 1: got 1, expected a table"),
        ("# one\n[recovry]\n", '2: "recovry": not known; did you mean "recovery"?'),
        (
            "[zzz]\n",
            (
                '1: "zzz": not known; known are "target", "backups", "journal", "recovery", "schedule", '
                '"deployments", "policy", "observer", "approvals", "alerts" and "notify"'
            ),
        ),
        (
            "[recovery]\nmax_saved_mib = 0\n",
            '2: [recovery]: field "max_saved_mib": got 0, expected a number above 0',
        ),
        (
            "[recovery]\nkeep_days = -1\n",
            '2: [recovery]: field "keep_days": got -1, expected a number from 0 up',
        ),
        (
            "[recovery]\nkeep_days = 1e9\n",
            '2: [recovery]: field "keep_days": got 1000000000.0, expected a number up to 36500',
        ),
        (
            "[recovery]\nkeep_mib = 'all'\n",
            '2: [recovery]: field "keep_mib": got "all", expected a whole number',
        ),
        (
            "[recovery]\nkeep_day = 1\n",
            '2: [recovery]: field "keep_day": not known; did you mean "keep_days"?',
        ),
        ("recovery = 1\n", "1: [recovery]: got 1, expected a table"),
        (
            '[journal]\nurl = "mysql://host/db"\n',
            '2: [journal]: field "url": expected "sqlite:///<file>" or "postgresql://<user>@<host>/<database>"',
        ),
        (
            '[journal]\nurl = "sqlite://"\n',
            '2: [journal]: field "url": expected "sqlite:///<file>" or "postgresql://<user>@<host>/<database>"',
        ),
        (
            '[[target]]\nname = "x\n',
            "2: not valid TOML: illegal character '\\n' (column 10)",
        ),
        ("\na = [1,\n\n", "2: not valid TOML: invalid value (the file ends too early)"),
        (POT + 'mode = "act"\nmode = "act"\n', "6: not valid TOML: cannot overwrite a value (column 13)"),
    ],
)
def test_what_is_wrong_is_said_with_file_line_field_and_expectation(
    site: Site, text: str, message: str
) -> None:
    """Whoever wrote the file finds the place without searching."""
    with pytest.raises(ConfigurationError) as caught:
        site.load(text)
    assert str(caught.value) == f"medic8.toml:{message}"


def test_files_that_may_go_are_configured_and_never_those_of_the_system(site: Site) -> None:
    """What a rule could take too much of is told with its line, and the rule belongs to a host."""
    text = """\
[[target]]
name = "db-1"
kind = "host"
url = "host:local"
[[target.prune]]
folder = "/var/log/app"
patterns = ["*.gz"]
older_than = 604800
"""
    (rule,) = site.load(text).targets[0].prune
    assert (rule.keep, rule.delete, rule.recurse) == (604_800, False, False)
    for wrong, message in (
        (text.replace("/var/log/app", "/etc"), "5: target .*is of the system"),
        (text.replace("host:local", "ssh://db-1"), "1: target .*'host:local'"),
        (text.replace('"host"', '"valkey"').replace("host:local", "valkey://h"), "belongs to kind 'host'"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            site.load(wrong)


def test_all_problems_are_told_at_once_in_the_order_of_the_file(site: Site) -> None:
    """Nobody has to start ten times to find ten mistakes."""
    text = POT + 'mode = "fix"\n' + POT.replace('"pot"', '"pan"').replace("teapot", "pan") + "[recovry]\n"
    with pytest.raises(ConfigurationError) as caught:
        site.load(text)
    assert [line.split(":")[1] for line in str(caught.value).splitlines()] == ["5", "8", "10"]


def test_a_file_elsewhere_is_named_in_full(site: Site) -> None:
    """A relative name would be searched in the wrong folder."""
    path = site.write("[recovry]\n")
    with pytest.raises(ConfigurationError, match=f"^{path}:1: "):
        load_settings(path, environ=site.environ, cwd=site.home)


def test_bytes_that_are_no_text_are_located(site: Site) -> None:
    """The parser itself would raise a bare UnicodeDecodeError."""
    site.write("")
    (site.folder / "medic8.toml").write_bytes(b'# ok\nname = "\xff"\n')
    with pytest.raises(
        ConfigurationError, match=r"^medic8\.toml:2: not valid TOML: bytes that are no UTF-8 text$"
    ):
        site.load()


def test_an_unknown_target_names_the_known_ones(site: Site) -> None:
    """A typing mistake is answered with what was meant."""
    settings = site.load(POT + POT.replace('"pot"', '"pan"'))
    with pytest.raises(ConfigurationError) as caught:
        settings.target("pott")
    assert str(caught.value) == 'target "pott" is not known; known are "pot", "pan"; did you mean "pot"?'


# --- secrets ---


def test_a_password_from_the_environment_goes_into_the_address(site: Site) -> None:
    """Also one with characters that mean something in an address."""
    site.environ["POT"] = "s/e:c@r#t"
    target = site.load(POT + 'username = "ann"\npassword_env = "POT"\n').target("pot")
    assert target.address == "tea://ann:s%2Fe%3Ac%40r%23t@kitchen"


def test_a_password_from_a_file_goes_into_the_address(site: Site) -> None:
    """The file is relative to the configuration, and its last new line is no part of the password."""
    (site.folder / "password").write_text("secret\n")
    (site.folder / "password").chmod(0o600)
    path = site.write(
        POT.replace("tea://kitchen", "unix:///run/pot.sock?db=1") + 'password_file = "password"\n'
    )
    settings = load_settings(path, environ=site.environ, cwd=Path("/"))
    assert settings.target("pot").address == "unix://:secret@/run/pot.sock?db=1"
    assert settings.warnings == ()


def test_the_journals_password_comes_from_outside_too(site: Site) -> None:
    """One driver stands behind all spellings of PostgreSQL."""
    site.environ["PW"] = "secret"
    settings = site.load('[journal]\nurl = "postgres://ann@db/medic8"\npassword_env = "PW"\n')
    assert settings.journal_url == "postgresql+pg8000://ann:secret@db/medic8"
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ('password_env = "NONE"', '"password_env": environment variable "NONE" is not set'),
        ('password_env = "EMPTY"', '"password_env": environment variable "EMPTY" is empty'),
        (
            'password_file = "none"',
            '"password_file": "{folder}/none" cannot be read: No such file or directory',
        ),
        ('password_file = "empty"', '"password_file": "{folder}/empty" is empty'),
        ('password_file = "binary"', '"password_file": "{folder}/binary" holds bytes that are no UTF-8 text'),
        (
            'password_file = "/dev/zero"',
            '"password_file": "/dev/zero" holds more than the 4096 bytes of a password',
        ),
    ],
)
def test_a_password_that_cannot_be_had_closes_its_target_alone(site: Site, fields: str, message: str) -> None:
    """Going on without one would look like a server that refuses us; the others need it not."""
    site.environ |= {"EMPTY": "", "PW": "secret"}
    (site.folder / "empty").write_text("\n")
    (site.folder / "binary").write_bytes(b"\xff\xfe")
    settings = site.load(f"{POT}{fields}\n" + POT.replace('"pot"', '"pan"'))
    said = f'medic8.toml:5: target "pot": field {message.format(folder=site.folder)}'
    assert settings.unusable == {"pot": said}
    assert settings.target("pan").name == "pan"
    with pytest.raises(ConfigurationError) as caught:
        settings.target("pot")
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            'password_env = "PW"\npassword_file = "empty"',
            '6: target "pot": field "password_file": field "password_env" is given too; keep one of the two',
        ),
        ("password_env = 5", '5: target "pot": field "password_env": expected a string'),
    ],
)
def test_a_password_that_is_named_wrongly_is_a_mistake_of_the_configuration(
    site: Site, fields: str, message: str
) -> None:
    """It is wrong for everybody, wherever it is read."""
    site.environ["PW"] = "secret"
    with pytest.raises(ConfigurationError) as caught:
        site.load(f"{POT}{fields}\n")
    assert str(caught.value) == f"medic8.toml:{message}"


def test_a_journal_without_its_password_stops_everything(site: Site) -> None:
    """Nothing may be done that cannot be written down."""
    with pytest.raises(ConfigurationError, match=r'\[journal\]: field "password_env": .* "NONE" is not set'):
        site.load('[journal]\nurl = "postgres://ann@db/medic8"\npassword_env = "NONE"\n')


@pytest.mark.parametrize(
    ("url", "fields", "message"),
    [
        (
            "tea://:secret@kitchen",
            'password_env = "PW"',
            'field "url" holds a password already; keep one of the two',
        ),
        ("tea://ann@kitchen", 'username = "ann"', 'field "url" names a user already; keep one of the two'),
        (
            "tea:kitchen",
            'username = "ann"',
            'field "url" has no place for credentials, expected "scheme://host"',
        ),
    ],
)
def test_credentials_are_given_once(site: Site, url: str, fields: str, message: str) -> None:
    """Of two passwords nobody could say which one is tried."""
    site.environ["PW"] = "other"
    with pytest.raises(ConfigurationError) as caught:
        site.load(POT.replace("tea://kitchen", url) + fields)
    assert (
        str(caught.value) == f'medic8.toml:5: target "pot": field "{fields.split(maxsplit=1)[0]}": {message}'
    )


@pytest.mark.parametrize(
    "url",
    [
        "tea://:hun/ter2@kitchen",
        "tea://:hun#ter2@kitchen",
        "tea://:hun?ter2@kitchen",
        "tea://:hun@ter2@kitchen",
        "tea://:ter2:x",
        "tea://[:ter2",
    ],
)
def test_an_address_that_could_be_read_in_two_ways_is_refused(site: Site, url: str) -> None:
    """Otherwise part of the password would be taken for the host and be printed."""
    with pytest.raises(ConfigurationError) as caught:
        site.load(POT.replace("tea://kitchen", url))
    assert str(caught.value).startswith(
        'medic8.toml:4: target "pot": field "url": the address does not parse'
    )
    assert "ter2" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        POT.replace("tea://kitchen", "tea://:hunter2@kitchen") + 'mode = "fix"\n',
        POT.replace("tea://kitchen", "tea://:hunter2@kitchen") + "timeout_s = -1\n",
        POT.replace('"tea://kitchen"', '["hunter2"]'),
        POT.replace('name = "pot"\n', "").replace("tea://kitchen", "tea://:hunter2@kitchen"),
        POT + 'password = "hunter2"\n',
        POT + 'password_env = ["hunter2"]\n',
        '[journal]\nurl = "mysql://:hunter2@db"\n',
        '[journal]\npasword = "hunter2"\n',
    ],
)
def test_no_error_shows_a_secret(site: Site, text: str) -> None:
    """Neither the message nor what a traceback would chain to it."""
    with pytest.raises(ConfigurationError) as caught:
        site.load(text)
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


GRID = '[[target]]\nname = "waves"\nkind = "grid"\nurl = "valkey://ann:pw@host:1/2"\n'


def test_a_replica_has_the_credentials_of_its_target_unless_it_has_its_own(site: Site) -> None:
    """And its database."""
    urls = ["valkey://a:1", "valkey://bob:pw2@b:2/0", "valkeys://c:3/5", "unix:///run/v.sock"]
    target = site.load(GRID + f"replicas = {urls}\n").target("waves")
    assert target.replica_addresses == (
        "valkey://ann:pw@a:1/2",
        "valkey://bob:pw2@b:2/0",
        "valkeys://ann:pw@c:3/5",
        "unix://ann:pw@/run/v.sock",
    )
    assert "pw" not in repr(target)


@pytest.mark.parametrize(
    ("replicas", "message"),
    [
        ('["valkey://a", "http://:hunter2@b"]', '"replicas[1]": scheme'),
        ('["valkey://:hun/ter2@b"]', '"replicas[0]": the address does not parse'),
        ('"valkey://:hunter2@b"', '"replicas": expected an array'),
        ("[5]", '"replicas[0]": expected a string'),
    ],
)
def test_a_replica_that_is_none_is_named_without_its_secret(site: Site, replicas: str, message: str) -> None:
    """Line and field, and why."""
    with pytest.raises(ConfigurationError) as caught:
        site.load(GRID + f"replicas = {replicas}\n")
    assert f'medic8.toml:5: target "waves": field {message}' in str(caught.value)
    assert "ter2" not in repr(caught.value)


def test_a_server_names_its_replicas_too(site: Site) -> None:
    """So that their data can be compared."""
    text = GRID.replace('"grid"', '"valkey"') + 'replicas = ["valkey://a"]\n'
    assert len(site.load(text).target("waves").replica_addresses) == 1


def test_settings_show_no_secret(site: Site) -> None:
    """``repr`` and ``str`` end up in logs."""
    text = POT.replace("tea://kitchen", "tea://:hunter2@kitchen")
    settings = site.load(text + '[journal]\nurl = "postgresql://:hunter2@db/medic8"\n')
    for shown in (repr(settings), str(settings), settings.target("pot").model_dump_json()):
        assert "hunter2" not in shown


def test_a_secret_that_others_can_read_is_a_warning(site: Site) -> None:
    """No error: mounted secrets of containers are readable by others by design."""
    (site.folder / "password").write_text("secret")
    (site.folder / "password").chmod(0o640)
    assert site.load(POT + 'password_file = "password"').warnings == (
        (
            f'target "pot": password file "{site.folder}/password" can be read by others; '
            '"chmod 600" keeps it to its owner'
        ),
    )
    site.write(POT.replace("tea://kitchen", "tea://:secret@kitchen"), mode=0o644)
    assert site.load().warnings == (
        'medic8.toml holds a password and can be read by others; "chmod 600" keeps it to its owner',
    )


def test_acting_with_an_empty_allow_list_is_a_warning(site: Site) -> None:
    """Whoever wrote "act" expects something to happen."""
    (warning,) = site.load(POT + 'mode = "act"\n').warnings
    assert warning == 'target "pot": "mode" is "act" and "allow" is empty, so nothing will be applied'


# --- the scanner that finds lines ---

TRICKY = dedent('''\
    # [[target]] in a comment
    "quoted # key" = 1
    'literal' = """
    [table]
    x = 1 \\""" still inside""""
    dotted . "k" = QQQ
    """ [nope]
    = it is
    QQQ
    list = [ # comment ]
      "a, ]", 'b"', # ]
      [1, 2,
       3],
      { in = "line", deep.er = [ 1,
        2 ] },
    ]
    when = 1979-05-27 07:32:00 # a date with a space
    [a.b]
    x = 1
    [[a.c]]
    x = 1
    [[a.c]]
      [a.c.d]
      x = 2
      [[ a . c . e ]]
      x = 3
      [[a.c.e]]
      x = 4
    [z]
    ''').replace("QQQ", "'" * 3)


def _paths(value: object, path: KeyPath = ()) -> set[KeyPath]:
    if isinstance(value, dict):
        inside = [_paths(each, (*path, key)) for key, each in value.items()]
    elif isinstance(value, list):
        inside = [_paths(each, (*path, index)) for index, each in enumerate(value)]
    else:
        inside = []
    return {path}.union(*inside)


def test_the_scanner_sees_exactly_what_the_parser_sees() -> None:
    """Strings, comments, nested arrays, inline and dotted tables included."""
    assert set(lines_of(TRICKY)) | {()} == _paths(tomllib.loads(TRICKY))


def test_each_path_is_given_the_line_where_it_stands() -> None:
    """Counted by hand in the text above."""
    numbered = TRICKY.splitlines()
    lines = lines_of(TRICKY)
    for path, begins in {
        ("quoted # key",): '"quoted # key"',
        ("dotted", "k"): "dotted",
        ("list", 2, 2): "   3],",
        ("list", 3, "deep", "er", 1): "    2 ] },",
        ("when",): "when",
        ("a", "c", 0, "x"): "x = 1",
        ("a", "c", 1, "d", "x"): "  x = 2",
        ("a", "c", 1, "e", 0, "x"): "  x = 3",
        ("a", "c", 1, "e", 1, "x"): "  x = 4",
        ("z",): "[z]",
    }.items():
        assert numbered[lines[path] - 1].startswith(begins), path


def test_what_a_target_stands_on_must_be_a_target_and_not_itself(tmp_path: Path) -> None:
    """Names of nobody, and circles however long, are refused with the field and the way round."""
    text = "\n".join(
        f'[[target]]\nname = "{name}"\nkind = "valkey"\nurl = "valkey://127.0.0.1"\n{more}'
        for name, more in (
            ("a", 'runs_on = "b"\ndepends_on = ["d", "e"]'),
            ("b", 'depends_on = ["c"]'),
            ("c", 'runs_on = "a"'),
            ("d", ""),
        )
    )
    (tmp_path / "medic8.toml").write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        load_settings(tmp_path / "medic8.toml", environ={})
    lines = [line.partition(": ")[2] for line in str(refused.value).splitlines()]
    none = "nothing can stand on itself"
    known = 'known are "a", "b", "c" and "d"'
    assert lines == [
        f'target "a": field "runs_on": a stands on b stands on c stands on a: {none}',
        f'target "a": field "depends_on[1]": got "e", expected the name of a target; {known}',
        f'target "b": field "depends_on[0]": b stands on c stands on a stands on b: {none}',
        f'target "c": field "runs_on": c stands on a stands on b stands on c: {none}',
    ]


def test_a_field_of_another_kind_is_refused_with_whose_it_is(tmp_path: Path) -> None:
    """Nothing that was written is silently without effect."""
    (tmp_path / "medic8.toml").write_text(
        '[[target]]\nname = "api"\nkind = "endpoint"\nurl = "http://127.0.0.1/"\n'
        'grid = "g"\nprune_backups = true\n'
        '[target.process]\nreload = "HUP"\n'
    )
    with pytest.raises(ConfigurationError) as refused:
        load_settings(tmp_path / "medic8.toml", environ={})
    assert [line.partition(": ")[2] for line in str(refused.value).splitlines()] == [
        "target \"api\": field 'grid' belongs to kind 'grid'",
        "target \"api\": field 'process' belongs to kind 'process'",
        "target \"api\": field 'prune_backups' belongs to kind 'host'",
    ]
