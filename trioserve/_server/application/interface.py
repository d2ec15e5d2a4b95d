"""Which interface an application has, and how the other two become ASGI 3.

ASGI 3 is one call with three arguments, ASGI 2 a call with the scope that returns a call with the other two, WSGI a
call with two arguments.
"""

import inspect
from typing import Any, Final, Literal, TypeAlias, cast

from trioserve._config import Config
from trioserve._errors import AppNotFound
from trioserve._types import AnyApp, App, Receive, Scope, Send

__all__ = ["ARGUMENTS", "Interface", "adapt", "can_take", "has_interface", "interface_of", "signature_of"]

Interface: TypeAlias = Literal["asgi3", "asgi2", "wsgi"]

ARGUMENTS: Final[dict[Interface, tuple[str, ...]]] = {
    "asgi3": ("scope", "receive", "send"), "asgi2": ("scope",), "wsgi": ("environ", "start_response"),
}

ASGI_2_VERSION: Final = "2.0"


def adapt(app: AnyApp, config: Config) -> App:
    """``app`` as an ASGI 3 application. With ``auto``, one that shows no interface is taken for ASGI 3.

    Raises:
        AppNotFound: it cannot be called; a name cannot either, which only ``run`` would have looked up.
    """
    if not callable(app):
        advice = "; give the application itself, or the name to trioserve.run" if isinstance(app, str) else ""
        raise AppNotFound(f"{app!r:.100} is not an application: it cannot be called{advice}")
    chosen = (interface_of(app) or "asgi3") if config.interface == "auto" else config.interface
    if chosen == "asgi2":
        return _single_callable(app)
    if chosen == "wsgi":
        from trioserve._server.application.wsgi import WsgiApp  # brings threads, which most servers never need

        return WsgiApp(app, config.wsgi_threads)
    return cast("App", app)


def interface_of(app: Any) -> Interface | None:
    """The interface that the signature of ``app`` shows, ``None`` when it shows none.

    What can take three arguments is ASGI 3. For the others it has to be plain, because a factory may look like them:
    one argument, called scope, or two.
    """
    if has_interface(app, "asgi3"):
        return "asgi3"
    signature = signature_of(app)
    if signature is None or can_take(signature, 0):
        return None
    if has_interface(app, "wsgi") and not can_take(signature, 1):
        return "wsgi"
    return "asgi2" if has_interface(app, "asgi2") and list(signature.parameters) == ["scope"] else None


def has_interface(app: Any, interface: Interface) -> bool:
    """Whether ``app`` can be called as the interface says; only the call of ASGI 3 is one to be awaited."""
    return can_take(signature_of(app), len(ARGUMENTS[interface])) and (interface == "asgi3" or not _is_async(app))


def _is_async(app: Any) -> bool:
    if issubclass(type(app), type):  # a class: its call makes an instance
        return False
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(getattr(app, "__call__", None))  # noqa: B004  # the method is wanted


def signature_of(value: Any) -> inspect.Signature | None:
    """How ``value`` can be called, ``None`` if Python does not know."""
    try:
        return inspect.signature(value)
    except Exception:  # TypeError and ValueError of inspect, and whatever a proxy of the application's raises
        return None


def can_take(signature: inspect.Signature | None, arguments: int) -> bool:
    """It can be called with this many; so can what is not known."""
    if signature is None:
        return True
    try:
        signature.bind(*[None] * arguments)
    except TypeError:
        return False
    return True


def _single_callable(app: Any) -> App:
    """An ASGI 2 application, which is called twice, as one that is called once (ASGI 2.0, "Applications").

    Its scopes say so: frameworks that can be called in both ways go by ``scope["asgi"]["version"]``.
    """

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        scope["asgi"] = scope["asgi"] | {"version": ASGI_2_VERSION}
        await app(scope)(receive, send)

    return call
