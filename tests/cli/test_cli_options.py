"""The command line and the environment become a ``Config``."""

import typing
from typing import Any, Final, Literal

import pytest

from tests.helpers.command_line import OPTION_NAMES, Calls, flag, invoke, mistake, variable
from trioserve._config import OPTIONS, Config, options

NUMERIC = [name for name, hint, _, _ in options() if {int, float} & {hint, *typing.get_args(hint)}]
CAN_BE_OFF = [name for name in NUMERIC if type(None) in typing.get_args(typing.get_type_hints(Config)[name])]

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


def test_several_addresses(calls: Calls) -> None:
    invoke("main:app", "--bind", "unix:a", "--bind", "[::1]:0")
    invoke("main:app", TRIOSERVE_BIND="unix:a\n[::1]:0\n")
    assert [config.bind for _, config in calls] == [("unix:a", "[::1]:0")] * 2


def test_several_workers_are_not_reloaded(calls: Calls) -> None:
    text = mistake("main:app", "--reload", TRIOSERVE_WORKERS="4")
    assert text == "TRIOSERVE_WORKERS: 4 workers cannot be reloaded: reload runs one, choose either"
    assert mistake("main:app", "--reload", "--workers", "4", WEB_CONCURRENCY="4").startswith("--workers: 4 workers ")


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
