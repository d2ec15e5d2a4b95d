"""One task at a time waits for a stream; the others wait for what it gets."""

import anyio

__all__ = ["OneReader"]


class OneReader:
    """Whoever finds it not ``busy`` makes it so, reads, and calls ``done``; the others ``wait``, then look again."""

    __slots__ = ("_news", "busy")

    def __init__(self) -> None:
        self.busy = False
        self._news: anyio.Event | None = None  # made when somebody waits, which is rare

    async def wait(self) -> None:
        """Until whoever reads is done."""
        if self._news is None:
            self._news = anyio.Event()
        await self._news.wait()

    def done(self) -> None:
        """Let the others look what there is, and the next one read."""
        self.busy = False
        if self._news is not None:
            self._news.set()
            self._news = None
