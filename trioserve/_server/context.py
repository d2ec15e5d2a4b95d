"""What a server lends to its connections, made from its configuration."""

import inspect
import random
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from trioserve._asgi import ProxyHeaders
from trioserve._config import Config
from trioserve._connection import (
    WRITE_LOOKS,
    DeadlineHeader,
    Deadlines,
    Lifetime,
    Mark,
    Recorder,
    RequestIds,
    ServerContext,
    StandingFields,
    Timeout,
    Timeouts,
    Turnstile,
    WebSocketLimits,
    new_timeout,
)
from trioserve._protocol import HeadMemory, Http1Codec, Http1Limits, ParseFields
from trioserve._server.engine import choose_http2_engine
from trioserve._streams import WaitingTasks, running_backend
from trioserve._trust import TrustedPeers, believed_fields
from trioserve._types import App, CoroutineApp, Receive, Scope, Send

if TYPE_CHECKING:
    from trioserve._connection.http2_terms import Http2Terms

__all__ = ["make_context"]

WATCH_AFTER_SECONDS: Final = 0.1  # most requests are over by then, so watching them for a disconnect costs nothing


def make_context(
    config: Config,
    app: App,
    *,
    clock: Callable[[], float],
    parse_fields: ParseFields,
    task_per_request: bool,
    new_waiting_tasks: Callable[[], WaitingTasks],
    recorder: Recorder | None,
    on_requests_spent: Callable[[], None],
    new_app_context: Callable[[], Context],
    set_mark: Callable[[Mark], object] | None,
    state: dict[str, Any] | None,
    lifetime: Lifetime,
    tls: bool,
) -> ServerContext:
    """All of it; each argument is what its namesake in ``ServerContext`` is, or is made of."""
    limits = Http1Limits(
        request_line=config.limit_request_line,
        head=config.limit_header_bytes,
        fields=config.limit_header_count,
        body=config.limit_request_body,
    )
    standing_fields = StandingFields(
        date=config.date_header, server="trioserve" if config.server_header else None, extra=config.header
    )
    return ServerContext(
        app=_coroutine_app(app),
        backend=running_backend(),
        clock=clock,
        root_path=config.root_path,
        on_disconnect=config.on_disconnect,
        requests_per_connection=config.limit_requests_per_connection,
        disconnect_grace_seconds=config.on_disconnect_grace,
        new_codec=partial(Http1Codec, parse_fields, limits, HeadMemory()),
        timeouts=_make_timeouts(config, clock, tls=tls),
        standing_fields=standing_fields.lines_for,
        task_per_request=task_per_request,
        new_waiting_tasks=new_waiting_tasks,
        recorder=recorder,
        turnstile=_make_turnstile(config, on_requests_spent),
        request_ids=_make_request_ids(config),
        deadline_header=_make_deadline_header(config),
        websockets=_make_websockets(config, clock, lifetime),
        http2=_make_http2(config, limits, standing_fields, clock) if tls or config.http2 else None,
        new_app_context=new_app_context,
        set_mark=set_mark,
        write_seconds=config.timeout_write,
        proxies=_make_proxies(config),
        state=state,
        ended_streams=config.shutdown_event_streams,
        sends_files=config.sendfile,
        lifetime=lifetime,
    )


def _make_turnstile(config: Config, on_requests_spent: Callable[[], None]) -> Turnstile | None:
    slots, budget = config.limit_concurrency, config.limit_max_requests
    if slots is None and budget is None:
        return None
    if budget is not None:
        budget += random.randint(0, config.limit_max_requests_jitter)
    return Turnstile(slots, budget, on_requests_spent)


def _make_request_ids(config: Config) -> RequestIds | None:
    if config.request_id_header == "off":
        return None
    return RequestIds(config.request_id_header, trusts=TrustedPeers(config.forwarded_allow_ips).peer)


def _make_deadline_header(config: Config) -> DeadlineHeader | None:
    if config.deadline_header == "off":
        return None
    return DeadlineHeader(config.deadline_header, trusts=TrustedPeers(config.forwarded_allow_ips).peer)


def _make_proxies(config: Config) -> ProxyHeaders | None:
    if not config.proxy_headers:
        return None
    return ProxyHeaders(TrustedPeers(config.forwarded_allow_ips), believed_fields(config.forwarded_headers))


def _make_timeouts(config: Config, clock: Callable[[], float], *, tls: bool) -> Timeouts:
    def timeout(kind: str, seconds: float | None) -> Timeout:
        return new_timeout(kind, seconds, clock)

    write, request = config.timeout_write, config.timeout_request
    return Timeouts(
        tls_handshake=timeout("tls-handshake", config.timeout_tls_handshake) if tls else None,
        header=timeout("header", config.timeout_header),
        keep_alive=timeout("keep-alive", config.timeout_keep_alive),
        body=timeout("body", config.timeout_body),
        write=timeout("write", None if write is None else write / WRITE_LOOKS),
        request=timeout("request", request) if request is not None else None,
        watch=timeout("watch", WATCH_AFTER_SECONDS) if config.on_disconnect != "notify" else None,
        deadline=Deadlines(clock),
    )


def _make_websockets(config: Config, clock: Callable[[], float], lifetime: Lifetime) -> WebSocketLimits | None:
    if config.ws == "none":
        return None
    return WebSocketLimits(
        max_size=config.ws_max_size,
        deflate=config.ws_per_message_deflate,
        ping_interval=config.ws_ping_interval,
        ping_timeout=config.ws_ping_timeout,
        max_age=config.ws_max_age,
        clock=clock,
        strike=lifetime.strike,
    )


def _make_http2(
    config: Config, limits: Http1Limits, standing_fields: StandingFields, clock: Callable[[], float]
) -> "Http2Terms | None":
    new_engine = choose_http2_engine(config)
    if new_engine is None:
        return None
    from trioserve._connection.http2_terms import Http2Terms  # not for servers that never speak it

    return Http2Terms(
        new_engine=new_engine,
        in_cleartext=bool(config.http2),
        standing_fields=standing_fields.pairs_for,
        limits=limits,
        max_streams=config.limit_http2_streams,
        resets=config.limit_http2_resets,
        control_frames=config.limit_http2_control_frames,
        idle=new_timeout("http2-idle", config.timeout_http2_idle, clock),
        clock=clock,
    )


def _coroutine_app(app: App) -> CoroutineApp:
    """``app``, or a wrapper for one whose call returns another kind of awaitable."""
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(getattr(app, "__call__", None)):  # noqa: B004  # the method is wanted
        return cast("CoroutineApp", app)

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        awaitable = app(scope, receive, send)
        if not inspect.isawaitable(awaitable):
            raise TypeError(f"the call of the application returned {awaitable!r:.100}, which cannot be awaited: "
                            "write it as an async function")
        await awaitable

    return call
