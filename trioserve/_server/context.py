"""What a server lends to its connections, made from its configuration."""

import inspect
import random
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any, Final, cast

from trioserve._asgi import ProxyHeaders
from trioserve._config import Config
from trioserve._connection import (
    BodyReceiver,
    Exchange,
    Http1Connection,
    Lifetime,
    NoTimeout,
    RequestIds,
    ServerContext,
    StandingFields,
    Supervision,
    Timeout,
    Timeouts,
    Turnstile,
    WebSocketService,
)
from trioserve._protocol import HeadMemory, Http1Codec, Http1Limits, ParseFields
from trioserve._server.access_log import AccessLogger
from trioserve._streams import running_backend
from trioserve._trust import TrustedPeers, believed_fields
from trioserve._types import App, CoroutineApp, Receive, Scope, Send

__all__ = ["make_context"]

WATCH_AFTER_SECONDS: Final = 0.1  # most requests are over by then, so watching them for a disconnect costs nothing


def make_context(
    config: Config,
    app: App,
    *,
    clock: Callable[[], float],
    parse_fields: ParseFields,
    start_soon: Callable[..., Any],
    access_log: AccessLogger | None,
    on_requests_spent: Callable[[], None],
    new_app_context: Callable[[], Context],
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
    return ServerContext(
        app=_coroutine_app(app),
        backend=running_backend(),
        clock=clock,
        root_path=config.root_path,
        on_disconnect=config.on_disconnect,
        new_codec=partial(Http1Codec, parse_fields, limits, HeadMemory()),
        timeouts=_make_timeouts(config, clock, tls=tls),
        standing_fields=StandingFields(
            date=config.date_header, server="trioserve" if config.server_header else None, extra=config.header
        ).lines_for,
        start_soon=start_soon,
        access_log=access_log,
        turnstile=_make_turnstile(config, on_requests_spent),
        request_ids=_make_request_ids(config),
        websockets=_make_websockets(config, clock),
        new_app_context=new_app_context,
        proxies=_make_proxies(config),
        state=state,
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


def _make_proxies(config: Config) -> ProxyHeaders | None:
    if not config.proxy_headers:
        return None
    return ProxyHeaders(TrustedPeers(config.forwarded_allow_ips), believed_fields(config.forwarded_headers))


def _make_timeouts(config: Config, clock: Callable[[], float], *, tls: bool) -> Timeouts:
    def timeout(seconds: float | None, strike: Any) -> Timeout[Any]:
        return Timeout(seconds, strike, clock) if seconds is not None else NoTimeout()

    handshake = Http1Connection.on_tls_handshake_timeout
    return Timeouts(
        tls_handshake=timeout(config.timeout_tls_handshake, handshake) if tls else None,
        header=timeout(config.timeout_header, Http1Connection.on_header_timeout),
        keep_alive=timeout(config.timeout_keep_alive, Http1Connection.on_keep_alive_timeout),
        body=timeout(config.timeout_body, BodyReceiver.on_timeout),
        write=timeout(config.timeout_write, Exchange.on_write_timeout),
        request=(timeout(config.timeout_request, Supervision.on_timeout)
                 if config.timeout_request is not None else None),
        watch=timeout(WATCH_AFTER_SECONDS, Supervision.start_watch) if config.on_disconnect == "cancel" else None,
    )


def _make_websockets(config: Config, clock: Callable[[], float]) -> WebSocketService | None:
    if config.ws == "none":
        return None
    return WebSocketService(
        max_size=config.ws_max_size,
        deflate=config.ws_per_message_deflate,
        ping_interval=config.ws_ping_interval,
        ping_timeout=config.ws_ping_timeout,
        clock=clock,
    )


def _coroutine_app(app: App) -> CoroutineApp:
    """``app``, or a wrapper for one whose call returns another kind of awaitable."""
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(getattr(app, "__call__", None)):  # noqa: B004  # the method is wanted
        return cast("CoroutineApp", app)

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)

    return call
