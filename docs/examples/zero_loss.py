"""Not one request is lost: workers are replaced, recycled, killed and stopped while clients go on asking.

    python docs/examples/zero_loss.py [--requests 100000] [--backend trio]

It serves ``app`` below with two workers and limits their life to some thousand requests. Some clients keep their
connection, others make one for each request. Meanwhile the supervisor gets SIGHUP three times, a worker is killed with
SIGKILL, and at the end the server gets SIGTERM in the middle of it all.

The clients retry nothing. As HTTP clients do, they look whether the server has closed an idle connection before they
use it again. Every request that is sent and not answered counts; it may be *in flight in the killed worker*, or on a
connection that the kernel made when the server stopped and that nobody accepted any more. All others are *lost*.
"""

import argparse
import http.client
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

KEEPING_CLIENTS = 12
ONCE_CLIENTS = 6
PATIENCE_SECONDS = 30.0


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Echoes the body, and says which process did it."""
    if scope["type"] != "http":
        raise NotImplementedError
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    worker = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-worker", worker)]})
    await send({"type": "http.response.body", "body": body})


class Server:
    """The server's process, and its log as it comes."""

    def __init__(self, backend: str, worker_requests: int) -> None:
        command = [
            sys.executable, "-m", "trioserve", "zero_loss:app", "--app-dir", str(Path(__file__).parent),
            "--backend", backend, "--port", "0", "--workers", "2", "--no-access-log", "--lifespan", "off",
            "--limit-max-requests", str(worker_requests), "--limit-max-requests-jitter", str(worker_requests // 4),
        ]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.log: list[str] = []
        self._grown = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()
        self.port = int(self.wait_for(r"Listening on http://127\.0\.0\.1:(\d+)")[1])
        self.wait_for("2 workers are ready")

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._grown:
                self.log.append(line.rstrip())
                self._grown.notify_all()

    def find(self, pattern: str) -> list[re.Match[str]]:
        return [found for line in list(self.log) if (found := re.search(pattern, line))]

    def wait_for(self, pattern: str, count: int = 1) -> re.Match[str]:
        """The line of the log that brings the number of those that match to ``count``."""
        with self._grown:
            if not self._grown.wait_for(lambda: len(self.find(pattern)) >= count, PATIENCE_SECONDS):
                raise TimeoutError(f"no {pattern!r} in\n" + "\n".join(self.log))
        return self.find(pattern)[count - 1]

    def replace_workers(self) -> None:
        """SIGHUP, and wait until both workers are new and the old ones are gone."""
        before = len(self.find("Every worker has had its turn"))
        self.process.send_signal(signal.SIGHUP)
        self.wait_for("Every worker has had its turn", before + 1)

    def kill_worker(self, pid: int) -> None:
        """SIGKILL, and wait until another one has taken its place."""
        successor = rf"Worker \d+ is ready( and takes the place of worker {pid} .*)?$"
        before = len(self.find(successor))
        os.kill(pid, signal.SIGKILL)
        self.wait_for(f"Worker {pid} ended unexpectedly")
        self.wait_for(successor, before + 1)


class Load:
    """Clients that ask without a pause, and what has become of their requests."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.outcomes: Counter[str] = Counter()
        self.last_worker = 0
        self.killed_worker = 0
        self.killing_since = self.killing_until = float("inf")
        self.stopping = False
        self._grown = threading.Condition()
        self._clients = [
            *(threading.Thread(target=self._keep_asking, args=(client, True)) for client in range(KEEPING_CLIENTS)),
            *(threading.Thread(target=self._keep_asking, args=(client, False)) for client in range(ONCE_CLIENTS)),
        ]
        for client in self._clients:
            client.start()

    def wait_for(self, count: int) -> None:
        """Until so many requests have been answered."""
        with self._grown:
            self._grown.wait_for(lambda: self.outcomes["answered"] >= count)

    def wait_for_end(self) -> None:
        """Until every client has found that the server is gone."""
        for client in self._clients:
            client.join(PATIENCE_SECONDS)

    def kill(self, server: Server) -> None:
        self.killing_since = time.monotonic()
        self.killed_worker = self.last_worker
        server.kill_worker(self.killed_worker)
        self.killing_until = time.monotonic()

    # The clients.

    def _keep_asking(self, client: int, keeps: bool) -> None:
        connection, worker, asked = None, 0, 0
        while True:
            if connection is None:
                connection, worker = self._connect(), 0
                if connection is None:
                    return
            began = time.monotonic()
            asked += 1
            body = f"{client}/{asked}".encode() * 4
            try:
                connection.request("POST" if asked % 2 else "PUT", "/", body)
                response = connection.getresponse()
                right = response.status == 200 and response.read() == body
                worker = int(response.headers["x-worker"])
            except (OSError, http.client.HTTPException) as exc:
                self._note(self._judge(exc, worker, began))
                connection.close()
                connection = None
                continue
            self._note("answered" if right else f"wrong answer {response.status}", worker)
            if not keeps or response.will_close or is_closed(connection):
                connection.close()
                connection = None

    def _connect(self) -> http.client.HTTPConnection | None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        try:
            connection.connect()
        except OSError as exc:
            if not self.stopping:
                self._note(f"LOST: no connection, {exc!r}")
            return None
        return connection

    def _judge(self, exc: Exception, worker: int, began: float) -> str:
        """What has become of a request that got no answer. ``worker`` is 0 on a new connection: who knows."""
        if worker in (0, self.killed_worker) and self.killing_since <= time.monotonic() and began < self.killing_until:
            return "in flight in the killed worker"
        if worker == 0 and self.stopping:
            return "connected but not accepted when the server stopped"
        return f"LOST: {exc!r} of worker {worker}"

    def _note(self, outcome: str, worker: int = 0) -> None:
        with self._grown:
            self.outcomes[outcome] += 1
            self.last_worker = worker or self.last_worker
            self._grown.notify()


def is_closed(connection: http.client.HTTPConnection) -> bool:
    """The server has closed it; nothing else can make an idle connection readable."""
    return bool(select.select([connection.sock], [], [], 0)[0])


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--backend", choices=["trio", "asyncio"], default="trio")
    options = parser.parse_args()
    server = Server(options.backend, worker_requests=max(1000, options.requests // 25))
    load = Load(server.port)
    try:
        disturb(server, load, options.requests)
    finally:
        server.process.kill()
        server.process.wait()
    return report(server, load)


def disturb(server: Server, load: Load, total: int) -> None:
    """All that can happen to workers, while ``total`` requests are answered."""
    for share in (0.1, 0.3, 0.5):
        load.wait_for(int(share * total))
        server.replace_workers()
    load.wait_for(int(0.7 * total))
    load.kill(server)
    load.wait_for(total)
    load.stopping = True
    server.process.send_signal(signal.SIGTERM)
    load.wait_for_end()
    server.process.wait(PATIENCE_SECONDS)


def report(server: Server, load: Load) -> int:
    """Print what has become of the requests; 1 if one was lost."""
    by_signal = len(server.find(r"takes the place of worker \d+ \(SIGHUP\)"))
    recycled = len(server.find(r"takes the place of worker \d+ \(limit-max-requests\)"))
    code = server.process.returncode
    print(f"workers replaced: {by_signal} by SIGHUP, {recycled} by --limit-max-requests, 1 killed; exit code {code}")
    for outcome, count in load.outcomes.most_common():
        print(f"{count:>8} {outcome}")
    if code == 0 and all(outcome in EXPECTED for outcome in load.outcomes):
        return 0
    print(*server.log, sep="\n", file=sys.stderr)
    return 1


EXPECTED = ("answered", "in flight in the killed worker", "connected but not accepted when the server stopped")


if __name__ == "__main__":
    sys.exit(main())
