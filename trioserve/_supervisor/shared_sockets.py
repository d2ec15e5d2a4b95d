"""The listening sockets of all workers: bound before the first worker starts, given up when the server stops."""

import anyio

from trioserve._config import Config
from trioserve._server.listeners import Bound, bind, refuse_new, release
from trioserve._supervisor.activation import activated_sockets

__all__ = ["SharedSockets"]


class SharedSockets:
    """The supervisor's own, of which each worker gets copies. So they stay open whatever becomes of a worker.

    Attributes:
        bounds: none, once they have been given up.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._kept = anyio.CancelScope()  # its deadline is when the workers stop to accept
        self.bounds: tuple[Bound, ...] = ()

    async def bind(self) -> None:
        """Raises BindFailed: an address cannot be had."""
        self.bounds = tuple(await bind(self._config, activated_sockets(self._config)))

    async def give_up_in_time(self) -> None:
        """A task: give them up when ``stop`` has said that it is time."""
        with self._kept:
            await anyio.sleep_forever()
        self.give_up()

    def stop(self) -> None:
        """The workers are about to be told to stop; with ``shutdown_delay`` they go on to accept for a while."""
        if self._config.shutdown_delay:
            self._kept.deadline = anyio.current_time() + self._config.shutdown_delay
        else:
            self.give_up()

    def give_up(self) -> None:
        """Let nobody new in, and close them; each worker accepts who is in already before it closes its copies."""
        bounds, self.bounds = self.bounds, ()
        refuse_new(bounds)
        release(bounds)
