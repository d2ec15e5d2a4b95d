"""The command line and the environment become a ``Config``; nothing is served here."""

import typing
from collections.abc import Callable
from typing import Any, Final, Literal

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trioserve._compiled import IS_COMPILED
from trioserve._config import OPTIONS, Config, options
from trioserve._supervisor import run as run_module
from trioserve._version import __version__
from trioserve.cli import main

OPTION_NAMES = list(OPTIONS)
NUMERIC = [name for name, hint, _, _ in options() if {int, float} & {hint, *typing.get_args(hint)}]
CAN_BE_OFF = [name for name in NUMERIC if type(None) in typing.get_args(typing.get_type_hints(Config)[name])]

Invoke = Callable[..., Result]


class Calls(list[tuple[str, Config]]):
    """What the command asked to be served."""

    exit_code = 0

    def __call__(self, target: str, config: Config, spell: Callable[[str], str], file: str | None) -> int:
        self.append((target, config))
        self.file = file
        self.spell = spell
        self.spelled = {name: spell(name) for name in OPTIONS}
        return self.exit_code


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()
    monkeypatch.setattr(run_module, "run_command", calls)
    return calls


def invoke(*arguments: str, **environment: str) -> Result:
    """Call the command with these arguments and no other of our variables."""
    unset: dict[str, str | None] = {f"TRIOSERVE_{name.upper()}": None for name in [*OPTION_NAMES, "app"]}
    unset |= {"PORT": None, "FORWARDED_ALLOW_IPS": None, "WEB_CONCURRENCY": None, "TRIOSERVE_CONFIG": None}
    return CliRunner().invoke(main, arguments, env=unset | environment, prog_name="trioserve")


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    return f"TRIOSERVE_{name.upper()}"


EXAMPLES: Final[dict[str, tuple[str, Any]]] = {  # of options whose values have a form of their own
    "admin": ("unix:/run/admin.sock", "unix:/run/admin.sock"),
    "bind": ("unix:/run/app.sock", ("unix:/run/app.sock",)),
    "insecure_bind": ("*:8000", ("*:8000",)),
    "forwarded_allow_ips": ("10.0.0.0/8, unix", "10.0.0.0/8, unix"),
    "forwarded_headers": ("forwarded", "forwarded"),
    "ssl_sni": ("a.example=a.pem,a.key", ("a.example=a.pem,a.key",)),
    "server_name": ("*.example.com", ("*.example.com",)),
    "uds_permissions": ("660", "660"),
    "umask": ("027", "027"),
    "chaos": ("cancel@3", "cancel@3"),
    "loop": ("uvloop", "uvloop"),
}


def example(name: str) -> tuple[str, Any]:
    """A text and the value that it stands for, not the default."""
    if name in EXAMPLES:
        return EXAMPLES[name]
    hint = typing.get_type_hints(Config)[name]
    kinds = typing.get_args(hint) or (hint,)
    if typing.get_origin(hint) is Literal:
        return kinds[-1], kinds[-1]
    if typing.get_origin(hint) is tuple:
        return "X-Served-By: trioserve 1", ("X-Served-By: trioserve 1",)
    if int in kinds:
        return "4096", 4096
    if float in kinds:
        return "1.5s", 1.5
    if bool in kinds:
        value = not Config.__dataclass_fields__[name].default
        return str(value).lower(), value
    return "text", "text"


# Values.


IMPLIED = {"loop": ["backend"], "reload": ["warn_blocked"]}


def test_no_option_is_the_default_config(calls: Calls) -> None:
    assert invoke("main:app").exit_code == 0
    assert calls == [("main:app", Config())]


@pytest.mark.parametrize("name", OPTION_NAMES)
def test_every_option_as_a_flag(calls: Calls, name: str) -> None:
    text, value = example(name)
    given = [flag(name), text]
    if isinstance(value, bool):
        given = [flag(name) if value else flag(f"no_{name}")]
    assert invoke("main:app", *given).exit_code == 0
    assert calls == [("main:app", Config.from_options({name: value}))]
    assert calls.spelled == {known: flag(known) for known in OPTIONS} | dict.fromkeys(IMPLIED.get(name, ()), flag(name))


@pytest.mark.parametrize("name", OPTION_NAMES)
def test_every_option_as_a_variable(calls: Calls, name: str) -> None:
    text, value = example(name)
    assert invoke("main:app", **{variable(name): text}).exit_code == 0
    assert calls == [("main:app", Config.from_options({name: value}))]
    given = dict.fromkeys([name, *IMPLIED.get(name, ())], variable(name))
    assert calls.spelled == {known: flag(known) for known in OPTIONS} | given


@pytest.mark.parametrize("name", OPTION_NAMES)
def test_an_empty_variable_is_none(calls: Calls, name: str) -> None:
    invoke("main:app", **{variable(name): ""})
    assert calls == [("main:app", Config())]


@pytest.mark.parametrize("name", [name for name, hint, *_ in options() if bool in (hint, *typing.get_args(hint))])
@pytest.mark.parametrize(("text", "value"), [("true", True), ("False", False), ("on", True), ("0", False)])
def test_a_switch_with_its_value(calls: Calls, name: str, text: str, value: bool) -> None:  # as uvicorn's
    invoke(flag(name), text, "main:app")
    invoke(f"{flag(name)}={text}", "main:app")
    assert [(target, getattr(config, name)) for target, config in calls] == [("main:app", value)] * 2


def test_words_after_two_dashes_and_values_of_others_are_no_switches(calls: Calls) -> None:
    invoke("--access-log", "--root-path", "off", "--", "main:app")
    assert calls == [("main:app", Config(root_path="/off"))]
    assert mistake("--", "--access-log", "false").startswith("unexpected argument 'false'")


def test_a_loop_of_asyncio_implies_its_backend(calls: Calls) -> None:
    invoke("main:app", "--loop", "uvloop")
    invoke("main:app", TRIOSERVE_LOOP="asyncio")
    invoke("main:app", "--backend", "trio", TRIOSERVE_LOOP="asyncio")
    assert [(config.loop, config.backend) for _, config in calls] == [
        ("uvloop", "asyncio"), ("asyncio", "asyncio"), ("asyncio", "trio")]
    shown = invoke("--loop", "asyncio", "--print-config").output
    assert 'backend = "asyncio"                          # --loop\n' in shown


@pytest.mark.parametrize("name", CAN_BE_OFF)
def test_off_switches_off(calls: Calls, name: str) -> None:
    assert invoke("main:app", flag(name), "off").exit_code == 0
    assert getattr(calls[0][1], name) is None


@pytest.mark.parametrize("name", [name for name in NUMERIC if name not in CAN_BE_OFF])
def test_other_numbers_cannot_be_off(calls: Calls, name: str) -> None:
    result = invoke("main:app", flag(name), "off")
    assert result.exit_code == 2
    assert result.output.startswith(f"Error: {flag(name)}: 'off' is not a ")


@pytest.mark.parametrize(("text", "seconds"), [
    ("30", 30.0), ("30s", 30.0), ("1.5s", 1.5), ("500ms", 0.5), ("5m", 300.0), ("1h", 3600.0),
])
def test_lengths_of_time(calls: Calls, text: str, seconds: float) -> None:
    invoke("main:app", "--timeout-header", text)
    assert calls[0][1].timeout_header == seconds


@pytest.mark.parametrize(("text", "count"), [
    ("1048576", 2**20), ("2048KiB", 2**21), ("512MiB", 2**29), ("1GiB", 2**30),
])
def test_amounts_of_memory(calls: Calls, text: str, count: int) -> None:
    invoke("main:app", "--limit-max-rss", text)
    assert calls[0][1].limit_max_rss == count


def test_a_flag_beats_a_variable(calls: Calls) -> None:
    invoke("main:app", "--port", "1", TRIOSERVE_PORT="2")
    assert calls[0][1].port == 1
    assert calls.spelled["port"] == "--port"


@pytest.mark.parametrize(("environment", "port", "source"), [
    ({"PORT": "1"}, 1, "PORT"),
    ({"PORT": "1", "TRIOSERVE_PORT": "2"}, 2, "TRIOSERVE_PORT"),
    ({"PORT": "1", "TRIOSERVE_PORT": ""}, 1, "PORT"),
])
def test_the_platforms_port(calls: Calls, environment: dict[str, str], port: int, source: str) -> None:
    invoke("main:app", **environment)
    assert calls[0][1].port == port
    assert calls[0][1].host == "127.0.0.1"
    assert calls.spelled["port"] == source


@pytest.mark.parametrize("other", [["--uds", "a.sock"], ["--fd", "3"], ["--bind", "unix:a.sock"]])
def test_the_platforms_port_gives_way_to_other_addresses(calls: Calls, other: list[str]) -> None:
    invoke("main:app", *other, PORT="9000")
    assert calls[0][1].port == 8000
    assert mistake("main:app", *other, TRIOSERVE_PORT="9000").startswith("TRIOSERVE_PORT: cannot be combined with ")


def test_several_addresses(calls: Calls) -> None:
    invoke("main:app", "--bind", "unix:a", "--bind", "[::1]:0")
    invoke("main:app", TRIOSERVE_BIND="unix:a\n[::1]:0\n")
    assert [config.bind for _, config in calls] == [("unix:a", "[::1]:0")] * 2


def test_the_proxies_of_the_platform(calls: Calls) -> None:  # as uvicorn and gunicorn
    invoke("main:app", FORWARDED_ALLOW_IPS="*")
    invoke("main:app", FORWARDED_ALLOW_IPS="*", TRIOSERVE_FORWARDED_ALLOW_IPS="unix")
    assert [config.forwarded_allow_ips for _, config in calls] == ["*", "unix"]


@pytest.mark.parametrize(("arguments", "environment", "workers"), [
    ([], {"WEB_CONCURRENCY": "4"}, 4),
    (["--workers", "2"], {"WEB_CONCURRENCY": "4"}, 2),
    ([], {"WEB_CONCURRENCY": "4", "TRIOSERVE_WORKERS": "3"}, 3),
])
def test_the_platforms_concurrency(
    calls: Calls, arguments: list[str], environment: dict[str, str], workers: int
) -> None:
    invoke("main:app", *arguments, **environment)
    assert calls[0][1].workers == workers


def test_several_workers_are_not_reloaded(calls: Calls) -> None:
    text = mistake("main:app", "--reload", TRIOSERVE_WORKERS="4")
    assert text == "TRIOSERVE_WORKERS: 4 workers cannot be reloaded: reload runs one, choose either"
    assert mistake("main:app", "--reload", "--workers", "4", WEB_CONCURRENCY="4").startswith("--workers: 4 workers ")


@pytest.mark.parametrize(("arguments", "environment", "cause"), [
    (["--reload"], {}, "--reload"), ([], {"TRIOSERVE_RELOAD": "yes"}, "--reload"), (["--teach"], {}, "--teach"),
    (["--chaos", "0"], {}, "--chaos"),
])
def test_the_platforms_concurrency_gives_way_to_what_needs_one_process(
    calls: Calls, arguments: list[str], environment: dict[str, str], cause: str
) -> None:
    result = invoke("main:app", *arguments, WEB_CONCURRENCY="4", **environment)
    assert result.output == f"Warning: WEB_CONCURRENCY has no effect with {cause}\n"
    assert invoke("main:app", *arguments, WEB_CONCURRENCY="1", **environment).output == ""
    assert [config.workers for _, config in calls] == [1, 1]


def test_the_platforms_concurrency_beside_a_switch_that_is_off(calls: Calls) -> None:
    invoke("main:app", "--no-teach", WEB_CONCURRENCY="4", TRIOSERVE_RELOAD="off")
    assert calls[0][1].workers == 4


OF_SERVICE: Final = {
    "TRIOSERVE_SERVICE_HOST": "10.43.0.1", "TRIOSERVE_SERVICE_PORT": "8000", "TRIOSERVE_SERVICE_PORT_HTTP": "8000",
    "TRIOSERVE_PORT": "tcp://10.43.0.1:8000", "TRIOSERVE_PORT_8000_TCP": "tcp://10.43.0.1:8000",
    "TRIOSERVE_PORT_8000_TCP_PROTO": "tcp", "TRIOSERVE_PORT_8000_TCP_PORT": "8000",
    "TRIOSERVE_PORT_8000_TCP_ADDR": "10.43.0.1",
}  # fmt: skip
"""What Kubernetes tells every pod of a service named trioserve."""


@pytest.mark.parametrize(("arguments", "environment", "port"), [
    ([], {}, 8000), (["--port", "1"], {}, 1), ([], {"PORT": "2"}, 2), (["--bind", "unix:a"], {}, 8000),
    ([], {"UVICORN_PORT": "udp://10.43.0.2:80", "UVICORN_SERVICE_PORT": "80"}, 8000),
])
def test_what_kubernetes_says_of_a_service_named_trioserve(
    calls: Calls, arguments: list[str], environment: dict[str, str], port: int
) -> None:
    result = invoke("main:app", *arguments, **OF_SERVICE, **environment)
    assert result.output == (
        "Warning: TRIOSERVE_PORT=tcp://10.43.0.1:8000 is no port and has no effect: Kubernetes sets it where a service "
        "is named trioserve; enableServiceLinks: false in the pod's spec prevents that\n")
    assert calls[0][1].port == port


def test_what_kubernetes_says_of_services_with_longer_names_is_no_misspelt_option(calls: Calls) -> None:
    result = invoke("main:app", TRIOSERVE_ADMIN_PORT="tcp://10.43.0.3:9000", TRIOSERVE_ADMIN_SERVICE_HOST="10.43.0.3",
                    TRIOSERVE_ADMIN_PORT_9000_TCP_ADDR="10.43.0.3")
    assert result.output == ""
    assert len(calls) == 1


def test_the_application_from_the_environment(calls: Calls) -> None:
    invoke(TRIOSERVE_APP="main:app")
    assert [target for target, _ in calls] == ["main:app"]


def test_a_repeated_option(calls: Calls) -> None:
    invoke("main:app", "--header", "A: 1", "--header", "B: 2")
    assert calls[0][1].header == ("A: 1", "B: 2")


def test_several_header_lines_in_a_variable(calls: Calls) -> None:
    invoke("main:app", TRIOSERVE_HEADER="A: 1 2\nB: 3\n\n")
    assert calls[0][1].header == ("A: 1 2", "B: 3")


def test_the_exit_code_is_the_servers(calls: Calls) -> None:
    calls.exit_code = 3
    assert invoke("main:app").exit_code == 3


# Mistakes: one line, exit code 2, what and where.


def mistake(*arguments: str, **environment: str) -> str:
    result = invoke(*arguments, **environment)
    assert result.exit_code == 2, result.output
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    return result.output.removeprefix("Error: ").rstrip()


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


def test_a_bad_value_of_the_platforms_port(calls: Calls) -> None:
    assert mistake("main:app", PORT="tcp://10.0.0.1:80") == "PORT: 'tcp://10.0.0.1:80' is not a whole number"


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


# Help.


@pytest.mark.parametrize("spelling", ["-h", "--help"])
def test_help_shows_every_option_in_its_group(spelling: str) -> None:
    text = invoke(spelling).output
    assert text.startswith("Usage: trioserve [OPTIONS] APP\n")
    positions = [text.index(f"\n{group}:\n") for group in dict.fromkeys(known.group for known in OPTIONS.values())]
    assert positions == sorted(positions)
    assert positions[-1] < text.index("\nOther:\n") < text.index("--version")
    joined = " ".join(text.split())
    for name, known in OPTIONS.items():
        assert f"{flag(name)} " in text
        assert known.help.replace("-", "") in joined.replace("- ", "").replace("-", "")


@pytest.mark.parametrize("text", [
    "[also PORT in the environment; default: 8000]", "default: 75]", "default: off]", "default: on]",
    "default: 127.0.0.1]", "[default: trio]", "--port as TRIOSERVE_PORT"])
def test_help_shows_defaults_and_variables(text: str) -> None:
    assert text in " ".join(invoke("--help").output.split())


def test_version() -> None:
    result = invoke("--version")
    assert result.exit_code == 0
    assert result.output.startswith(f"trioserve {__version__} with ")
    assert result.output.endswith(" (compiled)\n" if IS_COMPILED else " (pure Python)\n")
    assert result.output.count("\n") == 1


def test_the_command_can_be_completed_by_a_shell() -> None:
    context = main.make_context("trioserve", ["--version"], resilient_parsing=True)
    assert isinstance(context, click.Context)
