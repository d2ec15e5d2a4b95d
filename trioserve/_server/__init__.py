"""The root nursery: listeners, the lifespan, connections, shutdown."""

from trioserve._server.server import Server, serve

__all__ = ["Server", "serve"]
