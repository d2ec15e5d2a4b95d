"""Every metric, once: its name, its kind, its labels, and what it says. The reference page is made from this table.

Names and units follow Prometheus: base units in the names, ``_total`` for what only grows.
"""

from dataclasses import dataclass
from typing import Final, Literal

__all__ = [
    "DURATION_BUCKETS", "FAMILIES", "LAG_BUCKETS", "METHODS", "OF_APPLICATION", "OPTIONS", "OTHER_METHOD", "REASONS",
    "Family",
]  # fmt: skip

DURATION_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
LAG_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds

METHODS: Final = frozenset(  # RFC 9110 §9.3, RFC 5789; a client may send any token, and must not make series
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"))
OTHER_METHOD: Final = "other"

REASONS: Final = (
    "client-disconnect", "request-timeout", "deadline", "body-timeout", "write-timeout", "shutdown",
    "shutdown-deadline", "admin",
)  # fmt: skip
"""Why requests are ended early. An application may have reasons of its own, in words that must not make series."""
OF_APPLICATION: Final = "application"

OPTIONS: Final = (
    "limit_request_line", "limit_header_bytes", "limit_header_count", "limit_request_body", "limit_concurrency",
    "limit_connections", "limit_http2_streams", "limit_http2_resets", "limit_http2_control_frames", "timeout_header",
    "timeout_keep_alive", "timeout_http2_idle", "timeout_tls_handshake", "timeout_body", "timeout_write",
    "timeout_request", "ws_max_size", "ws_max_age", "ws_ping_timeout",
)  # fmt: skip
"""Options whose limits strike clients."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric.

    Attributes:
        kind: ``info`` is a gauge of 1, whose labels say something.
        help: one sentence, for the text and for the reference.
        buckets: upper bounds of a histogram.
        per_process: each process has its own, so nothing of one that has ended is kept.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram", "info"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    per_process: bool = False


def _counter(name: str, help: str, *labels: str) -> Family:
    return Family(name, "counter", help, labels)


def _gauge(name: str, help: str, *labels: str) -> Family:
    return Family(name, "gauge", help, labels)


def _of_process(kind: Literal["counter", "gauge"], name: str, help: str) -> Family:
    return Family(name, kind, help, ("pid",), per_process=True)


_FAMILIES: Final = (
    Family("trioserve_info", "info", "What serves.", ("version", "python", "backend", "http", "http2")),
    _counter(
        "trioserve_requests_total",
        "Requests that got their answer, or whose client left before it (4xx, 499 in the access log), "
        "or that the server ended without one (none, 0 in the access log).",
        "method", "status", "http_version"),
    Family(
        "trioserve_request_duration_seconds", "histogram",
        "From a request's head to the end of its answer; without requests whose head could not be read.",
        ("method", "status"), DURATION_BUCKETS),
    _gauge("trioserve_requests_in_progress", "Requests that have not got their answer yet."),
    _counter("trioserve_request_body_bytes_total", "Bytes of request bodies that applications have received."),
    _counter("trioserve_response_body_bytes_total", "Bytes of response bodies, without their framing."),
    _counter(
        "trioserve_requests_ended_early_total",
        "Applications that were cancelled, or told to end, before their time, also after the answer.", "reason"),
    _gauge("trioserve_connections", "Open connections.", "state"),
    _counter("trioserve_connections_accepted_total", "Connections that were accepted."),
    _counter(
        "trioserve_limits_struck_total",
        "How often the limit of an option, or its timeout, has struck a client; of limit_connections, how often the "
        "server was full.", "option"),
    _gauge("trioserve_websockets", "Open WebSockets."),
    _counter("trioserve_websockets_closed_total", "WebSockets that have ended.", "code"),
    _counter("trioserve_websocket_messages_total", "Messages of WebSockets.", "direction"),
    _counter(
        "trioserve_websocket_payload_bytes_total", "Payload bytes of WebSockets, as they were on the wire.",
        "direction"),
    Family(
        "trioserve_event_loop_lag_seconds", "histogram",
        "How late the event loop calls a task that sleeps; sampled ten times a second.", (), LAG_BUCKETS),
    _counter(
        "trioserve_event_loop_stalls_total",
        "How often the event loop stood still for longer than --warn-blocked, without which nobody watches it."),
    _counter("trioserve_event_loop_stalled_seconds_total", "How long the event loop stood still at these times."),
    _gauge("trioserve_lifespans", "Processes, by the state of the application's lifespan.", "state"),
    _gauge("trioserve_workers", "Processes that serve; a silent one did not answer this time.", "state"),
    _counter("trioserve_worker_starts_total", "Worker processes that were started and were ready."),
    _counter("trioserve_worker_exits_total", "Worker processes that have ended.", "outcome"),
    _of_process("gauge", "trioserve_worker_start_time_seconds", "When the process began to serve, as a Unix time."),
    _of_process("counter", "process_cpu_seconds_total", "User and system CPU time, in seconds."),
    _of_process("gauge", "process_resident_memory_bytes", "Resident memory."),
    _of_process("gauge", "process_virtual_memory_bytes", "Virtual memory."),
    _of_process("gauge", "process_open_fds", "Open file descriptors."),
    _of_process("gauge", "process_max_fds", "Most file descriptors that may be open."),
    _of_process("gauge", "process_start_time_seconds", "When the process was started, as a Unix time."),
)

FAMILIES: Final = {family.name: family for family in _FAMILIES}
