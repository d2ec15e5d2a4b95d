"""The files of the deployment guides, judged by the programs that read them; the end-to-end tests run some."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from tests.helpers.proxies import CADDY_HTTP2, HAPROXY_HTTP2, Place, apache, haproxy, haproxy_sticky, nginx
from tests.helpers.system_programs import system_program
from trioserve import Config

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs/examples/deploy"
SYSTEMD = ROOT / "docs/examples/systemd"
DOCKER_STOP_SECONDS = 10    # what `docker stop` waits by itself


def judge(*command: str | Path) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def config_of(command: list[str]) -> Config:
    """The configuration that a command line of trioserve means, as trioserve itself prints it."""
    done = subprocess.run(
        [sys.executable, "-m", *command, "--print-config"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    given = dict(re.findall(r"^([a-z-]+) = (\S+) +# --", done.stdout, re.MULTILINE))
    return Config(**{name.replace("-", "_"): json.loads(text) for name, text in given.items() if name != "app"})


def seconds_to_stop(config: Config) -> float:
    assert config.timeout_graceful_shutdown is not None
    return config.shutdown_delay + config.timeout_graceful_shutdown


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, [8001, 8002])


@pytest.mark.parametrize("stream", [False, True], ids=["http", "stream"])
def test_nginx(place: Place, stream: bool) -> None:
    judge(*nginx(place, stream=stream), "-t")


@pytest.mark.parametrize("tcp", [False, True], ids=["http", "tcp"])
def test_haproxy(place: Place, tcp: bool) -> None:
    judge(*haproxy(place, tcp=tcp), "-c")


@pytest.mark.parametrize(("guide", "changes"), [("haproxy", HAPROXY_HTTP2), ("caddy", CADDY_HTTP2)])
def test_http2_behind_a_proxy(guide: str, changes: dict[str, str]) -> None:
    """What the guide says of it is what the end-to-end tests run."""
    text = (ROOT / f"docs/guides/{guide}.md").read_text("utf-8")
    for new in changes.values():
        assert f"{new}\n" in text, new


def test_haproxy_sticky(place: Place) -> None:
    judge(*haproxy_sticky(place), "-c")


def test_caddy(place: Place) -> None:
    """As it stands, without a port of a test in it."""
    program = system_program("caddy", package="caddy")
    judge(program, "validate", "--adapter", "caddyfile", "--config", DEPLOY / "Caddyfile")


def test_the_dockerfile() -> None:
    judge(Path(sys.executable).with_name("hadolint"), DEPLOY / "Dockerfile")
    [command] = re.findall(r"^CMD (.*)$", (DEPLOY / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    config = config_of(json.loads(command))
    assert seconds_to_stop(config) < DOCKER_STOP_SECONDS
    assert (config.host, config.port) == ("0.0.0.0", 8000)


ECS_ASKS_SECONDS = 120   # the longest stopTimeout of Fargate
CLOUD_RUN_STOP_SECONDS = 10
HEROKU_STOP_SECONDS = 30


def test_apache(tmp_path: Path) -> None:
    judge(*apache(Place(tmp_path, [8001])), "-t")


def test_ecs() -> None:
    [container] = json.loads((DEPLOY / "ecs-task.json").read_text("utf-8"))["containerDefinitions"]
    python, minus_m, *command = container["command"]
    config = config_of(command)
    assert (python, minus_m, config.host) == ("python", "-m", "0.0.0.0")
    assert seconds_to_stop(config) < container["stopTimeout"] <= ECS_ASKS_SECONDS
    assert container["portMappings"] == [{"containerPort": config.port}]


def test_cloud_run() -> None:
    service = yaml.safe_load((DEPLOY / "cloudrun.yaml").read_text("utf-8"))
    [container] = service["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "trioserve"]
    config = config_of(["trioserve", *container["args"]])
    assert config.host == "0.0.0.0"
    assert seconds_to_stop(config) < CLOUD_RUN_STOP_SECONDS


def test_heroku() -> None:
    kind, _, command = (DEPLOY / "Procfile").read_text("utf-8").partition(": ")
    python, minus_m, *rest = shlex.split(command)
    assert (kind, python, minus_m) == ("web", "python", "-m")
    config = config_of(rest)
    assert (config.host, config.forwarded_allow_ips) == ("0.0.0.0", "*")
    assert seconds_to_stop(config) < HEROKU_STOP_SECONDS


def test_supervisord() -> None:
    parser = configparser.RawConfigParser()
    parser.read(DEPLOY / "supervisord.conf", "utf-8")
    program = parser["program:site"]
    python, minus_m, *command = shlex.split(program["command"])
    assert (Path(python).name, minus_m, program["killasgroup"]) == ("python3", "-m", "true")
    assert seconds_to_stop(config_of(command)) < int(program["stopwaitsecs"])


def test_kubernetes() -> None:
    found: dict[str, Any] = {}
    for resource in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text("utf-8")):
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)
        found[resource["kind"]] = resource["spec"]
    pod = found["Deployment"]["template"]["spec"]
    [container] = pod["containers"]
    config = config_of(container["args"])
    assert config.shutdown_delay > 0
    assert seconds_to_stop(config) < pod["terminationGracePeriodSeconds"]
    http = found["Service"]["ports"][0]["targetPort"]
    assert config.admin is not None
    admin_host, _, admin_port = config.admin.rpartition(":")
    assert container["ports"] == [
        {"name": http, "containerPort": config.port}, {"name": "admin", "containerPort": int(admin_port)}]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == "admin"
    assert found["NetworkPolicy"]["ingress"] == [{"ports": [{"port": http}]}]
    assert config.host == admin_host == "0.0.0.0"


SERVICES = pytest.mark.parametrize("name", ["trioserve.service", "trioserve-one.service"])


@SERVICES
def test_the_service(name: str) -> None:
    unit = (SYSTEMD / name).read_text("utf-8")
    settings = dict(re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE))
    python, minus_m, *command = shlex.split(settings["ExecStart"])
    assert (Path(python).name, minus_m) == ("python3", "-m")
    assert seconds_to_stop(config_of(command)) < int(settings["TimeoutStopSec"])
    socket_unit = (SYSTEMD / "trioserve.socket").read_text("utf-8")
    config = config_of(command)
    assert f"ListenStream={config.host}:{config.port}\nBacklog={config.backlog}\n" in socket_unit
    assert ("ExecReload" in settings) is (config.workers > 1)  # SIGHUP replaces workers
    stops_by_itself = config.limit_max_rss is not None and config.workers == 1
    assert settings["Restart"] == ("always" if stops_by_itself else "on-failure")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@SERVICES
def test_systemd_finds_nothing_wrong(tmp_path: Path, name: str) -> None:
    units = [tmp_path / unit for unit in ("trioserve.service", "trioserve.socket")]
    for unit, example in zip(units, (name, "trioserve.socket"), strict=True):
        shutil.copy(SYSTEMD / example, unit)
    done = subprocess.run(
        ["systemd-analyze", "verify", *units], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30,
        check=False)
    assert [line for line in done.stderr.splitlines() if "trioserve." in line] == []


def test_every_file_is_in_a_guide() -> None:
    guides = "".join(page.read_text("utf-8") for page in (ROOT / "docs/guides").glob("*.md"))
    for path in filter(Path.is_file, [*DEPLOY.iterdir(), *SYSTEMD.iterdir()]):  # gunicorn's has bytecode beside it
        place = f"../examples/{path.parent.name}/{path.name}"
        assert f"{{literalinclude}} {place}\n" in guides or f"]({place})" in guides, path.name


@pytest.mark.parametrize(("name", "setting"), [
    ("nginx.conf", "keepalive_timeout"), ("Caddyfile", "keepalive"), ("traefik-site.yaml", "idleConnTimeout:"),
])
def test_proxies_close_idle_connections_before_we_do(name: str, setting: str) -> None:
    [seconds] = re.findall(rf"^\s+{setting} (\d+)s", (DEPLOY / name).read_text("utf-8"), re.MULTILINE)
    ours = Config().timeout_keep_alive
    assert ours is not None and int(seconds) < ours
