"""The pid file, and what systemd is told: for one process and for a supervisor."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from tests.helpers.raw_http import RawClient
from tests.helpers.server_process import STRICT, Flavour, ServerProcess, wait_until
from trioserve._errors import ConfigError
from trioserve._supervisor.pid_file import PidFile
from trioserve._supervisor.systemd import Notifier

PATIENCE_SECONDS = 20.0


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """systemd's end of the notification socket."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        sock.settimeout(PATIENCE_SECONDS)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        yield sock


def next_word(manager: socket.socket) -> str:
    """The next message that is not a sign of life."""
    while (text := manager.recv(1000).decode()) == "WATCHDOG=1":
        pass
    return text


@pytest.fixture(params=[[], ["--workers", "2"]], ids=["one process", "workers"])
def processes(request: pytest.FixtureRequest) -> list[str]:
    options: list[str] = request.param
    return options


def start(backend: Flavour, *options: str) -> ServerProcess:
    return ServerProcess(
        [sys.executable, *STRICT, "-m", "trioserve", "probe:app", "--port", "0", *backend.options, *options])


def test_systemd_is_told(manager: socket.socket, backend: Flavour, processes: list[str]) -> None:
    server = start(backend, *processes)
    try:
        assert next_word(manager) == "READY=1"
        server.wait_started()
        with RawClient(server.address) as client:
            client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
            server.stderr.wait_for("/echo entered")
            server.send_signal(signal.SIGTERM)
            assert next_word(manager) == "STOPPING=1"
            client.send(b" last")
            assert client.receive_response().body == b"first last"
        server.judge_end()
    finally:
        server.kill()


def test_systemd_is_told_of_a_replacement(manager: socket.socket, backend: Flavour) -> None:
    server = start(backend, "--workers", "2")
    try:
        assert next_word(manager) == "READY=1"
        server.send_signal(signal.SIGHUP)
        reloading, microseconds = next_word(manager).split("\n")
        assert reloading == "RELOADING=1"
        assert microseconds.startswith("MONOTONIC_USEC=")
        assert next_word(manager) == "READY=1"
        server.stderr.wait_for("Every worker has had its turn")
        server.stop()
        assert next_word(manager) == "STOPPING=1"
    finally:
        server.kill()


def test_the_watchdog_hears_of_us(
    manager: socket.socket, backend: Flavour, processes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    server = start(backend, *processes)
    try:
        words = [manager.recv(1000).decode() for _ in range(5)]
        assert words.count("READY=1") == 1
        assert words.count("WATCHDOG=1") == 4
        server.stderr.wait_for("Listening")
        server.stop()
    finally:
        server.kill()


def test_the_pid_file_is_there_while_the_server_is_ready(
    backend: Flavour, processes: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "server.pid"
    path.write_text("1\n")              # of a server that was killed
    server = start(backend, *processes, "--pid-file", str(path))
    try:
        wait_until(lambda: path.read_text() == f"{server.pid}\n", "the pid file")
        server.stop()
        assert not path.exists()
    finally:
        server.kill()


@pytest.mark.parametrize("command", [["--workers", "2"], []], ids=["workers", "one process"])
def test_a_pid_file_that_cannot_be_written(command: list[str], tmp_path: Path) -> None:
    server = start(Flavour("trio"), *command, "--pid-file", str(tmp_path / "missing" / "server.pid"))
    assert server.wait_exit() == 2
    assert server.stderr.text.startswith("Error: --pid-file: '")
    assert server.stderr.text.endswith("cannot be written: No such file or directory")


# -- the parts -------------------------------------------------------------------------------------------------------


def test_the_file_of_another_server_stays(tmp_path: Path) -> None:
    path = tmp_path / "server.pid"
    file = PidFile(str(path))
    assert path.read_text() == ""
    file.write()
    path.write_text("1\n")
    file.remove()
    assert path.read_text() == "1\n"


def test_a_server_that_never_became_ready_leaves_no_file(tmp_path: Path) -> None:
    PidFile(str(tmp_path / "server.pid")).remove()
    assert not list(tmp_path.iterdir())


def test_a_file_that_has_gone_is_no_reason_to_fail(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = PidFile(str(tmp_path / "server.pid"))
    (tmp_path / "server.pid").unlink()
    file.remove()
    assert "cannot be removed" in caplog.text


def test_a_pid_file_in_a_directory_that_does_not_exist_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    with pytest.raises(ConfigError, match="the current directory does not exist any more"):
        PidFile("server.pid")


def test_a_directory_is_not_a_pid_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written: Is a directory"):
        PidFile(str(tmp_path))


def test_an_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        name = f"trioserve-test-{os.getpid()}"
        sock.bind(f"\0{name}")
        sock.settimeout(PATIENCE_SECONDS)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        notifier = Notifier.from_environment()
        assert notifier is not None
        notifier.ready()
        assert sock.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", [None, "", "vsock:2:1234"])
def test_where_there_is_nobody_to_tell(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if address is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert Notifier.from_environment() is None


def test_a_manager_that_does_not_listen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Notifier(str(tmp_path / "gone")).stopping()
    assert "systemd could not be told STOPPING=1" in caplog.text


def test_several_reloads_at_once_end_with_the_last(manager: socket.socket) -> None:
    notifier = Notifier.from_environment()
    assert notifier is not None
    notifier.begin_reload()
    notifier.begin_reload()
    notifier.end_reload()
    notifier.end_reload()
    words = [manager.recv(100).partition(b"\n")[0] for _ in range(3)]
    assert words == [b"RELOADING=1", b"RELOADING=1", b"READY=1"]


@pytest.mark.parametrize(("microseconds", "pid", "seconds"), [
    ("3000000", None, 3.0), ("3000000", "ours", 3.0), ("3000000", "1", None), ("0", None, None),
    ("soon", None, None), (None, None, None),
])
def test_the_watchdogs_time(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, microseconds: str | None, pid: str | None,
    seconds: float | None,
) -> None:
    for name, value in (("WATCHDOG_USEC", microseconds), ("WATCHDOG_PID", str(os.getpid()) if pid == "ours" else pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    notifier = Notifier.from_environment()
    assert notifier is not None
    assert notifier.watchdog_seconds == (seconds or float("inf"))


@pytest.mark.anyio
async def test_the_watchdog_hears_nothing_of_who_is_not_alive(manager: socket.socket) -> None:
    notifier = Notifier(os.environ["NOTIFY_SOCKET"], watchdog_seconds=10.0)
    alive = iter([True, False, True])
    with anyio.move_on_after(14):
        await notifier.keep_watchdog(lambda: next(alive))
    manager.setblocking(False)
    assert [manager.recv(100) for _ in range(2)] == [b"WATCHDOG=1"] * 2
    with pytest.raises(BlockingIOError):
        manager.recv(100)
