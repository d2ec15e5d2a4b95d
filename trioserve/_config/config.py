"""Every option, once: name, type, default, limits and help text.

The command line, the environment variables, the keywords of ``run()`` and ``serve()`` and the reference page all
derive from the fields of ``Config``. ``timeout_keep_alive`` here is ``--timeout-keep-alive`` there and
``TRIOSERVE_TIMEOUT_KEEP_ALIVE`` in the environment. This module holds data: loading an application, logging and
binding happen in the layers that need them.
"""

import dataclasses
import functools
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from trioserve._config import forms
from trioserve._config.addresses import BindSpec, Descriptor, HostPort, UnixPath, parse_bind
from trioserve._config.contradictions import check_addresses, check_admin, check_processes
from trioserve._config.declaring import (
    KIBIBYTE,
    LEVELS,
    MEBIBYTE,
    Count,
    Seconds,
    option,
    refuses_unknown_names,
    seconds,
)
from trioserve._config.implied import implied
from trioserve._config.values import Option, can_be_none, read_value
from trioserve._host_names import NamedCertificate, parse_named_certificate

__all__ = ["DEFAULT_ACCESS_FORMAT", "OPTIONS", "Config", "Option", "options"]

DEFAULT_ACCESS_FORMAT: Final = '%(client)s - "%(r)s" %(s)s %(st)s %(B)s B %(ms)s ms'


@refuses_unknown_names
@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How to serve. Frozen, complete and checked: a ``Config`` that exists is one that can be used.

    Values can be given as texts, too, as the command line has them: ``port="8000"``, ``timeout_header="500ms"``. A path
    can be a ``Path``; ``None`` is the default of an option that cannot be off.

    Raises:
        ConfigError: a value has the wrong type or is out of range, or there is no such option.
    """

    factory: bool = option(
        False, "Application", "APP is a callable without parameters that returns the application.")
    app_dir: str = option(
        "", "Application", "Look for APP in this directory, or zip file, first (default: the current directory).",
        metavar="DIR")
    env_file: str | None = option(
        None, "Application", "Read environment variables for the application from this file.", metavar="FILE")
    interface: Literal["auto", "asgi3", "asgi2", "wsgi"] = option(
        "auto", "Application", "Interface of the application; auto goes by the arguments that it takes.",
        aliases=(("asgi", "asgi3"),))
    wsgi_threads: int = option(
        40, "Application", "Most calls of a WSGI application at once; further requests wait.", minimum=1,
        metavar="COUNT")
    lifespan: Literal["auto", "on", "off"] = option(
        "auto", "Application", "Run the application's lifespan: when it has one, always, or never.")
    sendfile: bool = option(
        True, "Application", "Let applications hand over files, which the server sends (ASGI extensions pathsend and "
        "zerocopysend); off for middleware that does not know these messages.")
    root_path: str = option(
        "", "Application", "Path prefix, such as /api, under which a proxy mounts the application.", metavar="PATH",
        form=forms.read_prefix)

    host: str = option(
        "127.0.0.1", "Binding", "Address or name to listen on, in all its IPv4 and IPv6 addresses; * for all addresses "
        "of the machine.", form=forms.host)
    port: int = option(
        8000, "Binding", "Port to listen on; 0 takes a free one and prints it.", minimum=0, maximum=65535,
        metavar="PORT", environment="PORT")
    uds: str | None = option(None, "Binding", "Listen on a unix socket instead.", metavar="PATH",
        form=forms.socket_path)
    fd: int | None = option(
        None, "Binding", "Listen on the inherited socket that is open as this file descriptor instead.", minimum=0,
        metavar="NUMBER")
    bind: tuple[str, ...] = option(
        (), "Binding",
        "Listen on this address instead: HOST:PORT, [IPV6]:PORT, *:PORT, unix:PATH or fd://N; repeatable, in the "
        "environment one per line.", metavar="ADDRESS", form=forms.parse_bind)
    insecure_bind: tuple[str, ...] = option(
        (), "Binding", "Where there are certificates, listen on this address as well, but without TLS; written like "
        "--bind, repeatable.", metavar="ADDRESS", form=forms.parse_bind)
    uds_permissions: str = option(
        "666", "Binding", "Permissions of a unix socket, in octal.", metavar="MODE", form=forms.octal("660"))
    backlog: int = option(2048, "Binding", "Connections the kernel queues before they are accepted.", minimum=1,
                          maximum=2**31 - 1)

    ssl_certfile: str | None = option(
        None, "TLS", "Serve over TLS with this certificate, in PEM, followed by those that lead to its authority.",
        metavar="FILE")
    ssl_keyfile: str | None = option(
        None, "TLS", "Private key of the certificate, in PEM (default: it is in --ssl-certfile).", metavar="FILE")
    ssl_keyfile_password: str | None = option(
        None, "TLS", "Password of the private key; the environment is a better place for it than the command line.",
        metavar="PASSWORD", secret=True)
    ssl_ca_certs: str | None = option(
        None, "TLS", "Authorities that client certificates must come from, in PEM.", metavar="FILE")
    ssl_cert_reqs: Literal["none", "optional", "required"] = option(
        "none", "TLS", "Ask clients for a certificate; 0, 1 and 2 are accepted as well.",
        aliases=((0, "none"), (1, "optional"), (2, "required"), ("0", "none"), ("1", "optional"), ("2", "required")))
    ssl_crl: str | None = option(
        None, "TLS", "Client certificates that their authorities have revoked (CRLs), in PEM.", metavar="FILE")
    ssl_sni: tuple[str, ...] = option(
        (), "TLS", "Another certificate, for clients that ask for this host or, *.example.com, one below it: "
        "HOST=CERTFILE or HOST=CERTFILE,KEYFILE; repeatable.", metavar="HOST=FILES", form=forms.parse_named_certificate)
    ssl_ciphers: str = option(
        "ECDHE+AESGCM:ECDHE+CHACHA20", "TLS", "Ciphers of TLS 1.2, as OpenSSL writes them; TLS 1.3 chooses its own.",
        metavar="CIPHERS")
    ssl_min_version: Literal["TLSv1.2", "TLSv1.3"] = option(
        "TLSv1.2", "TLS", "Oldest version of TLS to accept; 1.2 and 1.3 are accepted as well.",
        aliases=((1.2, "TLSv1.2"), (1.3, "TLSv1.3"), ("1.2", "TLSv1.2"), ("1.3", "TLSv1.3")))

    backend: Literal["trio", "asyncio"] = option("trio", "Event loop", "Event loop family that runs the application.")
    loop: str = option(
        "auto", "Event loop", "Event loop of --backend asyncio: auto takes uvloop when it is installed; or a function "
        "without parameters that makes one.", metavar="auto|asyncio|uvloop|MODULE:FUNCTION", form=forms.event_loop)
    http: Literal["auto", "h11", "httptools"] = option(
        "auto", "HTTP", "Parser of request heads; auto takes httptools when it is installed.",
        aliases=(("zttp", "auto"),))
    http2: bool | None = option(
        None, "HTTP", "Speak HTTP/2 over TLS, and in cleartext with clients that begin with it (default: over TLS "
        "only, when an engine is installed).")
    http2_engine: Literal["auto", "ngh2", "h2"] = option(
        "auto", "HTTP", "Engine of HTTP/2; auto takes ngh2 when it is installed, then h2.")
    server_name: tuple[str, ...] = option(
        (), "HTTP", "Serve requests for this host, *.example.com for all hosts below it; repeatable. Others get 421 "
        "(default: every host).", metavar="HOST", form=forms.server_name)
    server_header: bool = option(True, "HTTP", "Send a Server header.")
    date_header: bool = option(True, "HTTP", "Send a Date header.")
    header: tuple[str, ...] = option(
        (), "HTTP", "Extra response header, as Name:Value; repeatable, in the environment one per line.",
        metavar="NAME:VALUE", form=forms.field_line)
    on_disconnect: Literal["auto", "notify", "cancel"] = option(
        "auto", "HTTP",
        "When a client leaves before its response is complete: notify tells the application by http.disconnect, cancel "
        "cancels it; auto cancels it if the response has begun and nobody waits in receive(), and tells it otherwise.")
    on_disconnect_grace: float = option(
        0.5, "HTTP", "An application that is cancelled because its client has left is told so long before.", minimum=0,
        metavar="SECONDS")
    shutdown_event_streams: Literal["get", "all", "none"] = option(
        "get", "HTTP",
        "At shutdown, end event streams (text/event-stream) as if their clients had left: those that were asked for "
        "with GET, as browsers do; all; or none, and each has the whole budget.")

    ws: Literal["auto", "wsproto", "none"] = option(
        "auto", "WebSocket", "Serve WebSockets; with none their handshakes are ordinary requests.",
        aliases=(("websockets", "auto"), ("websockets-sansio", "auto")))
    ws_max_size: int = option(
        16 * MEBIBYTE, "WebSocket", "Largest message from a client, in bytes, also when it is unpacked.", minimum=1,
        maximum=2**31 - 1, metavar="BYTES")
    ws_max_age: Seconds = seconds(
        None, "Close a WebSocket that has been open for this long; the client may open another one.", group="WebSocket")
    ws_ping_interval: Seconds = seconds(20.0, "Send a keep-alive ping this often.", group="WebSocket")
    ws_ping_timeout: Seconds = seconds(
        20.0, "A client must give a sign of life in this time after a ping.", group="WebSocket")
    ws_per_message_deflate: bool = option(
        True, "WebSocket", "Compress messages where the client offers it (permessage-deflate).")

    proxy_headers: bool = option(
        True, "Proxies", "Believe what trusted proxies say in header fields about the client, the scheme and so on.")
    forwarded_allow_ips: str = option(
        "127.0.0.1,::1,unix", "Proxies",
        "Proxies that are trusted: IP addresses, networks, unix (peers on unix sockets), the path of one unix socket, "
        "and * (everybody), separated by commas.",
        metavar="LIST", environment="FORWARDED_ALLOW_IPS", comma_separated=True, form=forms.trusted_peers)
    forwarded_headers: str = option(
        "x-forwarded-for,x-forwarded-proto", "Proxies",
        "Header fields that the trusted proxies set, and that are therefore believed, separated by commas: forwarded, "
        "or any of x-forwarded-for, -proto, -host, -port, -prefix.", metavar="LIST", comma_separated=True,
        form=forms.trusted_fields)
    deadline_header: Literal[
        "off", "request-timeout", "grpc-timeout", "x-request-deadline", "x-envoy-expected-rq-timeout-ms"
    ] = option(
        "off", "Proxies",
        "Header field in which a trusted proxy says how long the client waits for its answer. Then the request is "
        "ended, and no later than by --timeout-request.")
    proxy_protocol: bool = option(
        False, "Proxies",
        "Expect the PROXY protocol, version 1 or 2, at the start of each connection; only trusted proxies may connect.")

    workers: int = option(
        1, "Processes", "Worker processes that run the application; more than one have a supervisor.", minimum=1,
        metavar="COUNT", environment="WEB_CONCURRENCY")
    pid_file: str | None = option(
        None, "Processes", "While the server is ready, keep its process id in this file.", metavar="FILE")
    process_name: str | None = option(
        None, "Processes", "Name of the processes in the lists of ps and top (default: the command line).",
        metavar="NAME")
    umask: str | None = option(
        None, "Processes", "Permissions that files and directories made by the application do not get, in octal, such "
        "as 027 (default: as the process has it).", metavar="MASK", form=forms.octal("027"))
    when_ready: str | None = option(
        None, "Processes", "Call this function when the server, with all of its workers, is ready.",
        metavar="MODULE:FUNCTION")
    worker_started: str | None = option(
        None, "Processes", "Call this function, in the supervisor, with the process id of each worker that is ready.",
        metavar="MODULE:FUNCTION")
    worker_exited: str | None = option(
        None, "Processes", "Call this function, in the supervisor, with process id and exit code of each worker "
        "that has ended.", metavar="MODULE:FUNCTION")
    timeout_worker_healthcheck: Seconds = option(
        30.0, "Processes",
        "A worker whose event loop stands still for this long is replaced, and where it stood goes to the log.",
        minimum=0.001, metavar="SECONDS|off")

    reload: bool = option(False, "Development", "Start again whenever a file changes.")
    reload_dir: tuple[str, ...] = option(
        (), "Development", "Directory to watch (default: the current one); repeatable.", metavar="DIR")
    reload_include: tuple[str, ...] = option(
        (), "Development", "Watch this file, all of this directory, or files of this pattern, besides *.py; "
        "repeatable.", metavar="PATTERN")
    reload_exclude: tuple[str, ...] = option(
        (), "Development", "Leave out what matches this pattern, or is in a directory; repeatable.", metavar="PATTERN")
    reload_delay: float = option(
        0.05, "Development", "A change counts when nothing else has changed for this long.", minimum=0,
        metavar="SECONDS")
    teach: bool = option(
        False, "Development", "Log a timeline of each request: its messages, tasks, nurseries and cancel scopes.")
    warn_blocked: Seconds = seconds(
        None, "Log where the event loop stands when it stands still for longer than this; with --reload it is 100ms.",
        minimum=0.01, group="Development")
    chaos: str | None = option(
        None, "Development", "Cancel, leave, hold up and slow down requests, as this seed says, or all of them at one "
        "point, such as cancel@3.", metavar="SEED|POINT", form=forms.seed_or_point)

    log_level: Literal["critical", "error", "warning", "info", "debug", "trace"] = option(
        "info", "Logging", "Least severe level that is logged.", aliases=LEVELS)
    access_log: bool = option(True, "Logging", "Log one line for each response.")
    use_colors: bool | None = option(
        None, "Logging", "Colour the log (default: on a terminal only, unless NO_COLOR or FORCE_COLOR is in the "
        "environment).")
    log_format: Literal["text", "json"] = option(
        "text", "Logging", "Log lines of text, or one JSON object per line.")
    access_log_format: str = option(
        DEFAULT_ACCESS_FORMAT, "Logging", "What an access line says, in Apache's atoms as gunicorn spells them.",
        metavar="FORMAT")
    log_config: str | Mapping[str, Any] | None = option(
        None, "Logging", "Set logging up from this file instead: .json, .yaml or .toml for dictConfig, others for "
        "fileConfig.", metavar="FILE")
    otel: bool = option(
        False, "Logging", "Tell OpenTelemetry of each request: a span and two metrics; the application sets its "
        "exporters up.")
    request_id_header: str = option(
        "x-request-id", "Logging",
        "Header field in which a trusted proxy names a request; off: requests have no names.", metavar="NAME|off",
        form=forms.field_name)

    admin: str | None = option(
        None, "Admin", "Show the task tree of the running server on this address, HOST:PORT or unix:PATH; the start "
        "line has the token that is needed to cancel something.", metavar="ADDRESS", form=forms.parse_bind)
    admin_public: bool = option(
        False, "Admin", "Let --admin be an address that other machines reach; who connects sees every path that is "
        "asked for.")
    admin_host: tuple[str, ...] = option(
        (), "Admin", "Host that the admin listener may be asked for, besides localhost and IP addresses; repeatable.",
        metavar="HOST")
    admin_path: str | None = option(
        None, "Admin", "Show the same to everybody under this path of the main listeners, such as /-/admin.",
        metavar="PATH", form=forms.admin_path)

    timeout_header: Seconds = seconds(
        10.0, "The whole request head must arrive in this time, counted from its first byte.")
    timeout_keep_alive: Seconds = seconds(
        75.0, "Close a connection that has been idle between requests for this long; with 0 it carries one request.",
        minimum=0)
    timeout_http2_idle: Seconds = seconds(
        30.0, "Close an HTTP/2 connection on which there has been no request for this long.")
    timeout_tls_handshake: Seconds = seconds(10.0, "The TLS handshake of a new connection must end in this time.")
    timeout_body: Seconds = seconds(
        30.0, "An awaited request body must bring bytes at least this often, and 240 bytes per second after 5 seconds.")
    timeout_write: Seconds = seconds(30.0, "A client must take some bytes of a waiting response at least this often.")
    timeout_request: Seconds = seconds(
        None, "Cancel the application when one request takes longer than this; of a WebSocket, its handshake.")
    timeout_startup: Seconds = seconds(
        None, "The start-up of the application's lifespan must end in this time, or the server does not start.")
    timeout_graceful_shutdown: Seconds = seconds(
        30.0, "Budget of a graceful shutdown: requests in progress, then the lifespan; --shutdown-delay comes before.",
        minimum=0)
    shutdown_delay: float = option(
        0.0, "Timeouts", "At shutdown, keep accepting connections for this long, so that load balancers can notice.",
        minimum=0, metavar="SECONDS")

    limit_request_line: int = option(
        16 * KIBIBYTE, "Limits", "Longest request line, in bytes.", minimum=64, metavar="BYTES")
    limit_header_bytes: int = option(
        64 * KIBIBYTE, "Limits", "Largest request head, in bytes.", minimum=256, metavar="BYTES")
    limit_header_count: int = option(100, "Limits", "Most header fields of one request.", minimum=1)
    limit_request_body: Count = option(
        None, "Limits", "Largest request body, in bytes.", minimum=0, metavar="BYTES")
    limit_http2_streams: int = option(
        100, "Limits", "Most requests in progress at once on one HTTP/2 connection.", minimum=1, maximum=2**31 - 1,
        metavar="COUNT")
    limit_http2_resets: Count = option(
        # nghttp2: 1000 at once. A browser that reloads a page with 100 slow images breaks off 100 each time.
        2000, "Limits", "Most requests that one HTTP/2 connection may break off unanswered in 30 seconds, or make the "
        "server refuse; then it is closed.", minimum=1, metavar="COUNT")
    limit_http2_control_frames: Count = option(
        5000, "Limits", "Most frames without requests or bodies that one HTTP/2 connection may send in 30 seconds; "
        "then it is closed. Window updates for what is being sent do not count.", minimum=100, metavar="COUNT")
    limit_connections: Count = option(
        None, "Limits", "Most connections at once; further ones wait in the backlog.", minimum=1, metavar="COUNT")
    limit_requests_per_connection: Count = option(
        None, "Limits", "Most requests of one connection; then it is closed.", minimum=1,
        metavar="COUNT")
    limit_concurrency: Count = option(
        None, "Limits", "Most requests in progress at once, WebSocket handshakes included; further ones wait shortly, "
        "then get 503.", minimum=1, metavar="COUNT")
    limit_max_requests: Count = option(
        None, "Limits", "Stop gracefully after this many requests; of several workers, replace the one.", minimum=1,
        metavar="COUNT")
    limit_max_requests_jitter: int = option(
        0, "Limits", "Add a random number up to this to --limit-max-requests.", minimum=0, metavar="COUNT")
    limit_max_age: Seconds = seconds(
        None, "The same as --limit-max-requests, after this time.", group="Limits")
    limit_max_rss: Count = option(
        None, "Limits", "The same as --limit-max-requests, when the process holds more memory than this, such as "
        "512MiB (Linux).", minimum=1, metavar="BYTES")

    def __post_init__(self) -> None:
        for name, hint, default, known in options():
            value = getattr(self, name)
            given = default if value is None and not can_be_none(hint) else value
            object.__setattr__(self, name, read_value(name, given, hint, known))
        check_processes(self.workers, reload=self.reload, teach=self.teach, chaos=self.chaos is not None)
        moved = [name for name in ("host", "port") if getattr(self, name) != Config.__dataclass_fields__[name].default]
        check_addresses(self.bind_specs, self.insecure_bind_specs, not_used=() if self.binds_by_default else moved)
        check_admin(self.admin, [*self.bind_specs, *self.insecure_bind_specs], is_public=self.admin_public)

    @classmethod
    def from_options(cls, given: Mapping[str, Any]) -> "Config":
        """A ``Config`` from keywords, with what they imply."""
        return cls(**{**given, **{name: value for name, (value, _) in implied(given).items()}})

    @property
    def bind_specs(self) -> list[BindSpec]:
        """What to listen on, over TLS where there are certificates.

        Every ``bind``, ``uds`` and ``fd``; ``host`` and ``port`` when there is none of them.
        """
        specs = [parse_bind(text) for text in self.bind]
        if self.uds is not None:
            specs.append(UnixPath(self.uds))
        if self.fd is not None:
            specs.append(Descriptor(self.fd))
        return specs or [HostPort(self.host, self.port)]

    @property
    def named_certificates(self) -> list[NamedCertificate]:
        """Those that are for some hosts only."""
        return [parse_named_certificate(text) for text in self.ssl_sni]

    @property
    def insecure_bind_specs(self) -> list[BindSpec]:
        """What else to listen on, always without TLS."""
        return [parse_bind(text) for text in self.insecure_bind]

    @property
    def binds_by_default(self) -> bool:
        """Nothing but ``host`` and ``port`` says where the main listeners are; insecure ones come in addition."""
        return not self.bind and self.uds is None and self.fd is None

    @property
    def longest_shutdown(self) -> float:
        """Seconds from the signal to the end of a graceful shutdown, ``math.inf`` without a budget."""
        return math.inf if (budget := self.timeout_graceful_shutdown) is None else self.shutdown_delay + budget

    def replace(self, **changes: Any) -> "Config":
        """A copy with some options changed, which are checked like all."""
        return Config.from_options({name: getattr(self, name) for name in OPTIONS} | changes)


OPTIONS: Final[dict[str, Option]] = {field.name: field.metadata["option"] for field in dataclasses.fields(Config)}


@functools.cache
def options() -> tuple[tuple[str, Any, Any, Option], ...]:
    """Each option as (name, type, default, what is known of it), in the order of the reference."""
    hints = typing.get_type_hints(Config)
    return tuple((field.name, hints[field.name], field.default, field.metadata["option"])
                 for field in dataclasses.fields(Config))
