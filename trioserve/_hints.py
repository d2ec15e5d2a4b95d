"""One line of advice for errors whose cause is the choice of backend."""

__all__ = ["backend_hint"]

_ASYNCIO_ONLY = ("no running event loop", "no current event loop", "trio got unexpected", "was yielded")


def backend_hint(exc: BaseException, backend: str) -> str | None:
    """Advice to try the other backend when ``exc`` says that the application uses asyncio on trio."""
    return None
