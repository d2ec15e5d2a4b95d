"""Blocks of applications that no cancellation reaches, for as long as the server can wait for them."""

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

__all__ = ["Shields"]


class Shields:
    """Of one server."""

    def __init__(self) -> None:
        self._scopes: set[anyio.CancelScope] = set()
        self._hold = True

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Keep cancellation from the block, until ``lift``; what comes then reaches it."""
        with anyio.CancelScope(shield=self._hold) as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)

    def lift(self) -> None:
        """The server does not wait any longer: neither those blocks hold, nor any that begins now."""
        self._hold = False
        for scope in self._scopes:
            scope.shield = False
