"""What a person reads when it does not start: the real command in a process of its own."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

import trioserve
from tests.helpers.certificates import client_certificate, files_of, server_certificate

pytestmark = pytest.mark.usefixtures("unmeasured")

ROOT = Path(trioserve.__file__).parents[1]

SOURCES = {
    "site_main": """
async def app(scope, receive, send): ...
def create(): return app
def create_from(settings): return app
async def create_async(): return app
value = 5
""",
    "site_import": "import site_nowhere\n",
    "site_syntax": "def app(:\n",
    "site_raises": "def fail():\n    raise LookupError('no settings')\nfail()\n",
    "site_factory": "def create():\n    raise LookupError('no settings')\n",
    "site_asyncio": "import asyncio\nasyncio.get_running_loop()\n",
    "site_lifespan": """
async def app(scope, receive, send):
    for kind in ("startup", "shutdown"):
        assert (await receive())["type"] == f"lifespan.{kind}"
        await send({"type": f"lifespan.{kind}.complete"})
""",
    "site_refuses": """
async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
""",
}


TLS = "site_main:app --port 0 --ssl-certfile server.pem --ssl-keyfile"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The current directory of the command, with a module for each way to fail."""
    for name, source in SOURCES.items():
        (tmp_path / f"{name}.py").write_text(source)
    (tmp_path / "src").mkdir()
    files_of(server_certificate(), tmp_path)
    (tmp_path / "other.key").write_bytes(client_certificate().private_key_pem.bytes())
    key = load_pem_private_key(server_certificate().private_key_pem.bytes(), None)
    (tmp_path / "locked.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"sesame")))
    return tmp_path


def run_command(directory: Path, *arguments: str, **environment: str) -> tuple[int, list[str]]:
    """The exit code, and the lines on stderr; stdout stays empty, and no line shows our code."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TRIOSERVE_") and name != "PORT"}
    done = subprocess.run(
        [sys.executable, "-m", "trioserve", *arguments], cwd=directory,
        env=ours | {"PYTHONPATH": str(ROOT)} | environment,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert done.stdout == ""
    assert str(ROOT / "trioserve") not in done.stderr
    assert "importlib" not in done.stderr
    return done.returncode, done.stderr.splitlines()


# Exit code 2: what was typed cannot be served. One line.


@pytest.mark.parametrize(("arguments", "parts"), [
    ("", ["APP is missing"]),
    ("site_main", ["'site_main' is not of the form MODULE:ATTRIBUTE", "'site_main:app'"]),
    ("site_main.py", ["'site_main.py' is not of the form MODULE:ATTRIBUTE", "'site_main:app'"]),
    ("src/site_main:app", ["'src/site_main:app' is not of the form MODULE:ATTRIBUTE", "'src.site_main:app'"]),
    ("site_mian:app", ["no module 'site_mian' in {directory}", "did you mean 'site_main'?"]),
    ("site_main:ap", ["no 'ap' in 'site_main' ({directory}/site_main.py)", "did you mean 'app'?"]),
    ("site_main:value", ["'site_main:value' is of type 'int'", "cannot be called"]),
    ("site_main:create_async", ["is an async function without parameters"]),
    ("site_main:create_from --factory", ["needs arguments, (settings)"]),
    ("site_main:create_async --factory", ["is an async function"]),
    ("site_main:app --factory", ["is an application, not a factory"]),
    ("site_main:app --app-dir nowhere", ["--app-dir: 'nowhere' is not a directory"]),
    ("site_main:app --port 70000", ["--port: 70000 is out of range, it must be between 0 and 65535"]),
    ("site_main:app --prot 1", ["No such option '--prot'", "--port"]),
    ("site_main:app -w 4", ["there is no -w: use --workers"]),
    ("site_main:app --h11-max-incomplete-event-size 5", ["use --limit-header-bytes"]),
    ("site_main:app --backend tokio", ["--backend: 'tokio' is not one of trio, asyncio; did you mean 'trio'?"]),
    ("site_main:app --loop uvloop --backend trio",
     ["--loop: 'uvloop' is an event loop of asyncio", "--backend asyncio"]),
    ("site_main:app --env-file nowhere.env", ["--env-file: "]),
    ("site_main:app --log-config nowhere.json", ["--log-config: 'nowhere.json' cannot be read: No such file"]),
    ("site_main:app --access-log-format %(x)s", ["--access-log-format: %(x)s is no atom; atoms are h l u"]),
    ("site_main:app --access-log-format %(x)s --check", ["--access-log-format: %(x)s is no atom"]),
    ("site_main:app --request-id-header a:b", ["--request-id-header: 'a:b' is no name of a header field"]),
    ("site_main:app --interface wsgi", ["cannot be called with (environ, start_response), as --interface wsgi says",
                                        "use --interface asgi3"]),
    ("site_main:app --interface rsgi", ["--interface: 'rsgi' is not one of auto, asgi3, asgi2, wsgi"]),
    ("site_main:app --host 127.0.0.1:80", ["'127.0.0.1:80' has a port in it: use --host 127.0.0.1 --port 80"]),
    ("site_main:app --host [::1]:80", ["--host: '[::1]:80' has a port in it: use --host ::1 --port 80"]),
    ("site_main app", ["unexpected argument 'app'; did you mean site_main:app?"]),
    ("site_main:app --timeout-request 0", ["--timeout-request: 0 is out of range", "or off"]),
    ("site_main:app --config nowhere.toml", ["nowhere.toml: the file cannot be read: No such file"]),
    ("site_main:app --ssl-certfile nowhere.pem", ["--ssl-certfile: 'nowhere.pem' cannot be read: No such file"]),
    ("site_main:app --ssl-certfile site_main.py", ["--ssl-certfile: 'site_main.py' holds no certificate in PEM"]),
    ("site_main:app --ssl-keyfile server.key", ["--ssl-keyfile: there is no TLS without a certificate"]),
    (f"{TLS} other.key", ["--ssl-keyfile: the key in 'other.key' does not belong to the certificate"]),
    (f"{TLS} other.key --check", ["--ssl-keyfile: the key in 'other.key' does not belong to the certificate"]),
    (f"{TLS} locked.key", ["--ssl-keyfile-password: the key in 'locked.key' needs a password"]),
    (f"{TLS} locked.key --ssl-keyfile-password x", ["--ssl-keyfile-password: is not the password of the key"]),
    (f"{TLS} server.key --ssl-cert-reqs 2", ["--ssl-ca-certs: is needed"]),
    (f"{TLS} server.key --ssl-cert-reqs 3", ["--ssl-cert-reqs: '3' is not one of"]),
    (f"{TLS} server.key --ssl-ciphers X", ["--ssl-ciphers: 'X' selects no cipher"]),
    (f"{TLS} server.key --ssl-min-version 1.1", ["--ssl-min-version: '1.1' is not one of"]),
])
def test_a_mistake_is_one_line(directory: Path, arguments: str, parts: list[str]) -> None:
    code, lines = run_command(directory, *arguments.split())
    assert (code, len(lines)) == (2, 1), lines
    assert lines[0].startswith("Error: ")
    for part in parts:
        assert part.format(directory=directory) in lines[0]


@pytest.mark.parametrize(("environment", "line"), [
    ({"TRIOSERVE_PORT": "http"}, "Error: TRIOSERVE_PORT: 'http' is not a whole number"),
    ({"PORT": "70000"}, "Error: PORT: 70000 is out of range, it must be between 0 and 65535"),
    ({"TRIOSERVE_LOOP": "uvloop", "TRIOSERVE_BACKEND": "trio"},
     "Error: TRIOSERVE_LOOP: 'uvloop' is an event loop of asyncio: use it with --backend asyncio"),
    ({"TRIOSERVE_SSL_CERTFILE": "folder"}, "Error: TRIOSERVE_SSL_CERTFILE: 'folder' cannot be read: "
                                           "No such file or directory"),
    ({"TRIOSERVE_APP_DIR": "nowhere"}, "Error: TRIOSERVE_APP_DIR: 'nowhere' is not a directory"),
])
def test_a_mistake_in_the_environment_names_the_variable(
    directory: Path, environment: dict[str, str], line: str
) -> None:
    assert run_command(directory, "site_main:app", **environment) == (2, [line])


# Exit code 3: the application, or the machine, does not let it start.


@pytest.mark.parametrize(("arguments", "first_file", "error"), [
    ("site_import:app", "site_import.py", "ModuleNotFoundError: No module named 'site_nowhere'"),
    ("site_raises:app", "site_raises.py", "LookupError: no settings"),
    ("site_factory:create --factory", "site_factory.py", "LookupError: no settings"),
    ("site_asyncio:app", "site_asyncio.py", "RuntimeError: no running event loop"),
])
def test_an_application_that_fails_to_load(directory: Path, arguments: str, first_file: str, error: str) -> None:
    code, lines = run_command(directory, *arguments.split())
    assert code == 3
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].startswith(f'  File "{directory / first_file}", line ')
    assert error in lines
    assert lines[lines.index(error) + 1].startswith(f"Error: '{arguments.split()[0]}' could not ")
    assert lines[lines.index(error) + 1].endswith(error)


def test_a_syntax_error_shows_the_place(directory: Path) -> None:
    code, lines = run_command(directory, "site_syntax:app")
    assert code == 3
    assert lines[0] == f'  File "{directory / "site_syntax.py"}", line 1'
    assert lines[-2:] == ["SyntaxError: invalid syntax",
                          "Error: 'site_syntax:app' could not be imported: SyntaxError: invalid syntax"]


def test_asyncio_code_on_trio_gets_advice(directory: Path) -> None:
    _, lines = run_command(directory, "site_asyncio:app")
    assert lines[-2] == "The application uses asyncio, and this server runs on trio: try --backend asyncio"


def test_a_lifespan_that_refuses(directory: Path) -> None:
    code, lines = run_command(directory, "site_refuses:app", "--port", "0")
    assert code == 3
    assert lines[-1].startswith("Error: ")
    assert lines[-1].endswith("no database")


# --check.


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_a_check_that_passes(directory: Path, backend: str) -> None:
    code, lines = run_command(directory, "site_lifespan:app", "--check", "--backend", backend)
    assert (code, lines) == (0, ["site_lifespan:app loads, starts and stops"])


def test_a_check_names_the_file_of_options(directory: Path) -> None:
    (directory / "trioserve.toml").write_text("host = '0.0.0.0'")
    code, lines = run_command(directory, "site_lifespan:app", "--check")
    assert (code, lines) == (0, ["INFO:     Options come from trioserve.toml (--no-config: read no file)",
                                 "site_lifespan:app loads, starts and stops"])
    assert run_command(directory, "site_lifespan:app", "--check", TRIOSERVE_CONFIG="")[1] == lines[1:]


def test_the_file_of_options_is_named_at_the_start(directory: Path) -> None:
    (directory / "pyproject.toml").write_text("[tool.trioserve]\nworkers = 2\nport = 0")
    code, lines = run_command(directory, "site_refuses:app")
    assert code == 3
    assert lines[0] == "INFO:     Options come from pyproject.toml (--no-config: read no file)"


def test_a_check_that_does_not(directory: Path) -> None:
    code, lines = run_command(directory, "site_refuses:app", "--check")
    assert (code, lines) == (3, ["Error: the application failed to start: no database"])
    assert run_command(directory, "site_raises:app", "--check")[0] == 3
    assert run_command(directory, "site_mian:app", "--check")[0] == 2


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_a_port_in_use(directory: Path, taken_port: int, backend: str) -> None:
    code, lines = run_command(directory, "site_main:app", "--port", str(taken_port), "--backend", backend)
    assert (code, len(lines)) == (3, 1)
    assert lines[0].startswith(f"Error: cannot listen on 127.0.0.1:{taken_port}: ")
