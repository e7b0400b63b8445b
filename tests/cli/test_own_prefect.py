"""The user's own Prefect server, with a password, a key and TLS: every command works, or says why not."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import http.server
import ipaddress
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from medic8.errors import ConfigurationError
from medic8.local import stack
from medic8.local.home import make_home
from medic8.local.prefect_server import PREFERRED_PORT

SECRET = "hunter2-of-ann"  # noqa: S105  # of a server that lives for a minute
KEY = "pnu_0123456789abcdef"
CLEAN = {
    name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MEDIC8_", "SSL_"))
}

#: Runs the calls that it is given, one after the other, in one process.
CALLS = """
import contextlib, io, json, sys
from medic8.cli.run import run

ended = []
for call in json.loads(sys.stdin.read()):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(call)
    ended.append((code, out.getvalue(), err.getvalue()))
    if call[0] == "history" and code == 0 and "--json" in call:
        run_id = json.loads(out.getvalue())["history"][0]["run"]
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            ended.append((run(["show", run_id, "--json"]), out.getvalue(), ""))
print(json.dumps(ended))
"""


def medic8(folder: Path, calls: list[tuple[str, ...]], **environ: str) -> list[tuple[int, str, str]]:
    """How each of *calls* ends: its exit code, and what it wrote to the two streams."""
    variables = CLEAN | {"HOME": str(folder), "MEDIC8_HOME": str(folder / "home")} | environ
    answer = subprocess.run(
        [sys.executable, "-c", CALLS],
        input=json.dumps(calls),
        env=variables,
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert SECRET not in answer.stdout + answer.stderr
    assert KEY not in answer.stdout + answer.stderr
    return [tuple(each) for each in json.loads(answer.stdout)]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Get the address of a Prefect server that wants a password of everybody."""
    home = make_home(tmp_path_factory.mktemp("guarded") / "home")
    environ = CLEAN | {"PREFECT_SERVER_API_AUTH_STRING": f"ann:{SECRET}"}
    # At its usual port Prefect's own profile names a server that nobody has to have meant.
    taken = contextlib.ExitStack()
    with contextlib.suppress(OSError):
        taken.enter_context(socket.create_server(("127.0.0.1", PREFERRED_PORT)))
    try:
        yield str(stack.up(home, progress=lambda _: None, environment=environ).prefect_api_url)
    except ConfigurationError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    finally:
        taken.close()
        stack.remove(home, progress=lambda _: None)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Get a folder whose home holds the lab of a stack without a Prefect server."""
    folder = tmp_path_factory.mktemp("site")
    yield folder
    stack.remove(folder / "home", progress=lambda _: None)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Get a certificate for the loopback interface that nobody vouches for, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(built.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


@pytest.fixture(scope="module")
def front(guarded: str, certificate: tuple[Path, Path]) -> Iterator[str]:
    """Get the address of a proxy with TLS before that server, which wants a key and knows the password."""
    basic = base64.b64encode(f"ann:{SECRET}".encode()).decode()

    class Front(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.headers["Authorization"] != f"Bearer {KEY}":
                return self._reply(401, b'{"exception_message": "Unauthorized"}')
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
            asked = urllib.request.Request(  # noqa: S310  # http alone
                guarded.removesuffix("/api") + self.path,
                data=body,
                method=self.command,
                headers={"Authorization": f"Basic {basic}", "Content-Type": "application/json"},
            )
            try:
                with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked) as answer:
                    return self._reply(answer.status, answer.read())
            except urllib.error.HTTPError as error:
                with error:
                    return self._reply(error.code, error.read())

        do_POST = do_PATCH = do_DELETE = do_PUT = do_GET  # noqa: N815

        def _reply(self, code: int, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Front) as server:
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_address[1]}/api"
        server.shutdown()


def test_every_command_works_on_a_server_with_a_password(guarded: str, site: Path) -> None:
    """Only Valkey is started; everything else is done on the server that the variable names."""
    ended = medic8(
        site,
        [
            ("up", "--json"),
            ("status", "--json"),
            ("lab", "reset"),
            ("backup", "create", "lab"),
            ("lab", "break", "flip_bits"),
            ("diagnose", "lab"),
            ("plan", "lab"),
            ("heal", "lab"),
            ("history", "--json"),  # and show, of its first run
        ],
        PREFECT_API_URL=guarded,
        PREFECT_API_AUTH_STRING=f"ann:{SECRET}",
    )
    assert [code for code, _, _ in ended] == [0, 0, 0, 0, 0, 1, 1, 0, 0, 0]
    prefect = json.loads(ended[1][1])["servers"][0]
    assert (prefect["state"], prefect["answers"], prefect["address"]) == ("external", True, guarded)
    assert prefect["version"].startswith("3.")
    assert json.loads(ended[-1][1])["resolution"]["outcome"] == "resolved"


def test_up_with_a_wrong_configuration_starts_what_it_can_and_says_so_by_its_code(
    guarded: str, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """Nothing is registered, carried out or taken in then, and a script would take a 0 for all of that."""
    home = next(path for path in tmp_path_factory.getbasetemp().glob("guarded*/home"))
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[recovry]\n")
    ((code, out, err),) = medic8(
        tmp_path, [("up", "--json")], MEDIC8_HOME=str(home), MEDIC8_CONFIG=str(wrong)
    )
    status = json.loads(out)
    assert (code, status["prefect_api_url"]) == (2, guarded)
    for what in ("interrupted recoveries could not be looked for", "no worker was started", "no gateway was"):
        assert what in err
    assert err.count('wrong.toml:1: "recovry": not known') == 3


@pytest.mark.parametrize(
    ("credentials", "said"),
    [
        ({}, "it wants credentials, and neither PREFECT_API_AUTH_STRING nor PREFECT_API_KEY is set"),
        ({"PREFECT_API_AUTH_STRING": f"bob:{SECRET}"}, "PREFECT_API_AUTH_STRING is not what it wants"),
        ({"PREFECT_API_KEY": KEY}, "PREFECT_API_KEY is not what it wants"),
        (
            {"PREFECT_API_AUTH_STRING": f"bob:{SECRET}", "PREFECT_API_KEY": KEY},
            "PREFECT_API_AUTH_STRING is not what it wants (PREFECT_API_KEY is set too, and not used)",
        ),
    ],
)
def test_a_refusal_names_the_variable_and_never_the_secret(
    guarded: str, site: Path, credentials: dict[str, str], said: str
) -> None:
    """Its health page is open to all, so that a server that answers may still refuse everything."""
    configuration = site / "home" / "medic8.toml"
    configuration.parent.mkdir(exist_ok=True)
    if not configuration.exists():
        configuration.write_text('[[target]]\nname = "lab"\nkind = "grid"\nurl = "valkey://127.0.0.1:1/0"\n')
    calls = [
        ("diagnose", "lab"),
        ("heal", "lab"),
        ("backup", "create", "lab"),
        ("history", "--complete"),
        ("show", "1"),
    ]
    ended = medic8(site, [*calls, ("demo",), ("up",), ("status",)], PREFECT_API_URL=guarded, **credentials)
    assert [code for code, _, _ in ended] == [3, 3, 3, 3, 3, 3, 3, 1]
    for _, out, err in ended[:-1]:
        assert out == ""
        assert err.startswith(
            f"medic8: the Prefect server of PREFECT_API_URL, {guarded}, does not let us in (401)"
        )
        assert said in err
        assert "Traceback" not in err
    assert said in ended[-1][1]


def test_a_profile_is_as_good_as_variables(guarded: str, tmp_path: Path) -> None:
    """Who has set Prefect up for his own server need not say it again."""
    (tmp_path / ".prefect").mkdir()
    (tmp_path / ".prefect" / "profiles.toml").write_text(
        f'active = "work"\n[profiles.work]\nPREFECT_API_URL = "{guarded}"\n'
        f'PREFECT_API_AUTH_STRING = "ann:{SECRET}"\n'
    )
    (history,) = medic8(tmp_path, [("history", "--complete", "--outcome", "restored")])
    assert (history[:2], "warning" in history[2]) == ((0, "no resolution matches\n"), False)
    (up,) = medic8(tmp_path, [("up",)], PREFECT_API_AUTH_STRING="ann:wrong")
    assert up[0] == 3
    assert 'the Prefect server of PREFECT_API_URL of profile "work" in ' in up[2]


def test_a_key_and_tls_are_as_prefect_has_them(
    front: str, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    """The authority is named, or looking at certificates is switched off; else nobody is trusted."""
    asked = [("history", "--complete", "--outcome", "restored")]
    known = {"PREFECT_API_URL": front, "PREFECT_API_KEY": KEY}
    (named,) = medic8(tmp_path, asked, **known, PREFECT_API_SSL_CERT_FILE=str(certificate[0]))
    (trusting,) = medic8(tmp_path, asked, **known, PREFECT_API_TLS_INSECURE_SKIP_VERIFY="true")
    assert (named[:2], "warning" in named[2]) == ((0, "no resolution matches\n"), False)
    assert trusting[:2] == (0, "no resolution matches\n")
    (strange,) = medic8(tmp_path, asked, **known)
    assert (strange[0], "PREFECT_API_SSL_CERT_FILE names the file of its authority" in strange[2]) == (
        3,
        True,
    )
    (missing,) = medic8(tmp_path, asked, **known, PREFECT_API_SSL_CERT_FILE="/none.pem")
    assert (missing[0], "cannot be asked: /none.pem holds no certificates" in missing[2]) == (3, True)
    (keyless,) = medic8(tmp_path, asked, PREFECT_API_URL=front, PREFECT_API_SSL_CERT_FILE=str(certificate[0]))
    assert (keyless[0], "nor PREFECT_API_KEY is set" in keyless[2]) == (3, True)


def test_our_own_server_keeps_the_password_that_it_was_started_with(
    guarded: str, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """Said once where it is started, it is known to each later command, whatever is set for others."""
    home = next(path for path in tmp_path_factory.getbasetemp().glob("guarded*/home"))
    known = {"MEDIC8_HOME": str(home), "HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    asked = [("history", "--complete", "--outcome", "restored")]
    plainly = ("history", "--outcome", "restored")
    assert medic8(tmp_path, [*asked, plainly], **known)[1] == (0, "no resolution matches\n", "")
    named = {"PREFECT_API_URL": guarded, "PREFECT_API_AUTH_STRING": "ann:of another server"}
    assert medic8(tmp_path, [*asked, plainly], **known, **named)[1] == (0, "no resolution matches\n", "")
    password = home / "prefect.password"
    password.write_text("ann:wrong\n")
    ((code, _, err),) = medic8(tmp_path, asked, **known)
    password.write_text(f"ann:{SECRET}\n")
    assert code == 3
    assert f"the local stack's Prefect server, {guarded}, does not let us in (401)" in err


def test_status_shows_the_password_alone_and_says_where_there_is_none(tmp_path: Path) -> None:
    """It can be pasted into the login of Prefect's interface, and into a variable."""
    home = tmp_path / "home"
    home.mkdir()
    asked = [("status", "--password"), ("status", "--password", "--json")]
    (none, _) = medic8(tmp_path, asked, PREFECT_API_URL="")
    assert (none[0], "medic8 up makes one" in none[2]) == (2, True)
    (home / "prefect.password").write_text("medic8:of the lot\n")
    shown, as_json = medic8(tmp_path, asked, PREFECT_API_URL="")
    assert shown == (0, "medic8:of the lot\n", "")
    assert json.loads(as_json[1]) == {"password": "medic8:of the lot"}
    (home / "prefect.password").write_text("")
    (open_to_all, _) = medic8(tmp_path, asked, PREFECT_API_URL="")
    assert (open_to_all[0], "was told to ask for no password" in open_to_all[2]) == (2, True)
