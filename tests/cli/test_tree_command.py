"""``trioserve tree``, against small servers that answer as the admin listener does; the real one is in tests/e2e."""

import json
import os
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import UnixStreamServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result

from trioserve._admin.text import tree_lines
from trioserve._commands import COMMANDS, load_command
from trioserve._commands.tree import fitting
from trioserve.cli import main

EXAMPLE = (Path(__file__).parents[1] / "admin/tree_trio.json").read_bytes()


class UnixHttpServer(UnixStreamServer):
    server_name, server_port = "localhost", 0

    def get_request(self) -> Any:
        return super().get_request()[0], ("", 0)


@contextmanager
def answering(
    body: bytes = EXAMPLE, status: int = 200, *, times: int = 1, path: str = ""
) -> Iterator[tuple[str, list[str]]]:
    """Answers so many requests; yields the address and the targets that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody reads it."""

    server: UnixHttpServer | HTTPServer
    if path:
        server, address = UnixHttpServer(path, Handler), f"unix:{path}"
    else:
        server = HTTPServer(("127.0.0.1", 0), Handler)
        address = f"127.0.0.1:{server.server_port}"

    def answer() -> None:
        for _ in range(times):
            server.handle_request()
        server.server_close()

    thread = Thread(target=answer)
    thread.start()
    yield address, asked
    thread.join()


def tree(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["tree", *arguments], prog_name="trioserve")


def test_it_prints_the_tree() -> None:
    with answering() as (address, asked):
        result = tree(address, "--limit", "7", "--filter", "GET /a b", "--stack", "4711-31")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("trioserve  READY  trio, PID 4711  93 s\n  listeners\n")
    [target] = asked
    assert parse_qs(urlsplit(target).query) == {
        "limit": ["7"], "offset": ["0"], "filter": ["GET /a b"], "stack": ["4711-31"]}


def test_the_address_may_be_the_url_of_the_start_line() -> None:
    with answering() as (address, _):
        assert tree(f"http://{address}/#token").exit_code == 0


@pytest.mark.parametrize("place", ["environment", "file"])
def test_without_an_address_it_is_where_a_server_started_here_would_be(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with answering() as (address, asked):
        (tmp_path / "trioserve.toml").write_text(f'admin = "{address if place == "file" else "127.0.0.1:1"}"\n')
        if place == "environment":
            monkeypatch.setenv("TRIOSERVE_ADMIN", address)
        assert tree().exit_code == 0
    assert len(asked) == 1


def test_a_file_that_is_wrong_is_the_servers_affair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIOSERVE_ADMIN", raising=False)
    (tmp_path / "trioserve.toml").write_text("admin = \n")
    assert "no admin listener answers at 127.0.0.1:9000" in tree().stderr


def test_a_unix_socket(tmp_path: Path) -> None:
    with answering(path=str(tmp_path / "admin.sock")) as (address, asked):
        assert tree(address).exit_code == 0
    assert len(asked) == 1


def test_json_is_what_the_server_says() -> None:
    with answering() as (address, _):
        assert json.loads(tree(address, "--json").stdout) == json.loads(EXAMPLE)


def test_watch_goes_on_until_the_server_has_gone() -> None:
    with answering(times=3) as (address, asked):
        result = tree(address, "--watch", "--interval", "0.1")
    assert len(asked) == 3
    assert result.stdout.count("trioserve  READY") == 3
    assert result.exit_code == 1
    assert f"no admin listener answers at {address}" in result.stderr


def shown_in_a_window(rows: int, columns: int) -> list[str]:
    """What ``--watch`` draws first, without what clears the window."""
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    screen, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (rows, columns))
    with answering() as (address, _):
        command = [sys.executable, "-m", "trioserve", "tree", address, "--watch", "--interval", "0.1"]
        process = subprocess.Popen(command, stdout=terminal, stderr=subprocess.DEVNULL, env=environment)
        os.close(terminal)
        drawn = b""
        with suppress(OSError):  # the server and the command have ended
            while data := os.read(screen, 65536):
                drawn += data
        assert process.wait() == 1
    os.close(screen)
    clear, _, lines = drawn.decode().partition("\x1b[2J")
    assert clear == "\x1b[H"
    return lines.splitlines()


ALL_LINES = tree_lines(json.loads(EXAMPLE))


def test_watch_shows_all_of_it_in_a_high_window() -> None:
    assert shown_in_a_window(len(ALL_LINES) + 1, 200) == ALL_LINES


def test_watch_shows_the_beginning_in_a_low_window() -> None:
    assert shown_in_a_window(10, 200) == [*ALL_LINES[:8], f"... {len(ALL_LINES) - 8} more lines"]


@pytest.mark.parametrize(("columns", "shown"), [
    (10, ["0123456789", "0123456789", "... 2 more lines"]),
    (9, ["0123456789", "... 3 more lines"]),
    (4, ["... 4 more lines"]),
])
def test_lines_that_wrap_take_more_of_the_window(columns: int, shown: list[str]) -> None:
    assert fitting(["0123456789"] * 4, os.terminal_size((columns, 4))) == shown


def test_wide_letters_take_two_columns() -> None:
    assert fitting(["茶茶茶茶茶", "tea"], os.terminal_size((8, 3))) == ["... 2 more lines"]
    assert fitting(["茶茶茶茶", "tea"], os.terminal_size((8, 3))) == ["茶茶茶茶", "tea"]


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        result = tree(f"127.0.0.1:{unused.getsockname()[1]}")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: no admin listener answers at 127.0.0.1:")
    assert "Connection refused; start the server with --admin" in result.stderr


@pytest.mark.parametrize(("status", "body", "message"), [
    (403, b"the Host is not allowed", "answers 403: the Host is not allowed"),
    (200, b"<html>", "is no admin listener of this version"),
    (200, b'{"schema": 2}', "is no admin listener of this version"),
    (200, b"[]", "is no admin listener of this version"),
])
def test_somebody_else_answers(status: int, body: bytes, message: str) -> None:
    with answering(body, status) as (address, _):
        result = tree(address)
    assert result.exit_code == 1
    assert message in result.stderr


@pytest.mark.parametrize(("arguments", "message"), [
    (["nowhere"], "Invalid value for '[ADDRESS]': 'nowhere' is not of the form HOST:PORT"),
    (["fd://3"], "Invalid value for '[ADDRESS]': 'fd://3' is a descriptor of the server's"),
    (["--limit", "0"], "Invalid value for '--limit'"),
    (["--port", "1"], "No such option '--port'"),
    (["a:1", "b:2"], "Got unexpected extra argument (b:2)"),
])
def test_what_is_wrong_is_one_line(arguments: list[str], message: str) -> None:
    result = tree(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


# Subcommands beside an APP.


def test_the_help_of_the_command_names_its_subcommands() -> None:
    text = CliRunner().invoke(main, ["--help"], prog_name="trioserve").stdout
    for name, summary in COMMANDS.items():
        assert f"trioserve {name} {summary}" in " ".join(text.partition("\nCommands:\n")[2].split())


@pytest.mark.parametrize("name", COMMANDS)
def test_each_subcommand_has_its_own_help(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"], prog_name="trioserve")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: trioserve {name} ")
    assert load_command(name).name == name


@pytest.mark.parametrize(("words", "found"), [
    ("trioserve tr", {"plain,tree"}), ("trioserve tree --wat", {"plain,--watch"}), ("trioserve x:tree --wat", set())])
def test_a_shell_completes_subcommands(words: str, found: set[str]) -> None:
    variables = {"_TRIOSERVE_COMPLETE": "bash_complete", "COMP_WORDS": words,
                 "COMP_CWORD": str(words.count(" "))}
    result = CliRunner().invoke(main, [], env=os.environ | variables, prog_name="trioserve")
    assert set(result.stdout.split()) == found
