"""Django with everything in one file: views of both kinds, an upload, a stream. For asyncio."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import django  # type: ignore[import-untyped]
from django.conf import settings  # type: ignore[import-untyped]
from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]
from django.http import (  # type: ignore[import-untyped]
    FileResponse,
    HttpRequest,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path  # type: ignore[import-untyped]

settings.configure(
    ALLOWED_HOSTS=["*"],
    DEBUG=False,
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for tests",
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
)
django.setup()


def say(text: str) -> None:
    print(f"django: {text}", file=sys.stderr, flush=True)


async def async_view(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    return JsonResponse({"word": request.GET.get("word"), "scheme": request.scheme, "host": request.get_host()})


def sync_view(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"main_thread": threading.current_thread() is threading.main_thread()})


async def upload(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"name": request.POST["name"], "bytes": request.FILES["upload"].size})


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    async def numbers() -> AsyncIterator[bytes]:
        for number in range(100):
            yield b"%d\n" % number
            await asyncio.sleep(0)

    return StreamingHttpResponse(numbers())


def source(request: HttpRequest) -> FileResponse:
    return FileResponse(open(__file__, "rb"))  # the response closes it


async def large(request: HttpRequest) -> StreamingHttpResponse:
    async def blocks() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1_000_000)

    class Large(StreamingHttpResponse):  # type: ignore[misc]
        def close(self) -> None:
            super().close()
            say("the response is closed")

    return Large(blocks())


async def endless(request: HttpRequest) -> StreamingHttpResponse:
    async def ticks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"tick\n"
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            say("the stream is cancelled")
            raise

    return StreamingHttpResponse(ticks())


async def hang(request: HttpRequest) -> HttpResponse:
    say("hanging")
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        say("the view is cancelled")
        raise
    return HttpResponse()


async def fail(request: HttpRequest) -> HttpResponse:
    raise ValueError("on purpose, in Django")


urlpatterns: list[Any] = [
    path(f"{view.__name__}/", view)
    for view in (async_view, sync_view, upload, stream, source, endless, large, hang, fail)]

app = get_asgi_application()
