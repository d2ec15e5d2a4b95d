"""The root nursery: listeners, the lifespan, connections, shutdown."""

from trioserve._server.serve import Server, serve

__all__ = ["Server", "serve"]
