"""Mistakes of the command line and the environment are one line that says what and where; others are warnings."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.command_line import OPTION_NAMES, Calls, flag, invoke, mistake, variable


@pytest.mark.parametrize(("name", "text", "problem"), [
    ("port", "http", "'http' is not a whole number"),
    ("port", "1.5", "'1.5' is not a whole number"),
    ("port", "70000", "70000 is out of range, it must be between 0 and 65535"),
    ("backlog", "0", "0 is out of range, it must be between 1 and 2147483647"),
    ("backlog", "99999999999999", "99999999999999 is out of range, it must be between 1 and 2147483647"),
    ("limit_request_body", "10MB", "'10MB' is not a whole number or off; units are KiB, MiB, GiB"),
    ("limit_request_body", "10 MiB", "'10 MiB' is not a whole number or off; units are KiB, MiB, GiB"),
    ("timeout_header", "soon", "'soon' is not a number of seconds or off"),
    ("timeout_header", "-1", "-1 is out of range, it must be at least 0.001 or off"),
    ("timeout_request", "0", "0 is out of range, it must be at least 0.001 or off"),
    ("timeout_header", "5 min", "'5 min' is not a number of seconds or off; units are ms, s, m, h"),
    ("timeout_header", "nan", "nan is out of range, it must be at least 0.001 or off"),
    ("limit_concurrency", "0", "0 is out of range, it must be at least 1 or off"),
    ("shutdown_delay", "soon", "'soon' is not a number of seconds"),
    ("backend", "tokio", "'tokio' is not one of trio, asyncio; did you mean 'trio'?"),
    ("log_level", "loud", "'loud' is not one of critical, error, warning, info, debug, trace"),
    ("header", "no colon", "'no colon' is not of the form Name:Value"),
    ("bind", "localhost", "'localhost' is not of the form HOST:PORT, [IPV6]:PORT, unix:PATH or fd://N"),
    ("insecure_bind", "http://a",
     "'http://a' is not of the form HOST:PORT, [IPV6]:PORT, unix:PATH or fd://N; leave http:// out"),
    ("fd", "three", "'three' is not a whole number or off"),
    ("uds_permissions", "rw", "'rw' is no octal number such as 660"),
    ("forwarded_allow_ips", "proxy.example", "'proxy.example' is no IP address, network, unix, path or *"),
    ("forwarded_headers", "forwarded,x-forwarded-for",
     "forwarded cannot be combined with others: a proxy that sets one kind passes on the other"),
])
def test_a_bad_value_is_named_with_its_source(calls: Calls, name: str, text: str, problem: str) -> None:
    assert mistake("main:app", flag(name), text) == f"{flag(name)}: {problem}"
    assert mistake("main:app", **{variable(name): text}) == f"{variable(name)}: {problem}"
    assert calls == []


def test_a_bad_truth_value(calls: Calls) -> None:
    assert mistake("main:app", TRIOSERVE_ACCESS_LOG="maybe") == "TRIOSERVE_ACCESS_LOG: 'maybe' is not true or false"


@pytest.mark.parametrize(("arguments", "problem"), [
    ([], "APP is missing: MODULE:ATTRIBUTE, such as main:app; see --help"),
    (["main:app", "more"], "unexpected argument 'more'; there is one APP"),
    (["main", "app"], "unexpected argument 'app'; did you mean main:app?"),
    (["access.log", "main:app"], "unexpected argument 'main:app'; there is one APP"),
    (["main:app", "--port"], "Option '--port' requires an argument."),
    (["main:app", "--access-log=maybe"], "Option '--access-log' does not take a value."),
])
def test_a_malformed_command_line(calls: Calls, arguments: list[str], problem: str) -> None:
    assert mistake(*arguments) == problem


def test_an_unknown_flag_is_named_with_near_ones(calls: Calls) -> None:
    text = mistake("main:app", "--timeout-keepalive", "5")
    assert "--timeout-keepalive" in text
    assert "--timeout-keep-alive" in text


def test_a_misspelt_variable_is_a_warning(calls: Calls) -> None:
    result = invoke("main:app", TRIOSERVE_TIMEOUT_KEEPALIVE="5", TRIOSERVE_SERVICE_HOST="of somebody else")
    assert result.exit_code == 0
    assert result.output == ("Warning: TRIOSERVE_TIMEOUT_KEEPALIVE in the environment is no option; "
                             "did you mean TRIOSERVE_TIMEOUT_KEEP_ALIVE?\n")


@pytest.mark.parametrize(("arguments", "advice"), [
    (["-w", "4"], "there is no -w: use --workers"),
    (["-k", "trio"], "there is no -k: use --backend (trio or asyncio; for uvloop --loop uvloop)"),
    (["-p", "80"], "there is no -p: hypercorn's and gunicorn's: use --pid-file; daphne's: use --port"),
    (["--graceful-timeout", "5"], "there is no --graceful-timeout: use --timeout-graceful-shutdown"),
    (["-v"], "there is no -v: gunicorn's: use --version; "
             "daphne's: use --log-level (0 is warning, 1 is info, 2 and 3 are debug)"),
    (["--no-ws"], "there is no --no-ws: use --ws none"),
    (["--no-server-name"], "there is no --no-server-name: use --no-server-header"),
    (["--ws-max-queue", "5"], "there is no --ws-max-queue: leave it out, there is no queue to bound"),
    (["-c", "gunicorn.conf.py"], "there is no -c: use --config (TOML with the options of trioserve; no Python)"),
])
def test_a_flag_of_another_server_is_named_with_what_takes_its_place(
    calls: Calls, arguments: list[str], advice: str
) -> None:
    assert mistake("main:app", *arguments) == advice


@pytest.mark.parametrize(("environment", "line"), [
    ({"UVICORN_PORT": "80"}, "UVICORN_PORT is uvicorn's and has no effect here: use TRIOSERVE_PORT"),
    ({"UVICORN_PORT": "80", "TRIOSERVE_PORT": "80"}, None),
    ({"UVICORN_PORT": "", "UVICORN_SERVICE_HOST": "of somebody else"}, None),
    ({"GRANIAN_WEBSOCKETS": "1"},
     "GRANIAN_WEBSOCKETS is granian's and has no effect here: use TRIOSERVE_WS=auto (the default)"),
    ({"GRANIAN_RUNTIME_MODE": "mt"}, "GRANIAN_RUNTIME_MODE is granian's and has no effect here: leave it out, each "
                                     "process has one event loop in one thread"),
    ({"GUNICORN_CMD_ARGS": "-w4 --bind=:80 -- 'x"}, "GUNICORN_CMD_ARGS is gunicorn's and has no effect here"),
    ({"GUNICORN_CMD_ARGS": "-w4 --pid=a --xyzzy"},
     "GUNICORN_CMD_ARGS is gunicorn's and has no effect here; -w: use TRIOSERVE_WORKERS; "
     "--pid: use TRIOSERVE_PID_FILE"),
])
def test_a_variable_of_another_server_is_a_warning(
    calls: Calls, environment: dict[str, str], line: str | None
) -> None:
    result = invoke("main:app", **environment)
    assert result.output == (f"Warning: {line}\n" if line else "")
    assert len(calls) == 1


@pytest.mark.parametrize(("arguments", "line"), [
    (["--reload-dir", "src"], "--reload-dir has no effect without --reload"),
    (["--ssl-min-version", "1.3"], "--ssl-min-version has no effect without --ssl-certfile"),
    (["--uds-permissions", "660"], "--uds-permissions has no effect without --uds"),
    (["--uds-permissions", "660", "--bind", "unix:a"], None),
    (["--timeout-worker-healthcheck", "5"], "--timeout-worker-healthcheck has no effect without --workers"),
    (["--timeout-worker-healthcheck", "5", "--workers", "2"], None),
    (["--limit-max-requests-jitter", "5"], "--limit-max-requests-jitter has no effect without --limit-max-requests"),
    (["--no-http2", "--limit-http2-streams", "5"], "--limit-http2-streams has no effect with --no-http2"),
    (["--ws", "none", "--ws-ping-timeout", "5"], "--ws-ping-timeout has no effect with --ws none"),
    (["--ws-ping-interval", "off", "--ws-ping-timeout", "5"],
     "--ws-ping-timeout has no effect with --ws-ping-interval off"),
    (["--no-proxy-headers", "--forwarded-headers", "forwarded"],
     "--forwarded-headers has no effect with --no-proxy-headers"),
    (["--interface", "asgi2", "--wsgi-threads", "5"], "--wsgi-threads has no effect with --interface asgi2"),
    (["--no-access-log", "--access-log-format", "%(h)s"], "--access-log-format has no effect with --no-access-log"),
    (["--log-config", "a.toml", "--log-level", "debug"], "--log-level has no effect with --log-config"),
    (["--log-format", "json", "--use-colors"], "--use-colors has no effect with --log-format json"),
    (["--reload-delay", "0.05", "--log-level", "info"], None),
])
def test_an_option_without_effect_is_a_warning(calls: Calls, arguments: list[str], line: str | None) -> None:
    result = invoke("main:app", *arguments)
    assert result.output == (f"Warning: {line}\n" if line else "")
    assert len(calls) == 1


def test_an_option_without_effect_is_named_as_it_was_given(calls: Calls) -> None:
    result = invoke("main:app", TRIOSERVE_RELOAD_DIR="src")
    assert result.output == "Warning: TRIOSERVE_RELOAD_DIR has no effect without --reload\n"


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(OPTION_NAMES), text=texts | st.floats().map(str) | st.integers().map(str),
       as_flag=st.booleans())
def test_any_text_is_a_value_or_a_mistake(calls: Calls, name: str, text: str, as_flag: bool) -> None:
    result = invoke("main:app", f"{flag(name)}={text}") if as_flag else invoke("main:app", **{variable(name): text})
    assert result.exit_code in (0, 2), result.exception
    assert result.output.count("\n") == 1 if result.exit_code else "Error" not in result.output
