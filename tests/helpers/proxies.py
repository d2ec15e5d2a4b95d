"""Proxies as the deployment guides configure them, as child processes on free ports."""

import os
import random
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trustme

from tests.helpers.raw_http import RawClient
from tests.helpers.server_process import ServerProcess, wait_until
from tests.helpers.system_programs import system_program

__all__ = ["CADDY_HTTP2", "DEPLOY", "HAPROXY_HTTP2", "Place", "Proxy", "apache", "caddy", "configure", "free_port",
           "haproxy", "haproxy_sticky", "nginx", "run_proxy", "traefik"]  # fmt: skip

DEPLOY: Final = Path(__file__).parents[2] / "docs" / "examples" / "deploy"
FIRST_PORT: Final = 10_000
SHARES: Final = 16  # of the ports, for the processes of xdist
PORTS_OF_A_SHARE: Final = 1_375
ENDED_BY_SIGTERM: Final = (0, 128 + signal.SIGTERM, -signal.SIGTERM)

# What Debian's nginx.conf has around our files. One process, so that none can be left over.
_NGINX: Final = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 512; }
"""
_NGINX_STREAM: Final = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;"
_NGINX_HTTP: Final = """
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include site.conf;
}
"""


HAPROXY_HTTP2: Final = {
    "option httpchk GET /health": "option httpchk\n    http-check send meth GET uri /health hdr Host example.com",
    "server a 127.0.0.1:8001": "server a 127.0.0.1:8001 proto h2",
    "server b 127.0.0.1:8002": "server b 127.0.0.1:8002 proto h2",
}
"""What the guide changes in ``haproxy.cfg`` for HTTP/2 between HAProxy and the instances."""

CADDY_HTTP2: Final = {"keepalive 60s": "keepalive 60s\n\t\t\tversions h2c 2"}
"""Likewise in the ``Caddyfile``."""

# What Debian's apache2.conf and its enabled modules have around our file, but for mpm_event: run as one process, it
# crashes when it ends 25 of 200 times, mpm_worker 0 of 200. For a proxy the two do the same.
_APACHE_MODULES: Final = (
    "mpm_worker", "authz_core", "headers", "proxy", "proxy_http", "proxy_wstunnel",
)
_APACHE: Final = """
{modules}
ServerRoot {directory}
DefaultRuntimeDir {directory}
PidFile {directory}/apache.pid
ErrorLog {directory}/error.log
Listen 127.0.0.1:{port}
Include site.conf
"""


def _own_ports() -> Iterator[int]:
    """Ports below those that the kernel gives to connecting clients, from a share of them that no other process has."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = FIRST_PORT + worker % SHARES * PORTS_OF_A_SHARE
    ports = list(range(first, first + PORTS_OF_A_SHARE))
    random.shuffle(ports)  # what runs beside these tests, such as another run of them, tries others
    return iter(ports)


_ports: Final = _own_ports()


def free_port() -> int:
    """A port on 127.0.0.1 that nothing uses. None is given twice: a program may take it later than the next asks."""
    for port in _ports:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError(f"all {PORTS_OF_A_SHARE} ports of this process are used up")


@dataclass
class Place:
    """Where a proxy under test lives: its files, its ports, and the instances behind it, unix sockets or ports."""

    directory: Path
    instances: Sequence[int | Path]
    port: int = field(default_factory=free_port)
    tls_port: int = field(default_factory=free_port)
    authority: trustme.CA | None = None     # of the certificate, when there is one

    @property
    def admin(self) -> Path:
        return self.directory / "admin.sock"

    def certificate(self) -> tuple[Path, Path, Path]:
        """A certificate for example.com, its key, and a file with both."""
        self.authority = trustme.CA()
        made = self.authority.issue_cert("example.com")
        paths = [self.directory / name for name in ("fullchain.pem", "key.pem", "site.pem")]
        blobs = (made.cert_chain_pems[0], made.private_key_pem, made.private_key_and_cert_chain_pem)
        for path, blob in zip(paths, blobs, strict=True):
            blob.write_to_path(path)
        return paths[0], paths[1], paths[2]

    def spelled(self, unix: str) -> dict[str, str]:
        """The addresses of the instances in the guides' files, and those here. ``unix`` stands before a path."""
        return {
            f"127.0.0.1:800{number}": f"{unix}{instance}" if isinstance(instance, Path) else f"127.0.0.1:{instance}"
            for number, instance in enumerate(self.instances, 1)
        }


def configure(name: str, changes: Mapping[str, str]) -> str:
    """The guides' file with some things replaced; one that is not there shows that file and test have grown apart."""
    text = (DEPLOY / name).read_text("utf-8")
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in {name}"
        text = text.replace(old, new)
    return text


def nginx(place: Place, *, stream: bool = False) -> list[str]:
    """Write what nginx needs; the command that runs it."""
    if stream:
        main, name = _NGINX_STREAM + _NGINX + "include site.conf;\n", "nginx-stream.conf"
        changes = {"listen 443": f"listen 127.0.0.1:{place.port}"}
    else:
        certificate, key, _ = place.certificate()
        main, name = _NGINX + _NGINX_HTTP, "nginx.conf"
        changes = {
            "listen 80": f"listen 127.0.0.1:{place.port}",
            "listen 443 ssl": f"listen 127.0.0.1:{place.tls_port} ssl",
            "/etc/ssl/site/fullchain.pem": str(certificate),
            "/etc/ssl/site/key.pem": str(key),
        }
    (place.directory / "nginx.conf").write_text(main)
    (place.directory / "site.conf").write_text(configure(name, changes | place.spelled("unix:")))
    program = system_program("nginx", package="nginx")
    return [program, "-p", str(place.directory), "-c", "nginx.conf", "-e", "stderr"]


def haproxy(place: Place, *, tcp: bool = False, http2: bool = False) -> list[str]:
    """Write what HAProxy needs; the command that runs it. ``http2``: it speaks so with the instances."""
    common = {
        "    user haproxy\n    group haproxy\n": "",    # it may not be allowed to change the user
        "/run/haproxy/admin.sock": str(place.admin),
    }
    if tcp:
        text = configure("haproxy-tcp.cfg", common | {"bind :443": f"bind 127.0.0.1:{place.port}"}
                         | place.spelled("unix@"))
    else:
        text = configure("haproxy.cfg", (HAPROXY_HTTP2 if http2 else {}) | common | {
            "bind :80": f"bind 127.0.0.1:{place.port}",
            "bind :443": f"bind 127.0.0.1:{place.tls_port}",
            "/etc/ssl/site/site.pem": str(place.certificate()[2]),
        } | place.spelled("unix@"))
    path = place.directory / "haproxy.cfg"
    path.write_text(text)
    return [system_program("haproxy", package="haproxy"), "-db", "-f", str(path)]


def apache(place: Place) -> list[str]:
    """Write what Apache needs; the command that runs it, as one process, so that none can be left over."""
    [instance] = place.instances
    changes = {"<VirtualHost *:80>": f"<VirtualHost 127.0.0.1:{place.port}>"}
    address = f"unix:{instance}|http://site/" if isinstance(instance, Path) else f"http://127.0.0.1:{instance}/"
    changes['"http://127.0.0.1:8001/"'] = f'"{address}"'
    (place.directory / "site.conf").write_text(configure("apache.conf", changes))
    modules = "\n".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in _APACHE_MODULES)
    main = place.directory / "apache2.conf"
    main.write_text(_APACHE.format(modules=modules, directory=place.directory, port=place.port))
    return [system_program("apache2", package="apache2"), "-X", "-f", str(main)]


def haproxy_sticky(place: Place) -> list[str]:
    """The same, for clients that come back to their instance."""
    path = place.directory / "haproxy.cfg"
    path.write_text(configure("haproxy-sticky.cfg", {"bind :80": f"bind 127.0.0.1:{place.port}"}
                              | place.spelled("unix@")))
    return [system_program("haproxy", package="haproxy"), "-db", "-f", str(path)]


def caddy(place: Place, *, http2: bool = False) -> list[str]:
    """Write what Caddy needs; the command that runs it. ``http2``: it speaks so with the instances."""
    site = configure("Caddyfile", (CADDY_HTTP2 if http2 else {}) | {"example.com": f"http://:{place.port}"}
                     | place.spelled("unix/"))
    path = place.directory / "Caddyfile"
    path.write_text("{\n\tadmin off\n}\n" + site)
    own_files = [f"XDG_CONFIG_HOME={place.directory}", f"XDG_DATA_HOME={place.directory}"]
    program = system_program("caddy", package="caddy")
    return ["env", *own_files, program, "run", "--adapter", "caddyfile", "--config", str(path)]


def traefik(place: Place) -> list[str]:
    """Write what Traefik needs; the command that runs it. Its program comes from a Python package."""
    certificate, key, _ = place.certificate()
    site = place.directory / "site.yaml"
    site.write_text(configure("traefik-site.yaml", {
        "/etc/ssl/site/fullchain.pem": str(certificate), "/etc/ssl/site/key.pem": str(key),
    } | place.spelled("")))
    main = place.directory / "traefik.yaml"
    main.write_text(configure("traefik.yaml", {
        '":80"': f'"127.0.0.1:{place.port}"', '":443"': f'"127.0.0.1:{place.tls_port}"',
        "/etc/traefik/site.yaml": str(site),
    }))
    return [str(Path(sys.executable).with_name("traefik")), f"--configfile={main}"]


class Proxy(ServerProcess):
    """A running proxy.

    Attributes:
        tls: where it ends TLS.
    """

    def __init__(self, place: Place, command: Sequence[str]) -> None:
        super().__init__(command)
        self.place = place
        self.address = ("127.0.0.1", place.port)
        self.tls = ("127.0.0.1", place.tls_port)

    def wait_started(self) -> None:
        wait_until(self._answers, "a proxy that knows its site")

    def _answers(self) -> bool:
        """Traefik listens before it has read what it serves, and answers 404 until then."""
        assert not self.ended, f"the proxy ended\n{self.report}"
        try:
            with RawClient(self.address) as client:
                client.get("/hello")
                return client.receive_response().status != 404
        except ConnectionRefusedError:
            return False

    def stop(self, *, errors_expected: bool = False) -> None:
        self.send_signal(signal.SIGTERM)
        assert self.wait_exit() in ENDED_BY_SIGTERM

    def wait_both_up(self) -> None:
        """HAProxy's checks have found every instance; other proxies look when somebody asks."""
        if self.place.admin.exists():
            wait_until(lambda: self._states() == {"a": "UP", "b": "UP"}, "two instances that are up")

    def _states(self) -> dict[str, str]:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.place.admin))
            sock.sendall(b"show stat\n")
            answer = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
        names, *rows = [line.split(",") for line in answer.lstrip("# ").splitlines() if line]
        found = [dict(zip(names, row, strict=False)) for row in rows]
        return {row["svname"]: row["status"] for row in found if row["svname"] in ("a", "b")}


@contextmanager
def run_proxy(command: Callable[[Place], list[str]], place: Place) -> Iterator[Proxy]:
    """The proxy, for the length of the block."""
    proxy = Proxy(place, command(place))
    try:
        proxy.wait_started()
        yield proxy
        proxy.stop()
    except BaseException as exc:
        proxy.kill()
        exc.add_note(proxy.report)
        raise
