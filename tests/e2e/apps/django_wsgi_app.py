"""Django's WSGI handler: forms, a file, a stream, an error."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import django  # type: ignore[import-untyped]
from django.conf import settings  # type: ignore[import-untyped]
from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse  # type: ignore[import-untyped]
from django.urls import path  # type: ignore[import-untyped]

settings.configure(ALLOWED_HOSTS=["*"], DEBUG=False, ROOT_URLCONF=__name__, SECRET_KEY="only for tests")
django.setup()


def index(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"word": request.GET.get("word"), "scheme": request.scheme, "host": request.get_host(),
                         "client": request.META["REMOTE_ADDR"],
                         "main_thread": threading.current_thread() is threading.main_thread()})


def upload(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"name": request.POST["name"], "bytes": len(request.FILES["upload"].read())})


def count(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"bytes": sum(len(line) for line in request)})


async def async_count(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    return JsonResponse({"bytes": len(request.body)})


def stream(request: HttpRequest) -> HttpResponse:
    def numbers() -> Iterator[str]:
        for number in range(100):
            yield f"{number}\n"

    return StreamingHttpResponse(numbers())


def fail(request: HttpRequest) -> HttpResponse:
    raise LookupError("on purpose")


urlpatterns: list[Any] = [
    path("", index), path("upload/", upload), path("count/", count), path("async-count/", async_count),
    path("stream/", stream), path("fail/", fail),
]
app = get_wsgi_application()
