"""Config: defaults, types, bounds, changes (every option, from the one place where it is defined)."""

import copy
import dataclasses
import inspect
import logging
import math
import pickle
import ssl
import typing
from pathlib import PurePosixPath
from typing import Any, Final, Literal

import pytest

import trioserve
from trioserve._config import Config, Option, options
from trioserve._config.declaring import Seconds
from trioserve._errors import ConfigError, TrioserveError

OPTIONS = options()
NAMES = [name for name, *_ in OPTIONS]


def optional(hint: Any) -> bool:
    return type(None) in typing.get_args(hint)


def base(hint: Any) -> Any:
    """The type of an option's value, ``None`` aside."""
    if typing.get_origin(hint) in (Literal, tuple):
        return typing.get_origin(hint)
    return next((part for part in typing.get_args(hint) if part is not type(None)), hint)


def of_type(*wanted: Any) -> list[Any]:
    return [pytest.param(name, known, id=name) for name, hint, _, known in OPTIONS if base(hint) in wanted]


def kept(name: str, value: Any) -> Any:
    """What becomes of this value."""
    return getattr(Config.from_options({name: value}), name)


def problem_of(name: str, value: Any) -> str:
    """What is wrong with this value."""
    with pytest.raises(ConfigError) as error:
        Config.from_options({name: value})
    assert error.value.option == name
    assert str(error.value) == f"{name}: {error.value.problem}"
    assert "\n" not in error.value.problem
    return error.value.problem


# -- defaults ----------------------------------------------------------------------------------------------------------


def test_the_defaults_are_fine() -> None:
    config = Config()
    for name, _, default, _ in OPTIONS:
        assert getattr(config, name) == default
    assert config == Config()
    assert hash(config) == hash(Config())


def test_some_defaults_that_users_rely_on() -> None:
    config = Config()
    assert (config.host, config.port, config.backend, config.lifespan) == ("127.0.0.1", 8000, "trio", "auto")
    assert (config.timeout_header, config.timeout_keep_alive, config.timeout_request) == (10.0, 75.0, None)
    assert config.limit_request_body is None


def test_each_option_says_what_it_is() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for name, hint, default, known in OPTIONS:
        assert isinstance(known, Option)
        assert known.help.endswith(".") and known.help[0].isupper(), name
        assert known.group
        assert known.minimum <= known.maximum
        assert default is not None or optional(hint)


def test_timeouts_are_seconds_and_can_be_switched_off() -> None:
    timeouts = [(name, hint) for name, hint, *_ in OPTIONS if name.startswith("timeout_")]
    assert len(timeouts) >= 5
    for name, hint in timeouts:
        assert hint == Seconds
        assert kept(name, None) is None


def test_it_is_frozen_and_takes_keywords_only() -> None:
    config = Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.port = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        Config(True)  # type: ignore[call-arg]


def test_it_travels_between_processes() -> None:
    config = Config(port=1, header=("a: b",), timeout_header=None)
    assert pickle.loads(pickle.dumps(config)) == config
    assert copy.deepcopy(config) == config


def test_it_is_public() -> None:
    assert trioserve.Config is Config
    assert trioserve.ConfigError is ConfigError
    assert issubclass(ConfigError, TrioserveError)
    assert ConfigError("a", "b").exit_code == 2


# -- types -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "known"), of_type(bool))
def test_switches(name: str, known: Option) -> None:
    for value in (True, False):
        assert kept(name, value) is value
    assert (kept(name, "yes"), kept(name, " Off "), kept(name, "false")) == (True, False, False)
    values: list[Any] = [1, 0, "perhaps", "", 1.0, []]
    for wrong in values:
        assert "is not true or false" in problem_of(name, wrong)


@pytest.mark.parametrize(("name", "known"), of_type(int))
def test_whole_numbers(name: str, known: Option) -> None:
    assert kept(name, "4096") == 4096
    values: list[Any] = [True, 1.0, "1.5", "", b"1", [1]]
    for wrong in values:
        assert "is not a whole number" in problem_of(name, wrong)


@pytest.mark.parametrize(("name", "known"), of_type(float))
def test_numbers(name: str, known: Option) -> None:
    assert kept(name, 3) == 3.0
    assert type(kept(name, 3)) is float
    assert kept(name, 0.5) == 0.5
    assert (kept(name, "2"), kept(name, "500ms"), kept(name, "5m")) == (2.0, 0.5, 300.0)
    values: list[Any] = [True, "soon", "", b"1", [1.0], 1j]
    for wrong in values:
        assert "is not a number" in problem_of(name, wrong)


WITH_A_FORM: Final = {
    "chaos": "7",
    "root_path": "/api", "uds_permissions": "660", "umask": "027", "forwarded_allow_ips": "::1",
    "forwarded_headers": "forwarded", "loop": "uvloop", "admin": "unix:/run/admin.sock", "admin_path": "/-/admin",
}  # fmt: skip


@pytest.mark.parametrize(("name", "known"), of_type(str))
def test_texts(name: str, known: Option) -> None:
    text = WITH_A_FORM.get(name, "text")
    assert kept(name, text) == text
    assert kept(name, PurePosixPath(text)) == text
    values: list[Any] = [5, b"text", True, [5]]
    for wrong in values:
        assert "is not a text" in problem_of(name, wrong)


@pytest.mark.parametrize(("name", "default"), [
    (name, default) for name, hint, default, _ in OPTIONS if not optional(hint)])
def test_none_is_the_default_where_an_option_cannot_be_off(name: str, default: Any) -> None:
    assert kept(name, None) == default


@pytest.mark.parametrize("name", [name for name, hint, *_ in OPTIONS if optional(hint)])
def test_none_is_a_value_where_the_type_says_so(name: str) -> None:
    assert kept(name, None) is None


@pytest.mark.parametrize(
    ("name", "choices"),
    [pytest.param(name, typing.get_args(hint), id=name) for name, hint, *_ in OPTIONS if base(hint) is Literal],
)
def test_choices(name: str, choices: tuple[str, ...]) -> None:
    for choice in choices:
        assert kept(name, choice) == kept(name, choice.upper()) == kept(name, choice.title()) == choice
    for wrong in ("", "unheard-of", f" {choices[0]}", 7, True, b"auto", [choices[0]]):
        problem = problem_of(name, wrong)
        assert all(choice in problem for choice in choices)


@pytest.mark.parametrize(("name", "spelling", "choice"), [
    ("ssl_cert_reqs", 0, "none"), ("ssl_cert_reqs", "1", "optional"), ("ssl_cert_reqs", 2, "required"),
    ("ssl_cert_reqs", ssl.CERT_REQUIRED, "required"), ("ssl_min_version", 1.2, "TLSv1.2"),
    ("ssl_min_version", "1.3", "TLSv1.3"), ("log_level", logging.INFO, "info"), ("log_level", 5, "trace"),
    ("log_level", "WARNING", "warning"), ("log_level", "warn", "warning"), ("interface", "asgi", "asgi3"),
    ("ws", "websockets-sansio", "auto"), ("http", "zttp", "auto"), ("log_level", "Warn", "warning"),
])
def test_choices_with_another_spelling(name: str, spelling: Any, choice: str) -> None:
    assert kept(name, spelling) == choice


def test_secrets_are_not_shown() -> None:
    secrets = [name for name, _, _, known in OPTIONS if known.secret]
    assert "ssl_keyfile_password" in secrets
    for name in secrets:
        assert "sesame" not in repr(Config.from_options({name: "sesame"}))


def test_a_choice_that_is_nearly_right_is_named() -> None:
    assert problem_of("backend", "asynciio").endswith("; did you mean 'asyncio'?")
    assert problem_of("http", "httptool").endswith("; did you mean 'httptools'?")
    assert "did you mean" not in problem_of("log_level", "xxxxxxxx")


# -- bounds ------------------------------------------------------------------------------------------------------------

NUMBERS = of_type(int, float)


@pytest.mark.parametrize(("name", "known"), NUMBERS)
def test_lower_bound(name: str, known: Option) -> None:
    assert math.isfinite(known.minimum)
    assert kept(name, known.minimum) == known.minimum
    assert "out of range" in problem_of(name, math.ceil(known.minimum) - 1)
    assert f"{known.minimum:.12g}" in problem_of(name, -(10**9))


@pytest.mark.parametrize(("name", "known"), NUMBERS)
def test_upper_bound(name: str, known: Option) -> None:
    if known.maximum == math.inf:
        assert kept(name, 10**9) == 10**9
    else:
        assert kept(name, int(known.maximum)) == known.maximum
        problem = problem_of(name, int(known.maximum) + 1)
        assert f"between {known.minimum:.12g} and {known.maximum:.12g}" in problem


@pytest.mark.parametrize(("name", "known"), of_type(float))
def test_a_length_of_time_is_a_number_from_0(name: str, known: Option) -> None:
    for wrong in (-0.001, -math.inf, math.nan):
        assert "at least 0" in problem_of(name, wrong)


@pytest.mark.parametrize("name", ["timeout_header", "timeout_body", "timeout_write", "timeout_request"])
def test_no_time_at_all_is_not_the_same_as_off(name: str) -> None:
    assert problem_of(name, 0) == "0 is out of range, it must be at least 0.001 or off"


@pytest.mark.parametrize(("name", "known"), of_type(float))
def test_a_length_of_time_beyond_all_numbers(name: str, known: Option) -> None:
    problem_of(name, 10**400)


@pytest.mark.parametrize(
    ("name", "minimum", "maximum"),
    [
        ("port", 0, 65535),
        ("backlog", 1, 2**31 - 1),
        ("limit_request_line", 64, math.inf),
        ("limit_header_bytes", 256, math.inf),
        ("limit_header_count", 1, math.inf),
        ("limit_request_body", 0, math.inf),
        ("limit_connections", 1, math.inf),
        ("limit_concurrency", 1, math.inf),
        ("limit_max_requests", 1, math.inf),
        ("limit_max_requests_jitter", 0, math.inf),
    ],
)
def test_bounds_that_are_promised(name: str, minimum: float, maximum: float) -> None:
    [known] = [known for other, _, _, known in OPTIONS if other == name]
    assert (known.minimum, known.maximum) == (minimum, maximum)


# -- header ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [["a: b", "C:d"], ("a: b", "C:d")])
def test_headers_become_a_tuple(value: Any) -> None:
    assert Config(header=value).header == ("a: b", "C:d")


@pytest.mark.parametrize("line", ["a:b", "a: b", "a:", "X-A: b: c", "a:\tb", "a: \xe9", "!#$%&'*+.^_`|~-9: v"])
def test_header_lines(line: str) -> None:
    assert Config(header=(line,)).header == (line,)


@pytest.mark.parametrize(
    "line",
    ["", "a", ":", ": b", "a b: c", "a : b", " a: b", "a: b\r\nc: d", "a: b\n", "a: b\r", "a: \0", "a: \x7f", "\xe9: a",
     "a: \u20ac", "(a): b"],
)  # fmt: skip
def test_what_is_no_header_line(line: str) -> None:
    assert "Name:Value" in problem_of("header", (line,))
    assert "Name:Value" in problem_of("header", ("fine: yes", line))


@pytest.mark.parametrize("name", ["Connection", "content-length", "Transfer-Encoding", "DATE"])
def test_a_header_line_that_cannot_be_the_same_for_all_responses(name: str) -> None:
    assert f"{name} is different for each response" in problem_of("header", (f"{name}: 5",))


@pytest.mark.parametrize("value", [[b"a: b"], [("a", "b")], [None], {1: "a"}, b"a: b"])
def test_what_is_no_list_of_header_lines(value: Any) -> None:
    assert "is not a list of strings" in problem_of("header", value)


@pytest.mark.parametrize(("name", "value"), [
    ("app_dir", "a\0b"), ("env_file", "a\0b"), ("log_config", "a\0b"), ("process_name", "a\0b"), ("ssl_ciphers", "\0"),
    ("reload_dir", ["src", "a\0b"]),
])
def test_a_text_with_a_null_character(name: str, value: Any) -> None:
    assert "has a null character" in problem_of(name, value)


def test_a_password_may_be_any_text() -> None:
    assert Config(ssl_keyfile_password="a\0b").ssl_keyfile_password == "a\0b"


def test_lists_of_paths_and_lines_of_a_text() -> None:
    assert kept("reload_dir", [PurePosixPath("a/b"), "c"]) == ("a/b", "c")
    assert kept("reload_dir", "src") == ("src",)
    assert kept("header", "a: 1, 2\n\nb: 3\n") == ("a: 1, 2", "b: 3")


def test_a_list_where_the_text_has_commas() -> None:
    assert kept("forwarded_allow_ips", ["10.0.0.0/8", "unix"]) == "10.0.0.0/8,unix"
    assert kept("forwarded_headers", ("x-forwarded-for", "x-forwarded-proto")) == "x-forwarded-for,x-forwarded-proto"
    assert "is not a text" in problem_of("forwarded_allow_ips", ["::1", 5])


def test_off_is_none_where_none_is_off() -> None:
    assert (kept("timeout_header", "off"), kept("limit_concurrency", "off")) == (None, None)
    assert "is not a whole number" in problem_of("port", "off")
    assert kept("host", "off") == "off"


def test_logging_can_be_a_dict() -> None:
    assert kept("log_config", {"version": 1}) == {"version": 1}
    assert kept("log_config", PurePosixPath("logging.toml")) == "logging.toml"


def test_headers_from_an_iterator() -> None:
    assert Config(header=(line for line in ("a: b",))).header == ("a: b",)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [5, True])
def test_what_is_no_list_at_all(value: Any) -> None:
    problem_of("header", value)


# -- from_options, replace ---------------------------------------------------------------------------------------------


def test_from_options() -> None:
    assert Config.from_options({}) == Config()
    assert Config.from_options({"port": 1, "timeout_header": 2}) == Config(port=1, timeout_header=2.0)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("prot", "port"), ("timeout_keepalive", "timeout_keep_alive"), ("log-level", "log_level"), ("xyzzy", None),
        ("", None),
    ],
)  # fmt: skip
def test_an_unknown_option_is_named_with_the_nearest_known_one(name: str, meant: str | None) -> None:
    with pytest.raises(ConfigError) as error:
        Config.from_options({"port": 1, name: 1})
    assert error.value.option == name
    assert error.value.problem.startswith("no such option")
    if meant is not None:
        assert error.value.problem.endswith(f"; did you mean {meant!r}?")


@pytest.mark.parametrize(("name", "advice"), [
    ("headers", "use header (lines of the form Name:Value, in Python, too)"),
    ("reload_dirs", "use reload_dir"),
    ("keep_alive_timeout", "use timeout_keep_alive (75 seconds by default, there 5)"),
    ("no_server_name", "use server_header=False"),
    ("no_ws", "use ws='none'"),
    ("ssl_context_factory", "make the context, and give it to run() or serve() as ssl_context"),
])
def test_an_option_of_another_server_is_named_with_what_takes_its_place(name: str, advice: str) -> None:
    given: dict[str, Any] = {name: 1}
    with pytest.raises(ConfigError) as error:
        Config(**given)
    assert (error.value.option, error.value.problem) == (name, f"no such option: {advice}")


@pytest.mark.parametrize("loop", ["uvlop", "", "main"])
def test_what_is_no_loop(loop: str) -> None:
    with pytest.raises(ConfigError, match="none of auto, asyncio, uvloop, and no function, MODULE:FUNCTION"):
        Config(loop=loop)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop", "main:make_loop"])
def test_a_loop_of_asyncio_implies_its_backend(loop: Any) -> None:
    assert Config.from_options({"loop": loop}) == Config(loop=loop, backend="asyncio")
    assert Config.from_options({"loop": loop, "backend": None}) == Config(loop=loop, backend="asyncio")
    assert Config.from_options({"loop": loop, "backend": "trio"}) == Config(loop=loop, backend="trio")


def test_the_automatic_loop_implies_nothing() -> None:
    assert Config.from_options({"loop": "auto"}).backend == "trio"


@pytest.mark.parametrize("reload", [True, "true", "on"])
def test_reloading_implies_a_warning_of_blocked_loops(reload: Any) -> None:
    assert Config.from_options({"reload": reload}).warn_blocked == 0.1
    assert Config.from_options({"reload": reload, "warn_blocked": "250ms"}).warn_blocked == 0.25
    assert Config.from_options({"reload": reload, "warn_blocked": "off"}).warn_blocked is None
    assert Config.from_options({"reload": False}).warn_blocked is None


def test_what_was_switched_off_stays_so_in_a_copy() -> None:
    assert Config(reload=True, warn_blocked=None).replace(port=1).warn_blocked is None


def test_its_signature_is_its_options() -> None:
    assert list(inspect.signature(Config).parameters) == NAMES


def test_from_options_checks_values() -> None:
    with pytest.raises(ConfigError, match="port: 65536 is out of range"):
        Config.from_options({"port": 65536})


def test_replace_changes_a_copy() -> None:
    config = Config(port=1, header=("a: b",))
    changed = config.replace(port=2)
    assert (config.port, changed.port, changed.header) == (1, 2, ("a: b",))
    assert config.replace() == config


def test_replace_checks_like_everything_else() -> None:
    with pytest.raises(ConfigError, match=r"^port: "):
        Config().replace(port=-1)
    with pytest.raises(ConfigError, match="no such option; did you mean 'port'"):
        Config().replace(prot=1)


@pytest.mark.parametrize(("options", "seconds"), [
    ({}, 30.0), ({"shutdown_delay": 5.0}, 35.0), ({"timeout_graceful_shutdown": 0.0}, 0.0),
    ({"timeout_graceful_shutdown": None, "shutdown_delay": 5.0}, math.inf),
])
def test_the_longest_shutdown(options: dict[str, Any], seconds: float) -> None:
    assert Config(**options).longest_shutdown == seconds
