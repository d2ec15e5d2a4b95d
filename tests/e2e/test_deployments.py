"""The configurations of the deployment guides at work: real proxies in front of two instances, one on each backend."""

import hashlib
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from tests.helpers.curl import Curl
from tests.helpers.load import Load
from tests.helpers.proxies import Place, Proxy, apache, caddy, free_port, haproxy, nginx, run_proxy, traefik
from tests.helpers.raw_http import MEBIBYTE, RawClient
from tests.helpers.raw_websocket import RawWebSocket
from tests.helpers.server_process import STRICT, Flavour, ServerProcess

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runs Debian's proxies, and has clients on 127.0.0.2")

BACKENDS: Final = (Flavour("trio"), Flavour("asyncio"))
CLIENT: Final = "127.0.0.2"     # an address that no proxy has and that nobody trusts
BETWEEN_STEPS: Final = 60       # requests
GO_LOSES_A_BODY: Final = "http: invalid Read on closed Body"  # see the guide about Caddy


@dataclass(frozen=True)
class Front:
    """A proxy and how it reaches the instances."""

    command: Callable[[Place], list[str]]
    unix: bool = False
    bytes_only: bool = False    # it knows nothing of HTTP, and sends PROXY headers
    http2: bool = False         # spoken with the instances
    workers: bool = False       # behind it is one server with two workers, and reloading it is the restart
    own_loss: str = ""          # what it logs when it loses a request by itself, whatever the server does


FRONTS: Final = {
    "nginx": Front(nginx),
    "nginx-unix": Front(nginx, unix=True),
    "nginx-stream": Front(partial(nginx, stream=True), bytes_only=True),
    "haproxy": Front(haproxy),
    "haproxy-unix": Front(haproxy, unix=True),
    "haproxy-http2": Front(partial(haproxy, http2=True), http2=True),
    "haproxy-http2-unix": Front(partial(haproxy, http2=True), unix=True, http2=True),
    "haproxy-tcp": Front(partial(haproxy, tcp=True), bytes_only=True),
    "haproxy-tcp-unix": Front(partial(haproxy, tcp=True), unix=True, bytes_only=True),
    "caddy": Front(caddy, workers=True),
    "caddy-unix": Front(caddy, unix=True, workers=True),
    "caddy-http2": Front(partial(caddy, http2=True), http2=True, workers=True, own_loss=GO_LOSES_A_BODY),
    "apache": Front(apache, workers=True),
    "apache-unix": Front(apache, unix=True, workers=True),
    "traefik": Front(traefik, workers=True),
}


class Instance:
    """One of the servers; it can be started again on its address."""

    def __init__(self, where: int | Path, backend: Flavour, *options: str) -> None:
        self.where = where
        bind = f"unix:{where}" if isinstance(where, Path) else f"127.0.0.1:{where}"
        self._command = [
            sys.executable, *STRICT, "-m", "trioserve", "deployed:app", "--bind", bind, *backend.options, *options]
        self.start()

    def start(self) -> None:
        self.server = ServerProcess(self._command)
        try:
            self.server.wait_started()
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        self.server.kill()


@dataclass
class Site:
    """A proxy and the two instances behind it."""

    front: Front
    proxy: Proxy
    instances: list[Instance]

    def ask(self, *fields: str) -> list[Any]:
        """What the instances say of the origin of the same request; proxies ask them in turn."""
        told, asked = [], set()
        for _ in range(6):
            with RawClient(self.proxy.address, source=CLIENT) as client:
                client.get("/origin", *fields)
                response = client.receive_response()
            asked.add(response.headers["x-instance"])
            told.append(response.json())
        if not self.front.workers:
            assert asked == {str(instance.server.pid) for instance in self.instances}
        return told


@contextmanager
def deployed(front: Front, directory: Path, *more_options: str) -> Iterator[Site]:
    """Everything that belongs to ``front``, for the length of the block."""
    options = [*more_options] + ["--proxy-protocol"] * front.bytes_only + ["--workers=2"] * front.workers
    options += ["--http2"] * front.http2
    backends = BACKENDS[:1] if front.workers else BACKENDS
    with ExitStack() as stack:
        instances = []
        for backend in backends:
            where = directory / f"{backend}.sock" if front.unix else free_port()
            instances.append(Instance(where, backend, *options))
            stack.callback(instances[-1].kill)
            if front.workers:  # one that is still starting when the server stops would be killed, with an error
                instances[-1].server.stderr.wait_for("workers are ready")
        place = Place(directory, [instance.where for instance in instances])
        with run_proxy(front.command, place) as proxy:
            yield Site(front, proxy, instances)
        for instance in instances:
            instance.server.stop()


@pytest.fixture(scope="module", params=FRONTS)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An error in an instance's log fails the last test that uses it."""
    with deployed(FRONTS[request.param], tmp_path_factory.mktemp("site")) as site:
        yield site


def test_the_application_sees_the_client(site: Site) -> None:
    for told in site.ask():
        assert told["client"][0] == CLIENT
        assert (told["scheme"], told["host"], told["path"]) == ("http", "test", "/origin")


def test_a_client_cannot_say_who_it_is(site: Site) -> None:
    for told in site.ask("X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", "Forwarded: for=6.6.6.6"):
        assert told["client"][0] == CLIENT
        assert told["scheme"] == "http"


def test_a_large_upload(site: Site) -> None:
    body = b"0123456789abcdef" * MEBIBYTE
    with RawClient(site.proxy.address) as client:
        client.send(b"POST /digest HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(body))
        client.send(body)
        answer = client.receive_response().json()
        assert (answer["bytes"], answer["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())


def test_a_chunked_upload(site: Site) -> None:
    with RawClient(site.proxy.address) as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            client.send(b"400\r\n" + b"x" * 1024 + b"\r\n")
        client.send(b"0\r\n\r\n")
        assert client.receive_response().body == b"x" * 102400


def test_a_slow_client_keeps_nobody_else_waiting(site: Site) -> None:
    """It does not read what is more than all buffers hold, until others have been served by each instance."""
    size = 32 * MEBIBYTE
    with RawClient(site.proxy.address, receive_buffer=4096) as slow:
        slow.get(f"/parts?count={size // 65536}&size=65536")
        site.ask()
        assert len(slow.receive_response().body) == size


def test_events_pass_at_once(site: Site) -> None:
    with RawClient(site.proxy.address) as client:
        client.get("/events")
        assert client.receive_until(b"data: tick")


@pytest.mark.parametrize("site", ["nginx", "nginx-unix", "haproxy", "haproxy-unix", "traefik"], indirect=True)
def test_tls_ends_at_the_proxy(site: Site) -> None:
    assert site.proxy.place.authority is not None
    context = ssl.create_default_context()
    site.proxy.place.authority.configure_trust(context)
    with socket.create_connection(site.proxy.tls) as plain, \
            context.wrap_socket(plain, server_hostname="example.com") as sock:
        sock.sendall(b"GET /origin HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    assert b'"scheme": "https"' in answer
    assert b'"host": "example.com"' in answer


@pytest.mark.parametrize("site", ["nginx", "haproxy"], indirect=True)
def test_http2_ends_at_the_proxy(site: Site, tmp_path: Path) -> None:
    assert site.proxy.place.authority is not None
    site.proxy.place.authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    name = f"example.com:{site.proxy.tls[1]}"
    curl = Curl("--http2", "--cacert", tmp_path / "ca.pem", "--resolve", f"{name}:127.0.0.1", f"https://{name}/origin")
    assert (curl.json()["scheme"], curl.json()["path"]) == ("https", "/origin")
    assert "HTTP/2 200" in curl.talk


@pytest.mark.parametrize("site", [name for name in FRONTS if FRONTS[name].http2], indirect=True)
def test_http2_goes_on_behind_the_proxy(site: Site) -> None:
    with RawClient(site.proxy.address) as client:
        for _ in site.instances:
            client.get("/hello")
            assert client.receive_response().body == b"Hello, world!"
    for instance in site.instances:
        instance.server.stdout.wait_for('"GET /hello HTTP/2"')


@pytest.mark.parametrize("site", [name for name in FRONTS if name != "caddy-http2"], indirect=True)
def test_a_websocket(site: Site) -> None:
    with RawWebSocket(site.proxy.address, source=CLIENT) as client:
        client.open("/echo")
        client.echo("first")
        client.echo("x" * 100_000)
        client.say_goodbye()


@pytest.mark.parametrize("name", ["nginx", "haproxy", "haproxy-http2", "caddy", "caddy-http2", "apache", "traefik"])
def test_connections_to_the_instances_are_kept(name: str, tmp_path: Path) -> None:
    """One for each, however many requests. Instances that believe nobody tell the proxy's own port."""
    front = FRONTS[name]
    with deployed(front, tmp_path, "--no-proxy-headers") as site, RawClient(site.proxy.address) as client:
        ports = set()
        for _ in range(20):
            client.get("/hello")
            ports.add(client.receive_response().headers["x-client-port"])
        assert len(ports) == (1 if front.workers else 2)


@contextmanager
def loaded(site: Site) -> Iterator[Load]:
    """Clients ask without a pause while the block runs, and not one request of theirs is lost by the server."""
    load = Load(site.proxy.address)
    try:
        load.wait_for_more(BETWEEN_STEPS)
        yield load
        load.wait_for_more(BETWEEN_STEPS)
    finally:
        load.stop()
    own_loss = site.front.own_loss
    if not own_loss:
        assert load.lost == []
    elif load.lost:
        site.proxy.stderr.wait_for(own_loss, times=len(load.lost))


def test_a_rolling_restart_loses_nothing(site: Site) -> None:
    """One after the other is stopped and started again; who asks meanwhile learns nothing of it."""
    with loaded(site) as load:
        if site.front.workers:
            [instance] = site.instances
            instance.server.send_signal(signal.SIGHUP)
            instance.server.stderr.wait_for("Every worker has had its turn")
            return
        for instance in site.instances:
            site.proxy.wait_both_up()
            instance.server.stop()
            load.wait_for_more(BETWEEN_STEPS)
            instance.start()
            load.wait_for_answer_of(instance.server.pid)
