"""Metrics of all workers in one answer, without those of workers that are gone.

    PROMETHEUS_MULTIPROC_DIR=/run/shop trioserve --app-dir docs/examples worker_metrics:app --workers 2 \
        --worker-exited worker_metrics:forget_worker

The directory has to exist, and to be empty.
"""

from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest, multiprocess

serving = Gauge("serving_workers", "Workers that serve.", multiprocess_mode="livesum")


def forget_worker(pid: int, exit_code: int) -> None:
    """Called in the supervisor; the worker itself may have been killed."""
    multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        serving.set(1)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "http":
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        headers = [(b"content-type", CONTENT_TYPE_LATEST.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": generate_latest(registry)})
    else:
        raise NotImplementedError(scope["type"])
