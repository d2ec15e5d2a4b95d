"""What platforms say in the environment: ``PORT``, ``WEB_CONCURRENCY``, ``FORWARDED_ALLOW_IPS``, Kubernetes' links."""

from typing import Final

import pytest

from tests.helpers.command_line import Calls, invoke, mistake


@pytest.mark.parametrize(("environment", "port", "source"), [
    ({"PORT": "1"}, 1, "PORT"),
    ({"PORT": "1", "TRIOSERVE_PORT": "2"}, 2, "TRIOSERVE_PORT"),
    ({"PORT": "1", "TRIOSERVE_PORT": ""}, 1, "PORT"),
])
def test_the_platforms_port(calls: Calls, environment: dict[str, str], port: int, source: str) -> None:
    invoke("main:app", **environment)
    assert calls[0][1].port == port
    assert calls[0][1].host == "127.0.0.1"
    assert calls.spelled["port"] == source


@pytest.mark.parametrize("other", [["--uds", "a.sock"], ["--fd", "3"], ["--bind", "unix:a.sock"]])
def test_the_platforms_port_gives_way_to_other_addresses(calls: Calls, other: list[str]) -> None:
    invoke("main:app", *other, PORT="9000")
    assert calls[0][1].port == 8000
    assert mistake("main:app", *other, TRIOSERVE_PORT="9000").startswith("TRIOSERVE_PORT: cannot be combined with ")


def test_the_proxies_of_the_platform(calls: Calls) -> None:  # as uvicorn and gunicorn
    invoke("main:app", FORWARDED_ALLOW_IPS="*")
    invoke("main:app", FORWARDED_ALLOW_IPS="*", TRIOSERVE_FORWARDED_ALLOW_IPS="unix")
    assert [config.forwarded_allow_ips for _, config in calls] == ["*", "unix"]


@pytest.mark.parametrize(("arguments", "environment", "workers"), [
    ([], {"WEB_CONCURRENCY": "4"}, 4),
    (["--workers", "2"], {"WEB_CONCURRENCY": "4"}, 2),
    ([], {"WEB_CONCURRENCY": "4", "TRIOSERVE_WORKERS": "3"}, 3),
])
def test_the_platforms_concurrency(
    calls: Calls, arguments: list[str], environment: dict[str, str], workers: int
) -> None:
    invoke("main:app", *arguments, **environment)
    assert calls[0][1].workers == workers


@pytest.mark.parametrize(("arguments", "environment", "cause"), [
    (["--reload"], {}, "--reload"), ([], {"TRIOSERVE_RELOAD": "yes"}, "--reload"), (["--teach"], {}, "--teach"),
    (["--chaos", "0"], {}, "--chaos"),
])
def test_the_platforms_concurrency_gives_way_to_what_needs_one_process(
    calls: Calls, arguments: list[str], environment: dict[str, str], cause: str
) -> None:
    result = invoke("main:app", *arguments, WEB_CONCURRENCY="4", **environment)
    assert result.output == f"Warning: WEB_CONCURRENCY has no effect with {cause}\n"
    assert invoke("main:app", *arguments, WEB_CONCURRENCY="1", **environment).output == ""
    assert [config.workers for _, config in calls] == [1, 1]


def test_the_platforms_concurrency_beside_a_switch_that_is_off(calls: Calls) -> None:
    invoke("main:app", "--no-teach", WEB_CONCURRENCY="4", TRIOSERVE_RELOAD="off")
    assert calls[0][1].workers == 4


OF_SERVICE: Final = {
    "TRIOSERVE_SERVICE_HOST": "10.43.0.1", "TRIOSERVE_SERVICE_PORT": "8000", "TRIOSERVE_SERVICE_PORT_HTTP": "8000",
    "TRIOSERVE_PORT": "tcp://10.43.0.1:8000", "TRIOSERVE_PORT_8000_TCP": "tcp://10.43.0.1:8000",
    "TRIOSERVE_PORT_8000_TCP_PROTO": "tcp", "TRIOSERVE_PORT_8000_TCP_PORT": "8000",
    "TRIOSERVE_PORT_8000_TCP_ADDR": "10.43.0.1",
}  # fmt: skip
"""What Kubernetes tells every pod of a service named trioserve."""


@pytest.mark.parametrize(("arguments", "environment", "port"), [
    ([], {}, 8000), (["--port", "1"], {}, 1), ([], {"PORT": "2"}, 2), (["--bind", "unix:a"], {}, 8000),
    ([], {"UVICORN_PORT": "udp://10.43.0.2:80", "UVICORN_SERVICE_PORT": "80"}, 8000),
])
def test_what_kubernetes_says_of_a_service_named_trioserve(
    calls: Calls, arguments: list[str], environment: dict[str, str], port: int
) -> None:
    result = invoke("main:app", *arguments, **OF_SERVICE, **environment)
    assert result.output == (
        "Warning: TRIOSERVE_PORT=tcp://10.43.0.1:8000 is no port and has no effect: Kubernetes sets it where a service "
        "is named trioserve; enableServiceLinks: false in the pod's spec prevents that\n")
    assert calls[0][1].port == port


def test_what_kubernetes_says_of_services_with_longer_names_is_no_misspelt_option(calls: Calls) -> None:
    result = invoke("main:app", TRIOSERVE_ADMIN_PORT="tcp://10.43.0.3:9000", TRIOSERVE_ADMIN_SERVICE_HOST="10.43.0.3",
                    TRIOSERVE_ADMIN_PORT_9000_TCP_ADDR="10.43.0.3")
    assert result.output == ""
    assert len(calls) == 1


def test_a_bad_value_of_the_platforms_port(calls: Calls) -> None:
    assert mistake("main:app", PORT="tcp://10.0.0.1:80") == "PORT: 'tcp://10.0.0.1:80' is not a whole number"
