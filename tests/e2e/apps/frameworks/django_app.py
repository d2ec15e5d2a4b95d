"""Django needs no project: settings and urls in one module."""

from collections.abc import AsyncIterator

import anyio
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="for this test only")


async def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


def thread(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


async def parts() -> AsyncIterator[str]:
    for part in ("hel", "lo"):
        yield part
        await anyio.sleep(0.01)


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(parts())


def wsgi_stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(["hel", "lo"])


urlpatterns = [
    path("view", view), path("thread", thread), path("stream", stream), path("wsgi_stream", wsgi_stream)]
app = get_asgi_application()
wsgi = get_wsgi_application()
