"""The admin listener of real servers: one process and several, looked at over HTTP and by ``trioserve tree``."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

from tests.helpers.admin import VALIDATOR, find
from tests.helpers.raw_http import RawClient
from tests.helpers.server_process import STRICT, Flavour, ServerProcess, serve, wait_until
from tests.helpers.worker_processes import pid_of_answer, ready_pids, serve_with_workers

HANG = b"GET /hang?token=secret HTTP/1.1\r\nHost: a\r\n\r\n"


@dataclass
class Admin:
    """The admin listener of a server, or its path on the main one, as the start line says."""

    address: str
    token: str
    path: str = ""

    @classmethod
    def of(cls, server: ServerProcess) -> "Admin":
        line = server.stderr.wait_for("Admin listener on ")
        match = re.search(r"on http://(\S+), its page: http://\S+/#token=(\S+)$", line)
        assert match is not None, line
        return cls(match[1], match[2])

    @classmethod
    def under_path(cls, server: ServerProcess) -> "Admin":
        line = server.stderr.wait_for("Admin page: ")
        match = re.search(r"http://([^/]+)(/\S+)/#token=(\S+)$", line)
        assert match is not None, line
        return cls(match[1], match[3], match[2])

    def ask(self, path: str, body: Any = None) -> tuple[int, bytes]:
        connection, path = HTTPConnection(self.address, timeout=20), self.path + path
        try:
            if body is None:
                connection.request("GET", path)
            else:
                connection.request("POST", path, json.dumps(body), {"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def tree(self, query: str = "") -> dict[str, Any]:
        status, body = self.ask(f"/tree?{query}")
        assert status == 200, body
        snapshot: dict[str, Any] = json.loads(body)
        VALIDATOR.validate(snapshot)
        return snapshot

    def in_terminal(self, *options: str) -> str:
        """What the command prints."""
        done = subprocess.run(
            [sys.executable, *STRICT, "-m", "trioserve", "tree", self.address, *options], capture_output=True,
            text=True, timeout=30, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


@contextmanager
def hanging(server: ServerProcess) -> Iterator[RawClient]:
    """A client whose request does not end by itself."""
    with RawClient(server.address) as client:
        client.send(HANG)
        server.stderr.wait_for("secret hanging")
        yield client


def test_one_process(loop: Flavour) -> None:
    with serve("probe:app", loop, "--admin", "127.0.0.1:0") as server, hanging(server) as client:
        admin = Admin.of(server)
        tree = admin.tree()
        [request] = find(tree, kind="request")
        [connection] = find(tree, kind="connection")
        assert (request["name"], request["state"]) == ("GET /hang?***", "APP")
        assert connection["bytes"] == {"received": len(HANG), "sent": 0}
        assert [node["state"] for node in find(tree, kind="lifespan")] == ["RUNNING"]
        assert [node["name"] for node in find(tree, kind="listener")] == [server.url]
        assert re.search(r"^      GET /hang\?\*\*\*  APP  .* at \S+probe\.py:\d+", admin.in_terminal(), re.MULTILINE)

        assert admin.ask("/cancel", {"id": request["id"]})[0] == 200
        server.stderr.wait_for("admin: ended GET /hang?token=secret after")
        assert client.is_closed()
        server.stdout.wait_for('"GET /hang?token=secret HTTP/1.1" 0 admin')
        wait_until(lambda: not find(admin.tree(), kind="connection"), "the end of the connection")
        assert admin.tree()["ended"][0]["reason"] == "admin"
        assert not server.stdout.lines_with(admin.token)


def names_of(pids: Iterable[int]) -> list[str]:
    return sorted(f"worker {pid}" for pid in pids)


def test_several_processes_at_one_address(loop: Flavour) -> None:
    with serve_with_workers("probe:app", loop, "--admin", "127.0.0.1:0") as server, hanging(server) as client:
        admin = Admin.of(server)
        pids = ready_pids(server)
        tree = admin.tree()
        assert (tree["root"]["kind"], tree["root"]["state"]) == ("supervisor", "READY")
        assert sorted(node["name"] for node in tree["root"]["children"]) == names_of(pids)
        [request] = find(tree, kind="request")
        assert int(request["id"].partition("-")[0]) in pids
        assert admin.in_terminal().splitlines()[0].startswith("trioserve  READY  2 workers")
        assert admin.ask("/cancel", {"id": "1-1"})[0] == 404
        assert admin.ask("/cancel", {"id": request["id"]})[0] == 200
        assert client.is_closed()
        assert admin.ask("/readyz") == (200, b"ready\n")


def test_several_processes_under_a_path_of_the_main_listener(loop: Flavour) -> None:
    with serve_with_workers("probe:app", loop, "--admin-path", "/-/admin") as server, hanging(server) as client:
        admin = Admin.under_path(server)
        pids = ready_pids(server)
        for _ in range(6):  # whichever worker is asked
            root = admin.tree()["root"]
            assert (root["kind"], root["state"]) == ("supervisor", "READY")
            assert sorted(node["name"] for node in root["children"]) == names_of(pids)
        status, text = admin.ask("/metrics")
        assert (status, 'trioserve_workers{state="answers"} 2.0' in text.decode().splitlines()) == (200, True)
        [request] = find(admin.tree(), name="GET /hang?***")
        assert [admin.ask("/cancel", {"id": "1-1"})[0] for _ in range(6)] == [404] * 6
        assert admin.ask("/cancel", {"id": request["id"]})[0] == 200
        assert client.is_closed()
        assert admin.ask("/readyz") == (200, b"ready\n")


def test_one_worker_that_is_reloaded_under_a_path(loop: Flavour) -> None:
    with serve("probe:app", loop, "--reload", "--admin-path", "/-/admin") as server:
        tree = Admin.under_path(server).tree()
    assert [(node["kind"], node["state"]) for node in tree["root"]["children"]] == [("server", "READY")]


def test_a_worker_that_stands_still_is_shown_as_silent(loop: Flavour) -> None:
    with serve_with_workers("probe:app", loop, "--admin", "127.0.0.1:0") as server:
        admin = Admin.of(server)
        stopped, other = sorted(ready_pids(server))
        [node] = find(admin.tree(), name=f"worker {stopped}")
        subprocess.run(["kill", "-STOP", str(stopped)], check=True)
        try:
            states = {child["name"]: child["state"] for child in admin.tree()["root"]["children"]}
            status, body = admin.ask("/cancel", {"id": node["id"]})
        finally:
            subprocess.run(["kill", "-CONT", str(stopped)], check=True)
    assert states == {f"worker {stopped}": "SILENT", f"worker {other}": "READY"}
    assert (status, json.loads(body)) == (503, {"error": f"worker {stopped}: it did not answer within 2 s"})


def test_the_supervisor_answers_before_its_workers_are_ready_and_while_they_drain(loop: Flavour) -> None:
    options = ["--admin", "127.0.0.1:0", "--timeout-graceful-shutdown", "20"]
    with serve_with_workers("probe:app", loop, *options) as server, hanging(server) as client:
        admin = Admin.of(server)
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Shutting down (SIGTERM)")
        assert admin.ask("/readyz") == (503, b"draining\n")
        assert admin.ask("/healthz") == (200, b"ok\n")
        [request] = find(admin.tree(), kind="request")
        assert admin.ask("/cancel", {"id": request["id"]})[0] == 200
        assert client.is_closed()
        server.judge_end()


def test_an_address_that_is_taken_is_one_line(loop: Flavour) -> None:
    with serve("probe:app", loop, "--admin", "127.0.0.1:0") as server:
        address = Admin.of(server).address
        for more in ([], ["--workers", "2"]):
            second = ServerProcess([
                sys.executable, *STRICT, "-m", "trioserve", "probe:app", "--port", "0", "--admin", address,
                *loop.options, *more])
            assert second.wait_exit() == 3
            [*_, last] = second.stderr.text.splitlines()
            assert last.startswith(f"Error: cannot listen on {address}: the port is in use")


def test_a_signal_writes_the_tree_to_the_log(loop: Flavour) -> None:
    with serve("probe:app", loop, "--timeout-graceful-shutdown", "0.5") as server, hanging(server):
        server.send_signal(signal.SIGUSR1)
        server.stderr.wait_for("The tree of tasks:")
        server.stderr.wait_for("      GET /hang?***  APP")
        server.stderr.wait_for("  other tasks")


def test_supervisor_and_workers_write_theirs(loop: Flavour) -> None:
    with serve_with_workers("probe:app", loop) as server:
        pid = pid_of_answer(server)
        server.send_signal(signal.SIGUSR1)
        server.stderr.wait_for("The tree of tasks:")
        for worker in ready_pids(server):
            server.stderr.wait_for(f"  worker {worker}  READY")
        [its_age, *ages] = [float(age) for age in re.findall(r"PID \d+  ([\d.]+) s$", server.stderr.text, re.MULTILINE)]
        assert its_age >= max(ages)
        subprocess.run(["kill", "-USR1", str(pid)], check=True)
        server.stderr.wait_for(f"[{pid}] The tree of tasks:")


def test_a_drain_that_runs_out_of_time_says_what_still_ran(loop: Flavour) -> None:
    with serve("probe:app", loop, "--timeout-graceful-shutdown", "0.5") as server, hanging(server):
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Still running, and cancelled now:")
        line = server.stderr.wait_for("  GET /hang?***  APP")
        assert re.search(r" at \S+probe\.py:\d+ \(", line)
        server.judge_end()
