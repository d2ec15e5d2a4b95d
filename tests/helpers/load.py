"""Clients that ask without a pause, retry nothing, and remember what went wrong."""

import http.client
import select
import threading
from collections import Counter
from collections.abc import Callable
from typing import Final

__all__ = ["Load"]

PATIENCE_SECONDS: Final = 20.0


class Load:
    """Some clients keep their connection, others make one for each request; every second request has a body.

    As HTTP clients do, they look whether an idle connection has been closed before they use it again.
    """

    def __init__(self, address: tuple[str, int], *, keeping: int = 3, once: int = 2) -> None:
        self._address = address
        self._grown = threading.Condition()
        self._stopping = False
        self.answered: Counter[str] = Counter()
        self.lost: list[str] = []
        self._clients = [
            threading.Thread(target=self._keep_asking, args=(f"client {number}", number < keeping), daemon=True)
            for number in range(keeping + once)
        ]
        for client in self._clients:
            client.start()

    def wait_for_more(self, count: int) -> None:
        """Until so many further requests have been answered."""
        wanted = self.answered.total() + count
        self._wait(lambda: self.answered.total() >= wanted or bool(self.lost), f"{count} more answers")

    def wait_for_answer_of(self, instance: int) -> None:
        """Until the process with this id has answered one."""
        self._wait(lambda: bool(self.answered[str(instance)]) or bool(self.lost), f"an answer of {instance}")

    def stop(self) -> None:
        """Let every client finish its request."""
        self._stopping = True
        for client in self._clients:
            client.join(PATIENCE_SECONDS)
            assert not client.is_alive()

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        with self._grown:
            assert self._grown.wait_for(condition, PATIENCE_SECONDS), f"waited in vain for {what}: {self.answered}"

    def _keep_asking(self, name: str, keeps: bool) -> None:
        asked = 0
        connection: http.client.HTTPConnection | None = None
        while not self._stopping:
            asked += 1
            connection = connection or http.client.HTTPConnection(*self._address, timeout=PATIENCE_SECONDS)
            try:
                keeps_on = self._ask(connection, f"{name}/{asked}".encode(), with_body=asked % 2 == 0)
            except (OSError, http.client.HTTPException) as exc:
                self._lose(f"request {asked} of {name}: {exc!r}")
                keeps_on = False
            if not (keeps and keeps_on) or _is_closed(connection):
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection, body: bytes, *, with_body: bool) -> bool:
        """Whether another request may follow."""
        if with_body:
            connection.request("POST", "/echo", body)
        else:
            connection.request("GET", "/hello")
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200 or answer != (body if with_body else b"Hello, world!"):
            self._lose(f"{'POST' if with_body else 'GET'}: {response.status} {answer!r}")
        with self._grown:
            self.answered[response.headers.get("x-instance", "")] += 1
            self._grown.notify_all()
        return not response.will_close

    def _lose(self, what: str) -> None:
        with self._grown:
            self.lost.append(what)
            self._grown.notify_all()


def _is_closed(connection: http.client.HTTPConnection) -> bool:
    return bool(select.select([connection.sock], [], [], 0)[0])
