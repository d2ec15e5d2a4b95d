"""What was given and does nothing, so that nobody relies on it unknowingly."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from trioserve._config.addresses import UnixPath
from trioserve._config.config import OPTIONS, Config
from trioserve._config.sources import APP, PREFIX, is_of_service, variable_of

__all__ = ["Rule", "options_without_effect", "variables_without_effect"]

PREFIXES_OF_OTHERS: Final = ("UVICORN_", "GRANIAN_", "GUNICORN_")


# Options.


class Rule(NamedTuple):
    """When options do nothing.

    Attributes:
        names: these do nothing ...
        idle: ... while this is true, ...
        how, cause, value: ... which is ``with`` or ``without`` this option, at this value; empty: at any.
    """

    names: tuple[str, ...]
    idle: Callable[[Config], bool]
    how: str
    cause: str
    value: str = ""


RULES: Final = (
    Rule(("reload_dir", "reload_include", "reload_exclude", "reload_delay"), lambda config: not config.reload,
         "without", "reload"),
    Rule(("ssl_keyfile_password", "ssl_ciphers", "ssl_min_version", "timeout_tls_handshake"),
         lambda config: config.ssl_certfile is None, "without", "ssl_certfile"),
    Rule(("uds_permissions",), lambda config: not _has_unix_socket(config), "without", "uds"),
    Rule(("timeout_worker_healthcheck", "worker_started", "worker_exited"),
         lambda config: config.workers == 1 and not config.reload, "without", "workers"),
    Rule(("limit_max_requests_jitter",), lambda config: config.limit_max_requests is None,
         "without", "limit_max_requests"),
    Rule(("on_disconnect_grace",), lambda config: config.on_disconnect == "notify", "with", "on_disconnect", "notify"),
    Rule(("http2_engine", "timeout_http2_idle", "limit_http2_streams", "limit_http2_resets",
          "limit_http2_control_frames"), lambda config: config.http2 is False, "with", "http2", "false"),
    Rule(("ws_max_size", "ws_ping_interval", "ws_ping_timeout", "ws_per_message_deflate", "ws_max_age"),
         lambda config: config.ws == "none", "with", "ws", "none"),
    Rule(("ws_ping_timeout",), lambda config: config.ws != "none" and config.ws_ping_interval is None,
         "with", "ws_ping_interval", "off"),
    Rule(("forwarded_headers",), lambda config: not config.proxy_headers, "with", "proxy_headers", "false"),
    Rule(("wsgi_threads",), lambda config: config.interface == "asgi3", "with", "interface", "asgi3"),
    Rule(("wsgi_threads",), lambda config: config.interface == "asgi2", "with", "interface", "asgi2"),
    Rule(("admin_public",), lambda config: config.admin is None, "without", "admin"),
    Rule(("admin_host",), lambda config: config.admin is None and config.admin_path is None, "without", "admin"),
    Rule(("access_log_format",), lambda config: not config.access_log, "with", "access_log", "false"),
    Rule(("log_level", "log_format", "use_colors"), lambda config: config.log_config is not None,
         "with", "log_config"),
    Rule(("use_colors",), lambda config: config.log_config is None and config.log_format == "json",
         "with", "log_format", "json"),
)


def options_without_effect(config: Config) -> Iterator[tuple[str, Rule]]:
    """Each option that has a value of its own and does nothing, with the reason."""
    for rule in RULES:
        if rule.idle(config):
            for name in rule.names:
                if getattr(config, name) != Config.__dataclass_fields__[name].default:
                    yield name, rule


def _has_unix_socket(config: Config) -> bool:
    return any(isinstance(spec, UnixPath) for spec in (*config.bind_specs, *config.insecure_bind_specs))


# Variables.


def variables_without_effect(environment: Mapping[str, str]) -> Iterator[str]:
    """A line for each variable that is nearly one of ours, or one of another server's.

    Others may have variables with names like ours, so what is like none of them is left alone.
    """
    port = variable_of("port")
    if is_of_service(port, value := environment.get(port, "")):
        yield (f"{port}={value} is no port and has no effect: Kubernetes sets it where a service is named "
               f"{PREFIX[:-1].lower()}; enableServiceLinks: false in the pod's spec prevents that")
    environment = {
        name: value for name, value in environment.items()
        if name.startswith((PREFIX, *PREFIXES_OF_OTHERS)) and not is_of_service(name, value)
    }
    for variable in environment:
        if variable.startswith(PREFIX) and (meant := _meant_by(variable)):
            yield f"{variable} in the environment is no option; did you mean {meant}?"
    if any(variable.startswith(PREFIXES_OF_OTHERS) for variable in environment):
        from trioserve._config import peers  # only needed here

        yield from peers.variables_without_effect(environment, variable_of)


def _meant_by(variable: str) -> str | None:
    """Our variable that is most like this one; ``None`` if it is one itself, or like none."""
    known = [variable_of(name) for name in (APP, "config", *OPTIONS)]
    if variable in known:
        return None
    from difflib import get_close_matches  # slow to import, and only needed here

    matches = get_close_matches(variable.removeprefix(PREFIX), [name.removeprefix(PREFIX) for name in known], n=1)
    return PREFIX + matches[0] if matches else None
